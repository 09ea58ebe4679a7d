//! Changes of signing keys that somebody asks for, beside those that come with time.

use chassis::Actor;

use super::{App, admin::record};
use crate::{
    error::Error,
    jws::Algorithm,
    rotation::{SIGNING, State},
    store::{
        self, secret_key,
        signing_key::{self, StoredKey},
    },
};

pub use signing_key::StoredKey as KeyRow;

const NO_KEY: Error = Error::NotFound { what: "key" };

impl App {
    /// Every signing key.
    ///
    /// # Errors
    /// The database.
    pub async fn list_keys(&self) -> Result<Vec<StoredKey>, Error> {
        signing_key::list(&self.db).await
    }

    /// The staged key of an algorithm, made when there is none.
    ///
    /// # Errors
    /// The database.
    pub async fn stage_key(&self, actor: &Actor, algorithm: Algorithm) -> Result<StoredKey, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        secret_key::lock_keys(&mut tx).await?;
        let rows = signing_key::list(&mut *tx).await?;
        let staged = |row: &StoredKey| row.algorithm == algorithm && row.state == State::Staged;
        if let Some(staged) = rows.into_iter().find(staged) {
            return Ok(staged);
        }
        let key = self.make_signing_key(&mut tx, algorithm, State::Staged, self.now()).await?;
        self.note_key(&mut tx, actor, "stage_key", &key.kid).await?;
        tx.commit().await?;
        self.refresh_keys().await?;
        Ok(key)
    }

    /// Signs with a staged key from now on. One that is active already stays so.
    ///
    /// # Errors
    /// No such key; a retired one; one that was not published for 24 hours, unless it has to be `at_once`.
    pub async fn promote_key(&self, actor: &Actor, kid: &str, at_once: bool) -> Result<StoredKey, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        secret_key::lock_keys(&mut tx).await?;
        let rows = signing_key::list(&mut *tx).await?;
        let row = rows.into_iter().find(|row| row.kid == kid).ok_or(NO_KEY)?;
        match row.state {
            State::Active => return Ok(row),
            State::Retired => return Err(Error::WrongKeyState { rule: "a retired key signs no more" }),
            State::Staged if !at_once && now < row.created_at + SIGNING.published => {
                let rule = "the key was not published for 24 hours yet: relying parties may not know it";
                return Err(Error::WrongKeyState { rule });
            }
            State::Staged => {}
        }
        signing_key::promote(&mut tx, kid, now).await?;
        self.note_key(&mut tx, actor, "promote_key", kid).await?;
        tx.commit().await?;
        self.refresh_keys().await?;
        let rows = signing_key::list(&self.db).await?;
        rows.into_iter().find(|row| row.kid == kid).ok_or(NO_KEY)
    }

    /// Takes a staged or retired key away: its tokens are good no more.
    ///
    /// # Errors
    /// No such key; the active one.
    pub async fn retire_key(&self, actor: &Actor, kid: &str) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        secret_key::lock_keys(&mut tx).await?;
        let rows = signing_key::list(&mut *tx).await?;
        let row = rows.into_iter().find(|row| row.kid == kid).ok_or(NO_KEY)?;
        if row.state == State::Active {
            return Err(Error::WrongKeyState { rule: "the key signs: promote another one first" });
        }
        signing_key::delete(&mut *tx, kid).await?;
        self.note_key(&mut tx, actor, "retire_key", kid).await?;
        tx.commit().await?;
        self.refresh_keys().await
    }

    async fn note_key(
        &self,
        tx: &mut sqlx::PgTransaction<'_>,
        actor: &Actor,
        action: &'static str,
        kid: &str,
    ) -> Result<(), Error> {
        store::record::insert(&mut **tx, &record(actor, action, kid), self.now()).await?;
        tracing::info!(kid, action, "signing key changed by hand");
        Ok(())
    }
}
