use std::collections::HashMap;

use domain::{DateTime, ProfileId, Service, Utc, Uuid};
use sqlx::PgTransaction;

use super::{App, Outlet};
use crate::{
    Error,
    chunk::{Chunk, State},
    delivery::{Lane, Outcome},
    events,
    gate::Held,
    mapping::Mapping,
    row_failure::{Class, RowFailure},
    run::Counts,
    store::{self, Acknowledged, Failed, LedgerRow, Retry, Shadow},
};

/// What the recipient said of each row of a chunk.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Rows that it has, with the ids of their records.
    pub saved: Vec<(LedgerRow, String)>,
    /// Rows that it refused.
    pub refused: Vec<(LedgerRow, RowFailure)>,
    /// Who leaves the queue, with the revision that was sent.
    pub done: Vec<(Uuid, i64)>,
    /// Tries before this one.
    pub tries: HashMap<ProfileId, i32>,
}

impl App {
    /// Writes down what became of a chunk, all in one transaction: ledger, shadow, failures, queue, run, fact.
    pub(super) async fn settle(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        settlement: &Settlement,
        epoch: i64,
    ) -> Result<(), Error> {
        let now = self.clock().now();
        let mapping = self.mapping_of(outlet, chunk).await?;
        let mut tx = chassis::begin(self.db()).await?;
        store::advance_chunk(&mut tx, chunk, State::Settled, epoch, now).await?;
        self.acknowledge(&mut tx, chunk, &mapping, &settlement.saved, now).await?;
        refuse(&mut tx, chunk, settlement, now).await?;
        store::remove(&mut tx, chunk.object_id, &settlement.done).await?;
        store::postpone(&mut tx, chunk.object_id, &retries(chunk, settlement, now), now).await?;
        let ceased = settlement.saved.iter().filter(|(row, _)| row.ceases).count();
        let counts = Counts {
            delivered: as_count(settlement.saved.len() - ceased),
            ceased: as_count(ceased),
            failed: as_count(settlement.refused.len()),
            ..Counts::default()
        };
        self.close_range(&mut tx, outlet, chunk, counts, now).await?;
        tx.commit().await?;
        if settlement.refused.iter().any(|(_, failure)| failure.class == Class::Config) {
            self.pause_for_config(chunk.object_id).await?;
        }
        tracing::info!(
            chunk_id = %chunk.chunk_id, lane = chunk.lane.name(), delivered = counts.delivered, ceased = counts.ceased,
            failed = counts.failed, "chunk settled"
        );
        Ok(())
    }

    async fn mapping_of(&self, outlet: &Outlet, chunk: &Chunk) -> Result<Mapping, Error> {
        match chunk.mapping_version_id {
            Some(id) if id != outlet.mapping_version_id => {
                let version = store::load_version(self.db(), id).await?;
                Ok(version.ok_or(Error::Stored { what: "mapping" })?.mapping)
            }
            _ => Ok(outlet.mapping.clone()),
        }
    }

    async fn acknowledge(
        &self,
        tx: &mut PgTransaction<'_>,
        chunk: &Chunk,
        mapping: &Mapping,
        saved: &[(LedgerRow, String)],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let ids: Vec<Uuid> = saved.iter().map(|(row, _)| row.profile_id.0).collect();
        store::settle_rows(tx, chunk.chunk_id, &ids, Outcome::Delivered, now).await?;
        let before = store::load_shadows(&mut **tx, chunk.object_id, &ids).await?;
        let rows: Vec<Acknowledged> = saved
            .iter()
            .map(|(row, record_id)| {
                let shadow = shadow_after(before.get(&row.profile_id), row, record_id, mapping);
                acknowledged(row, shadow)
            })
            .collect();
        store::save_shadows(tx, chunk.object_id, &rows, now).await
    }

    /// Counts a chunk's range into its run, moves the run's cursor past it, sends the follow-ups out, and tells.
    pub(super) async fn close_range(
        &self,
        tx: &mut PgTransaction<'_>,
        outlet: &Outlet,
        chunk: &Chunk,
        counts: Counts,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        if let Some(run_id) = chunk.run_id {
            let mut run = store::lock_run(tx, run_id).await?.ok_or(Error::Stored { what: "run" })?;
            run.counts.add(chunk.counts);
            run.counts.add(counts);
            run.cursor = chunk.to_ordinal + 1;
            store::save_run(tx, &run, None).await?;
        }
        let again = store::take_follow_ups(tx, chunk.chunk_id).await?;
        store::enqueue_all(tx, chunk.object_id, &again, now).await?;
        let fact = events::chunk_ended(chunk, outlet.destination.destination_id, Some(counts), now);
        outbox::append(tx, Service::CrmSync, &fact).await?;
        Ok(())
    }

    /// Gives a chunk up. `Unanswered` means that the recipient may hold its rows all the same.
    pub(super) async fn abandon(
        &self,
        tx: &mut PgTransaction<'_>,
        outlet: &Outlet,
        chunk: &Chunk,
        outcome: Outcome,
        epoch: i64,
    ) -> Result<(), Error> {
        let now = self.clock().now();
        store::advance_chunk(tx, chunk, State::Abandoned, epoch, now).await?;
        let rows = store::open_rows(&mut **tx, chunk.chunk_id).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.profile_id.0).collect();
        store::settle_rows(tx, chunk.chunk_id, &ids, outcome, now).await?;
        if outcome == Outcome::Unanswered {
            let mapping = self.mapping_of(outlet, chunk).await?;
            let unsure: Vec<Acknowledged> =
                rows.iter().map(|row| acknowledged(row, shadow_after(None, row, "", &mapping))).collect();
            store::mark_unsure(tx, chunk.object_id, &unsure, now).await?;
        }
        let again = store::take_follow_ups(tx, chunk.chunk_id).await?;
        store::enqueue_all(tx, chunk.object_id, &again, now).await?;
        let fact = events::chunk_ended(chunk, outlet.destination.destination_id, None, now);
        outbox::append(tx, Service::CrmSync, &fact).await?;
        tracing::warn!(chunk_id = %chunk.chunk_id, lane = chunk.lane.name(), outcome = outcome.name(), "chunk given up");
        Ok(())
    }

    // What the recipient's set-up refuses it will refuse again: loads and changes wait for a person, ceases go on.
    async fn pause_for_config(&self, object_id: Uuid) -> Result<(), Error> {
        let now = self.clock().now();
        let mut tx = chassis::begin(self.db()).await?;
        let Some(mut destination) = store::lock_object(&mut tx, object_id).await? else { return Ok(()) };
        if destination.pause().unwrap_or(false) {
            store::save_destination(&mut tx, &mut destination, now).await?;
            tx.commit().await?;
            let destination_id = destination.destination_id;
            tracing::error!(%destination_id, "the recipient's set-up does not fit the mapping, destination paused");
        }
        Ok(())
    }
}

async fn refuse(
    tx: &mut PgTransaction<'_>,
    chunk: &Chunk,
    settlement: &Settlement,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = settlement.refused.iter().map(|(row, _)| row.profile_id.0).collect();
    store::settle_rows(tx, chunk.chunk_id, &ids, Outcome::Failed, now).await?;
    let failures: Vec<Failed> = settlement
        .refused
        .iter()
        .map(|(row, failure)| Failed::new(row.profile_id, row.decision_id, failure, now))
        .collect();
    store::insert_failures(tx, chunk.object_id, Some(chunk.chunk_id), chunk.run_id, &failures).await
}

fn retries(chunk: &Chunk, settlement: &Settlement, now: DateTime<Utc>) -> Vec<Retry> {
    let mut retries = Vec::new();
    for (row, failure) in &settlement.refused {
        let tries = settlement.tries.get(&row.profile_id).copied().unwrap_or_default() + 1;
        if let Some(wait) = failure.again_after(tries) {
            let lane = if row.ceases || chunk.lane == Lane::Cease { Lane::Cease } else { Lane::Change };
            retries.push(Retry { profile_id: row.profile_id, lane, tries, not_before: now + wait });
        }
    }
    retries
}

/// What the recipient holds after a row: what it held, and what was sent, without what was emptied.
fn shadow_after(before: Option<&Shadow>, row: &LedgerRow, record_id: &str, mapping: &Mapping) -> Shadow {
    let mut held = Held { fields: Default::default(), ceased: row.ceases };
    if !row.ceases {
        held.fields = before.map(|before| before.held.fields.clone()).unwrap_or_default();
        held.fields.extend(mapping.names(row.sent));
        for name in mapping.names(row.cleared) {
            held.fields.remove(&name);
        }
    }
    Shadow { held, record_id: record_id.to_owned(), row_hash: row.row_hash.clone() }
}

fn acknowledged(row: &LedgerRow, shadow: Shadow) -> Acknowledged {
    Acknowledged {
        profile_id: row.profile_id,
        shadow,
        profile_version: row.profile_version,
        consent_version: row.consent_version,
        decision_id: row.decision_id,
    }
}

pub(super) fn as_count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
