use std::sync::{Arc, PoisonError};

use domain::Uuid;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::App;
use crate::{error::Error, jws::SigningKey, sealed, store};

/// Keys in memory: the first signs, all verify.
#[derive(Clone)]
pub struct SigningKeys {
    keys: Arc<Vec<SigningKey>>,
    published: Arc<Value>,
}

impl App {
    /// Makes the first signing key if there is none, and loads all of them. A second instance loads the same ones.
    ///
    /// # Errors
    /// The database; a key that no line of the KEK file opens.
    pub async fn load_signing_keys(&self) -> Result<(), Error> {
        let mut rows = store::signing_key::list(&self.db).await?;
        if !rows.iter().any(|row| row.state == "active") {
            let pkcs8 = SigningKey::generate()?;
            let key = SigningKey::from_pkcs8(&pkcs8)?;
            let row = store::signing_key::StoredKey {
                kid: key.kid().to_owned(),
                public_jwk: key.public_jwk()?,
                sealed_private: sealed::seal(self.keys(), "signing key", key.kid(), &pkcs8)?,
                state: "active".to_owned(),
            };
            store::signing_key::insert_first(&self.db, &row, self.now()).await?;
            rows = store::signing_key::list(&self.db).await?;
        }
        let mut keys = Vec::with_capacity(rows.len());
        let mut published = Vec::with_capacity(rows.len());
        for row in rows {
            let pkcs8 = sealed::open(self.keys(), "signing key", &row.kid, &row.sealed_private);
            let pkcs8 = zeroize::Zeroizing::new(pkcs8.ok_or(Error::Stored { what: "signing key" })?);
            let key = SigningKey::from_pkcs8(&pkcs8)?;
            // The row's name and its sealed content belong together, or somebody moved one of them.
            if key.kid() != row.kid {
                return Err(Error::Stored { what: "signing key" });
            }
            published.push(row.public_jwk);
            keys.push(key);
        }
        tracing::info!(keys = keys.len(), "signing keys loaded");
        let loaded = SigningKeys { keys: Arc::new(keys), published: Arc::new(json!({"keys": published})) };
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(())
    }

    /// The JWK set (RFC 7517 5).
    ///
    /// # Errors
    /// Not loaded yet.
    pub fn published_keys(&self) -> Result<Arc<Value>, Error> {
        Ok(self.signing_keys()?.published)
    }

    pub(super) fn sign(&self, typ: &str, claims: &Value) -> Result<String, Error> {
        let keys = self.signing_keys()?;
        let active = keys.keys.first().ok_or(Error::NotReady)?;
        Ok(active.sign(typ, claims)?)
    }

    // Claims of one of our own tokens; whether its time is over is the caller's question.
    pub(super) fn read_token<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Result<Option<T>, Error> {
        let keys = self.signing_keys()?;
        Ok(keys.keys.iter().find_map(|key| key.read(typ, token)))
    }

    fn signing_keys(&self) -> Result<SigningKeys, Error> {
        let keys = self.signing.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone().ok_or(Error::NotReady)
    }

    pub(super) fn pepper(&self, pepper_id: &str) -> Result<Vec<u8>, Error> {
        let master = self.keys().by_name(pepper_id).ok_or(Error::Stored { what: "pepper" })?;
        Ok(master.derive("pepper", "").to_vec())
    }
}

/// The family inside a token's `jti`: `<family>.<random>`.
pub fn family_of(jti: &str) -> Option<Uuid> {
    let (family, _) = jti.split_once('.')?;
    Uuid::try_parse(family).ok()
}
