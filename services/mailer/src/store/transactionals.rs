use domain::{DateTime, RequestId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use crate::{
    Error,
    transactional::{State, Template},
};

/// A new row.
#[derive(Debug)]
pub struct Queued {
    /// Its id.
    pub transactional_id: Uuid,
    /// The caller's id.
    pub request_id: RequestId,
    /// Key behind `body_mac`.
    pub key_id: String,
    /// Keyed hash of the request.
    pub body_mac: Vec<u8>,
    /// Which words.
    pub template: Template,
    /// Address, language and values.
    pub sealed: Vec<u8>,
    /// With angle brackets.
    pub message_id: String,
    /// After it the mail is not sent any more.
    pub deadline: DateTime<Utc>,
}

/// A row that this process sends.
#[derive(Debug)]
pub struct Held {
    /// Its id.
    pub transactional_id: Uuid,
    /// Which words.
    pub template: Template,
    /// Address, language and values.
    pub sealed: Vec<u8>,
    /// With angle brackets.
    pub message_id: String,
    /// After it the mail is not sent any more.
    pub deadline: DateTime<Utc>,
    /// Answers of relays so far.
    pub attempts: u32,
}

/// Queues a mail; a repeated request id changes nothing.
#[tracing::instrument(name = "db.transactional.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_transactional(
    tx: &mut PgTransaction<'_>,
    queued: &Queued,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into mailer.transactional
            (transactional_id, request_id, key_id, body_mac, template, sealed, state, message_id, deadline, next_at,
             created_at)
        values ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $9)
        on conflict (request_id) do nothing
        "#,
        queued.transactional_id,
        queued.request_id.0,
        queued.key_id,
        queued.body_mac,
        queued.template.name(),
        queued.sealed,
        queued.message_id,
        queued.deadline,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Id, key and keyed hash of what a request queued.
#[tracing::instrument(name = "db.transactional.find_by_request", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_transactional_by_request(
    tx: &mut PgTransaction<'_>,
    request_id: RequestId,
) -> Result<Option<(Uuid, String, Vec<u8>)>, Error> {
    let row = sqlx::query!(
        "select transactional_id, key_id, body_mac from mailer.transactional where request_id = $1",
        request_id.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| (row.transactional_id, row.key_id, row.body_mac)))
}

/// State and Message-ID of a mail.
#[tracing::instrument(name = "db.transactional.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_transactional(
    db: &PgPool,
    transactional_id: Uuid,
) -> Result<Option<(State, String)>, Error> {
    let row = sqlx::query!(
        "select state, message_id from mailer.transactional where transactional_id = $1",
        transactional_id
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state = State::find(&row.state).ok_or(Error::Stored { what: "transactional state" })?;
    Ok(Some((state, row.message_id)))
}

/// Leases mails whose time has come.
pub async fn lease_transactionals(
    db: &PgPool,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Held>, Error> {
    let rows = sqlx::query!(
        r#"
        update mailer.transactional as leased
        set leased_until = $2
        from (
            select transactional_id
            from mailer.transactional
            where state = 'queued' and next_at <= $1 and (leased_until is null or leased_until <= $1)
            order by next_at
            limit 20
            for update skip locked
        ) as due
        where leased.transactional_id = due.transactional_id
        returning leased.transactional_id, leased.template, leased.sealed as "sealed!", leased.message_id,
                  leased.deadline, leased.attempts
        "#,
        now,
        until,
    )
    .fetch_all(db)
    .await?;
    let mut held = Vec::with_capacity(rows.len());
    for row in rows {
        held.push(Held {
            transactional_id: row.transactional_id,
            template: Template::find(&row.template).ok_or(Error::Stored { what: "template" })?,
            sealed: row.sealed,
            message_id: row.message_id,
            deadline: row.deadline,
            attempts: row.attempts.cast_unsigned(),
        });
    }
    Ok(held)
}

/// Writes the outcome, and wipes address and secrets.
#[tracing::instrument(name = "db.transactional.finish", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn finish_transactional(
    db: &PgPool,
    transactional_id: Uuid,
    state: State,
    reason: &str,
    relay_code: Option<u16>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.transactional
        set state = $2, reason = $3, relay_code = $4, finished_at = $5, sealed = null, leased_until = null,
            attempts = attempts + 1
        where transactional_id = $1 and state = 'queued'
        "#,
        transactional_id,
        state.name(),
        reason,
        relay_code.map(i32::from),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Tries later.
#[tracing::instrument(name = "db.transactional.postpone", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn postpone_transactional(
    db: &PgPool,
    transactional_id: Uuid,
    reason: &str,
    relay_code: Option<u16>,
    next_at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.transactional
        set next_at = $4, reason = $2, relay_code = $3, leased_until = null, attempts = attempts + 1
        where transactional_id = $1 and state = 'queued'
        "#,
        transactional_id,
        reason,
        relay_code.map(i32::from),
        next_at,
    )
    .execute(db)
    .await?;
    Ok(())
}
