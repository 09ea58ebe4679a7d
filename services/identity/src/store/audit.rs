use domain::{DateTime, Utc, Uuid};
use futures::TryStreamExt as _;
use sqlx::{PgConnection, PgExecutor};

use crate::{
    audit::{Digest, Seal, Sealed},
    error::Error,
    partitions::first_id_of,
};

/// A record as operators see it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Listed {
    pub audit_id: Uuid,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub client_id: String,
    pub outcome: String,
    pub detail: serde_json::Value,
}

/// Which records are meant; all when nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// The page behind this record.
    pub after: Option<Uuid>,
}

/// The newest ones first.
#[tracing::instrument(name = "db.audit_record.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, choice: &Choice, limit: i64) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query_as(
        "select audit_id, at, actor, action, subject, client_id, outcome, detail
         from identity.audit_record
         where ($1::text is null or actor = $1)
           and ($2::text is null or action = $2)
           and ($3::text is null or subject = $3)
           and audit_id >= coalesce($4, '00000000-0000-0000-0000-000000000000'::uuid)
           and audit_id < least($5, $6, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by audit_id desc
         limit $7",
    )
    .bind(&choice.actor)
    .bind(&choice.action)
    .bind(&choice.subject)
    .bind(choice.from.map(first_id_of))
    .bind(choice.to.map(first_id_of))
    .bind(choice.after)
    .bind(limit);
    Ok(rows.fetch_all(db).await?)
}

/// Positions of this cluster stand above those of the one that wrote before; true when it is another one.
#[tracing::instrument(name = "db.audit_chain.adopt", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn adopt_cluster(db: impl PgExecutor<'_>) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.audit_chain
         set generation = generation + (system_identifier is not null)::integer, system_identifier = own.id
         from (select system_identifier as id from pg_control_system()) own
         where system_identifier is distinct from own.id
         returning generation",
    );
    let generation: Option<i64> = done.fetch_optional(db).await?.map(|row| sqlx::Row::get(&row, 0));
    Ok(generation.is_some_and(|generation| generation > 0))
}

/// Whether this transaction is the one that seals; nobody waits.
pub async fn try_lock(db: &mut PgConnection) -> Result<bool, Error> {
    let sql = "select pg_try_advisory_xact_lock(hashtextextended('identity.audit_seal', 0))";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}

/// Below this position every record is there: the transactions that wrote them are over.
pub async fn horizon(db: impl PgExecutor<'_>) -> Result<i64, Error> {
    let sql = "select (select generation from identity.audit_chain) * 281474976710656
                      + pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}

#[derive(sqlx::FromRow)]
struct SealedRow {
    audit_id: Uuid,
    at: DateTime<Utc>,
    actor: String,
    action: String,
    subject: String,
    client_id: String,
    outcome: String,
    detail: String,
}

/// The digest of the records from one position to another.
pub async fn digest(db: impl PgExecutor<'_>, from: i64, to: i64) -> Result<Digest, Error> {
    let mut rows = sqlx::query_as::<_, SealedRow>(
        "select audit_id, at, actor, action, subject, client_id, outcome, detail::text
         from identity.audit_record
         where position >= $1 and position < $2
         order by position, audit_id",
    )
    .bind(from)
    .bind(to)
    .fetch(db);
    let mut digest = Digest::default();
    while let Some(row) = rows.try_next().await? {
        let SealedRow { audit_id, at, actor, action, subject, client_id, outcome, detail } = row;
        digest.add(&Sealed { audit_id, at, actor, action, subject, client_id, outcome, detail });
    }
    Ok(digest)
}

#[derive(sqlx::FromRow)]
struct SealRow {
    seal_no: i64,
    from_position: i64,
    to_position: i64,
    records: i64,
    mac: Vec<u8>,
    sealed_at: DateTime<Utc>,
}

impl From<SealRow> for Seal {
    fn from(row: SealRow) -> Self {
        Self {
            seal_no: row.seal_no,
            from: row.from_position,
            to: row.to_position,
            records: row.records,
            mac: row.mac,
            sealed_at: row.sealed_at,
        }
    }
}

/// The seals from a number on, at most `limit`.
pub async fn seals(db: impl PgExecutor<'_>, from: i64, limit: i64) -> Result<Vec<Seal>, Error> {
    let rows: Vec<SealRow> = sqlx::query_as(
        "select seal_no, from_position, to_position, records, mac, sealed_at
         from identity.audit_seal
         where seal_no >= $1
         order by seal_no
         limit $2",
    )
    .bind(from)
    .bind(limit)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Seal::from).collect())
}

/// The last seal.
pub async fn last_seal(db: impl PgExecutor<'_>) -> Result<Option<Seal>, Error> {
    let row: Option<SealRow> = sqlx::query_as(
        "select seal_no, from_position, to_position, records, mac, sealed_at
         from identity.audit_seal
         order by seal_no desc
         limit 1",
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Seal::from))
}

pub async fn insert_seal(db: impl PgExecutor<'_>, seal: &Seal) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.audit_seal (seal_no, from_position, to_position, records, mac, sealed_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(seal.seal_no)
    .bind(seal.from)
    .bind(seal.to)
    .bind(seal.records)
    .bind(&seal.mac)
    .bind(seal.sealed_at)
    .execute(db)
    .await?;
    Ok(())
}

/// The first seal that was made at a time or later.
pub async fn seal_since(db: impl PgExecutor<'_>, at: DateTime<Utc>) -> Result<Option<i64>, Error> {
    let sql = "select min(seal_no) from identity.audit_seal where sealed_at >= $1";
    Ok(sqlx::query_scalar(sql).bind(at).fetch_one(db).await?)
}
