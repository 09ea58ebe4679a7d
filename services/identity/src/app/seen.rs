//! When sessions were used last. It is told in batches: a write for each visit would cost as much as the visit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::Shutdown;
use domain::{DateTime, SessionId, Utc};

use super::App;
use crate::{error::Error, session::Session, store};

const EVERY: Duration = Duration::from_secs(5);
/// What is remembered at most; a session beyond it is noted at its next use.
const MOST: usize = 100_000;
/// Rows of one statement: few, so that a sign-out does not wait for long.
const BATCH: usize = 200;

/// Shared by all clones of the app. What it holds when a process dies is lost: a session then seems idle since 15 minutes
/// before, of the 7 days that it may be.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashMap<SessionId, DateTime<Utc>>>>);

impl Seen {
    fn note(&self, session_id: SessionId, at: DateTime<Utc>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MOST || seen.contains_key(&session_id) {
            seen.insert(session_id, at);
        }
    }

    fn take(&self) -> Vec<(SessionId, DateTime<Utc>)> {
        let mut taken: Vec<_> =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect();
        // Two instances that write the same rows take them in one order.
        taken.sort_unstable();
        taken
    }
}

impl App {
    /// Notes that a session is in use, if the last time is a while ago.
    pub(super) fn note_seen(&self, session: &Session, now: DateTime<Utc>) {
        if session.is_due_to_be_seen(now) {
            self.seen.note(session.session_id, now);
        }
    }

    /// Writes down what was seen, and which clients were used, every few seconds and once more at the end.
    pub async fn run_seen(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.soft() => {}
            }
            // Both are tried.
            if let Err(error) = self.save_seen().await.and(self.save_used().await) {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "use of sessions and clients is not noted now");
            }
            if shutdown.is_soft() {
                return;
            }
        }
    }

    async fn save_seen(&self) -> Result<(), Error> {
        for batch in self.seen.take().chunks(BATCH) {
            store::session::note_seen(&self.db, batch).await?;
        }
        Ok(())
    }
}
