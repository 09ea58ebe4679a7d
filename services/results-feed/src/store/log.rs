use std::sync::Arc;

use bytes::Bytes;
use domain::{DateTime, Utc, Uuid};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use super::{
    LARGEST, digest, document_type, facts, join,
    packing::{Packed, unpack},
    size, status,
};
use crate::{
    Error,
    config::LogZstd,
    entry::{Base, Change, Edition, Entry, Release, What, Withdrawal},
    header::DocumentKey,
    ledger::Row,
};

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Changes only when committed entries were lost.
    pub epoch: String,
    /// Of the newest entry.
    pub seq: i64,
}

/// Makes the streams that are not there.
#[tracing::instrument(name = "db.stream.make", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn make_streams(
    db: impl PgExecutor<'_>,
    stream_ids: &[String],
    epoch: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.stream (stream_id, epoch, seq, created_at)
        select stream_id, $2, 0, $3 from unnest($1::text[]) as new (stream_id)
        on conflict (stream_id) do nothing
        "#,
        stream_ids,
        epoch,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// How far a stream is, as committed.
pub async fn position(pool: &PgPool, stream_id: &str) -> Result<Option<Position>, Error> {
    let row =
        sqlx::query_as!(Position, "select epoch, seq from results.stream where stream_id = $1", stream_id)
            .fetch_optional(pool)
            .await?;
    Ok(row)
}

/// Takes the stream's turn: until the transaction ends, nobody else appends.
#[tracing::instrument(name = "db.stream.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_stream(tx: &mut PgTransaction<'_>, stream_id: &str) -> Result<Position, Error> {
    let row = sqlx::query_as!(
        Position,
        "select epoch, seq from results.stream where stream_id = $1 for update",
        stream_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or(Error::NotFound("stream"))
}

/// Moves a locked stream on.
#[tracing::instrument(name = "db.stream.save_seq", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_seq(tx: &mut PgTransaction<'_>, stream_id: &str, seq: i64) -> Result<(), Error> {
    sqlx::query!("update results.stream set seq = $2 where stream_id = $1", stream_id, seq)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Gives a stream another epoch, if it still has the old one and is behind what was seen of it.
#[tracing::instrument(name = "db.stream.renew_epoch", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn renew_epoch(
    pool: &PgPool,
    stream_id: &str,
    seen: &Position,
    epoch: &str,
) -> Result<bool, Error> {
    let renewed = sqlx::query!(
        "update results.stream set epoch = $4 where stream_id = $1 and epoch = $2 and seq < $3",
        stream_id,
        seen.epoch,
        seen.seq,
        epoch,
    )
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Writes rows about documents; their stream is locked by the caller.
#[tracing::instrument(name = "db.log.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_rows(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    rows: &[Row],
    packing: LogZstd,
    received_at: DateTime<Utc>,
    released_until: DateTime<Utc>,
) -> Result<(), Error> {
    let packed = Packed::of(rows, packing)?;
    let seq: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let kind: Vec<String> = rows.iter().map(|row| row.kind.name().to_owned()).collect();
    let document_id: Vec<Uuid> = rows.iter().map(|row| row.document_id).collect();
    let version: Vec<i32> = rows.iter().map(|row| row.version).collect();
    let result_status: Vec<Option<String>> =
        rows.iter().map(|row| row.status.map(|status| status.name().to_owned())).collect();
    let base_version: Vec<Option<i32>> =
        rows.iter().map(|row| row.base.as_ref().map(|base| base.version)).collect();
    let base_status: Vec<Option<String>> = rows
        .iter()
        .map(|row| row.base.as_ref().and_then(|base| base.status).map(|status| status.name().to_owned()))
        .collect();
    let base_seq: Vec<Option<i64>> = rows.iter().map(|row| row.base.as_ref().map(|base| base.seq)).collect();
    let conflatable: Vec<bool> = rows.iter().map(|row| row.conflatable).collect();
    let logical_date: Vec<domain::NaiveDate> = rows.iter().map(|row| row.logical_date).collect();
    let source: Vec<String> = rows.iter().map(|row| row.source.clone()).collect();
    let patch: Vec<Option<&[u8]>> = rows.iter().map(|row| row.patch.as_deref()).collect();
    let sha256: Vec<Option<&[u8]>> =
        rows.iter().map(|row| row.sha256.as_ref().map(<[u8; 32]>::as_slice)).collect();
    let nocs: Vec<String> = rows.iter().map(|row| join(&row.facts.nocs)).collect();
    let status_since: Vec<DateTime<Utc>> = rows.iter().map(|row| row.facts.status_since).collect();
    // Whatever is done with the entry later belongs to the trace of the request that brought it.
    let traceparent: Vec<Option<String>> =
        rows.iter().map(|row| row.span.in_scope(outbox::trace::traceparent)).collect();
    sqlx::query!(
        r#"
        insert into results.log
            (stream_id, received_at, seq, kind, document_id, version, result_status, base_version, base_status, base_seq,
             conflatable, logical_date, source, raw, canonical, patch, sha256, traceparent, status_since, released_until, nocs,
             canonical_size, raw_size, raw_sha256)
        select $1, $2, row.seq, row.kind, row.document_id, row.version, row.result_status, row.base_version, row.base_status,
               row.base_seq, row.conflatable, row.logical_date, row.source, row.raw, row.canonical, row.patch, row.sha256,
               row.traceparent, row.status_since, $20, string_to_array(row.nocs, ' '), row.canonical_size, row.raw_size,
               row.raw_sha256
        from unnest($3::bigint[], $4::text[], $5::uuid[], $6::integer[], $7::text[], $8::integer[], $9::text[],
                    $10::bigint[], $11::boolean[], $12::date[], $13::text[], $14::bytea[], $15::bytea[], $16::bytea[],
                    $17::bytea[], $18::text[], $19::timestamptz[], $21::text[], $22::integer[], $23::integer[], $24::bytea[])
            as row (seq, kind, document_id, version, result_status, base_version, base_status, base_seq, conflatable,
                    logical_date, source, raw, canonical, patch, sha256, traceparent, status_since, nocs, canonical_size, raw_size, raw_sha256)
        "#,
        stream_id,
        received_at,
        &seq,
        &kind,
        &document_id,
        &version,
        &result_status as _,
        &base_version as _,
        &base_status as _,
        &base_seq as _,
        &conflatable,
        &logical_date,
        &source,
        &packed.raw,
        &packed.canonical as _,
        &patch as _,
        &sha256 as _,
        &traceparent as _,
        &status_since,
        released_until,
        &nocs,
        &packed.canonical_size as _,
        &packed.raw_size as _,
        &packed.raw_sha256,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes in a locked stream that the rights of a client changed.
#[tracing::instrument(name = "db.log.insert_entitlement", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_entitlement_entry(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    seq: i64,
    client_id: &str,
    now: DateTime<Utc>,
    released_until: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.log (stream_id, seq, kind, client_id, conflatable, received_at, released_until)
        values ($1, $2, 'entitlement', $3, false, $4, $5)
        "#,
        stream_id,
        seq,
        client_id,
        now,
        released_until,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) struct LogRow {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) client_id: Option<String>,
    pub(super) handle: Option<i64>,
    pub(super) competition_code: Option<String>,
    pub(super) document_code: Option<String>,
    pub(super) document_subcode: Option<String>,
    pub(super) document_type: Option<String>,
    pub(super) document_subtype: Option<String>,
    pub(super) language: Option<String>,
    pub(super) version: Option<i32>,
    pub(super) result_status: Option<String>,
    pub(super) base_version: Option<i32>,
    pub(super) base_status: Option<String>,
    pub(super) base_seq: Option<i64>,
    pub(super) conflatable: bool,
    pub(super) canonical: Option<Vec<u8>>,
    pub(super) size: Option<i32>,
    pub(super) patch: Option<Vec<u8>>,
    pub(super) sha256: Option<Vec<u8>>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) traceparent: Option<String>,
    pub(super) nocs: Vec<String>,
    pub(super) status_since: Option<DateTime<Utc>>,
    pub(super) base_nocs: Option<Vec<String>>,
    pub(super) base_since: Option<DateTime<Utc>>,
    pub(super) base_received_at: Option<DateTime<Utc>>,
    pub(super) client_ids: Option<Vec<String>>,
    pub(super) released_from: Option<DateTime<Utc>>,
    pub(super) released_until: DateTime<Utc>,
    pub(super) first_received_at: Option<DateTime<Utc>>,
}

/// The entries behind `seq` up to `last`, at most `limit`, in order.
#[tracing::instrument(name = "db.log.list_after", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_after(
    pool: &PgPool,
    stream_id: &str,
    seq: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    // Late versions are no reader's: their bodies stay where they are. The numbers have no hole, so the page's end is known:
    // without it statistics from when the log was shorter make a plan that joins all that is left, for each page again.
    let rows = sqlx::query_as!(
        LogRow,
        r#"
        select l.seq, l.kind, l.client_id, d.handle as "handle?", d.competition_code as "competition_code?",
               d.document_code as "document_code?", d.document_subcode as "document_subcode?",
               d.document_type as "document_type?", d.document_subtype as "document_subtype?", d.language as "language?",
               l.version, l.result_status, l.base_version, l.base_status, l.base_seq, l.conflatable,
               case when l.kind in ('document', 'release') and coalesce(r.canonical_size, l.canonical_size, octet_length(coalesce(r.canonical, l.canonical))) <= $5
                    then coalesce(r.canonical, l.canonical) end as canonical,
               coalesce(r.canonical_size, l.canonical_size, octet_length(coalesce(r.canonical, l.canonical))) as size, l.patch, coalesce(r.sha256, l.sha256) as sha256,
               l.received_at, l.traceparent, coalesce(r.nocs, l.nocs) as "nocs!",
               coalesce(r.status_since, l.status_since) as status_since, b.nocs as "base_nocs?",
               b.status_since as base_since, b.received_at as "base_received_at?", l.client_ids, l.released_from,
               l.released_until, r.received_at as "first_received_at?"
        from results.log l
        left join results.document d on d.document_id = l.document_id
        left join results.log b on b.stream_id = l.stream_id and b.seq = l.base_seq
        left join results.log r on r.stream_id = l.stream_id and r.seq = l.released_seq
        where l.stream_id = $1 and l.seq > $2 and l.seq <= least($3::bigint, $2::bigint + $4::bigint)
        order by l.seq
        "#,
        stream_id,
        seq,
        last,
        limit,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

impl TryFrom<LogRow> for Entry {
    type Error = Error;

    fn try_from(row: LogRow) -> Result<Self, Error> {
        let (seq, received_at, traceparent) = (row.seq, row.received_at, row.traceparent.clone());
        let released_until = row.released_until;
        let what = match row.kind.as_str() {
            "entitlement" => What::Entitlement(row.client_id.unwrap_or_default()),
            "late" => What::Late,
            _ => change_of(row)?,
        };
        Ok(Self { seq, received_at, released_until, what, traceparent })
    }
}

fn change_of(row: LogRow) -> Result<What, Error> {
    let missing = |what| Error::Corrupt { what };
    let key = DocumentKey {
        competition_code: row.competition_code.ok_or(missing("competition_code"))?,
        document_code: row.document_code.ok_or(missing("document_code"))?,
        document_subcode: row.document_subcode.unwrap_or_default(),
        document_type: row.document_type.ok_or(missing("document_type"))?,
        document_subtype: row.document_subtype.unwrap_or_default(),
        language: row.language.ok_or(missing("language"))?,
    };
    let document_type = document_type(&key.document_type)?;
    let handle = row.handle.ok_or(missing("handle"))?;
    let base = match (row.base_version, row.base_seq, row.base_received_at) {
        (Some(version), Some(seq), Some(received_at)) => {
            let facts = facts(&row.base_nocs.unwrap_or_default(), row.base_since, received_at)?;
            Some(Base { version, status: status(row.base_status)?, seq, facts })
        }
        _ => None,
    };
    if row.kind == "invalidation" {
        return Ok(What::Gone(Withdrawal { handle, key, document_type, base }));
    }
    let edition = Edition {
        handle,
        key,
        document_type,
        version: row.version.ok_or(missing("version"))?,
        status: status(row.result_status)?,
        seq: row.seq,
        body: row.canonical.map(unpack).transpose()?.map(Bytes::from),
        size: size(row.size)?,
        sha256: digest(&row.sha256.ok_or(missing("sha256"))?)?,
        facts: facts(&row.nocs, row.status_since, row.first_received_at.unwrap_or(row.received_at))?,
    };
    if row.kind == "release" {
        return Ok(What::Release(Release {
            edition: Arc::new(edition),
            client_ids: row.client_ids.unwrap_or_default().into(),
            before: row.released_from.ok_or(missing("released_from"))?,
        }));
    }
    let patch = row.patch.map(Bytes::from);
    Ok(What::Edition(Change { edition: Arc::new(edition), base, patch, conflatable: row.conflatable }))
}
