//! A world of its own for each test: identity, whom it calls, and the people and clients that come to it.

mod flows;
mod instance;
mod peers;
mod relying_parties;
mod starting;

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use testkit::TestApp;

use crate::{browser::Person, clients::BootstrapFile};

use relying_parties::RelyingParties;

pub use flows::{authorize_url, basic, param};
pub use instance::Instance;
pub use peers::{Peers, ProfileIs, profile_of};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const ISSUER: &str = "https://id.example";
pub const KEK: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const NONCE: &str = "n-0S6_WzA2Mj";
pub const STATE: &str = "af0ifjsldkj &=?";

pub const ALICE: Person =
    Person { email: "alice@example.jp", password: "correct horse battery staple", is_new: true };
pub const BOB: Person =
    Person { email: "bob@example.fr", password: "cheval correct pile agrafe", is_new: true };

/// A running identity, the services that it calls, and the relying parties that it tells of ended sessions.
pub struct World {
    pub app: TestApp,
    pub peers: Peers,
    pub relying_parties: RelyingParties,
    file: BootstrapFile,
    kek: String,
}

/// An answer of an endpoint.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn refused_with(&self, status: u16, error: &str) {
        assert_eq!((self.status.as_u16(), self.text("error")), (status, error), "{}", self.body);
        assert_eq!(self.header("cache-control"), "no-store");
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub async fn answer(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}
