//! All SQL of segmentation. Domain types in and out.
//! Each operation is a span, but for those that a loop repeats without work.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ConsentKey, DateTime, ProfileId, Purpose, RequestId, SegmentId, Utc, Uuid};
use sqlx::{PgConnection, PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    freeze::{Freeze, Watermark},
    membership::Transition,
    segment::{Segment, SegmentKey, State},
};

#[derive(sqlx::FromRow)]
struct SegmentRow {
    segment_id: Uuid,
    key: String,
    name: String,
    state: String,
    version: i32,
    purpose: Option<String>,
    recipient: String,
    created_at: DateTime<Utc>,
    rule: String,
    rule_hash: Vec<u8>,
}

/// Writes a new segment with its first version.
#[tracing::instrument(name = "db.segment.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(tx: &mut PgTransaction<'_>, segment: &Segment) -> Result<(), Error> {
    let purpose = segment.purpose.as_ref();
    sqlx::query!(
        r#"
        insert into segmentation.segment (segment_id, key, name, state, version, purpose, recipient, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        segment.segment_id.0,
        segment.key.as_str(),
        segment.name,
        segment.state.name(),
        segment.version.cast_signed(),
        purpose.map(|key| key.purpose().name()),
        purpose.map_or("", |key| key.recipient()),
        segment.created_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes the present version of a segment's rule.
#[tracing::instrument(name = "db.segment_version.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_version(
    tx: &mut PgTransaction<'_>,
    segment: &Segment,
    author: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into segmentation.segment_version (segment_id, version, rule, rule_hash, author, at)
        values ($1, $2, $3, $4, $5, $6)
        "#,
        segment.segment_id.0,
        segment.version.cast_signed(),
        segment.rule.canonical_json(),
        &segment.rule_hash,
        author,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes the version and state of a locked segment.
#[tracing::instrument(name = "db.segment.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save(tx: &mut PgTransaction<'_>, segment: &Segment) -> Result<(), Error> {
    sqlx::query!(
        "update segmentation.segment set state = $2, version = $3 where segment_id = $1",
        segment.segment_id.0,
        segment.state.name(),
        segment.version.cast_signed(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Locks and loads a segment.
#[tracing::instrument(name = "db.segment.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(
    tx: &mut PgTransaction<'_>,
    segment_id: SegmentId,
) -> Result<Option<Segment>, Error> {
    let row = sqlx::query_as!(
        SegmentRow,
        r#"
        select s.segment_id, s.key, s.name, s.state, s.version, s.purpose, s.recipient, s.created_at, v.rule, v.rule_hash
        from segmentation.segment s
        join segmentation.segment_version v using (segment_id, version)
        where s.segment_id = $1
        for update of s
        "#,
        segment_id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Segment::try_from).transpose()
}

/// A segment by its id or its key.
#[tracing::instrument(name = "db.segment.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(pool: &PgPool, id_or_key: &str) -> Result<Option<Segment>, Error> {
    // PostgreSQL's text holds no NUL, so nothing has such a key.
    if id_or_key.contains('\0') {
        return Ok(None);
    }
    let id = id_or_key.parse::<SegmentId>().ok().map(Uuid::from);
    let row = sqlx::query_as!(
        SegmentRow,
        r#"
        select s.segment_id, s.key, s.name, s.state, s.version, s.purpose, s.recipient, s.created_at, v.rule, v.rule_hash
        from segmentation.segment s
        join segmentation.segment_version v using (segment_id, version)
        where s.segment_id = $1 or s.key = $2
        "#,
        id,
        id_or_key,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Segment::try_from).transpose()
}

/// A page of segments after an id, by id.
#[tracing::instrument(name = "db.segment.page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn page(pool: &PgPool, after: Option<SegmentId>, limit: i64) -> Result<Vec<Segment>, Error> {
    let rows = sqlx::query_as!(
        SegmentRow,
        r#"
        select s.segment_id, s.key, s.name, s.state, s.version, s.purpose, s.recipient, s.created_at, v.rule, v.rule_hash
        from segmentation.segment s
        join segmentation.segment_version v using (segment_id, version)
        where $1::uuid is null or s.segment_id > $1
        order by s.segment_id
        limit $2
        "#,
        after.map(Uuid::from),
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Segment::try_from).collect()
}

/// Locks and loads the next segments behind an id, by id.
#[tracing::instrument(name = "db.segment.lock_page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_page(
    tx: &mut PgTransaction<'_>,
    after: Option<SegmentId>,
    limit: i64,
) -> Result<Vec<Segment>, Error> {
    let rows: Vec<SegmentRow> = sqlx::query_as(
        "select s.segment_id, s.key, s.name, s.state, s.version, s.purpose, s.recipient, s.created_at, v.rule, v.rule_hash
         from segmentation.segment s
         join segmentation.segment_version v using (segment_id, version)
         where s.segment_id > coalesce($1, '00000000-0000-0000-0000-000000000000')
         order by s.segment_id
         limit $2
         for update of s",
    )
    .bind(after.map(Uuid::from))
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Segment::try_from).collect()
}

/// Every segment whose members are told to others: those in use, and archived ones that somebody is still in.
pub async fn load_live(pool: &PgPool) -> Result<Vec<Segment>, Error> {
    let rows = sqlx::query_as!(
        SegmentRow,
        r#"
        select s.segment_id, s.key, s.name, s.state, s.version, s.purpose, s.recipient, s.created_at, v.rule, v.rule_hash
        from segmentation.segment s
        join segmentation.segment_version v using (segment_id, version)
        where s.state = 'active'
           or exists (select from segmentation.membership m where m.segment_id = s.segment_id)
        order by s.segment_id
        "#,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Segment::try_from).collect()
}

/// Who is in which segment, as it was last told to others.
#[tracing::instrument(name = "db.membership.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_memberships(pool: &PgPool) -> Result<BTreeMap<SegmentId, BTreeSet<ProfileId>>, Error> {
    let rows =
        sqlx::query!("select segment_id, profile_id from segmentation.membership").fetch_all(pool).await?;
    let mut memberships: BTreeMap<SegmentId, BTreeSet<ProfileId>> = BTreeMap::new();
    for row in rows {
        memberships.entry(SegmentId(row.segment_id)).or_default().insert(ProfileId(row.profile_id));
    }
    Ok(memberships)
}

/// Writes a transition. False when it was written before: then nothing is to be told.
#[tracing::instrument(name = "db.membership.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_transition(tx: &mut PgTransaction<'_>, transition: &Transition) -> Result<bool, Error> {
    let done = if transition.entered {
        sqlx::query!(
            r#"
            insert into segmentation.membership (segment_id, profile_id, version, entered_at)
            values ($1, $2, $3, $4)
            on conflict (segment_id, profile_id) do nothing
            "#,
            transition.segment_id.0,
            transition.profile_id.0,
            transition.version.cast_signed(),
            transition.at,
        )
        .execute(&mut **tx)
        .await?
    } else {
        sqlx::query!(
            "delete from segmentation.membership where segment_id = $1 and profile_id = $2",
            transition.segment_id.0,
            transition.profile_id.0,
        )
        .execute(&mut **tx)
        .await?
    };
    Ok(done.rows_affected() == 1)
}

/// Writes a freeze. False when the request made one before.
#[tracing::instrument(name = "db.freeze.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_freeze(pool: &PgPool, request_id: RequestId, freeze: &Freeze) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        insert into segmentation.freeze
            (freeze_id, request_id, segment_id, version, purpose, recipient, members, content_hash, proof_hash,
             watermark, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict on constraint freeze_request do nothing
        "#,
        freeze.freeze_id,
        request_id.0,
        freeze.segment_id.0,
        freeze.version.cast_signed(),
        freeze.purpose.purpose().name(),
        freeze.purpose.recipient(),
        crate::freeze::content(&freeze.members),
        &freeze.content_hash,
        &freeze.proof_hash,
        Json(&freeze.watermark) as _,
        freeze.created_at,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A freeze by its id, or by the request that made it.
#[tracing::instrument(name = "db.freeze.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_freeze(pool: &PgPool, freeze_or_request_id: Uuid) -> Result<Option<Freeze>, Error> {
    let row = sqlx::query!(
        r#"
        select freeze_id, segment_id, version, purpose, recipient, members, content_hash, proof_hash,
               watermark as "watermark: Json<Watermark>", created_at
        from segmentation.freeze
        where freeze_id = $1 or request_id = $1
        "#,
        freeze_or_request_id,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let members =
        row.members.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).map(ProfileId).collect();
    Ok(Some(Freeze {
        freeze_id: row.freeze_id,
        segment_id: SegmentId(row.segment_id),
        version: row.version.cast_unsigned(),
        purpose: consent_key(&row.purpose, &row.recipient)?,
        members,
        content_hash: digest(row.content_hash)?,
        proof_hash: digest(row.proof_hash)?,
        watermark: row.watermark.0,
        created_at: row.created_at,
    }))
}

/// Takes a lock that lives as long as this connection. False while another session has it.
pub async fn try_advisory_lock(connection: &mut PgConnection, name: &str) -> Result<bool, Error> {
    let locked =
        sqlx::query_scalar!(r#"select pg_try_advisory_lock(hashtextextended($1, 0)) as "locked!""#, name)
            .fetch_one(connection)
            .await?;
    Ok(locked)
}

/// Whether this very session still has the lock.
pub async fn holds_advisory_lock(connection: &mut PgConnection, name: &str) -> Result<bool, Error> {
    let holds = sqlx::query_scalar!(
        r#"
        select exists (
            select from pg_locks
            where locktype = 'advisory' and pid = pg_backend_pid() and granted
              and ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 0)
        ) as "holds!"
        "#,
        name,
    )
    .fetch_one(connection)
    .await?;
    Ok(holds)
}

impl TryFrom<SegmentRow> for Segment {
    type Error = Error;

    fn try_from(row: SegmentRow) -> Result<Self, Error> {
        let purpose = row.purpose.map(|purpose| consent_key(&purpose, &row.recipient)).transpose()?;
        Ok(Self {
            segment_id: SegmentId(row.segment_id),
            key: row.key.parse::<SegmentKey>().map_err(|_| Error::Stored { what: "segment key" })?,
            name: row.name,
            state: State::find(&row.state).ok_or(Error::Stored { what: "segment state" })?,
            version: row.version.cast_unsigned(),
            rule: serde_json::from_str(&row.rule).map_err(|_| Error::Stored { what: "rule" })?,
            rule_hash: digest(row.rule_hash)?,
            purpose,
            created_at: row.created_at,
        })
    }
}

fn consent_key(purpose: &str, recipient: &str) -> Result<ConsentKey, Error> {
    let unreadable = |_| Error::Stored { what: "purpose" };
    let purpose: Purpose = purpose.parse().map_err(unreadable)?;
    ConsentKey::new(purpose, recipient).map_err(unreadable)
}

fn digest(bytes: Vec<u8>) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Stored { what: "digest" })
}
