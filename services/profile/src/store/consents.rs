use std::collections::{BTreeMap, HashMap};

use domain::{ConsentKey, DateTime, ProfileId, Purpose, Utc, Uuid};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    consent::{ConsentLedger, ConsentRecord, Evidence, Head, Notice, Status, terms},
};

/// A notice as it was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// What it is about.
    pub key: ConsentKey,
    /// The words.
    pub notice: Notice,
    /// The text itself.
    pub text: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
}

/// A head in jsonb.
#[derive(Debug, Serialize, Deserialize)]
struct StoredHead {
    purpose: String,
    recipient: String,
    status: String,
    valid_until: Option<DateTime<Utc>>,
    record_id: Uuid,
    notice_sha256: Option<[u8; 32]>,
    at: DateTime<Utc>,
}

/// The ledger of a person; the empty one where nothing was said.
#[tracing::instrument(name = "db.consent_ledger.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_ledger(pool: &PgPool, profile_id: ProfileId) -> Result<ConsentLedger, Error> {
    let row = sqlx::query!(
        r#"
        select version, heads as "heads: Json<Vec<StoredHead>>"
        from profile.consent_state
        where profile_id = $1
        "#,
        profile_id.0,
    )
    .fetch_optional(pool)
    .await?;
    row.map_or_else(
        || Ok(ConsentLedger::empty(profile_id)),
        |row| ledger(profile_id, row.version, row.heads.0),
    )
}

/// The ledgers of those of these people who have said something.
#[tracing::instrument(name = "db.consent_ledger.load_many", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_ledgers(
    database: impl PgExecutor<'_>,
    profile_ids: &[ProfileId],
) -> Result<HashMap<ProfileId, ConsentLedger>, Error> {
    let ids: Vec<Uuid> = profile_ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"
        select profile_id, version, heads as "heads: Json<Vec<StoredHead>>"
        from profile.consent_state
        where profile_id = any($1)
        "#,
        &ids,
    )
    .fetch_all(database)
    .await?;
    let mut ledgers = HashMap::with_capacity(rows.len());
    for row in rows {
        let profile_id = ProfileId(row.profile_id);
        ledgers.insert(profile_id, ledger(profile_id, row.version, row.heads.0)?);
    }
    Ok(ledgers)
}

/// Locks and loads the ledger of a person. The profile's row is the lock, as the first ledger has no row of its own.
#[tracing::instrument(name = "db.consent_ledger.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_ledger_for_update(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
) -> Result<Option<ConsentLedger>, Error> {
    let locked = sqlx::query_scalar!(
        "select 1 from profile.profile where profile_id = $1 and state = 'active' for update",
        profile_id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    let row = sqlx::query!(
        r#"
        select version, heads as "heads: Json<Vec<StoredHead>>"
        from profile.consent_state
        where profile_id = $1
        "#,
        profile_id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map_or_else(
        || Ok(ConsentLedger::empty(profile_id)),
        |row| ledger(profile_id, row.version, row.heads.0),
    )
    .map(Some)
}

/// Writes the heads of a locked ledger.
#[tracing::instrument(name = "db.consent_ledger.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_ledger(tx: &mut PgTransaction<'_>, ledger: &ConsentLedger) -> Result<(), Error> {
    let heads: Vec<StoredHead> = ledger
        .heads
        .iter()
        .map(|(key, head)| StoredHead {
            purpose: key.purpose().name().to_owned(),
            recipient: key.recipient().to_owned(),
            status: head.status.name().to_owned(),
            valid_until: head.valid_until,
            record_id: head.record_id,
            notice_sha256: head.notice_sha256,
            at: head.at,
        })
        .collect();
    sqlx::query!(
        r#"
        insert into profile.consent_state (profile_id, version, heads)
        values ($1, $2, $3)
        on conflict (profile_id) do update set version = excluded.version, heads = excluded.heads
        "#,
        ledger.profile_id.0,
        ledger.version,
        Json(heads) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds lines to the ledger.
#[tracing::instrument(name = "db.consent_record.append", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn append_records(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
    records: &[ConsentRecord],
) -> Result<(), Error> {
    for record in records {
        let terms = terms(record.key.purpose());
        let notice_version = record.notice.as_ref().map(|notice| notice.version.cast_signed());
        sqlx::query!(
            r#"
            insert into profile.consent_record
                (record_id, profile_id, purpose, recipient, status, controller, lawful_basis,
                 notice_version, notice_language, notice_sha256, method, client_id, at, valid_until)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            "#,
            record.record_id,
            profile_id.0,
            record.key.purpose().name(),
            record.key.recipient(),
            record.status.name(),
            terms.controller,
            terms.lawful_basis,
            notice_version,
            record.notice.as_ref().map(|notice| notice.language.as_str()),
            record.notice.as_ref().map(|notice| notice.sha256.as_slice()),
            record.evidence.method,
            record.evidence.client_id,
            record.at,
            record.valid_until,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The newest lines of a person's ledger, newest first.
#[tracing::instrument(name = "db.consent_record.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_records(
    pool: &PgPool,
    profile_id: ProfileId,
    limit: i64,
) -> Result<Vec<ConsentRecord>, Error> {
    let rows = sqlx::query!(
        r#"
        select record_id, purpose, recipient, status, notice_version, notice_language, notice_sha256, method,
               client_id, at, valid_until
        from profile.consent_record
        where profile_id = $1
        order by at desc, record_id desc
        limit $2
        "#,
        profile_id.0,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(ConsentRecord {
            record_id: row.record_id,
            key: consent_key(&row.purpose, &row.recipient)?,
            status: status(&row.status)?,
            notice: notice(row.notice_version, row.notice_language, row.notice_sha256)?,
            evidence: Evidence { method: row.method, client_id: row.client_id },
            at: row.at,
            valid_until: row.valid_until,
        });
    }
    Ok(records)
}

/// Which of these people permitted a purpose at a time, by the newest record up to then.
#[tracing::instrument(name = "db.consent_record.permitted_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn permitted_at(
    pool: &PgPool,
    profile_ids: &[ProfileId],
    key: &ConsentKey,
    at: DateTime<Utc>,
) -> Result<Vec<ProfileId>, Error> {
    let ids: Vec<Uuid> = profile_ids.iter().map(|id| id.0).collect();
    let permitted = sqlx::query_scalar!(
        r#"
        select asked.profile_id as "profile_id!"
        from unnest($1::uuid[]) with ordinality as asked (profile_id, n)
        cross join lateral (
            select c.status, c.valid_until
            from profile.consent_record c
            where c.purpose = $2 and c.recipient = $3 and c.profile_id = asked.profile_id and c.at <= $4
            order by c.at desc, c.record_id desc
            limit 1
        ) newest
        where newest.status = 'given' and (newest.valid_until is null or newest.valid_until > $4)
        order by asked.n
        "#,
        &ids,
        key.purpose().name(),
        key.recipient(),
        at,
    )
    .fetch_all(pool)
    .await?;
    Ok(permitted.into_iter().map(ProfileId).collect())
}

/// Publishes a notice. False when this version is published already.
#[tracing::instrument(name = "db.notice.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_notice(pool: &PgPool, published: &Published) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        insert into profile.notice (purpose, recipient, language, version, body, sha256, published_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict do nothing
        "#,
        published.key.purpose().name(),
        published.key.recipient(),
        published.notice.language,
        published.notice.version.cast_signed(),
        published.text,
        &published.notice.sha256,
        published.published_at,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One published notice.
#[tracing::instrument(name = "db.notice.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_notice(
    pool: &PgPool,
    key: &ConsentKey,
    language: &str,
    version: u32,
) -> Result<Option<Notice>, Error> {
    // PostgreSQL's text holds no NUL, so no notice is in such a language.
    if language.contains('\0') {
        return Ok(None);
    }
    let sha256 = sqlx::query_scalar!(
        r#"
        select sha256 from profile.notice
        where purpose = $1 and recipient = $2 and language = $3 and version = $4
        "#,
        key.purpose().name(),
        key.recipient(),
        language,
        version.cast_signed(),
    )
    .fetch_optional(pool)
    .await?;
    sha256
        .map(|sha256| Ok(Notice { version, language: language.to_owned(), sha256: digest(sha256)? }))
        .transpose()
}

/// The newest notice of each purpose and language; of one language where it is named.
#[tracing::instrument(name = "db.notice.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_notices(pool: &PgPool, language: Option<&str>) -> Result<Vec<Published>, Error> {
    if language.is_some_and(|language| language.contains('\0')) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        select distinct on (purpose, recipient, language)
               purpose, recipient, language, version, body, sha256, published_at
        from profile.notice
        where $1::text is null or language = $1
        order by purpose, recipient, language, version desc
        limit 1000
        "#,
        language,
    )
    .fetch_all(pool)
    .await?;
    let mut notices = Vec::with_capacity(rows.len());
    for row in rows {
        let notice = Notice {
            version: row.version.cast_unsigned(),
            language: row.language,
            sha256: digest(row.sha256)?,
        };
        let key = consent_key(&row.purpose, &row.recipient)?;
        notices.push(Published { key, notice, text: row.body, published_at: row.published_at });
    }
    Ok(notices)
}

fn ledger(profile_id: ProfileId, version: i64, stored: Vec<StoredHead>) -> Result<ConsentLedger, Error> {
    let mut heads = BTreeMap::new();
    for head in stored {
        let key = consent_key(&head.purpose, &head.recipient)?;
        let head = Head {
            status: status(&head.status)?,
            valid_until: head.valid_until,
            record_id: head.record_id,
            notice_sha256: head.notice_sha256,
            at: head.at,
        };
        heads.insert(key, head);
    }
    Ok(ConsentLedger { profile_id, version, heads })
}

fn consent_key(purpose: &str, recipient: &str) -> Result<ConsentKey, Error> {
    let unreadable = |_| Error::Stored { what: "consent key" };
    let purpose: Purpose = purpose.parse().map_err(unreadable)?;
    ConsentKey::new(purpose, recipient).map_err(unreadable)
}

fn status(name: &str) -> Result<Status, Error> {
    Status::find(name).ok_or(Error::Stored { what: "consent status" })
}

fn notice(
    version: Option<i32>,
    language: Option<String>,
    sha256: Option<Vec<u8>>,
) -> Result<Option<Notice>, Error> {
    let (Some(version), Some(language), Some(sha256)) = (version, language, sha256) else { return Ok(None) };
    Ok(Some(Notice { version: version.cast_unsigned(), language, sha256: digest(sha256)? }))
}

fn digest(bytes: Vec<u8>) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Stored { what: "digest" })
}
