use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::App;
use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::{self, Entitlement, PUBLIC, Rights, Rule},
    publisher_key::{self, PublisherKey},
    rsc::Prefix,
    store::{self, StoredKey},
    stream_name::StreamName,
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

    /// The rules of a client; none where none were set.
    pub async fn get_entitlements(&self, client_id: &str) -> Result<Entitlement, Error> {
        if let Some(stored) = store::load_entitlement(&self.db, client_id).await? {
            return Ok(stored);
        }
        if client_id == PUBLIC {
            return Ok(entitlement::built_in_public());
        }
        Ok(Entitlement { client_id: client_id.to_owned(), version: 0, rules: Vec::new() })
    }

    /// Replaces the rules of a client. The change is an entry of each stream, so that every replica sees it at the same
    /// place and its readers start again with their new rights.
    pub async fn update_entitlements(
        &self,
        client_id: &str,
        expected_version: i64,
        rules: Vec<Rule>,
        changed_by: &str,
    ) -> Result<Entitlement, Error> {
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut turns = Vec::new();
        // Always in this order, so that two changes never wait for each other.
        let stream_ids: Vec<String> =
            StreamName::all().map(|stream| self.hub(stream).stream_id().to_owned()).collect();
        // Those of production and tests, and the rehearsals that there are.
        for (stream_id, _) in store::list_positions(&mut *tx, &stream_ids).await? {
            let position = store::lock_stream(&mut tx, &stream_id).await?;
            turns.push((stream_id, position));
        }
        let actual = store::load_entitlement_for_update(&mut tx, client_id).await?.unwrap_or(0);
        if actual != expected_version {
            return Err(Error::StaleVersion { actual });
        }
        let changed = Entitlement { client_id: client_id.to_owned(), version: actual + 1, rules };
        store::save_entitlement(&mut tx, &changed, changed_by, now).await?;
        for (stream_id, position) in &turns {
            store::insert_entitlement_entry(&mut tx, stream_id, position.seq + 1, client_id, now).await?;
            store::save_seq(&mut tx, stream_id, position.seq + 1).await?;
        }
        tx.commit().await?;
        tracing::info!(client_id, version = changed.version, "entitlement changed");
        Ok(changed)
    }

    /// The rights of a reader: what `public` may see, and what its client may.
    pub async fn rights(&self, client_id: Option<&str>) -> Result<Rights, Error> {
        let mut entitlements = vec![self.get_entitlements(PUBLIC).await?];
        if let Some(client_id) = client_id.filter(|client_id| *client_id != PUBLIC) {
            entitlements.push(self.get_entitlements(client_id).await?);
        }
        Ok(Rights::of(entitlements))
    }
}
