//! All SQL of crm-sync. Domain types in and out.
//! Each operation is a span, but for those that a loop repeats without work.

mod agreements;
mod chunks;
mod destinations;
mod failures;
mod lease;
mod ledger;
mod mappings;
mod pending;
mod runs;
mod shadows;
mod subjects;

pub use agreements::{find_in_force, insert_agreement, load_agreement, lock_agreement, save_agreement};
pub use chunks::{
    add_follow_ups, advance_chunk, find_live_load, insert_chunk, known_jobs, list_live_calls, note_job,
    take_follow_ups,
};
pub use destinations::{
    insert_destination, list_destinations, list_sending, load_destination, lock_destination, lock_object,
    save_destination,
};
pub use failures::{Failed, insert_failures, list_failures};
pub use lease::Lease;
pub use ledger::{
    LedgerRow, Written, count_missing_records, insert_decisions, last_withheld, list_by_decision,
    list_by_profile, open_rows, settle_rows,
};
pub use mappings::{Version, insert_version, load_version, publish_version};
pub use pending::{Pending, Retry, demote, due, enqueue, enqueue_all, postpone, remove};
pub use runs::{find_running, insert_run, load_run, lock_run, save_run};
pub use shadows::{Acknowledged, Shadow, load_shadows, mark_unsure, maybe_held, save_shadows};
pub use subjects::{
    ConsentsSeen, ProfileSeen, changed_in_range, last_ordinal, load_subjects, page, see_consents, see_profile,
};

use domain::{DateTime, RequestId, TimeDelta, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use crate::Error;

/// Claims a caller's request id for what it is about to make. None when it is new, else what the first one made.
///
/// # Errors
/// The id was used for another body.
#[tracing::instrument(name = "db.request.claim", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn claim_request(
    tx: &mut PgTransaction<'_>,
    request_id: RequestId,
    body_sha256: [u8; 32],
    made: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, Error> {
    let held = sqlx::query!(
        r#"
        with claimed as (
            insert into crmsync.request (request_id, body_sha256, made, at)
            values ($1, $2, $3, $4)
            on conflict (request_id) do nothing
            returning request_id
        )
        select r.body_sha256, r.made
        from crmsync.request r
        where r.request_id = $1 and not exists (select from claimed)
        "#,
        request_id.0,
        &body_sha256,
        made,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    match held {
        None => Ok(None),
        Some(held) if held.body_sha256 == body_sha256 => Ok(Some(held.made)),
        Some(_) => Err(Error::RequestIdReused),
    }
}

/// Forgets requests that are older than a day.
#[tracing::instrument(name = "db.request.delete_old", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_old_requests(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, Error> {
    let before = now - TimeDelta::hours(24);
    let deleted = sqlx::query!("delete from crmsync.request where at < $1", before).execute(pool).await?;
    Ok(deleted.rows_affected())
}

fn sixteen(bytes: &[u8], what: &'static str) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| Error::Stored { what })
}

fn thirty_two(bytes: &[u8], what: &'static str) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Stored { what })
}
