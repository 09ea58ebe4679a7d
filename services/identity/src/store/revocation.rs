use std::time::Duration;

use domain::{DateTime, UserId, Utc, Uuid};
use sqlx::PgExecutor;

use crate::{
    error::Error,
    revocation::{MOST, Revoked},
};

type Row = (Option<Uuid>, Option<Uuid>, Option<Uuid>, Option<String>);

/// What was taken back within `window` before now, by the database's clock; at most one row more than can be remembered.
pub async fn read(db: impl PgExecutor<'_>, window: Duration) -> Result<Vec<Revoked>, Error> {
    // `now()`, not `clock_timestamp()`: a volatile bound would not be looked up in the index.
    let rows: Vec<Row> = sqlx::query_as(
        "select family_id, session_id, user_id, client_id
         from identity.revocation
         where revocation_id >= identity.first_id_of(now() - make_interval(secs => $1))
         order by revocation_id desc
         limit $2",
    )
    .bind(window.as_secs_f64())
    .bind(i64::try_from(MOST + 1).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(revoked).collect())
}

fn revoked(row: Row) -> Option<Revoked> {
    match row {
        (Some(family), ..) => Some(Revoked::Family(family)),
        (_, Some(session), ..) => Some(Revoked::Session(session.into())),
        (_, _, Some(user), _) => Some(Revoked::User(user.into())),
        (.., Some(client)) => Some(Revoked::Client(client.into())),
        // The table's check excludes it.
        _ => None,
    }
}

/// Has every instance look this user's tokens up from now on: in the transaction that locks the user out.
#[tracing::instrument(name = "db.revocation.insert_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_user(db: impl PgExecutor<'_>, user_id: UserId, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query("insert into identity.revocation (user_id, at) values ($1, $2)")
        .bind(user_id.0)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}
