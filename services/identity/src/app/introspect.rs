//! Asking about tokens and taking them back (RFC 7662, RFC 7009), and what an access token of ours says.

use domain::UserId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{App, Refusal, keys};
use crate::{
    client::{AuthMethod, Client},
    error::Error,
    handle::{Handle, Kind},
    params::Params,
    revocation::Bonds,
    store, subject,
    token_family::Refresh,
};

/// The answer of introspection (RFC 7662 2.2).
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(flatten)]
    claims: Option<Value>,
}

/// Claims of an access token (RFC 9068 2.2); those of a user only where there is one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    pub iss: String,
    pub sub: String,
    pub aud: Audience,
    pub client_id: String,
    pub scope: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The session that it ends with; nothing where it outlives the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Who acts for the user, and for whom that one did (RFC 8693 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Value>,
    /// Its client asked userinfo for claims by name: the family knows which.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claims_by_name: bool,
    /// Whose grant a token comes of that was passed on; nothing where it is the client's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// The key to which a token is bound (RFC 7800 3.1, RFC 9449 6.1).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confirmation {
    pub jkt: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

impl AccessClaims {
    /// Thumbprint of the key to which it is bound.
    pub fn jkt(&self) -> Option<&str> {
        self.cnf.as_ref().map(|cnf| cnf.jkt.as_str())
    }

    /// The client whose grant it comes of.
    pub fn grant_of(&self) -> &str {
        self.grant_of.as_deref().unwrap_or(&self.client_id)
    }

    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|own| own == scope)
    }
}

/// A token that still counts.
pub(super) struct Live {
    pub claims: AccessClaims,
    /// Whose it is.
    pub client: Client,
    /// Nothing for a client's own token.
    pub user_id: Option<UserId>,
}

impl App {
    /// What an access token says, if it is ours, its time has not come, and nobody took it back. As a rule this asks no
    /// database.
    pub(super) async fn live_access_token(&self, text: &str) -> Result<Option<Live>, Error> {
        let Some(claims) = self.read_access_token(text)? else { return Ok(None) };
        if claims.iss != self.issuer() || self.now().timestamp() >= claims.exp {
            return Ok(None);
        }
        let Some(client) = self.client(&claims.client_id).await? else { return Ok(None) };
        let Some(family) = keys::family_of(&claims.jti) else {
            return Ok(Some(Live { claims, client, user_id: None }));
        };
        let Some(user) = subject::user_of(self.keys(), &client, &claims.sub) else { return Ok(None) };
        let sid = claims.sid.as_deref();
        let session = sid.and_then(|sid| subject::session_of(self.keys(), &client, sid));
        let bonds = Bonds { family, session, user, client: claims.grant_of() };
        let live = self.is_live(&bonds).await?;
        Ok(live.then_some(Live { claims, client, user_id: Some(user) }))
    }

    /// Tells a client about a token: its own, or an access token for the API that it is. Any other token, and any other
    /// text, is not active.
    ///
    /// # Errors
    /// A public client, a missing token, the database.
    pub async fn introspect(&self, client: &Client, params: &Params) -> Result<Introspection, Refusal> {
        if client.auth_method == AuthMethod::None {
            return Err(Refusal::Client("introspection needs client authentication"));
        }
        let text = token(params)?;
        if let Some(handle) = Handle::read(self.keys(), Kind::Refresh, text) {
            return Ok(self.introspect_refresh(client, handle).await?);
        }
        let Some(live) = self.live_access_token(text).await? else { return Ok(Introspection::default()) };
        // A component's audience carries the name of its client.
        let api = client.is_first_party() && live.claims.aud.has(&format!("kotinos.{}", client.client_id));
        if live.claims.client_id != client.client_id && !api {
            return Ok(Introspection::default());
        }
        let token_type = if live.claims.cnf.is_some() { "DPoP" } else { "Bearer" };
        let claims = serde_json::to_value(live.claims).map_err(|_| Error::Stored { what: "access token" })?;
        Ok(Introspection { active: true, token_type: Some(token_type), claims: Some(claims) })
    }

    async fn introspect_refresh(&self, client: &Client, handle: Handle) -> Result<Introspection, Error> {
        let family = store::grant::load_family(&self.db, handle.id).await?;
        let Some(family) = family.filter(|family| family.client_id == client.client_id) else {
            return Ok(Introspection::default());
        };
        let judged = family.judge(client, handle.counter, self.now());
        if !matches!(judged, Refresh::Rotate | Refresh::Repeat) {
            return Ok(Introspection::default());
        }
        let mut claims = serde_json::json!({
            "iss": self.issuer(),
            "sub": subject::subject(self.keys(), client, family.user_id)?,
            "client_id": family.client_id,
            "scope": family.scopes.join(" "),
            "exp": family.expires_at.timestamp(),
            "auth_time": family.auth_time.timestamp(),
            "acr": family.acr,
        });
        if let Some(jkt) = &family.jkt {
            claims["cnf"] = serde_json::json!({"jkt": jkt});
        }
        Ok(Introspection { active: true, token_type: None, claims: Some(claims) })
    }

    /// Takes a token back, and with it all tokens of its grant: an access token cannot die alone. A text that is no token
    /// of this client changes nothing (RFC 7009 2.2).
    ///
    /// # Errors
    /// A missing token, the database.
    pub async fn revoke(&self, client: &Client, params: &Params) -> Result<(), Refusal> {
        let text = token(params)?;
        let family_id = match Handle::read(self.keys(), Kind::Refresh, text) {
            Some(handle) => Some(handle.id),
            None => self.read_access_token(text)?.and_then(|claims| keys::family_of(&claims.jti)),
        };
        let Some(family_id) = family_id else { return Ok(()) };
        // One of a disabled user seems revoked, and would come back with the user.
        let family = store::grant::load_family(&self.db, family_id).await?;
        let Some(family) = family.filter(|family| family.client_id == client.client_id) else {
            return Ok(());
        };
        self.revoke_family(family_id, &client.client_id, family.user_id, "asked_by_client").await?;
        tracing::info!(client_id = %client, user_id = %family.user_id, "tokens revoked");
        Ok(())
    }
}

fn token(params: &Params) -> Result<&str, Refusal> {
    params.get("token").ok_or(Refusal::new("invalid_request", "token is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_active_says_nothing_else() {
        assert_eq!(serde_json::to_string(&Introspection::default()).unwrap(), r#"{"active":false}"#);
    }

    #[test]
    fn an_audience_is_one_name_or_several() {
        let one: Audience = serde_json::from_str(r#""kotinos.profile""#).unwrap();
        let several: Audience = serde_json::from_str(r#"["kotinos.profile", "https://id.example"]"#).unwrap();
        assert!(one.has("kotinos.profile") && !one.has("kotinos"));
        assert!(several.has("https://id.example") && !several.has("https://id.example/"));
    }
}
