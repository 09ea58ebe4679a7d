//! The OpenID Provider: users, credentials, clients, sessions, grants, signing keys.
