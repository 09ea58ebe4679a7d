//! identity through its public interfaces: pages, OAuth and OpenID Connect, gRPC.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panic")]

mod admin;
mod authenticator;
mod browser;
mod budget;
mod claims;
mod client_auth;
mod clients;
mod description;
mod device;
mod discovery;
mod exchange;
mod hostile_protocol;
mod introspect;
mod kills;
mod logout;
mod metadata;
mod oidf;
mod pages;
mod par;
mod passkeys;
mod races;
mod refusals;
mod registration;
mod sender_constrained;
mod revocation;
mod sign_up;
mod token;
mod userinfo;
mod wire;
mod world;
