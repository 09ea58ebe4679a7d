//! The libraries as identity knows them: entries of its bootstrap file, with secrets and keys made for one run.

use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use e2e::{ClientKey, secret, secret_sha256};
use serde_json::{Value, json};

use crate::way::Check;

/// What a client may ask for, and what the sites do ask for.
pub const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// As what identity knows a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A partner's site that proves itself so, in the words of the bootstrap file.
    Proves(&'static str),
    /// A page that cannot keep a secret.
    Public,
    /// A page whose tokens are bound to a key that never leaves the browser.
    BoundPage,
    /// A partner under the FAPI 2.0 Security Profile.
    Fapi2,
    /// A device without a browser.
    Device,
    /// Not at all: it registers itself.
    Registers,
}

/// One library's client.
#[derive(Debug)]
pub struct Registered {
    /// Its client id, which is the library's name.
    pub name: &'static str,
    /// The port of the loopback where its site listens.
    pub port: u16,
    way: Way,
    backchannel: Option<&'static str>,
    /// What its site checks beyond the way that all go.
    pub checks: &'static [Check],
    /// For those that have one.
    pub secret: String,
    key: ClientKey,
}

impl Registered {
    /// A client with a port of its own. `backchannel` is the path where logout tokens go.
    pub fn new(
        name: &'static str,
        way: Way,
        backchannel: Option<&'static str>,
        checks: &'static [Check],
    ) -> Result<Self> {
        let free = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let port = free.local_addr()?.port();
        Ok(Self { name, port, way, backchannel, checks, secret: secret()?, key: ClientKey::generate()? })
    }

    /// An address of its site.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Whether identity is to be told of it by itself.
    pub fn registers_itself(&self) -> bool {
        self.way == Way::Registers
    }

    /// Whether its tokens are worth nothing without its key.
    pub fn has_bound_tokens(&self) -> bool {
        matches!(self.way, Way::Fapi2 | Way::BoundPage)
    }

    /// Its entry in the bootstrap file, unless it registers itself.
    pub fn entry(&self) -> Option<Value> {
        let method = match self.way {
            Way::Proves(method) => method,
            Way::Public | Way::BoundPage | Way::Device => "none",
            Way::Fapi2 => "private_key_jwt",
            Way::Registers => return None,
        };
        let mut entry = json!({
            "client_id": self.name, "name": format!("Shop by {}", self.name), "kind": "partner",
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"], "scopes": SCOPES,
            "redirect_uris": [self.url("/callback")], "post_logout_redirect_uris": [self.url("/signed-out")],
        });
        if let Some(path) = self.backchannel {
            entry["backchannel_logout_uri"] = json!(self.url(path));
        }
        match self.way {
            Way::Fapi2 => entry["profile"] = json!("fapi2"),
            Way::BoundPage => entry["dpop_bound_access_tokens"] = json!(true),
            Way::Device => {
                entry["grant_types"] =
                    json!(["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]);
                entry["redirect_uris"] = json!([]);
            }
            _ => {}
        }
        match method {
            "private_key_jwt" => entry["jwks"] = json!({ "keys": [self.key.jwk] }),
            "none" => {}
            _ => entry["client_secret_sha256"] = json!(secret_sha256(&self.secret)),
        }
        Some(entry)
    }

    /// What its program is told.
    pub fn given(&self, issuer: &str) -> Value {
        json!({
            "issuer": issuer, "port": self.port, "client_id": self.name, "client_secret": self.secret,
            "key": self.key.pkcs8, "kid": self.key.jwk["kid"],
            "profile": if self.way == Way::Fapi2 { "fapi2" } else { "oauth" },
        })
    }
}
