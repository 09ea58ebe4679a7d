//! Claims about a user: at the userinfo endpoint (OIDC Core 5.3, 5.4), and those asked for by name in an ID token (5.5).

use chassis::PeerError;
use domain::UserId;
use serde_json::{Map, Value, json};

use super::{
    App, Refusal,
    dpop::ProofError,
    introspect::{AccessClaims, Live},
    keys,
};
use crate::{
    claims::{self, Wishes},
    error::Error,
    grpc::peers::ProfileClaims,
    store, subject,
    user::{Status, User},
};

/// Why no claims are given (RFC 6750 3.1).
#[derive(Debug, thiserror::Error)]
pub enum UserinfoError {
    /// The token is none of ours for userinfo, or does not count any more.
    #[error("the access token is not valid here")]
    InvalidToken,
    /// The proof of its key does not count.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It was given for something else than signing in.
    #[error("the access token lacks the scope openid")]
    InsufficientScope,
    /// Profile did not answer: a claim that is missing would read as deleted.
    #[error("profile did not answer")]
    Profile(#[source] PeerError),
    /// It could not be judged.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl App {
    /// The claims that the token's scopes open, and those asked for by name; `jkt` is the key that the caller proved. A
    /// token that is bound to a key counts with that key only, and another one only without.
    ///
    /// # Errors
    /// A token that does not count here; profile or the database did not answer.
    pub async fn userinfo(&self, access_token: &str, jkt: Option<&str>) -> Result<Value, UserinfoError> {
        let live = self.live_access_token(access_token).await?;
        let Some(Live { claims: token, client, user_id: Some(user_id) }) = live else {
            return Err(UserinfoError::InvalidToken);
        };
        if token.jkt() != jkt {
            return Err(UserinfoError::InvalidToken);
        }
        if !token.has_scope("openid") {
            return Err(UserinfoError::InsufficientScope);
        }
        if !token.aud.has(self.issuer()) {
            return Err(UserinfoError::InvalidToken);
        }
        let scopes: Vec<String> = token.scope.split(' ').map(str::to_owned).collect();
        let wishes = self.wishes(&token).await?;
        let told = self.told(user_id, &scopes, &wishes).await?;
        let mut told = told.ok_or(UserinfoError::InvalidToken)?;
        let sub = subject::subject(self.keys(), &client, user_id).map_err(Error::from)?;
        told.insert("sub".to_owned(), sub.into());
        Ok(Value::Object(told))
    }

    async fn wishes(&self, token: &AccessClaims) -> Result<Wishes, Error> {
        let Some(family_id) = keys::family_of(&token.jti).filter(|_| token.claims_by_name) else {
            return Ok(Wishes::new());
        };
        let family = store::grant::load_family(&self.db, family_id).await?;
        Ok(family.map(|family| family.claims.userinfo).unwrap_or_default())
    }

    /// The claims that an ID token carries since its client asked for them by name.
    pub(super) async fn asked_in_id_token(
        &self,
        user_id: UserId,
        wishes: &Wishes,
    ) -> Result<Map<String, Value>, Refusal> {
        if wishes.is_empty() {
            return Ok(Map::new());
        }
        match self.told(user_id, &[], wishes).await {
            Ok(told) => Ok(told.unwrap_or_default()),
            Err(UserinfoError::Profile(source)) => {
                Err(Refusal::Failed(Error::Peer { service: "profile", source }))
            }
            Err(UserinfoError::Failed(error)) => Err(Refusal::Failed(error)),
            Err(UserinfoError::InvalidToken | UserinfoError::InsufficientScope | UserinfoError::Proof(_)) => {
                Ok(Map::new())
            }
        }
    }

    // Nothing for a user who is gone.
    async fn told(
        &self,
        user_id: UserId,
        scopes: &[String],
        wishes: &Wishes,
    ) -> Result<Option<Map<String, Value>>, UserinfoError> {
        let user = store::user::load(&self.db, user_id).await?;
        let Some(user) = user.filter(|user| user.status == Status::Active) else { return Ok(None) };
        let mut known = Map::new();
        if claims::asks_for("email", scopes, wishes) {
            add_email(&mut known, &user)?;
        }
        if ["profile", "address", "phone"].iter().any(|scope| claims::asks_for(scope, scopes, wishes)) {
            let profile = self.profiles.claims(user_id).await.map_err(UserinfoError::Profile)?;
            // Profile does not know a user of the last second yet; what identity knows itself is told all the same.
            add_profile(&mut known, profile.unwrap_or_default(), &user);
        }
        Ok(Some(claims::pick(known, scopes, wishes)))
    }
}

fn add_profile(claims: &mut Map<String, Value>, profile: ProfileClaims, user: &User) {
    let texts = [
        ("name", profile.name),
        ("given_name", profile.given_name),
        ("family_name", profile.family_name),
        ("gender", profile.gender),
        ("birthdate", profile.birthdate),
        ("zoneinfo", profile.zoneinfo),
        ("locale", profile.locale.or_else(|| Some(user.locale.tag().to_owned()))),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            claims.insert(name.to_owned(), text.into());
        }
    }
    if let Some(at) = profile.updated_at {
        claims.insert("updated_at".to_owned(), at.into());
    }
    if let Some(number) = profile.phone_number {
        claims.insert("phone_number".to_owned(), number.into());
        // Nobody has called it.
        claims.insert("phone_number_verified".to_owned(), false.into());
    }
    let address = profile.address;
    let parts = [
        ("street_address", address.street_address),
        ("region", address.region),
        ("postal_code", address.postal_code),
        ("country", address.country),
    ];
    let parts = parts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?))));
    let parts: Map<String, Value> = parts.collect();
    if !parts.is_empty() {
        claims.insert("address".to_owned(), Value::Object(parts));
    }
}

fn add_email(claims: &mut Map<String, Value>, user: &User) -> Result<(), Error> {
    // Addresses are bytes; those that users have are text, or nobody could look them up.
    let email =
        String::from_utf8(user.email.as_bytes().to_vec()).map_err(|_| Error::Stored { what: "address" })?;
    claims.insert("email".to_owned(), email.into());
    claims.insert("email_verified".to_owned(), true.into());
    Ok(())
}
