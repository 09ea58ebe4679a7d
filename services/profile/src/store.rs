//! All SQL of profile. Domain types in and out. Each operation is a span.

mod consents;
mod profiles;

pub use consents::{
    Published, append_records, find_notice, insert_notice, list_notices, list_records, load_ledger,
    load_ledger_for_update, load_ledgers, permitted_at, save_ledger,
};
pub use profiles::{
    find_by_external_id, insert, load, load_by_external_id_for_update, load_for_update, load_many, lock_page,
    lock_user, save, save_user,
};

use domain::{DateTime, RequestId, TimeDelta, Utc};
use sqlx::PgTransaction;

use crate::Error;

/// Claims a caller's request id. True when it is new; false when the same request was done before.
///
/// # Errors
/// The id was used for another body.
#[tracing::instrument(name = "db.request.claim", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn claim_request(
    tx: &mut PgTransaction<'_>,
    request_id: RequestId,
    body_sha256: [u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let held = sqlx::query_scalar!(
        r#"
        with claimed as (
            insert into profile.request (request_id, body_sha256, at)
            values ($1, $2, $3)
            on conflict (request_id) do nothing
            returning body_sha256
        )
        select r.body_sha256
        from profile.request r
        where r.request_id = $1 and not exists (select from claimed)
        "#,
        request_id.0,
        &body_sha256,
        now,
    )
    .fetch_optional(&mut **tx)
    .await?;
    match held {
        None => Ok(true),
        Some(held) if held == body_sha256 => Ok(false),
        Some(_) => Err(Error::RequestIdReused),
    }
}

/// Forgets requests that are older than a day.
#[tracing::instrument(name = "db.request.delete_old", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_old_requests(pool: &sqlx::PgPool, now: DateTime<Utc>) -> Result<u64, Error> {
    let before = now - TimeDelta::hours(24);
    let deleted = sqlx::query!("delete from profile.request where at < $1", before).execute(pool).await?;
    Ok(deleted.rows_affected())
}
