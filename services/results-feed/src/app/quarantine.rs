use bytes::Bytes;
use domain::Uuid;

use super::{App, publish::sha256};
use crate::{
    Error,
    app::Publisher,
    ledger::Receipt,
    quarantine::Reason,
    store::{self, Quarantined},
};

impl App {
    /// Keeps aside what came, with what is wrong with it.
    pub async fn quarantine(
        &self,
        publisher: &Publisher,
        raw: &[u8],
        reason: Reason,
    ) -> Result<Receipt, Error> {
        let (name, now) = (reason.to_string(), self.clock.now());
        store::insert_quarantined(&self.db, &name, publisher.name(), raw, &sha256(raw), now).await?;
        tracing::warn!(reason = %name, publisher = publisher.name(), "document quarantined");
        Ok(Receipt::Quarantined(reason))
    }

    /// What was kept aside, newest first, behind an id; and the id behind which the next page begins.
    pub async fn list_quarantined(
        &self,
        reason: &str,
        publisher: &str,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<(Vec<Quarantined>, Option<Uuid>), Error> {
        let page = store::list_quarantined(&self.db, reason, publisher, after, limit).await?;
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < limit);
        let next = page.last().map(|last| last.quarantine_id).filter(|_| !is_last);
        Ok((page, next))
    }

    /// Tries a document again in the name of its sender, whose key no longer binds it: whoever may publish everything
    /// says that it is right. It leaves the quarantine only once it is durable, so a crash in between repeats it, and the
    /// repeat is a duplicate.
    pub async fn requeue_quarantined(&self, quarantine_id: Uuid) -> Result<Receipt, Error> {
        let found = store::find_quarantined(&self.db, quarantine_id).await?;
        let (publisher, raw) = found.ok_or(Error::NotFound("quarantined document"))?;
        let raw = Bytes::from(raw);
        let decoded = match self.decode(raw.clone()).await? {
            Ok(decoded) => decoded,
            Err(reason) => return Ok(Receipt::Quarantined(reason)),
        };
        if let Err(reason) = self.admit(&Publisher::Client(publisher.clone()), &decoded) {
            return Ok(Receipt::Quarantined(reason));
        }
        let receipt = self.submit(publisher, decoded, raw).await?;
        if !matches!(receipt, Receipt::Quarantined(_)) {
            store::delete_quarantined(&self.db, quarantine_id).await?;
            tracing::info!(%quarantine_id, outcome = receipt.outcome(), "quarantined document taken");
        }
        Ok(receipt)
    }

    /// Deletes it, if it is there.
    pub async fn discard_quarantined(&self, quarantine_id: Uuid, by: &str) -> Result<(), Error> {
        store::delete_quarantined(&self.db, quarantine_id).await?;
        tracing::info!(%quarantine_id, by, "quarantined document discarded");
        Ok(())
    }
}
