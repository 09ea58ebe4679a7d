//! identity through its public interfaces: pages, OAuth and OpenID Connect, gRPC.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panic")]

mod admin;
mod authenticator;
mod browser;
mod claims;
mod client_auth;
mod clients;
mod discovery;
mod hostile_protocol;
mod introspect;
mod logout;
mod metadata;
mod oidf;
mod pages;
mod passkeys;
mod refusals;
mod registration;
mod sign_up;
mod token;
mod userinfo;
mod world;
