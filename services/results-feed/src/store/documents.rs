use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use domain::{DateTime, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::{LARGEST, digest, document_type, facts, packing::unpack, size, status};
use crate::{
    Error,
    canonical::Body,
    document::Document,
    entry::Edition,
    header::DocumentKey,
    ledger::Head,
    rsc::{Prefix, Rsc},
};

/// The heads of those of these documents that exist; their stream is locked by the caller.
#[tracing::instrument(name = "db.document.load_heads", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_heads(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    keys: &[&DocumentKey],
) -> Result<HashMap<DocumentKey, Head>, Error> {
    let column =
        |of: fn(&DocumentKey) -> &String| -> Vec<String> { keys.iter().map(|key| of(key).clone()).collect() };
    let rows = sqlx::query!(
        r#"
        select d.document_id, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.version, d.result_status, d.sha256, d.invalidated, d.seq,
               case when not d.invalidated then l.canonical end as canonical, l.nocs, l.status_since, l.received_at
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1
          and (d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype, d.language) in
              (select * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]))
        "#,
        stream_id,
        &column(|key| &key.competition_code),
        &column(|key| &key.document_code),
        &column(|key| &key.document_subcode),
        &column(|key| &key.document_type),
        &column(|key| &key.document_subtype),
        &column(|key| &key.language),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut heads = HashMap::new();
    for row in rows {
        let key = DocumentKey {
            competition_code: row.competition_code,
            document_code: row.document_code,
            document_subcode: row.document_subcode,
            document_type: row.document_type,
            document_subtype: row.document_subtype,
            language: row.language,
        };
        let body =
            row.canonical.map(unpack).transpose()?.map(|bytes| Arc::new(Body::new(Bytes::from(bytes))));
        let document = Document {
            version: row.version,
            sha256: row.sha256.as_deref().map(digest).transpose()?,
            status: status(row.result_status)?,
            invalidated: row.invalidated,
            seq: row.seq,
        };
        let facts = facts(&row.nocs, row.status_since, row.received_at)?;
        heads.insert(key, Head { document_id: row.document_id, document, body, facts });
    }
    Ok(heads)
}

/// Writes changed heads, new ones too, and gives the handle of each document.
#[tracing::instrument(name = "db.document.save_heads", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_heads(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    heads: &[(DocumentKey, Head)],
) -> Result<HashMap<Uuid, i64>, Error> {
    let column = |of: fn(&DocumentKey) -> &String| -> Vec<String> {
        heads.iter().map(|(key, _)| of(key).clone()).collect()
    };
    let document_id: Vec<Uuid> = heads.iter().map(|(_, head)| head.document_id).collect();
    let version: Vec<i32> = heads.iter().map(|(_, head)| head.document.version).collect();
    let result_status: Vec<Option<String>> =
        heads.iter().map(|(_, head)| head.document.status.map(|status| status.name().to_owned())).collect();
    let sha256: Vec<Option<&[u8]>> =
        heads.iter().map(|(_, head)| head.document.sha256.as_ref().map(<[u8; 32]>::as_slice)).collect();
    let invalidated: Vec<bool> = heads.iter().map(|(_, head)| head.document.invalidated).collect();
    let seq: Vec<i64> = heads.iter().map(|(_, head)| head.document.seq).collect();
    let rows = sqlx::query!(
        r#"
        insert into results.document
            (stream_id, document_id, competition_code, document_code, document_subcode, document_type, document_subtype,
             language, version, result_status, sha256, invalidated, seq)
        select $1, row.*
        from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[],
                    $10::text[], $11::bytea[], $12::boolean[], $13::bigint[]) as row
        on conflict (document_id) do update
        set version = excluded.version, result_status = excluded.result_status, sha256 = excluded.sha256,
            invalidated = excluded.invalidated, seq = excluded.seq
        returning document_id, handle
        "#,
        stream_id,
        &document_id,
        &column(|key| &key.competition_code),
        &column(|key| &key.document_code),
        &column(|key| &key.document_subcode),
        &column(|key| &key.document_type),
        &column(|key| &key.document_subtype),
        &column(|key| &key.language),
        &version,
        &result_status as _,
        &sha256 as _,
        &invalidated,
        &seq,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.document_id, row.handle)).collect())
}

pub(super) struct EditionRow {
    pub(super) handle: i64,
    pub(super) competition_code: String,
    pub(super) document_code: String,
    pub(super) document_subcode: String,
    pub(super) document_type: String,
    pub(super) document_subtype: String,
    pub(super) language: String,
    pub(super) version: i32,
    pub(super) result_status: Option<String>,
    pub(super) seq: i64,
    pub(super) canonical: Option<Vec<u8>>,
    pub(super) size: Option<i32>,
    pub(super) sha256: Option<Vec<u8>>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) nocs: Vec<String>,
    pub(super) status_since: Option<DateTime<Utc>>,
}

impl TryFrom<EditionRow> for Edition {
    type Error = Error;

    fn try_from(row: EditionRow) -> Result<Self, Error> {
        Ok(Self {
            handle: row.handle,
            document_type: document_type(&row.document_type)?,
            key: DocumentKey {
                competition_code: row.competition_code,
                document_code: row.document_code,
                document_subcode: row.document_subcode,
                document_type: row.document_type,
                document_subtype: row.document_subtype,
                language: row.language,
            },
            version: row.version,
            status: status(row.result_status)?,
            seq: row.seq,
            body: row.canonical.map(unpack).transpose()?.map(Bytes::from),
            size: size(row.size)?,
            sha256: digest(&row.sha256.ok_or(Error::Corrupt { what: "sha256" })?)?,
            facts: facts(&row.nocs, row.status_since, row.received_at)?,
        })
    }
}

/// The standing documents whose codes begin with one of the prefixes (all, without one), behind a handle, in the order of
/// their handles.
#[tracing::instrument(name = "db.document.list_editions", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_editions(
    pool: &PgPool,
    stream_id: &str,
    prefixes: &[Prefix],
    after: i64,
    limit: i64,
) -> Result<Vec<Edition>, Error> {
    let patterns = super::patterns(prefixes);
    let rows = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.version, d.result_status, d.seq, case when coalesce(l.canonical_size, octet_length(l.canonical)) <= $5 then l.canonical end as canonical,
               coalesce(l.canonical_size, octet_length(l.canonical)) as size, l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and not d.invalidated and d.handle > $3 and d.document_code like any ($2)
        order by d.handle
        limit $4
        "#,
        stream_id,
        &patterns,
        after,
        limit,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Edition::try_from).collect()
}

/// The version of a document that stood at a place in the log. Before the log is whole, only what is asked for by its own
/// place is sure to be it.
#[tracing::instrument(name = "db.document.find_edition", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_edition(pool: &PgPool, handle: i64, seq: i64) -> Result<Option<(String, Edition)>, Error> {
    let row = sqlx::query!(
        r#"
        select d.stream_id, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.version as "version!", l.result_status, l.seq, l.canonical, coalesce(l.canonical_size, octet_length(l.canonical)) as size,
               l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.document_id = d.document_id and l.kind = 'document'
            and l.seq = (select max(seq) from results.log
                         where document_id = d.document_id and stream_id = d.stream_id and seq <= $2
                           and kind in ('document', 'invalidation'))
        join results.stream s on s.stream_id = d.stream_id
        where d.handle = $1 and (l.seq = $2 or $2 >= s.whole_from - 1)
        "#,
        handle,
        seq,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let edition = EditionRow {
        handle,
        competition_code: row.competition_code,
        document_code: row.document_code,
        document_subcode: row.document_subcode,
        document_type: row.document_type,
        document_subtype: row.document_subtype,
        language: row.language,
        version: row.version,
        result_status: row.result_status,
        seq: row.seq,
        canonical: row.canonical,
        size: row.size,
        sha256: row.sha256,
        received_at: row.received_at,
        nocs: row.nocs,
        status_since: row.status_since,
    };
    Ok(Some((row.stream_id, Edition::try_from(edition)?)))
}

/// A standing document and when it came.
#[derive(Debug, Clone)]
pub struct Found {
    /// The version.
    pub edition: Edition,
    /// When it was taken.
    pub received_at: DateTime<Utc>,
}

/// The standing document of this code and type that has neither subcode nor subtype, in English.
#[tracing::instrument(name = "db.document.find_by_code", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_by_code(
    pool: &PgPool,
    stream_id: &str,
    code: &Rsc,
    type_name: &str,
) -> Result<Option<Found>, Error> {
    let row = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.version, d.result_status, d.seq, l.canonical, coalesce(l.canonical_size, octet_length(l.canonical)) as size,
               l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and d.document_code = $2 and d.document_type = $3 and d.document_subcode = ''
          and d.document_subtype = '' and d.language = 'ENG' and not d.invalidated
        "#,
        stream_id,
        code.as_str(),
        type_name,
    )
    .fetch_optional(pool)
    .await?;
    found(row)
}

/// The newest medal standings.
#[tracing::instrument(name = "db.document.newest_medal_standings", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn newest_medal_standings(pool: &PgPool, stream_id: &str) -> Result<Option<Found>, Error> {
    let row = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, d.version, d.result_status, d.seq, l.canonical, coalesce(l.canonical_size, octet_length(l.canonical)) as size,
               l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = d.seq
        where d.stream_id = $1 and d.document_type = 'DT_MEDALS' and d.language = 'ENG' and not d.invalidated
        order by d.seq desc
        limit 1
        "#,
        stream_id,
    )
    .fetch_optional(pool)
    .await?;
    found(row)
}

pub(super) fn found(row: Option<EditionRow>) -> Result<Option<Found>, Error> {
    let Some(row) = row else { return Ok(None) };
    let received_at = row.received_at;
    Ok(Some(Found { edition: Edition::try_from(row)?, received_at }))
}
