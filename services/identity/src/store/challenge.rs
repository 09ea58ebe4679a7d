use domain::{DateTime, EmailAddress, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

use super::{stored, uncount};
use crate::{
    challenge::{Challenge, Purpose},
    error::Error,
};

#[derive(sqlx::FromRow)]
struct Row {
    challenge_id: Uuid,
    purpose: String,
    address: Vec<u8>,
    user_id: Option<Uuid>,
    locale: String,
    client_id: String,
    progress: Option<Vec<u8>>,
    failures: i32,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    consumed_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_challenge(self) -> Result<Challenge, Error> {
        let purpose = Purpose::find(&self.purpose).ok_or(Error::Stored { what: "purpose" })?;
        Ok(Challenge {
            challenge_id: self.challenge_id,
            purpose,
            address: stored("address", EmailAddress::classify(&self.address))?,
            user_id: self.user_id.map(Into::into),
            locale: stored("locale", self.locale.parse())?,
            client_id: self.client_id,
            progress: self.progress,
            failures: uncount(self.failures),
            created_at: self.created_at,
            expires_at: self.expires_at,
            consumed: self.consumed_at.is_some(),
        })
    }
}

/// Writes a challenge, with its mail to be sent where there is one; false when its id is taken.
#[tracing::instrument(name = "db.challenge.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, challenge: &Challenge) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into identity.email_challenge
             (challenge_id, purpose, address, class, user_id, locale, client_id, progress, failures, mail_state,
              attempts, next_at, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, $10, $10, $11)
         on conflict (challenge_id) do nothing",
    )
    .bind(challenge.challenge_id)
    .bind(challenge.purpose.name())
    .bind(challenge.address.as_bytes())
    .bind(challenge.address.class().name())
    .bind(challenge.user_id.map(|id| id.0))
    .bind(challenge.locale.tag())
    .bind(&challenge.client_id)
    .bind(&challenge.progress)
    .bind(if challenge.purpose.template().is_some() { "pending" } else { "expired" })
    .bind(challenge.created_at)
    .bind(challenge.expires_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[tracing::instrument(name = "db.challenge.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, challenge_id: Uuid) -> Result<Option<Challenge>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select challenge_id, purpose, address, user_id, locale, client_id, progress, failures, created_at, expires_at,
                consumed_at
         from identity.email_challenge
         where challenge_id = $1",
    )
    .bind(challenge_id)
    .fetch_optional(db)
    .await?;
    row.map(Row::into_challenge).transpose()
}

/// Consumes a challenge; false when somebody did so first.
#[tracing::instrument(name = "db.challenge.consume", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn consume(db: &mut PgConnection, challenge_id: Uuid, now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update identity.email_challenge
         set consumed_at = $2
         where challenge_id = $1 and consumed_at is null and expires_at > $2",
        challenge_id,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[tracing::instrument(name = "db.challenge.count_failure", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn count_failure(db: impl PgExecutor<'_>, challenge_id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "update identity.email_challenge set failures = failures + 1 where challenge_id = $1",
        challenge_id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A challenge whose mail is due, leased to this worker until `lease`.
pub struct DueMail {
    pub challenge: Challenge,
    pub attempts: u32,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    challenge: Row,
    attempts: i32,
}

/// Leases at most 20 due mails. Purposes of a later version wait for a process that knows them.
pub async fn lease_mails(
    db: impl PgExecutor<'_>,
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<DueMail>, Error> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "with due as (
             select challenge_id
             from identity.email_challenge
             where mail_state = 'pending' and next_at <= $1 and purpose = any($3)
             order by next_at
             limit 20
             for update skip locked
         )
         update identity.email_challenge c
         set next_at = $2, attempts = attempts + 1
         from due
         where c.challenge_id = due.challenge_id
         returning c.challenge_id, c.purpose, c.address, c.user_id, c.locale, c.client_id, c.progress, c.failures,
                   c.created_at, c.expires_at, c.consumed_at, c.attempts",
    )
    .bind(now)
    .bind(lease)
    .bind(Purpose::ALL.map(Purpose::name))
    .fetch_all(db)
    .await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        due.push(DueMail { challenge: row.challenge.into_challenge()?, attempts: uncount(row.attempts) });
    }
    Ok(due)
}

/// What became of a mail: `sent`, `expired`, or `pending` until `next_at`.
#[tracing::instrument(name = "db.challenge.save_mail", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_mail(
    db: impl PgExecutor<'_>,
    challenge_id: Uuid,
    state: &str,
    next_at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update identity.email_challenge
         set mail_state = $2, next_at = $3
         where challenge_id = $1 and mail_state = 'pending'",
        challenge_id,
        state,
        next_at
    )
    .execute(db)
    .await?;
    Ok(())
}
