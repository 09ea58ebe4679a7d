//! `fapi2-security-profile-final-test-plan`, plain FAPI, OpenID Connect, private_key_jwt, DPoP. The relying party of the
//! modules is [`relying_party`]; each module's own steps and checks stand in its function.

mod assertions;
mod authorization;
mod binding;
mod checks;
mod metadata;
mod proofs;
mod pushed;
mod refresh;
pub mod relying_party;
pub mod signer;
mod tokens;

use std::sync::LazyLock;

use serde_json::{Value, json};

use signer::Signer;

/// The first client of the plan. Its RSA key lets the module about RS256 run.
pub const FIRST: &Registration = &Registration {
    client_id: "ticketing",
    name: "Ticketing",
    redirect_uri: "https://ticketing.example/callback",
    key: &FIRST_KEY,
};

/// The second client; the query of its redirect URI must come back.
pub const SECOND: &Registration = &Registration {
    client_id: "hospitality",
    name: "Hospitality",
    redirect_uri: "https://hospitality.example/callback?dummy1=lorem&dummy2=ipsum",
    key: &SECOND_KEY,
};

static FIRST_KEY: LazyLock<Signer> = LazyLock::new(Signer::rsa);
static SECOND_KEY: LazyLock<Signer> = LazyLock::new(Signer::p256);

/// A registered relying party.
pub struct Registration {
    pub client_id: &'static str,
    pub name: &'static str,
    pub redirect_uri: &'static str,
    pub key: &'static LazyLock<Signer>,
}

/// What each of them asks for.
pub const SCOPE: &str = "openid email profile offline_access";

/// Both, as the bootstrap file says it.
pub fn registrations() -> Vec<Value> {
    let registration = |client: &Registration| {
        json!({
            "client_id": client.client_id, "name": client.name, "kind": "partner", "profile": "fapi2",
            "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [client.key.public_jwk()]},
            "redirect_uris": [client.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "scopes": ["openid", "email", "profile", "offline_access"],
        })
    };
    [FIRST, SECOND].map(registration).to_vec()
}
