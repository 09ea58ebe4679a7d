//! mailer through its public interfaces: gRPC, HTTP and SMTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod campaign;
mod crash;
mod hostile;
mod links;
mod refusals;
mod relay;
mod transactional;
mod world;
