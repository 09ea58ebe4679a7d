use domain::{ProfileId, Service};
use outbox::StatePage;

use super::App;
use crate::{
    Error, events,
    profile::{Change, Happened},
    store,
};

/// People of a transaction: their rows are locked meanwhile.
const PAGE: i64 = 200;

impl App {
    /// Tells the states of the next profiles again. Each is locked first, so that no older one comes behind a newer one.
    pub async fn republish_profiles(&self, after: Option<ProfileId>) -> Result<StatePage, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let ids = store::lock_page(&mut tx, after, PAGE).await?;
        let profiles = store::load_many(&mut *tx, &ids).await?;
        for profile in &profiles {
            let unchanged = Change { happened: Happened::Updated, fields: Vec::new() };
            outbox::append(&mut tx, Service::Profile, &events::profile_changed(profile, &unchanged)).await?;
        }
        tx.commit().await?;
        Ok(StatePage { states: profiles.len(), last: ids.last().map(ToString::to_string) })
    }

    /// Tells the consents of the next people again; those who said nothing have none. The profile's row is their lock.
    pub async fn republish_consents(&self, after: Option<ProfileId>) -> Result<StatePage, Error> {
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let ids = store::lock_page(&mut tx, after, PAGE).await?;
        let ledgers = store::load_ledgers(&mut *tx, &ids).await?;
        for ledger in ledgers.values() {
            let said = ledger.heads.values().map(|head| head.at).max().unwrap_or(now);
            outbox::append(&mut tx, Service::Profile, &events::consents_changed(ledger, &[], said)).await?;
        }
        tx.commit().await?;
        Ok(StatePage { states: ledgers.len(), last: ids.last().map(ToString::to_string) })
    }
}
