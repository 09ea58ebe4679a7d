use std::sync::Arc;

use domain::{DateTime, Utc, Uuid};
use sqlx::PgTransaction;

use super::App;
use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::{Decision, Entitlement, PUBLIC, Rights, Rule},
    entry::{Entry, What},
    store::{self, Due, Held},
    stream_name::StreamName,
};

/// Most decisions that one change of rules may leave in the decision log of a stream; the others can be derived.
const MOST_FLIPS: usize = 10_000;

impl App {
    /// The rules of a client; none where none were set.
    pub async fn get_entitlements(&self, client_id: &str) -> Result<Entitlement, Error> {
        let stored = store::load_entitlement(&self.db, client_id).await?;
        Ok(stored.unwrap_or_else(|| Entitlement::none(client_id.to_owned())))
    }

    /// Clients behind `after` in the order of their names, with their rules.
    pub async fn list_entitlements(&self, after: &str, limit: i64) -> Result<Vec<Entitlement>, Error> {
        store::list_entitlements(&self.db, after, limit).await
    }

    /// Replaces the rules of a client. The change is an entry of each stream, so that every replica sees it at the same
    /// place, and a reader that comes back later is told what changed for it.
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
        let production = self.hub(StreamName::Production).stream_id();
        turns.push((StreamName::Production, store::lock_stream(&mut tx, production).await?));
        // A rehearsal is made in production's turn: none comes while the rules change.
        for (stream, _) in self.list_streams(&mut *tx).await? {
            if stream != StreamName::Production {
                turns.push((stream, store::lock_stream(&mut tx, self.hub(stream).stream_id()).await?));
            }
        }
        let before = store::load_entitlement_for_update(&mut tx, client_id).await?;
        let before = before.unwrap_or_else(|| Entitlement::none(client_id.to_owned()));
        if before.version != expected_version {
            return Err(Error::StaleVersion { actual: before.version });
        }
        let changed = Entitlement { client_id: client_id.to_owned(), version: before.version + 1, rules };
        store::save_entitlement(&mut tx, &changed, changed_by, now).await?;
        let others = match client_id {
            PUBLIC => None,
            _ => store::load_entitlement(&mut *tx, PUBLIC).await?,
        };
        let mut entries = Vec::new();
        for (stream, position) in turns {
            let change = Change { before: &before, after: &changed, others: others.as_ref() };
            let entry = self.enter_change(&mut tx, stream, position.seq, &change, now).await?;
            entries.push((stream, position.epoch, entry));
        }
        tx.commit().await?;
        for (stream, epoch, entry) in entries {
            let _ = self.hub(stream).append(&epoch, [Arc::new(entry)]);
        }
        tracing::info!(client_id, version = changed.version, "entitlement changed");
        Ok(changed)
    }

    async fn enter_change(
        &self,
        tx: &mut PgTransaction<'_>,
        stream: StreamName,
        seq: i64,
        change: &Change<'_>,
        now: DateTime<Utc>,
    ) -> Result<Entry, Error> {
        let stream_id = self.hub(stream).stream_id();
        let feed_flag = stream.feed_flag();
        let (client_id, version) = (change.after.client_id.as_str(), change.after.version);
        // What ended until now ends for everybody before the rules change, or the change would end it silently.
        let (seq, until) = self.end_embargoes(tx, stream, seq, now, i64::MAX).await?;
        let until = until.max(now);
        let seq = seq + 1;
        store::insert_entitlement_entry(tx, stream_id, seq, client_id, now, until).await?;
        store::insert_rights_entry(tx, stream_id, seq, Some((client_id, version)), until).await?;
        store::release_until(tx, stream_id, until).await?;
        store::save_seq(tx, stream_id, seq).await?;
        store::remove_embargoes_of(tx, stream_id, client_id).await?;
        let standing = store::list_standing(tx, stream_id).await?;
        store::save_embargoes(tx, stream_id, &held_back(change.after, &standing, feed_flag, until)).await?;
        let flips = change.flips(&standing, feed_flag, seq, until);
        store::insert_decisions(tx, stream_id, "entitlement", now, &flips).await?;
        let what = What::Entitlement(client_id.to_owned());
        Ok(Entry { seq, received_at: now, released_until: until, what, traceparent: None })
    }

    /// The rights of a reader now: what `public` may see, and what its client may.
    pub async fn rights(&self, client_id: Option<&str>) -> Result<Rights, Error> {
        let mut entitlements = vec![self.get_entitlements(PUBLIC).await?];
        if let Some(client_id) = client_id.filter(|client_id| *client_id != PUBLIC) {
            entitlements.push(self.get_entitlements(client_id).await?);
        }
        Ok(Rights::of(entitlements).at(self.clock.now()))
    }

    /// The rights of a reader as they were at a place in a stream: those that its frames up to there were made with.
    pub async fn rights_at(
        &self,
        stream: StreamName,
        client_id: Option<&str>,
        seq: i64,
    ) -> Result<Rights, Error> {
        let stream_id = self.hub(stream).stream_id();
        let mut client_ids = vec![PUBLIC.to_owned()];
        client_ids.extend(client_id.filter(|client_id| *client_id != PUBLIC).map(str::to_owned));
        // Before their versions at the place: a change in between is behind the place, and is found then.
        let mut entitlements = Vec::new();
        for client_id in &client_ids {
            entitlements.push(self.get_entitlements(client_id).await?);
        }
        let replaced = store::versions_at(&self.db, stream_id, seq, &client_ids).await?;
        for entitlement in &mut entitlements {
            let version = replaced.get(&entitlement.client_id).copied().unwrap_or(entitlement.version);
            if version != entitlement.version {
                let history = store::load_history(&self.db, &entitlement.client_id).await?;
                *entitlement = history.of_version(version);
            }
        }
        Ok(Rights::of(entitlements).at(self.released_at(stream, seq).await?))
    }

    /// Until when embargoes were over at a place in a stream.
    pub async fn released_at(&self, stream: StreamName, seq: i64) -> Result<DateTime<Utc>, Error> {
        let released = store::released_at(&self.db, self.hub(stream).stream_id(), seq).await?;
        Ok(released.unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// The place behind `seq` where the rights of one of these clients changed next.
    pub async fn next_change(
        &self,
        stream: StreamName,
        rights: &Rights,
        seq: i64,
    ) -> Result<Option<i64>, Error> {
        let client_ids: Vec<String> = rights.readers().into_iter().map(|(client_id, _)| client_id).collect();
        store::next_change(&self.db, self.hub(stream).stream_id(), seq, &client_ids).await
    }
}

struct Change<'a> {
    before: &'a Entitlement,
    after: &'a Entitlement,
    /// What the client may see beside its own rules.
    others: Option<&'a Entitlement>,
}

impl Change<'_> {
    fn flips(
        &self,
        standing: &[Held],
        feed_flag: FeedFlag,
        entry_seq: i64,
        until: DateTime<Utc>,
    ) -> Vec<(String, Uuid, i64, i64, Decision)> {
        let rights = |own: &Entitlement| {
            let mut entitlements: Vec<Entitlement> = self.others.cloned().into_iter().collect();
            entitlements.push(own.clone());
            Rights::of(entitlements).at(until)
        };
        let (before, after) = (rights(self.before), rights(self.after));
        let mut flips = Vec::new();
        for held in standing {
            let subject = held.subject(feed_flag);
            if before.permit(&subject) != after.permit(&subject) {
                let client_id = self.after.client_id.clone();
                flips.push((client_id, held.document_id, held.seq, entry_seq, after.decide(&subject)));
            }
            if flips.len() == MOST_FLIPS {
                tracing::warn!(
                    client_id = self.after.client_id,
                    "more decisions changed than the decision log keeps"
                );
                break;
            }
        }
        flips
    }
}

/// What an entitlement holds back of these versions beyond a time.
pub(super) fn held_back(
    entitlement: &Entitlement,
    standing: &[Held],
    feed_flag: FeedFlag,
    until: DateTime<Utc>,
) -> Vec<Due> {
    if !entitlement.has_embargo() {
        return Vec::new();
    }
    let client_ids = vec![entitlement.client_id.clone()];
    let rights = Rights::of(vec![entitlement.clone()]);
    let mut due = Vec::new();
    for held in standing {
        for due_at in openings(&rights, held, feed_flag) {
            if due_at > until.max(held.facts.received_at) {
                due.push(Due {
                    document_id: held.document_id,
                    seq: held.seq,
                    due_at,
                    client_ids: client_ids.clone(),
                });
            }
        }
    }
    due
}

// Rules may open a version at different times in its two representations, and participants at different times by
// organisation: each opening is one.
fn openings(rights: &Rights, held: &Held, feed_flag: FeedFlag) -> Vec<DateTime<Utc>> {
    rights.openings(&held.subject(feed_flag))
}
