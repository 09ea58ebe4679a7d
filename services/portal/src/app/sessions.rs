use std::time::Duration;

use chassis::{
    Shutdown,
    relying_party::{self, CookieKey, SignIn, Tokens},
};
use domain::UserId;

use super::App;
use crate::{
    Error, store,
    web_session::{LIFE, WebSession},
};

/// How often ended sessions are forgotten.
const SWEEP: Duration = Duration::from_secs(600);

/// A signed-in fan, as a page needs them.
#[derive(Debug, Clone)]
pub struct Fan {
    /// Who.
    pub user_id: UserId,
    /// The session at identity.
    pub sid: String,
    /// For gRPC on the fan's behalf.
    pub access_token: String,
    /// The hint of the logout.
    pub id_token: String,
    /// The session's key: forms carry its proof.
    pub cookie: CookieKey,
}

impl App {
    /// Ends a sign-in: redeems the code and makes the session whose cookie it returns. A session that this browser had before
    /// ends.
    pub async fn finish_sign_in(
        &self,
        code: &str,
        sign_in: &SignIn,
        before: Option<&CookieKey>,
    ) -> Result<CookieKey, Error> {
        let (tokens, signed_in, access_until) = self.issuer.redeem(code, sign_in).await?;
        let cookie = CookieKey::random()?;
        let now = self.clock.now();
        let session = WebSession {
            session_hash: cookie.hash(),
            user_id: signed_in.user_id,
            sid: signed_in.sid,
            tokens: seal(&cookie, &tokens)?,
            access_until,
            created_at: now,
            expires_at: now + LIFE,
        };
        store::insert(&self.db, &session).await?;
        if let Some(before) = before {
            store::delete(&self.db, before.hash()).await?;
        }
        tracing::info!(user_id = %session.user_id, "fan signed in");
        Ok(cookie)
    }

    /// The fan of a cookie. Tokens that end soon are renewed; when identity refuses that, the session has ended there.
    pub async fn fan(&self, cookie: CookieKey) -> Result<Fan, Error> {
        let now = self.clock.now();
        let session = store::find(&self.db, cookie.hash()).await?.filter(|session| session.is_live(now));
        let mut session = session.ok_or(Error::SignedOut)?;
        let opened = cookie.open(&session.tokens)?;
        let mut tokens: Tokens = serde_json::from_slice(&opened).map_err(|_| Error::SignedOut)?;
        if session.needs_renewal(now) {
            (tokens, session.access_until) = match self.issuer.renew(&tokens).await {
                Ok(renewed) => renewed,
                Err(relying_party::Error::Refused(reason)) => {
                    tracing::info!(user_id = %session.user_id, reason, "session ended at identity");
                    store::delete(&self.db, session.session_hash).await?;
                    return Err(Error::SignedOut);
                }
                Err(error) => return Err(error.into()),
            };
            session.tokens = seal(&cookie, &tokens)?;
            store::save_tokens(&self.db, &session).await?;
        }
        Ok(Fan {
            user_id: session.user_id,
            sid: session.sid,
            access_token: tokens.access_token,
            id_token: tokens.id_token,
            cookie,
        })
    }

    /// Ends the session here; identity is told by the browser, which goes there next.
    pub async fn sign_out(&self, fan: &Fan, locale: &str) -> Result<url::Url, Error> {
        let return_to = format!("{}/portal/", self.origin());
        // Before the session is deleted: a fan who believes to be signed out everywhere must be.
        let url = self.issuer.logout_url(&fan.id_token, &return_to, locale).await?;
        store::delete(&self.db, fan.cookie.hash()).await?;
        Ok(url)
    }

    /// Ends the sessions here that identity says have ended. A token that comes again ends nothing more: a `sid` never comes
    /// back, and without one only sessions from before the token end.
    pub async fn back_channel_logout(&self, logout_token: &str) -> Result<u64, Error> {
        let logout = self.issuer.logged_out(logout_token).await?;
        let ended = match (logout.sid, logout.user_id) {
            (Some(sid), _) => store::delete_by_sid(&self.db, &sid).await?,
            (None, Some(user_id)) => store::delete_by_user(&self.db, user_id, logout.issued_by).await?,
            (None, None) => 0,
        };
        tracing::info!(ended, "back-channel logout");
        Ok(ended)
    }

    /// Forgets sessions that have ended, until the process goes down.
    pub async fn run_sweep(self, shutdown: Shutdown) {
        loop {
            match store::delete_expired(&self.db, self.clock.now()).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(forgotten, "expired sessions"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions stay for now");
                }
            }
            tokio::select! {
                () = shutdown.soft() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}

fn seal(cookie: &CookieKey, tokens: &Tokens) -> Result<Vec<u8>, Error> {
    let plain = serde_json::to_vec(tokens).map_err(|_| Error::SignedOut)?;
    Ok(cookie.seal(&plain)?)
}
