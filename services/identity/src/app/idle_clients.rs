//! Clients that registered themselves and that nobody uses. Which of them got tokens is noted by days, in batches: a write
//! for each token would cost as much as the token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::NaiveDate;
use domain::{DateTime, Utc};
use serde_json::json;

use super::App;
use crate::{
    client::Client,
    error::Error,
    registration::{NEVER_USED, UNUSED, may_be_registered},
    revocation::Revoked,
    store::{self, client_admin, record::AuditRecord},
};

/// What is remembered at most; a client beyond it is noted at its next token.
const MOST: usize = 20_000;
/// Rows of one statement.
const BATCH: usize = 200;

/// Shared by all clones of the app. What it holds when a process dies is lost: seconds of one day.
#[derive(Clone, Default)]
pub struct UsedClients(Arc<Mutex<HashMap<String, Used>>>);

struct Used {
    /// The last day.
    on: NaiveDate,
    is_saved: bool,
}

impl UsedClients {
    fn note(&self, client_id: &str, on: NaiveDate) {
        let mut used = self.lock();
        if used.get(client_id).is_some_and(|last| last.on >= on) {
            return;
        }
        if used.len() >= MOST {
            used.retain(|_, last| !last.is_saved);
        }
        if used.len() < MOST {
            used.insert(client_id.to_owned(), Used { on, is_saved: false });
        }
    }

    // In one order at each instance: two that write the same rows do not wait for each other.
    fn unsaved(&self) -> Vec<(String, NaiveDate)> {
        let used = self.lock();
        let unsaved = used.iter().filter(|(_, last)| !last.is_saved);
        let mut unsaved: Vec<_> = unsaved.map(|(client_id, last)| (client_id.clone(), last.on)).collect();
        drop(used);
        unsaved.sort_unstable();
        unsaved
    }

    fn note_saved(&self, saved: &[(String, NaiveDate)]) {
        let mut used = self.lock();
        for (client_id, on) in saved {
            if let Some(last) = used.get_mut(client_id).filter(|last| last.on == *on) {
                last.is_saved = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Notes that a client got tokens, if it may have registered itself.
    pub(super) fn note_used(&self, client: &Client, now: DateTime<Utc>) {
        if may_be_registered(&client.client_id) {
            self.used_clients.note(&client.client_id, now.date_naive());
        }
    }

    /// Writes down what was noted: of each client once a day.
    pub(super) async fn save_used(&self) -> Result<(), Error> {
        for batch in self.used_clients.unsaved().chunks(BATCH) {
            store::registration::note_used(&self.db, batch).await?;
            self.used_clients.note_saved(batch);
        }
        Ok(())
    }

    /// Deletes some clients that registered themselves and were not used for too long, with their grants; how many.
    pub(super) async fn delete_idle_clients(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let idle = store::registration::lock_idle(&mut tx, now - NEVER_USED, now - UNUSED).await?;
        if idle.is_empty() {
            return Ok(0);
        }
        client_admin::delete(&mut tx, &idle, now).await?;
        for client_id in &idle {
            let record = AuditRecord {
                actor: "system".to_owned(),
                action: "delete_client",
                subject: client_id.clone(),
                client_id: client_id.clone(),
                outcome: "done",
                detail: Some(json!({"cause": "unused"})),
                ..AuditRecord::default()
            };
            store::record::insert(&mut *tx, &record, now).await?;
        }
        tx.commit().await?;
        for client_id in &idle {
            self.clients.forget(client_id);
            tracing::info!(client_id, "unused client deleted");
        }
        self.revocations.note(idle.iter().map(|client_id| Revoked::Client(client_id.as_str().into())));
        Ok(idle.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 7, 20).unwrap();
    const TUESDAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 7, 21).unwrap();

    #[test]
    fn a_client_is_written_once_a_day() {
        let used = UsedClients::default();
        used.note("dyn-1", MONDAY);
        used.note("dyn-1", MONDAY);
        let unsaved = used.unsaved();
        assert_eq!(unsaved, [("dyn-1".to_owned(), MONDAY)]);
        assert_eq!(used.unsaved(), unsaved, "until it is saved");
        used.note_saved(&unsaved);
        used.note("dyn-1", MONDAY);
        assert!(used.unsaved().is_empty());
        used.note("dyn-1", TUESDAY);
        used.note_saved(&unsaved);
        assert_eq!(used.unsaved(), [("dyn-1".to_owned(), TUESDAY)]);
    }

    #[test]
    fn a_full_memory_lets_go_of_what_is_saved() {
        let used = UsedClients::default();
        for n in 0..=MOST {
            used.note(&format!("dyn-{n}"), MONDAY);
        }
        let unsaved = used.unsaved();
        assert_eq!(unsaved.len(), MOST);
        used.note_saved(&unsaved);
        used.note("dyn-late", MONDAY);
        assert_eq!(used.unsaved(), [("dyn-late".to_owned(), MONDAY)]);
    }
}
