use domain::{DateTime, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

use super::uncount;
use crate::{error::Error, logout_delivery::LogoutDelivery, session::Cause};

#[tracing::instrument(name = "db.logout_delivery.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: &mut PgConnection, delivery: &LogoutDelivery, cause: Cause) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.logout_delivery
             (delivery_id, session_id, user_id, client_id, sid, cause, state, attempts, next_at, last_status, created_at)
         values ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, 0, $7)",
        delivery.delivery_id,
        delivery.session_id.0,
        delivery.user_id.0,
        delivery.client_id,
        delivery.sid,
        cause.name(),
        delivery.created_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Leases at most 32 due deliveries until `lease`.
pub async fn lease(
    db: impl PgExecutor<'_>,
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<LogoutDelivery>, Error> {
    let rows = sqlx::query!(
        "with due as (
             select delivery_id
             from identity.logout_delivery
             where state = 'pending' and next_at <= $1
             order by next_at
             limit 32
             for update skip locked
         )
         update identity.logout_delivery d
         set next_at = $2
         from due
         where d.delivery_id = due.delivery_id
         returning d.delivery_id, d.session_id, d.user_id, d.client_id, d.sid, d.attempts, d.created_at",
        now,
        lease
    )
    .fetch_all(db)
    .await?;
    let deliveries = rows.into_iter().map(|row| LogoutDelivery {
        delivery_id: row.delivery_id,
        session_id: row.session_id.into(),
        user_id: row.user_id.into(),
        client_id: row.client_id,
        sid: row.sid,
        attempts: uncount(row.attempts),
        created_at: row.created_at,
    });
    Ok(deliveries.collect())
}

/// Saves what became of a try.
#[tracing::instrument(name = "db.logout_delivery.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save(
    db: impl PgExecutor<'_>,
    delivery_id: Uuid,
    state: &str,
    status: u16,
    next_at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update identity.logout_delivery
         set state = $2, last_status = $3, next_at = $4, attempts = attempts + 1
         where delivery_id = $1 and state = 'pending'",
        delivery_id,
        state,
        i32::from(status),
        next_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A ledger row as operators see it.
pub struct Listed {
    pub delivery_id: Uuid,
    pub session_id: Uuid,
    pub client_id: String,
    pub state: String,
    pub attempts: i32,
    pub last_status: i32,
}

/// The newest ones first.
#[tracing::instrument(name = "db.logout_delivery.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query_as!(
        Listed,
        "select delivery_id, session_id, client_id, state, attempts, last_status
         from identity.logout_delivery
         order by delivery_id desc
         limit $1",
        limit
    );
    Ok(rows.fetch_all(db).await?)
}
