//! What people and clients do: sign up and in, redeem, refresh, read.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::{StatusCode, header::AUTHORIZATION};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{ALICE, Answer, ISSUER, Instance, NONCE, STATE, VERIFIER, World, answer};
use crate::{
    browser::{Browser, Person},
    clients::{FORUM_CALLBACK, PORTAL_CALLBACK, PORTAL_SCOPE, SECRET, SHOP_CALLBACK, VAULT_CALLBACK},
};

impl World {
    pub fn browser(&self) -> Browser<'_> {
        Browser::new(&self.app, &self.peers)
    }

    pub fn advance(&self, by: TimeDelta) {
        self.app.clock.advance(by);
    }

    /// A person who has just signed up on the way to the portal, and the code that the portal got.
    pub async fn sign_up(&self, person: Person) -> (Browser<'_>, String) {
        let mut browser = self.browser();
        let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        let url = browser.go_through(Person { is_new: true, ..person }, start).await;
        (browser, param(&url, "code"))
    }

    /// A person who has a user signs in at another browser, on the way to the portal.
    pub async fn sign_in(&self, person: Person) -> (Browser<'_>, String) {
        let mut browser = self.browser();
        let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        let url = browser.go_through(Person { is_new: false, ..person }, start).await;
        (browser, param(&url, "code"))
    }

    /// A code for a client, by the session of this browser; a partner's page for consent is agreed to.
    pub async fn code(&self, browser: &mut Browser<'_>, client_id: &str, scope: &str) -> String {
        let start = browser.open(&authorize_url(client_id, scope, &[])).await;
        let url = browser.go_through(Person { is_new: false, ..ALICE }, start).await;
        param(&url, "code")
    }

    /// Tokens of the portal for a person who has just signed up.
    pub async fn tokens(&self, person: Person) -> (Browser<'_>, Answer) {
        let (browser, code) = self.sign_up(person).await;
        let answer = self.redeem("portal", &code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        (browser, answer)
    }

    pub async fn redeem(&self, client_id: &str, code: &str) -> Answer {
        Instance::of(&self.app).redeem(client_id, code).await.unwrap()
    }

    pub async fn refresh(&self, client_id: &str, refresh_token: &str) -> Answer {
        Instance::of(&self.app).refresh(client_id, refresh_token).await.unwrap()
    }

    /// Posts a form to an endpoint.
    pub async fn post<N: AsRef<str>, V: AsRef<str>>(
        &self,
        path: &str,
        authorization: Option<&str>,
        form: &[(N, V)],
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.post_raw(path, authorization, body.into_bytes()).await
    }

    pub async fn post_raw(&self, path: &str, authorization: Option<&str>, body: Vec<u8>) -> Answer {
        let mut request = self.app.http().post(self.app.http_url(path));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let form = "application/x-www-form-urlencoded";
        answer(request.header("content-type", form).body(body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.app.http().get(self.app.http_url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn userinfo(&self, access_token: &str) -> Answer {
        self.get("/oauth2/userinfo", &[("authorization", &format!("Bearer {access_token}"))]).await
    }

    /// The claims of a token, read as a relying party reads it: with the published key, for this audience.
    pub async fn read(&self, token: &str, typ: &str, audience: &str) -> Value {
        let keys: JwkSet = serde_json::from_value(self.get("/oauth2/keys.json", &[]).await.body).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ));
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[audience]);
        // The clock of the test stands elsewhere.
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
    }
}

pub(super) fn callback(client_id: &str) -> &'static str {
    match client_id {
        "shop" => SHOP_CALLBACK,
        "forum" => FORUM_CALLBACK,
        "vault" => VAULT_CALLBACK,
        _ => PORTAL_CALLBACK,
    }
}

/// The Authorization header of a client that has one.
pub fn basic(client_id: &str) -> Option<String> {
    use base64::engine::general_purpose::STANDARD;
    matches!(client_id, "shop" | "profile" | "vault")
        .then(|| format!("Basic {}", STANDARD.encode(format!("{client_id}:{SECRET}"))))
}

/// An authorization request with state, nonce and challenge.
pub fn authorize_url(client_id: &str, scope: &str, others: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let mut url = Url::parse(ISSUER).unwrap();
    url.set_path("/authorize");
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", callback(client_id))
        .append_pair("scope", scope)
        .append_pair("state", STATE)
        .append_pair("nonce", NONCE)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(others);
    url.into()
}

/// A parameter of the URL that a client is answered at.
#[track_caller]
pub fn param(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(own, _)| own == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_else(|| panic!("no {name} in {url}"))
}
