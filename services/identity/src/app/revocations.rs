//! Whether an access token still counts, without a question to the database: the feed of what was taken back.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chassis::Shutdown;

use super::App;
use crate::{
    error::Error,
    revocation::{Bonds, Revocations, Revoked, Verdict},
    store,
};

const EVERY: Duration = Duration::from_millis(250);
/// A read that takes longer is given up: the next one may find a database that answers.
const LONGEST_READ: Duration = Duration::from_millis(900);

/// Shared by all clones of the app.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<RwLock<Revocations>>);

impl Feed {
    /// Remembers what this instance has just taken back: it holds at once here, and elsewhere after the next read.
    pub fn note(&self, revoked: impl IntoIterator<Item = Revoked>) {
        let now = Instant::now();
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for revoked in revoked {
            set.note(revoked, now);
        }
    }

    fn judge(&self, bonds: &Bonds<'_>) -> Verdict {
        self.0.read().unwrap_or_else(PoisonError::into_inner).judge(bonds, Instant::now())
    }

    fn window(&self, now: Instant) -> Duration {
        self.0.read().unwrap_or_else(PoisonError::into_inner).window(now)
    }

    fn fed(&self, rows: Vec<Revoked>, started: Instant) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).fed(rows, started);
    }
}

impl App {
    /// Reads the feed four times a second, until the process ends.
    pub async fn run_revocations(self, shutdown: Shutdown) {
        let mut failing = false;
        while !shutdown.is_soft() {
            let read = tokio::time::timeout(LONGEST_READ, self.read_revocations()).await;
            let works = matches!(read, Ok(Ok(())));
            // Said once: until it works again every token is asked of the same database.
            if !works && !failing {
                match &read {
                    Ok(Err(error)) => {
                        tracing::warn!(
                            error = error as &dyn std::error::Error,
                            "revocations are not read now"
                        );
                    }
                    _ => tracing::warn!("revocations are not read in time"),
                }
            }
            failing = !works;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => {}
            }
        }
    }

    /// Reads what was taken back since the last time, and a while before.
    ///
    /// # Errors
    /// The database.
    pub async fn read_revocations(&self) -> Result<(), Error> {
        // Before the statement, whose snapshot is younger.
        let started = Instant::now();
        let rows = store::revocation::read(&self.db, self.revocations.window(started)).await?;
        self.revocations.fed(rows, started);
        Ok(())
    }

    /// Whether nobody has taken back what an access token hangs on. The database is asked only where the feed is old, or
    /// where the user or the client was shut out and may have come back.
    pub(super) async fn is_live(&self, bonds: &Bonds<'_>) -> Result<bool, Error> {
        match self.revocations.judge(bonds) {
            Verdict::Live => Ok(true),
            Verdict::Revoked => Ok(false),
            Verdict::Ask => {
                let family = store::grant::load_family(&self.db, bonds.family).await?;
                Ok(family.is_some_and(|family| family.is_live(self.now())))
            }
        }
    }
}
