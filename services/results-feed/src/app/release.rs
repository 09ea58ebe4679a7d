use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use domain::{DateTime, Utc, Uuid};
use sqlx::PgTransaction;

use super::{App, entitlements::held_back};
use crate::{
    Error,
    entitlement::{Decision, Entitlement, Reason},
    ledger::{Kind, Row},
    store::{self, Due, Held},
    stream_name::StreamName,
};

/// About how many embargoes of one transaction; all that end at the same moment are in the same.
const MOST_ENDED: i64 = 2_000;
/// Most decisions that one ending of embargoes may leave in the decision log.
const MOST_FLIPS: usize = 10_000;

impl App {
    /// Ends embargoes that are over: each is an entry of the stream, so that every replica and every reader that comes
    /// back sees it at the same place. Gives whether there was anything to end.
    pub async fn release(&self, stream: StreamName) -> Result<bool, Error> {
        let stream_id = self.hub(stream).stream_id();
        let now = self.clock.now();
        if !store::has_due(&self.db, stream_id, now).await? {
            return Ok(false);
        }
        let mut tx = chassis::begin(&self.db).await?;
        let position = store::lock_stream(&mut tx, stream_id).await?;
        let (seq, _) = self.end_embargoes(&mut tx, stream, position.seq, now, MOST_ENDED).await?;
        tx.commit().await?;
        if seq > position.seq {
            tracing::info!(stream = stream_id, ended = seq - position.seq, "embargoes ended");
        }
        // What was taken from under this process by another one is no reason to look again at once.
        Ok(seq > position.seq)
    }

    /// Ends embargoes in a locked stream that is at `seq`; gives where it is then and until when embargoes are over.
    pub(super) async fn end_embargoes(
        &self,
        tx: &mut PgTransaction<'_>,
        stream: StreamName,
        seq: i64,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<(i64, DateTime<Utc>), Error> {
        let stream_id = self.hub(stream).stream_id();
        let from = store::released_until(tx, stream_id).await?.ok_or(Error::NotFound("stream"))?;
        let taken = store::take_due(tx, stream_id, now, limit).await?;
        let Some(last) = taken.last().map(|due| due.due_at) else { return Ok((seq, from)) };
        let until = from.max(last);
        let ended = together(taken);
        let count = i64::try_from(ended.len()).unwrap_or(i64::MAX);
        store::insert_release_entries(tx, stream_id, seq + 1, &ended, from, until).await?;
        store::insert_rights_entry(tx, stream_id, seq + 1, None, until).await?;
        store::release_until(tx, stream_id, until).await?;
        store::save_seq(tx, stream_id, seq + count).await?;
        store::insert_decisions(tx, stream_id, "release", now, &flips(&ended, seq)).await?;
        Ok((seq + count, until))
    }

    /// Remembers which of these new versions are held back for whom, and forgets what was of the versions before.
    pub(super) async fn hold_back(
        &self,
        tx: &mut PgTransaction<'_>,
        stream: StreamName,
        rows: &[Row],
        until: DateTime<Utc>,
    ) -> Result<(), Error> {
        let versions = store::embargo_versions(tx).await?;
        if versions.is_empty() {
            return Ok(());
        }
        let stream_id = self.hub(stream).stream_id();
        let mut newest: HashMap<Uuid, &Row> = HashMap::new();
        for row in rows.iter().filter(|row| row.kind != Kind::Late) {
            newest.insert(row.document_id, row);
        }
        let document_ids: Vec<Uuid> = newest.keys().copied().collect();
        let standing: Vec<Held> = newest.into_values().filter_map(held).collect();
        let mut due = Vec::new();
        for entitlement in self.embargoes(tx, versions).await?.iter() {
            due.extend(held_back(entitlement, &standing, stream.feed_flag(), until));
        }
        store::replace_embargoes(tx, stream_id, &document_ids, &by_time(due)).await
    }

    // Rules change rarely: they are read again only when their versions do.
    async fn embargoes(
        &self,
        tx: &mut PgTransaction<'_>,
        versions: Vec<(String, i64)>,
    ) -> Result<Arc<Vec<Entitlement>>, Error> {
        let known = Arc::clone(&self.embargoes.lock().unwrap_or_else(PoisonError::into_inner));
        let is_known = known.iter().map(|one| (one.client_id.as_str(), one.version));
        if is_known.eq(versions.iter().map(|(client_id, version)| (client_id.as_str(), *version))) {
            return Ok(known);
        }
        let mut entitlements = Vec::with_capacity(versions.len());
        for (client_id, _) in versions {
            entitlements.extend(store::load_entitlement(&mut **tx, &client_id).await?);
        }
        let entitlements = Arc::new(entitlements);
        *self.embargoes.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&entitlements);
        Ok(entitlements)
    }
}

fn held(row: &Row) -> Option<Held> {
    (row.kind == Kind::Document).then(|| Held {
        document_id: row.document_id,
        code: row.key.document_code.clone(),
        document_type: row.document_type,
        status: row.status,
        seq: row.seq,
        facts: row.facts.clone(),
    })
}

// One entry for a version, however many clients and moments.
fn together(taken: Vec<Due>) -> Vec<Due> {
    let mut ended: Vec<Due> = Vec::new();
    let mut places: HashMap<i64, usize> = HashMap::new();
    for due in taken {
        if let Some(held) = places.get(&due.seq).and_then(|place| ended.get_mut(*place)) {
            held.client_ids.extend(due.client_ids);
            held.client_ids.sort_unstable();
            held.client_ids.dedup();
        } else {
            places.insert(due.seq, ended.len());
            ended.push(due);
        }
    }
    ended
}

fn by_time(due: Vec<Due>) -> Vec<Due> {
    let mut times: BTreeMap<(Uuid, DateTime<Utc>), Due> = BTreeMap::new();
    for one in due {
        match times.get_mut(&(one.document_id, one.due_at)) {
            Some(held) => held.client_ids.extend(one.client_ids),
            None => {
                times.insert((one.document_id, one.due_at), one);
            }
        }
    }
    times.into_values().collect()
}

fn flips(ended: &[Due], seq: i64) -> Vec<(String, Uuid, i64, i64, Decision)> {
    let mut flips = Vec::new();
    for (due, entry_seq) in ended.iter().zip(seq + 1..) {
        for client_id in &due.client_ids {
            let opens_at = Some(due.due_at);
            let decision = Decision { permitted: true, rule: None, reason: Reason::Permitted, opens_at };
            flips.push((client_id.clone(), due.document_id, due.seq, entry_seq, decision));
            if flips.len() == MOST_FLIPS {
                return flips;
            }
        }
    }
    flips
}
