//! The tokens of one answer of the token endpoint.

use domain::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::App;
use crate::{
    client::Client,
    error::Error,
    handle::{Handle, Kind},
    jws, subject,
    token_family::TokenFamily,
};

/// Life of an ID token.
const ID_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(10);

/// A successful answer (RFC 6749 5.1, OIDC Core 3.1.3.3).
#[derive(Serialize)]
pub struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) token_type: &'static str,
    pub(super) expires_in: i64,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
    // Of an exchange (RFC 8693 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issued_token_type: Option<&'static str>,
}

impl TokenAnswer {
    /// An access token and nothing to go on with.
    pub(super) const fn alone(
        access_token: String,
        token_type: &'static str,
        expires_in: i64,
        scope: String,
    ) -> Self {
        Self {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token: None,
            id_token: None,
            issued_token_type: None,
        }
    }
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// What the tokens of one answer have in common.
pub(super) struct Issue<'a> {
    pub client: &'a Client,
    pub family: &'a TokenFamily,
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    pub nonce: Option<&'a str>,
    /// Of the key to which the access token is bound.
    pub jkt: Option<&'a str>,
    /// Claims of the ID token that were asked for by name.
    pub asked: Map<String, Value>,
    /// The refresh token that was shown: its successors keep its key.
    pub shown: Option<&'a str>,
    pub now: DateTime<Utc>,
}

impl App {
    // The tokens of a family that began without an authorization response.
    pub(super) fn first_tokens(
        &self,
        client: &Client,
        family: &TokenFamily,
        jkt: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<TokenAnswer, Error> {
        let (scopes, resources) = (family.scopes.clone(), family.resources.clone());
        let asked = Map::new();
        let (nonce, shown) = (None, None);
        self.issue_tokens(&Issue { client, family, scopes, resources, nonce, jkt, asked, shown, now })
    }

    pub(super) fn issue_tokens(&self, issue: &Issue<'_>) -> Result<TokenAnswer, Error> {
        let Issue { client, family, .. } = issue;
        let sub = subject::subject(self.keys(), client, family.user_id)?;
        let sid = subject::session_subject(self.keys(), client, family.session_id)?;
        let openid = issue.scopes.iter().any(|scope| scope == "openid");
        let scope = issue.scopes.join(" ");
        // No access token outlives its grant: whoever judges it knows only what it says.
        let left = (family.expires_at - issue.now).num_seconds();
        let seconds = self.access_seconds(client).min(left);
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": self.audience(client, &issue.resources, openid),
            "client_id": client.client_id,
            "scope": scope,
            "iat": issue.now.timestamp(),
            "exp": issue.now.timestamp() + seconds,
            // Leads userinfo and introspection to the family; the second half tells two tokens apart.
            "jti": format!("{}.{}", family.family_id, domain::new_id().simple()),
            "acr": family.acr,
            "auth_time": family.auth_time.timestamp(),
        });
        if !family.offline {
            // It ends with its session, by this name.
            claims["sid"] = Value::from(sid.as_str());
        }
        if !family.claims.userinfo.is_empty() {
            claims["claims_by_name"] = Value::from(true);
        }
        let token_type = bind(&mut claims, issue.jkt);
        let access_token = self.access_token(client, &claims)?;
        let id_token = if openid { Some(self.id_token(issue, &sub, &sid, &access_token)?) } else { None };
        let refresh = Handle { kind: Kind::Refresh, id: family.family_id, counter: family.seq };
        Ok(TokenAnswer {
            access_token,
            token_type,
            expires_in: seconds,
            scope,
            refresh_token: client.may("refresh_token").then(|| match issue.shown {
                Some(shown) => refresh.mint_as(self.keys(), shown),
                None => refresh.mint(self.keys()),
            }),
            id_token,
            issued_token_type: None,
        })
    }

    fn id_token(&self, issue: &Issue<'_>, sub: &str, sid: &str, access_token: &str) -> Result<String, Error> {
        let own = json!({
            "iss": self.issuer(),
            "sub": sub,
            "aud": issue.client.client_id,
            "iat": issue.now.timestamp(),
            "exp": (issue.now + ID_TOKEN_LIFE).timestamp(),
            "auth_time": issue.family.auth_time.timestamp(),
            "acr": issue.family.acr,
            "amr": issue.family.amr,
            "sid": sid,
            "at_hash": jws::half_hash(access_token),
        });
        let mut claims = issue.asked.clone();
        if let Value::Object(own) = own {
            claims.extend(own);
        }
        claims.extend(issue.nonce.map(|nonce| ("nonce".to_owned(), Value::from(nonce))));
        self.sign_as(issue.client.id_token_alg, "JWT", &Value::Object(claims))
    }

    // The APIs asked for, else all that the client may have; our own userinfo wherever `openid` is granted.
    pub(super) fn audience(&self, client: &Client, resources: &[String], openid: bool) -> Value {
        let mut audience = if resources.is_empty() { client.audiences.clone() } else { resources.to_vec() };
        if openid || audience.is_empty() {
            audience.push(self.issuer().to_owned());
        }
        match <[String; 1]>::try_from(audience) {
            Ok([one]) => Value::from(one),
            Err(several) => Value::from(several),
        }
    }
}

// Binds an access token to a key (RFC 9449 6.1); its type.
pub(super) fn bind(claims: &mut Value, jkt: Option<&str>) -> &'static str {
    let Some(jkt) = jkt else { return "Bearer" };
    claims["cnf"] = json!({"jkt": jkt});
    "DPoP"
}
