//! identity through its public interfaces: pages, OAuth and OpenID Connect, gRPC.

mod admin;
mod browser;
mod client_auth;
mod clients;
mod discovery;
mod hostile_protocol;
mod introspect;
mod logout;
mod pages;
mod sign_up;
mod token;
mod userinfo;
mod world;
