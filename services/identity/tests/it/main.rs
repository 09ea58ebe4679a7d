//! identity through its public interfaces: pages, OAuth and OpenID Connect, gRPC.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panic")]

mod admin;
mod audit;
mod authenticator;
mod browser;
mod claims;
mod client_auth;
mod clients;
mod description;
mod discovery;
mod equal_answers;
mod guessing;
mod headers;
mod hostile_protocol;
mod introspect;
mod keys;
mod logout;
mod logs;
mod metadata;
mod oidf;
mod pages;
mod partitions;
mod par;
mod passkeys;
mod passwords;
mod ranks;
mod recover;
mod refusals;
mod registration;
mod security_table;
mod sender_constrained;
mod sign_up;
mod token;
mod userinfo;
mod wire;
mod world;
