//! Who calls the token endpoint: client authentication exactly as registered (RFC 6749 2.3, RFC 7523 3, OIDC Core 9).

mod assertion;
mod proof;
mod quiet;
mod quota;

use std::time::Duration;

use chassis::{Code, Coded};

use super::{App, Origin};
use crate::{
    authorization::Fault,
    client::{AuthMethod, Client},
    error::Error,
    handle::keyed_hash,
    replays::Taken,
    throttle::Counted,
};

#[cfg(fuzzing)]
pub use assertion::verify as verify_assertion;
pub use proof::ClientProof;
pub use quiet::Quiet;
pub use quota::Quota;

/// A refusal of the token endpoint and its sisters (RFC 6749 5.2).
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The client is not who it says.
    #[error("invalid_client: {0}")]
    Client(&'static str),
    /// The request cannot be granted.
    #[error("{error}: {description}")]
    Request {
        /// The registered code.
        error: &'static str,
        /// For the client's engineers.
        description: &'static str,
    },
    /// Too many failures from there, more requests than the client's share, or more at once than can be remembered.
    #[error("too many requests")]
    Wait(Duration),
    /// It could not be judged.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Refusal {
    pub(crate) const fn new(error: &'static str, description: &'static str) -> Self {
        Self::Request { error, description }
    }

    /// The code of the answer's body. Those beyond RFC 6749 5.2 are the ones of its section 4.1.2.1.
    pub fn error(&self) -> &'static str {
        match self {
            Self::Client(_) => "invalid_client",
            Self::Request { error, .. } => error,
            Self::Wait(_) => "temporarily_unavailable",
            Self::Failed(error) if error.code() == Code::Internal => "server_error",
            Self::Failed(_) => "temporarily_unavailable",
        }
    }

    /// What the client's engineers read; nothing of our own insides.
    pub fn description(&self) -> &'static str {
        match self {
            Self::Client(description) | Self::Request { description, .. } => description,
            Self::Wait(_) => "too many requests, try again later",
            Self::Failed(error) if error.code() == Code::Internal => "the request could not be judged",
            Self::Failed(_) => "try again later",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Client(_) => 401,
            Self::Request { .. } => 400,
            Self::Wait(_) => 429,
            Self::Failed(error) if error.code() == Code::Internal => 500,
            Self::Failed(_) => 503,
        }
    }

    /// When to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Wait(wait) => Some(*wait),
            Self::Failed(error) if error.code() == Code::Internal => None,
            Self::Failed(error) => Some(error.retry_after().unwrap_or(Duration::from_secs(1))),
            Self::Client(_) | Self::Request { .. } => None,
        }
    }
}

// What is wrong with an authorization request that comes by itself, or with a part of one.
impl From<Fault> for Refusal {
    fn from(Fault { error, description }: Fault) -> Self {
        Self::Request { error, description }
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

const WRONG: &str = "client authentication failed";

impl App {
    /// The client that proves itself in exactly the registered way, within its quota.
    ///
    /// # Errors
    /// `invalid_client`, always with the same words; too many failures or requests; the database.
    pub async fn authenticate(&self, proof: &ClientProof, origin: Origin) -> Result<Client, Refusal> {
        let client = match proof.client_id() {
            Some(client_id) => self.client(client_id).await?,
            None => None,
        };
        let caller = self.caller_hash(client.as_ref(), origin);
        if let (Some(client), ClientProof::Public { .. }) = (&client, proof)
            && client.auth_method == AuthMethod::None
        {
            return self.within_quota(client, &caller);
        }
        let counter = [(Counted::ClientSecret, Some(caller.clone()))];
        if !self.quiet.is_known(&caller) {
            if let Some(wait) = self.wait(&counter).await? {
                return Err(Refusal::Wait(wait));
            }
            self.quiet.note(&caller);
        }
        // Nobody who has to wait makes us ask another server.
        let client = match (client, proof) {
            (Some(client), ClientProof::Assertion { text, .. }) => {
                Some(self.with_keys(client, assertion::key_id(text).as_deref()).await?)
            }
            (client, _) => client,
        };
        if let Some(client) = &client
            && self.proves(client, proof)?
        {
            return self.within_quota(client, &caller);
        }
        let mut tx = chassis::begin(&self.db).await?;
        self.count(&mut tx, &counter).await?;
        tx.commit().await?;
        self.quiet.forget(&caller);
        // Only a registered name: any other is whatever the caller wrote.
        let client_id = client.as_ref().map(|client| client.client_id.as_str()).unwrap_or_default();
        tracing::info!(client_id, "client authentication failed");
        Err(Refusal::Client(WRONG))
    }

    fn within_quota(&self, client: &Client, caller: &[u8]) -> Result<Client, Refusal> {
        self.quota.take(client, caller).map_err(Refusal::Wait)?;
        Ok(client.clone())
    }

    // Counted for a client and a network together: a stranger elsewhere cannot lock a client out. Names that no client
    // has share one counter, so that made-up ones leave no rows.
    fn caller_hash(&self, client: Option<&Client>, origin: Origin) -> Vec<u8> {
        let mut caller = client.map(|client| client.client_id.clone()).unwrap_or_default().into_bytes();
        caller.push(0);
        caller.extend(self.network_hash(origin).unwrap_or_default());
        keyed_hash(self.keys(), "client", &caller)
    }

    fn proves(&self, client: &Client, proof: &ClientProof) -> Result<bool, Refusal> {
        match (client.auth_method, proof) {
            (AuthMethod::SecretBasic, ClientProof::Basic { secret, .. })
            | (AuthMethod::SecretPost, ClientProof::Post { secret, .. }) => Ok(client.has_secret(secret)),
            (AuthMethod::PrivateKeyJwt, ClientProof::Assertion { text, .. }) => {
                let Some(claims) = assertion::verify(client, text, self.issuer(), self.now()) else {
                    return Ok(false);
                };
                let (jti, until) = claims.once();
                match self.assertions.take(&client.client_id, jti, until, self.now()) {
                    Taken::First => Ok(true),
                    Taken::Again => Ok(false),
                    Taken::NoRoom => Err(Refusal::Wait(Duration::from_secs(1))),
                }
            }
            _ => Ok(false),
        }
    }
}
