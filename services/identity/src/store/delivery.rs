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
        delivery.since
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Clients to whom something is due. It steps from client to client in the index, however much is due to one of them.
pub async fn waiting_clients(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<Vec<String>, Error> {
    let rows = sqlx::query_scalar(
        "with recursive waiting as (
             (select client_id
              from identity.logout_delivery
              where state = 'pending'
              order by client_id
              limit 1)
             union all
             select (select d.client_id
                     from identity.logout_delivery d
                     where d.state = 'pending' and d.client_id > waiting.client_id
                     order by d.client_id
                     limit 1)
             from waiting
             where waiting.client_id is not null
         )
         select client_id
         from waiting
         where client_id is not null
           and exists (
               select
               from identity.logout_delivery d
               where d.client_id = waiting.client_id and d.state = 'pending' and d.next_at <= $1)",
    )
    .bind(now);
    Ok(rows.fetch_all(db).await?)
}

#[derive(sqlx::FromRow)]
struct LeasedRow {
    delivery_id: Uuid,
    session_id: Uuid,
    user_id: Uuid,
    client_id: String,
    sid: String,
    attempts: i32,
    since: DateTime<Utc>,
}

/// Leases due deliveries until `lease`, for each of these clients as many as there is room for.
pub async fn lease(
    db: impl PgExecutor<'_>,
    rooms: &[(String, usize)],
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<LogoutDelivery>, Error> {
    let (clients, rooms): (Vec<&str>, Vec<i64>) = rooms
        .iter()
        .map(|(client_id, room)| (client_id.as_str(), i64::try_from(*room).unwrap_or_default()))
        .unzip();
    let rows: Vec<LeasedRow> = sqlx::query_as(
        "with due as (
             select d.delivery_id
             from unnest($3::text[], $4::bigint[]) asked (client_id, room)
             cross join lateral (
                 select delivery_id
                 from identity.logout_delivery
                 where client_id = asked.client_id and state = 'pending' and next_at <= $1
                 order by next_at
                 limit asked.room
                 for update skip locked
             ) d
         )
         update identity.logout_delivery d
         set next_at = $2
         from due
         where d.delivery_id = due.delivery_id
         returning d.delivery_id, d.session_id, d.user_id, d.client_id, d.sid, d.attempts,
                   coalesce(d.retried_at, d.created_at) as since",
    )
    .bind(now)
    .bind(lease)
    .bind(clients)
    .bind(rooms)
    .fetch_all(db)
    .await?;
    let deliveries = rows.into_iter().map(|row| LogoutDelivery {
        delivery_id: row.delivery_id,
        session_id: row.session_id.into(),
        user_id: row.user_id.into(),
        client_id: row.client_id,
        sid: row.sid,
        attempts: uncount(row.attempts),
        since: row.since,
    });
    Ok(deliveries.collect())
}

/// What became of a try.
#[derive(Debug, Clone)]
pub struct Settled {
    pub delivery_id: Uuid,
    pub state: &'static str,
    /// 0: no answer.
    pub last_status: u16,
    pub next_at: DateTime<Utc>,
}

/// Saves what became of tries, in one statement.
#[tracing::instrument(name = "db.logout_delivery.settle", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn settle(db: impl PgExecutor<'_>, settled: &[Settled]) -> Result<(), Error> {
    let ids: Vec<Uuid> = settled.iter().map(|one| one.delivery_id).collect();
    let states: Vec<&str> = settled.iter().map(|one| one.state).collect();
    let statuses: Vec<i32> = settled.iter().map(|one| i32::from(one.last_status)).collect();
    let times: Vec<DateTime<Utc>> = settled.iter().map(|one| one.next_at).collect();
    sqlx::query(
        "update identity.logout_delivery d
         set state = s.state, last_status = s.last_status, next_at = s.next_at, attempts = attempts + 1
         from unnest($1::uuid[], $2::text[], $3::integer[], $4::timestamptz[])
              s (delivery_id, state, last_status, next_at)
         where d.delivery_id = s.delivery_id and d.state = 'pending'",
    )
    .bind(ids)
    .bind(states)
    .bind(statuses)
    .bind(times)
    .execute(db)
    .await?;
    Ok(())
}

/// A ledger row as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Listed {
    pub delivery_id: Uuid,
    pub session_id: Uuid,
    pub client_id: String,
    pub cause: String,
    pub state: String,
    pub attempts: i32,
    pub last_status: i32,
    pub created_at: DateTime<Utc>,
    pub next_at: DateTime<Utc>,
}

/// Which rows are meant; all when nothing is said.
#[derive(Debug, Clone, Default)]
pub struct DeliveryChoice {
    pub client_id: Option<String>,
    pub state: Option<String>,
    /// The page behind this one.
    pub after: Option<Uuid>,
}

/// The newest ones first.
#[tracing::instrument(name = "db.logout_delivery.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(
    db: impl PgExecutor<'_>,
    choice: &DeliveryChoice,
    limit: i64,
) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query_as(
        "select delivery_id, session_id, client_id, cause, state, attempts, last_status, created_at, next_at
         from identity.logout_delivery
         where ($1::text is null or client_id = $1)
           and ($2::text is null or state = $2)
           and delivery_id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by delivery_id desc
         limit $4",
    )
    .bind(&choice.client_id)
    .bind(&choice.state)
    .bind(choice.after)
    .bind(limit);
    Ok(rows.fetch_all(db).await?)
}

/// Has a delivery tried at once and for another day; one that was delivered stays so. Nothing when there is none.
#[tracing::instrument(name = "db.logout_delivery.retry", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn retry(
    db: &mut PgConnection,
    delivery_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Listed>, Error> {
    sqlx::query(
        "update identity.logout_delivery
         set state = 'pending', attempts = 0, next_at = $2, retried_at = $2
         where delivery_id = $1 and state <> 'delivered'",
    )
    .bind(delivery_id)
    .bind(now)
    .execute(&mut *db)
    .await?;
    let row = sqlx::query_as(
        "select delivery_id, session_id, client_id, cause, state, attempts, last_status, created_at, next_at
         from identity.logout_delivery
         where delivery_id = $1",
    )
    .bind(delivery_id);
    Ok(row.fetch_optional(db).await?)
}
