use domain::{Service, Uuid};
use outbox::StatePage;

use super::App;
use crate::{Error, events, store};

/// Suppressions of a transaction: their rows are locked meanwhile.
const PAGE: i64 = 200;

impl App {
    /// Tells the states of the next suppressions again. Each is locked first, so that no older one comes behind a newer one.
    pub async fn republish_suppressions(&self, after: Option<Uuid>) -> Result<StatePage, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let suppressions = store::lock_suppressions(&mut tx, after, PAGE).await?;
        for suppression in &suppressions {
            let user_id = store::user_of(&mut tx, suppression.profile_id).await?;
            let changed = suppression.ended_at.unwrap_or(suppression.at);
            let fact = events::suppression_changed(suppression, user_id, changed);
            outbox::append(&mut tx, Service::Mailer, &fact).await?;
        }
        tx.commit().await?;
        let last = suppressions.last().map(|suppression| suppression.suppression_id.to_string());
        Ok(StatePage { states: suppressions.len(), last })
    }
}
