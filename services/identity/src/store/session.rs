use domain::{DateTime, SessionId, UserId, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

use super::{count, stored, uncount};
use crate::{
    error::Error,
    session::{Cause, Session},
    user::Status,
};

#[derive(sqlx::FromRow)]
struct Row {
    session_id: Uuid,
    user_id: Uuid,
    epoch: i32,
    pwd_at: DateTime<Utc>,
    passkey_at: Option<DateTime<Utc>>,
    otp_at: Option<DateTime<Utc>>,
    seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        Self {
            session_id: row.session_id.into(),
            user_id: row.user_id.into(),
            epoch: uncount(row.epoch),
            pwd_at: row.pwd_at,
            passkey_at: row.passkey_at,
            otp_at: row.otp_at,
            seen_at: row.seen_at,
            expires_at: row.expires_at,
            ended: row.ended_at.is_some(),
        }
    }
}

/// A session and where its user stands.
#[tracing::instrument(name = "db.session.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(
    db: impl PgExecutor<'_>,
    session_id: SessionId,
) -> Result<Option<(Session, Status)>, Error> {
    #[derive(sqlx::FromRow)]
    struct WithStatus {
        #[sqlx(flatten)]
        session: Row,
        status: String,
    }
    let row: Option<WithStatus> = sqlx::query_as(
        "select s.session_id, s.user_id, s.epoch, s.pwd_at, s.passkey_at, s.otp_at, s.seen_at, s.expires_at, s.ended_at,
                u.status
         from identity.browser_session s
         join identity.user u using (user_id)
         where s.session_id = $1",
    )
    .bind(session_id.0)
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.session.into(), stored("status", row.status.parse())?)))
}

#[tracing::instrument(name = "db.session.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, session: &Session) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.browser_session
             (session_id, user_id, epoch, pwd_at, passkey_at, otp_at, created_at, seen_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $4, $7, $8)",
    )
    .bind(session.session_id.0)
    .bind(session.user_id.0)
    .bind(count(session.epoch))
    .bind(session.pwd_at)
    .bind(session.passkey_at)
    .bind(session.otp_at)
    .bind(session.seen_at)
    .bind(session.expires_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Saves a renewed session; false when it ended or was renewed elsewhere in between.
#[tracing::instrument(name = "db.session.renew", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn renew(db: impl PgExecutor<'_>, session: &Session) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.browser_session
         set epoch = $2, pwd_at = $3, passkey_at = $4, otp_at = $5, seen_at = $6
         where session_id = $1 and epoch = $2 - 1 and ended_at is null",
    )
    .bind(session.session_id.0)
    .bind(count(session.epoch))
    .bind(session.pwd_at)
    .bind(session.passkey_at)
    .bind(session.otp_at)
    .bind(session.seen_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes when sessions were used last, in one statement.
#[tracing::instrument(name = "db.session.note_seen", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn note_seen(db: impl PgExecutor<'_>, seen: &[(SessionId, DateTime<Utc>)]) -> Result<(), Error> {
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = seen.iter().map(|(id, at)| (id.0, *at)).unzip();
    sqlx::query(
        "update identity.browser_session s
         set seen_at = n.at
         from unnest($1::uuid[], $2::timestamptz[]) n (session_id, at)
         where s.session_id = n.session_id and s.seen_at < n.at and s.ended_at is null",
    )
    .bind(ids)
    .bind(times)
    .execute(db)
    .await?;
    Ok(())
}

/// A session that has just ended, and a client that wants to be told.
pub struct Ended {
    pub session_id: SessionId,
    pub user_id: UserId,
    pub client_id: Option<String>,
}

/// Ends live sessions, revokes the families that live with them and tells every instance. A row for each session and
/// client to be told, and one without a client where none is. Two statements on purpose: a code that is redeemed meanwhile
/// holds the session's row, and the second statement sees the family that came of it.
#[tracing::instrument(name = "db.session.end", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn end(
    db: &mut PgConnection,
    session_ids: &[Uuid],
    cause: Cause,
    now: DateTime<Utc>,
) -> Result<Vec<Ended>, Error> {
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "update identity.browser_session
         set ended_at = $2, cause = $3
         where session_id = any($1) and ended_at is null
         returning session_id",
    )
    .bind(session_ids)
    .bind(now)
    .bind(cause.name())
    .fetch_all(&mut *db)
    .await?;
    let rows: Vec<(Uuid, Uuid, Option<String>)> = sqlx::query_as(
        "with revoked as (
             update identity.token_family
             set revoked_at = $2
             where session_id = any($1) and not offline and revoked_at is null
         ), told as (
             insert into identity.revocation (session_id, at)
             select unnest($1), $2
         )
         select s.session_id, s.user_id, c.client_id
         from identity.browser_session s
         left join identity.session_client sc using (session_id)
         left join identity.client c on c.client_id = sc.client_id and c.backchannel_logout_uri is not null
         where s.session_id = any($1)
         order by s.session_id",
    )
    .bind(&ended)
    .bind(now)
    .fetch_all(db)
    .await?;
    let ended = rows.into_iter().map(|(session_id, user_id, client_id)| Ended {
        session_id: session_id.into(),
        user_id: user_id.into(),
        client_id,
    });
    Ok(ended.collect())
}

/// A live session as its user sees it.
pub struct Listed {
    pub session: Session,
    pub client_ids: Vec<String>,
}

/// The newest 100 live sessions of a user.
#[tracing::instrument(name = "db.session.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<Listed>, Error> {
    #[derive(sqlx::FromRow)]
    struct WithClients {
        #[sqlx(flatten)]
        session: Row,
        client_ids: Vec<String>,
    }
    let rows: Vec<WithClients> = sqlx::query_as(
        "select s.session_id, s.user_id, s.epoch, s.pwd_at, s.passkey_at, s.otp_at, s.seen_at, s.expires_at, s.ended_at,
                array(select c.client_id from identity.session_client c
                      where c.session_id = s.session_id order by c.client_id) as client_ids
         from identity.browser_session s
         where s.user_id = $1 and s.ended_at is null and s.expires_at > $2
         order by s.session_id desc
         limit 100",
    )
    .bind(user_id.0)
    .bind(now)
    .fetch_all(db)
    .await?;
    let listed =
        rows.into_iter().map(|row| Listed { session: row.session.into(), client_ids: row.client_ids });
    Ok(listed.collect())
}

/// Live sessions of a user, to be ended.
#[tracing::instrument(name = "db.session.ids_of_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn ids_of_user(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        "select session_id from identity.browser_session where user_id = $1 and ended_at is null",
        user_id.0
    );
    Ok(ids.fetch_all(db).await?)
}

/// Revokes the grants of a session's user that outlive sessions, but for those that came of this one, and tells every
/// instance.
#[tracing::instrument(name = "db.token_family.revoke_elsewhere", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke_offline_elsewhere(
    db: impl PgExecutor<'_>,
    kept: &Session,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "with revoked as (
             update identity.token_family
             set revoked_at = $3
             where user_id = $1 and session_id <> $2 and offline and revoked_at is null
             returning family_id
         )
         insert into identity.revocation (family_id, at)
         select family_id, $3 from revoked",
    )
    .bind(kept.user_id.0)
    .bind(kept.session_id.0)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// At most 200 sessions whose time is over but which nobody ended.
pub async fn overdue(
    db: impl PgExecutor<'_>,
    idle_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, Error> {
    let ids = sqlx::query_scalar!(
        "select session_id
         from identity.browser_session
         where ended_at is null and (expires_at <= $1 or seen_at <= $2)
         limit 200
         for update skip locked",
        now,
        idle_since
    );
    Ok(ids.fetch_all(db).await?)
}
