use domain::{DateTime, EmailAddress, Utc, Uuid};
use sqlx::{PgConnection, PgExecutor};

use super::{stored, uncount};
use crate::{
    challenge::{Challenge, Purpose},
    error::Error,
};

struct Row {
    challenge_id: Uuid,
    purpose: String,
    address: Vec<u8>,
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
        let purpose = match self.purpose.as_str() {
            "sign_up" => Purpose::SignUp,
            "address_taken" => Purpose::AddressTaken,
            _ => return Err(Error::Stored { what: "purpose" }),
        };
        Ok(Challenge {
            challenge_id: self.challenge_id,
            purpose,
            address: stored("address", EmailAddress::classify(&self.address))?,
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

#[tracing::instrument(name = "db.challenge.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, challenge: &Challenge) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.email_challenge
             (challenge_id, purpose, address, class, locale, client_id, progress, failures, mail_state, attempts,
              next_at, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, 0, 'pending', 0, $8, $8, $9)",
        challenge.challenge_id,
        challenge.purpose.name(),
        challenge.address.as_bytes(),
        challenge.address.class().name(),
        challenge.locale.tag(),
        challenge.client_id,
        challenge.progress,
        challenge.created_at,
        challenge.expires_at
    )
    .execute(db)
    .await?;
    Ok(())
}

#[tracing::instrument(name = "db.challenge.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load(db: impl PgExecutor<'_>, challenge_id: Uuid) -> Result<Option<Challenge>, Error> {
    let row = sqlx::query_as!(
        Row,
        "select challenge_id, purpose, address, locale, client_id, progress, failures, created_at, expires_at,
                consumed_at
         from identity.email_challenge
         where challenge_id = $1",
        challenge_id
    )
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

/// Leases at most 20 due mails.
pub async fn lease_mails(
    db: impl PgExecutor<'_>,
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<DueMail>, Error> {
    let rows = sqlx::query!(
        "with due as (
             select challenge_id
             from identity.email_challenge
             where mail_state = 'pending' and next_at <= $1
             order by next_at
             limit 20
             for update skip locked
         )
         update identity.email_challenge c
         set next_at = $2, attempts = attempts + 1
         from due
         where c.challenge_id = due.challenge_id
         returning c.challenge_id, c.purpose, c.address, c.locale, c.client_id, c.progress, c.failures, c.created_at,
                   c.expires_at, c.consumed_at, c.attempts",
        now,
        lease
    )
    .fetch_all(db)
    .await?;
    let mut due = Vec::with_capacity(rows.len());
    for row in rows {
        let challenge = Row {
            challenge_id: row.challenge_id,
            purpose: row.purpose,
            address: row.address,
            locale: row.locale,
            client_id: row.client_id,
            progress: row.progress,
            failures: row.failures,
            created_at: row.created_at,
            expires_at: row.expires_at,
            consumed_at: row.consumed_at,
        };
        due.push(DueMail { challenge: challenge.into_challenge()?, attempts: uncount(row.attempts) });
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
