//! The sealer of the audit, and whoever asks what was done and whether it is still what was written.

use std::time::Duration;

use chassis::Shutdown;

use super::App;
use crate::{
    audit::Seal,
    error::Error,
    store::audit::{self, Choice, Listed},
};

pub use audit::{Choice as AuditChoice, Listed as AuditRow};

const EVERY: Duration = Duration::from_secs(1);
/// Seals that one call looks at.
const CHECKED: i64 = 500;
/// Records that one call looks at, or those of one seal.
const CHECKED_RECORDS: i64 = 200_000;

/// Where the audit is not what was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The seal that does not fit.
    pub seal_no: i64,
    /// What about it.
    pub what: &'static str,
}

/// What a look at seals found.
#[derive(Debug, Clone, Default)]
pub struct SealCheck {
    /// Seals that were looked at.
    pub seals: i64,
    /// Their records.
    pub records: i64,
    /// Whatever does not fit.
    pub faults: Vec<Fault>,
    /// The last seal that was looked at. Noted elsewhere, it shows later whether the end was cut off.
    pub last: Option<Seal>,
    /// Where to go on; none at the end.
    pub next: Option<i64>,
}

impl App {
    /// Notes on which database cluster positions are counted.
    ///
    /// # Errors
    /// The database.
    pub async fn prepare_audit_chain(&self) -> Result<(), Error> {
        if audit::adopt_cluster(&self.db).await? {
            tracing::warn!(
                "another database cluster than before: positions of the audit go on above the former ones"
            );
        }
        Ok(())
    }

    /// Seals what was written since the last seal, each second, until the process ends. Of several processes one does.
    pub async fn run_seals(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => return,
            }
            if let Err(error) = self.seal_audit().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit is not sealed now");
            }
        }
    }

    async fn seal_audit(&self) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        if !audit::try_lock(&mut tx).await? {
            return Ok(());
        }
        let last = audit::last_seal(&mut *tx).await?;
        let from = last.as_ref().map_or(0, |last| last.to);
        let to = audit::horizon(&mut *tx).await?;
        if to <= from {
            return Ok(());
        }
        let digest = audit::digest(&mut *tx, from, to).await?;
        if digest.records() == 0 {
            return Ok(());
        }
        let seal = digest.seal(self.keys(), last.as_ref(), to, self.now());
        audit::insert_seal(&mut *tx, &seal).await?;
        tx.commit().await?;
        tracing::debug!(seal_no = seal.seal_no, records = seal.records, "audit sealed");
        Ok(())
    }

    /// Records of the audit, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn list_audit_records(&self, choice: &Choice, most: u32) -> Result<Vec<Listed>, Error> {
        audit::list(&self.db, choice, i64::from(most)).await
    }

    /// Looks at the seals from a number or a time on, as many as a call has time for.
    ///
    /// # Errors
    /// The database.
    pub async fn verify_audit_seals(
        &self,
        from: i64,
        since: Option<domain::DateTime<domain::Utc>>,
    ) -> Result<SealCheck, Error> {
        let from = match since {
            Some(since) => audit::seal_since(&self.db, since).await?.unwrap_or(i64::MAX).max(from),
            None => from,
        };
        let from = from.max(1);
        // The one before is part of the first one's MAC.
        let mut seals = audit::seals(&self.db, from - 1, CHECKED + 2).await?;
        let mut before = None;
        if seals.first().is_some_and(|seal| seal.seal_no < from) {
            before = Some(seals.remove(0));
        }
        let mut check = SealCheck::default();
        let mut expected = from;
        for seal in seals {
            if check.seals == CHECKED || check.records >= CHECKED_RECORDS {
                check.next = Some(seal.seal_no);
                break;
            }
            let starts = before.as_ref().map_or(0, |before: &Seal| before.to);
            if seal.seal_no != expected || (seal.seal_no > 1 && before.is_none()) || seal.from != starts {
                let what = "a seal before it is gone, or was changed";
                check.faults.push(Fault { seal_no: seal.seal_no, what });
            }
            let digest = audit::digest(&self.db, seal.from, seal.to).await?;
            check.records += digest.records();
            if digest.records() != seal.records {
                let what = "records were added or taken away";
                check.faults.push(Fault { seal_no: seal.seal_no, what });
            } else if !digest.fits(self.keys(), before.as_ref(), &seal) {
                let what = "a record or the seal was changed";
                check.faults.push(Fault { seal_no: seal.seal_no, what });
            }
            check.seals += 1;
            expected = seal.seal_no + 1;
            before = Some(seal);
        }
        check.last = before.filter(|_| check.seals > 0);
        Ok(check)
    }
}
