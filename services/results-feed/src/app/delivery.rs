use std::{fmt, sync::Arc};

use domain::Uuid;
use sqlx::PgTransaction;

use super::App;
use crate::{
    Error,
    delivery::{LaneName, Progress},
    delivery_target::{DeliveryTarget, Draft, MOST, MOST_OF_A_CLIENT, MOST_RESENT},
    entitlement::Representation,
    sealed,
    search::Search,
    store,
};

/// Who asks about targets.
#[derive(Debug, Clone)]
pub struct TargetOwner {
    /// The OAuth client.
    pub client_id: String,
    /// Whether it sees the targets of others.
    pub is_admin: bool,
}

/// A partner's API key, out of its seal. It never prints.
#[derive(Clone)]
pub struct DeliveryKey(Arc<str>);

impl DeliveryKey {
    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A target and how far its lanes are.
#[derive(Debug)]
pub struct TargetState {
    /// The target.
    pub target: DeliveryTarget,
    /// In the order of [`LaneName::ALL`].
    pub progress: Vec<(LaneName, Progress)>,
}

/// Versions of one look when documents are sent again.
const PAGE: i64 = 500;

impl App {
    /// Makes a target, which gets what comes from now on.
    pub async fn create_delivery_target(
        &self,
        owner: &TargetOwner,
        draft: Draft,
    ) -> Result<TargetState, Error> {
        draft.check()?;
        let target_id = domain::new_id();
        let sealed = self.seal_key(target_id, draft.api_key.as_deref().unwrap_or_default())?;
        let target = DeliveryTarget {
            target_id,
            client_id: owner.client_id.clone(),
            name: draft.name,
            url: draft.url,
            filter: draft.filter,
            mode: draft.mode,
            paused_at: None,
            parked_at: None,
            version: 1,
            created_at: self.clock.now(),
        };
        let from = self.stored_position(target.filter.feed_flag).await?.seq;
        let mut tx = chassis::begin(&self.db).await?;
        let (own, every) = store::count_targets(&mut tx, &owner.client_id).await?;
        if own >= MOST_OF_A_CLIENT || every >= MOST {
            return Err(Error::TooMany("delivery targets"));
        }
        store::insert_target(&mut tx, &target, &sealed, from).await?;
        tx.commit().await?;
        tracing::info!(%target_id, client_id = owner.client_id, "delivery target created");
        self.with_progress(target).await
    }

    /// A target of the caller.
    pub async fn get_delivery_target(
        &self,
        owner: &TargetOwner,
        target_id: Uuid,
    ) -> Result<TargetState, Error> {
        let found = store::find_target(&self.db, target_id).await?;
        let (target, _) = found.filter(|(target, _)| owner.sees(target)).ok_or(NO_TARGET)?;
        self.with_progress(target).await
    }

    /// The targets of the caller, oldest first.
    pub async fn list_delivery_targets(&self, owner: &TargetOwner) -> Result<Vec<TargetState>, Error> {
        let client_id = (!owner.is_admin).then_some(owner.client_id.as_str());
        let mut states = Vec::new();
        for (target, _) in store::list_targets(&self.db, client_id).await? {
            states.push(self.with_progress(target).await?);
        }
        Ok(states)
    }

    /// Replaces what an owner decides about a target.
    pub async fn update_delivery_target(
        &self,
        owner: &TargetOwner,
        target_id: Uuid,
        expected_version: i64,
        draft: Draft,
    ) -> Result<TargetState, Error> {
        draft.check()?;
        let mut tx = chassis::begin(&self.db).await?;
        let (mut target, mut sealed) = load(&mut tx, owner, target_id).await?;
        if target.version != expected_version {
            return Err(Error::StaleVersion { actual: target.version });
        }
        target.update(&draft)?;
        if let Some(key) = &draft.api_key {
            sealed = self.seal_key(target_id, key)?;
        }
        store::save_target(&mut tx, &target, &sealed).await?;
        tx.commit().await?;
        tracing::info!(%target_id, version = target.version, "delivery target changed");
        self.with_progress(target).await
    }

    /// Deletes a target and all that waits for it.
    pub async fn delete_delivery_target(&self, owner: &TargetOwner, target_id: Uuid) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        load(&mut tx, owner, target_id).await?;
        store::delete_target(&mut tx, target_id).await?;
        tx.commit().await?;
        tracing::info!(%target_id, "delivery target deleted");
        Ok(())
    }

    /// Nothing is begun any more; what waits is kept.
    pub async fn pause_delivery(&self, owner: &TargetOwner, target_id: Uuid) -> Result<TargetState, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let (mut target, sealed) = load(&mut tx, owner, target_id).await?;
        if target.pause(self.clock.now()) {
            store::save_target(&mut tx, &target, &sealed).await?;
        }
        tx.commit().await?;
        tracing::info!(%target_id, "delivery paused");
        self.with_progress(target).await
    }

    /// Goes on where it was; a document that was refused for a day has another day.
    pub async fn resume_delivery(&self, owner: &TargetOwner, target_id: Uuid) -> Result<TargetState, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let (mut target, sealed) = load(&mut tx, owner, target_id).await?;
        if target.resume() {
            store::forgive_target(&mut tx, target_id, self.clock.now()).await?;
            store::save_target(&mut tx, &target, &sealed).await?;
        }
        tx.commit().await?;
        tracing::info!(%target_id, "delivery resumed");
        self.with_progress(target).await
    }

    /// Has what a search finds sent to a target once more; gives how many versions that are.
    pub async fn resend_documents(
        &self,
        owner: &TargetOwner,
        target_id: Uuid,
        search: &Search,
    ) -> Result<usize, Error> {
        let found = store::find_target(&self.db, target_id).await?;
        let (target, _) = found.filter(|(target, _)| owner.sees(target)).ok_or(NO_TARGET)?;
        if search.feed_flag != target.filter.feed_flag {
            let rule = "must be the flag of the target";
            return Err(chassis::FieldViolation::new("search.feed_flag", rule).into());
        }
        // The target's owner, who may not be the caller.
        let rights = [self.rights(Some(&target.client_id)).await?.in_representation(Representation::Odf)];
        let (mut seqs, mut after) = (Vec::new(), 0);
        loop {
            let page = self.search(&rights, search, after, PAGE).await?;
            seqs.extend(page.versions.iter().map(|version| version.seq));
            if i64::try_from(seqs.len()).unwrap_or(i64::MAX) > MOST_RESENT {
                return Err(Error::TooMany("documents to send again"));
            }
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut tx = chassis::begin(&self.db).await?;
        // Locked, so that nobody pauses it in between and several requests do not pass the limit together.
        if !load(&mut tx, owner, target_id).await?.0.is_running() {
            return Err(Error::NotNow("the delivery is paused"));
        }
        if store::insert_resends(&mut tx, target_id, &seqs).await? > MOST_RESENT {
            return Err(Error::TooMany("documents to send again"));
        }
        tx.commit().await?;
        tracing::info!(%target_id, documents = seqs.len(), "documents sent again");
        Ok(seqs.len())
    }

    /// The API key of a target out of its seal; none where the seal is of another pepper.
    #[must_use]
    pub fn open_delivery_key(&self, target_id: Uuid, sealed: &[u8]) -> Option<DeliveryKey> {
        let key = sealed::open(&self.pepper.expose(), target_id, sealed)?;
        String::from_utf8(key).ok().map(|key| DeliveryKey(key.into()))
    }

    fn seal_key(&self, target_id: Uuid, key: &str) -> Result<Vec<u8>, Error> {
        sealed::seal(&self.pepper.expose(), target_id, key.as_bytes()).map_err(|_| Error::Random)
    }

    async fn with_progress(&self, target: DeliveryTarget) -> Result<TargetState, Error> {
        let mut progress = Vec::new();
        for lane in LaneName::ALL {
            if let Some(held) = store::load_progress(&self.db, target.target_id, lane.name()).await? {
                progress.push((lane, held));
            }
        }
        Ok(TargetState { target, progress })
    }
}

const NO_TARGET: Error = Error::NotFound("delivery target");

impl TargetOwner {
    fn sees(&self, target: &DeliveryTarget) -> bool {
        self.is_admin || target.client_id == self.client_id
    }
}

async fn load(
    tx: &mut PgTransaction<'_>,
    owner: &TargetOwner,
    target_id: Uuid,
) -> Result<store::StoredTarget, Error> {
    let found = store::load_target_for_update(tx, target_id).await?;
    found.filter(|(target, _)| owner.sees(target)).ok_or(NO_TARGET)
}
