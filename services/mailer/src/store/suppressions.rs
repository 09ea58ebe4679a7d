use domain::{CampaignId, ConsentKey, DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::senders::consent_key;
use crate::{
    Error,
    suppression::{Reason, Scope, Suppression},
};

#[derive(sqlx::FromRow)]
struct Row {
    suppression_id: Uuid,
    version: i64,
    profile_id: Uuid,
    address_hash: Option<Vec<u8>>,
    scope: String,
    sender_key: Option<String>,
    purpose: Option<String>,
    recipient: Option<String>,
    reason: String,
    campaign_id: Option<Uuid>,
    at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

/// A withdrawal that profile is to record.
#[derive(Debug)]
pub struct Withdrawal {
    /// The suppression, also the request id.
    pub suppression_id: Uuid,
    /// Whose.
    pub profile_id: ProfileId,
    /// Of what.
    pub purpose: ConsentKey,
}

/// Writes a suppression; false when one like it stands already. `withdraw_at`: when profile is to record it.
#[tracing::instrument(name = "db.suppression.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_suppression(
    tx: &mut PgTransaction<'_>,
    suppression: &Suppression,
    withdraw_at: Option<DateTime<Utc>>,
) -> Result<bool, Error> {
    let (sender_key, purpose) = match &suppression.scope {
        Scope::All => (None, None),
        Scope::Sender { key, purpose } => (Some(key.as_str()), Some(purpose)),
    };
    let done = sqlx::query!(
        r#"
        insert into mailer.suppression
            (suppression_id, version, profile_id, address_hash, scope, sender_key, purpose, recipient, reason,
             campaign_id, at, withdraw_next)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (profile_id, scope, coalesce(sender_key, ''), reason) where ended_at is null do nothing
        "#,
        suppression.suppression_id,
        suppression.version,
        suppression.profile_id.0,
        suppression.address_hash,
        suppression.scope.name(),
        sender_key,
        purpose.map(|key| key.purpose().name()),
        purpose.map(ConsentKey::recipient),
        suppression.reason.name(),
        suppression.campaign_id.map(|id| id.0),
        suppression.at,
        withdraw_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What stands for some people.
#[tracing::instrument(name = "db.suppression.load_standing", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_standing(
    tx: &mut PgTransaction<'_>,
    profile_ids: &[Uuid],
) -> Result<Vec<Suppression>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select suppression_id, version, profile_id, address_hash, scope, sender_key, purpose, recipient, reason,
               campaign_id, at, ended_at
        from mailer.suppression
        where profile_id = any($1) and ended_at is null
        "#,
        profile_ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Suppression::try_from).collect()
}

/// What stands for one person, locked.
#[tracing::instrument(name = "db.suppression.load_standing_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_standing_for_update(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
) -> Result<Vec<Suppression>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select suppression_id, version, profile_id, address_hash, scope, sender_key, purpose, recipient, reason,
               campaign_id, at, ended_at
        from mailer.suppression
        where profile_id = $1 and ended_at is null
        for update
        "#,
        profile_id.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Suppression::try_from).collect()
}

/// Locks and loads the next suppressions behind an id, ended ones too, by id.
#[tracing::instrument(name = "db.suppression.lock_page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_suppressions(
    tx: &mut PgTransaction<'_>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Suppression>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select suppression_id, version, profile_id, address_hash, scope, sender_key, purpose, recipient, reason,
                campaign_id, at, ended_at
         from mailer.suppression
         where suppression_id > coalesce($1, '00000000-0000-0000-0000-000000000000')
         order by suppression_id
         limit $2
         for update",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Suppression::try_from).collect()
}

/// Everything that was ever known about a person, newest first.
#[tracing::instrument(name = "db.suppression.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_suppressions(db: &PgPool, profile_id: ProfileId) -> Result<Vec<Suppression>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select suppression_id, version, profile_id, address_hash, scope, sender_key, purpose, recipient, reason,
               campaign_id, at, ended_at
        from mailer.suppression
        where profile_id = $1
        order by at desc, suppression_id desc
        limit 500
        "#,
        profile_id.0,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Suppression::try_from).collect()
}

/// Writes the end of a suppression; a withdrawal that was not recorded yet is void.
#[tracing::instrument(name = "db.suppression.save_ended", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_ended(tx: &mut PgTransaction<'_>, suppression: &Suppression) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.suppression
        set version = $2, ended_at = $3, withdraw_next = null
        where suppression_id = $1
        "#,
        suppression.suppression_id,
        suppression.version,
        suppression.ended_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes withdrawals that are to be recorded; they come again at `again` unless they are saved as done.
pub async fn due_withdrawals(
    db: &PgPool,
    now: DateTime<Utc>,
    again: DateTime<Utc>,
) -> Result<Vec<Withdrawal>, Error> {
    let rows = sqlx::query!(
        r#"
        update mailer.suppression as taken
        set withdraw_next = $2
        from (
            select suppression_id
            from mailer.suppression
            where withdraw_next <= $1
            order by withdraw_next
            limit 50
            for update skip locked
        ) as due
        where taken.suppression_id = due.suppression_id
        returning taken.suppression_id, taken.profile_id, taken.purpose, taken.recipient
        "#,
        now,
        again,
    )
    .fetch_all(db)
    .await?;
    let mut withdrawals = Vec::with_capacity(rows.len());
    for row in rows {
        let purpose = row.purpose.zip(row.recipient).ok_or(Error::Stored { what: "purpose" })?;
        withdrawals.push(Withdrawal {
            suppression_id: row.suppression_id,
            profile_id: ProfileId(row.profile_id),
            purpose: consent_key(&purpose.0, &purpose.1)?,
        });
    }
    Ok(withdrawals)
}

/// Profile has it on record, or never will.
#[tracing::instrument(name = "db.suppression.save_withdrawn", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_withdrawn(db: &PgPool, suppression_id: Uuid, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update mailer.suppression set withdrawn_at = $2, withdraw_next = null where suppression_id = $1",
        suppression_id,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

impl TryFrom<Row> for Suppression {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let scope = match (row.scope.as_str(), row.sender_key, row.purpose, row.recipient) {
            ("all", ..) => Scope::All,
            (_, Some(key), Some(purpose), Some(recipient)) => {
                Scope::Sender { key, purpose: consent_key(&purpose, &recipient)? }
            }
            _ => return Err(Error::Stored { what: "scope" }),
        };
        Ok(Self {
            suppression_id: row.suppression_id,
            version: row.version,
            profile_id: ProfileId(row.profile_id),
            address_hash: row.address_hash,
            scope,
            reason: Reason::find(&row.reason).ok_or(Error::Stored { what: "reason" })?,
            campaign_id: row.campaign_id.map(CampaignId),
            at: row.at,
            ended_at: row.ended_at,
        })
    }
}
