//! mailer through its public interfaces: gRPC, HTTP and SMTP.

mod campaign;
mod crash;
mod hostile;
mod links;
mod relay;
mod transactional;
mod world;
