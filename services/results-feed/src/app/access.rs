use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::App;
use crate::{
    Error,
    document_type::FeedFlag,
    publisher_key::{self, PublisherKey},
    rsc::Prefix,
    store::{self, StoredKey},
};

/// A publisher key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose it is.
    pub name: String,
    /// What it may send.
    pub feed_flag: FeedFlag,
    /// See [`PublisherKey`].
    pub prefixes: Vec<Prefix>,
}

impl App {
    /// Makes a publisher key, and gives the whole key this once.
    pub async fn create_publisher_key(&self, new: NewKey) -> Result<(PublisherKey, String), Error> {
        let mut random = [0_u8; publisher_key::LENGTH];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Random)?;
        let secret = publisher_key::spell(&random);
        let key = PublisherKey {
            key_id: secret[..publisher_key::ID_LENGTH].to_owned(),
            name: new.name,
            feed_flag: new.feed_flag,
            prefixes: new.prefixes,
            created_at: self.clock.now(),
            revoked_at: None,
        };
        let sealed = publisher_key::seal(&self.pepper.expose(), &secret);
        store::insert_key(&self.db, &StoredKey { key: key.clone(), sealed }).await?;
        tracing::info!(key_id = %key.key_id, "publisher key created");
        Ok((key, secret))
    }

    /// From now on the key is refused.
    pub async fn revoke_publisher_key(&self, key_id: &str) -> Result<PublisherKey, Error> {
        let stored = store::revoke_key(&self.db, key_id, self.clock.now()).await?;
        let stored = stored.ok_or(Error::NotFound("publisher key"))?;
        tracing::info!(key_id = %stored.key.key_id, "publisher key revoked");
        Ok(stored.key)
    }

    /// Every key, newest first.
    pub async fn list_publisher_keys(&self) -> Result<Vec<PublisherKey>, Error> {
        Ok(store::list_keys(&self.db).await?.into_iter().map(|stored| stored.key).collect())
    }
}
