//! Claims about the user of an access token (OIDC Core 5.3, 5.4).

use chassis::PeerError;
use serde_json::{Map, Value};

use super::{App, introspect::Live};
use crate::{
    error::Error,
    store, subject,
    user::{Status, User},
};

/// Why no claims are given (RFC 6750 3.1).
#[derive(Debug, thiserror::Error)]
pub enum UserinfoError {
    /// The token is none of ours for userinfo, or does not count any more.
    #[error("the access token is not valid here")]
    InvalidToken,
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
    /// The claims that the token's scopes open.
    ///
    /// # Errors
    /// A token that does not count here; profile or the database did not answer.
    pub async fn userinfo(&self, access_token: &str) -> Result<Value, UserinfoError> {
        let live = self.live_access_token(access_token).await?;
        let Some(Live { claims: token, client, user_id: Some(user_id) }) = live else {
            return Err(UserinfoError::InvalidToken);
        };
        if !token.has_scope("openid") {
            return Err(UserinfoError::InsufficientScope);
        }
        if !token.aud.has(self.issuer()) {
            return Err(UserinfoError::InvalidToken);
        }
        let user = store::user::load(&self.db, user_id).await?;
        let user = user.filter(|user| user.status == Status::Active).ok_or(UserinfoError::InvalidToken)?;
        let mut claims = Map::new();
        let sub = subject::subject(self.keys(), &client, user.user_id).map_err(Error::from)?;
        claims.insert("sub".to_owned(), sub.into());
        if token.has_scope("email") {
            add_email(&mut claims, &user)?;
        }
        if token.has_scope("profile") {
            self.add_profile(&mut claims, &user, &token.scope).await?;
        }
        Ok(Value::Object(claims))
    }

    async fn add_profile(
        &self,
        claims: &mut Map<String, Value>,
        user: &User,
        scope: &str,
    ) -> Result<(), UserinfoError> {
        let scopes: Vec<String> = scope.split(' ').map(str::to_owned).collect();
        let known = self.profiles.claims(user.user_id, &scopes).await.map_err(UserinfoError::Profile)?;
        // Profile does not know a user of the last second yet; what identity knows itself is told all the same.
        let profile = known.unwrap_or_default();
        let texts = [
            ("name", profile.name),
            ("given_name", profile.given_name),
            ("family_name", profile.family_name),
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
        Ok(())
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
