//! What readers need of the log beside the newest entries: the state at a sequence number, and the way back to it.

use std::collections::HashMap;

use bytes::Bytes;
use domain::{DateTime, Utc};
use sqlx::PgPool;

use super::{LARGEST, digest, documents::EditionRow, facts, log::LogRow, packing::unpack, size, status};
use crate::{
    Error,
    document::Sha256,
    document_type::ResultStatus,
    entitlement::Facts,
    entry::{Edition, Entry},
    frame::Raw,
    lane::Lane,
    rsc::Prefix,
};

/// A document that changed while a reader was away, or a version on the way that must be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Of the entry.
    pub seq: i64,
    /// From here on are the versions that the reader may hold: the one that stood when it went away and what came since,
    /// as it may have been told more than its cursor says. For a later entry of the document: what came since the version
    /// of the one before.
    pub from: i64,
}

// A prefix holds nothing that `like` would take for a pattern.
fn patterns(prefixes: &[Prefix]) -> Vec<String> {
    match prefixes {
        [] => vec!["%".to_owned()],
        some => some.iter().map(|prefix| format!("{}%", prefix.as_str())).collect(),
    }
}

/// The documents that stood when the stream was at `seq`, whose codes begin with one of the prefixes, behind a handle, in
/// the order of their handles.
#[tracing::instrument(name = "db.document.list_state", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_state(
    pool: &PgPool,
    stream_id: &str,
    prefixes: &[Prefix],
    seq: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Edition>, Error> {
    // Few documents have changed since: only those look for what stood then.
    let rows = sqlx::query_as!(
        EditionRow,
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.version as "version!", l.result_status, l.seq,
               case when coalesce(l.canonical_size, octet_length(l.canonical)) <= $6 then l.canonical end as canonical,
               coalesce(l.canonical_size, octet_length(l.canonical)) as size, l.sha256, l.received_at, l.nocs, l.status_since
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.seq = case
            when d.seq <= $3 then d.seq
            else (select max(o.seq) from results.log o
                  where o.document_id = d.document_id and o.stream_id = d.stream_id and o.seq <= $3
                    and o.kind in ('document', 'invalidation'))
            end
        where d.stream_id = $1 and d.handle > $4 and d.document_code like any ($2) and l.kind = 'document'
        order by d.handle
        limit $5
        "#,
        stream_id,
        &patterns(prefixes),
        seq,
        after,
        limit,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Edition::try_from).collect()
}

/// What a reader of a lane missed behind `after` and up to `until`: the entry that each changed document stands by, and
/// each entry that must be heard. In order, at most `limit`.
#[tracing::instrument(name = "db.log.list_missed", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_missed(
    pool: &PgPool,
    stream_id: &str,
    lane: Lane,
    prefixes: &[Prefix],
    (after, until): (i64, i64),
    limit: i64,
) -> Result<Vec<Missed>, Error> {
    let rows = sqlx::query!(
        r#"
        with wanted as (
            select document_id, seq from results.document
            where stream_id = $1 and document_type = any ($4) and document_code like any ($5)
              and (seq > $2 or document_id in (
                  select document_id from results.log
                  where stream_id = $1 and seq > $2 and seq <= $3 and kind = 'release'))
        ), missed as (
            select w.document_id, case
                when w.seq <= $3 then w.seq
                else (select max(o.seq) from results.log o
                      where o.document_id = w.document_id and o.stream_id = $1 and o.seq <= $3
                        and o.kind in ('document', 'invalidation'))
                end as seq, null::bigint as released_seq
            from wanted w
            union
            select w.document_id, l.seq, l.released_seq
            from results.log l
            join wanted w on w.document_id = l.document_id
            where l.stream_id = $1 and l.seq > $2 and l.seq <= $3 and not l.conflatable
              and l.kind in ('document', 'invalidation', 'release')
        ), counted as (
            select document_id, seq,
                   lag(coalesce(released_seq, seq)) over (partition by document_id order by seq) as before
            from missed where seq > $2
        )
        select m.seq as "seq!", coalesce(m.before, held.seq, $2) as "from!"
        from counted m
        left join lateral (
            select max(b.seq) as seq from results.log b
            where b.document_id = m.document_id and b.stream_id = $1 and b.seq <= $2
              and b.kind in ('document', 'invalidation')
        ) held on true
        order by m.seq
        limit $6
        "#,
        stream_id,
        after,
        until,
        &lane.type_names(),
        &patterns(prefixes),
        limit,
    )
    .fetch_all(pool)
    .await?;
    let mut missed = Vec::with_capacity(rows.len());
    for row in rows {
        missed.push(Missed { seq: row.seq, from: row.from });
    }
    Ok(missed)
}

/// Statuses and facts of a document's versions from one place up to before another.
#[tracing::instrument(name = "db.log.list_facts", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_facts(
    pool: &PgPool,
    stream_id: &str,
    handle: i64,
    (from, before): (i64, i64),
) -> Result<Vec<(Option<ResultStatus>, Facts)>, Error> {
    let rows = sqlx::query!(
        r#"
        select l.result_status, l.nocs, l.status_since, l.received_at
        from results.document d
        join results.log l on l.stream_id = d.stream_id and l.document_id = d.document_id
        where d.stream_id = $1 and d.handle = $2 and l.kind = 'document' and l.seq >= $3 and l.seq < $4
        "#,
        stream_id,
        handle,
        from,
        before,
    )
    .fetch_all(pool)
    .await?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in rows {
        versions.push((status(row.result_status)?, facts(&row.nocs, row.status_since, row.received_at)?));
    }
    Ok(versions)
}

/// The entries at these places.
#[tracing::instrument(name = "db.log.list_at", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_at(pool: &PgPool, stream_id: &str, seqs: &[i64]) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query_as!(
        LogRow,
        r#"
        select l.seq, l.kind, l.client_id, d.handle as "handle?", d.competition_code as "competition_code?",
               d.document_code as "document_code?", d.document_subcode as "document_subcode?",
               d.document_type as "document_type?", d.document_subtype as "document_subtype?", d.language as "language?",
               l.version, l.result_status, l.base_version, l.base_status, l.base_seq, l.conflatable,
               case when l.kind in ('document', 'release') and coalesce(r.canonical_size, l.canonical_size, octet_length(coalesce(r.canonical, l.canonical))) <= $3
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
        where l.stream_id = $1 and l.seq = any ($2)
        order by l.seq
        "#,
        stream_id,
        seqs,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// The entries of a lane behind `after` and up to `until` about documents whose codes begin with one of the prefixes, in
/// order, at most `limit`.
#[tracing::instrument(name = "db.log.list_logged", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_logged(
    pool: &PgPool,
    stream_id: &str,
    lane: Lane,
    prefixes: &[Prefix],
    (after, until): (i64, i64),
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query_as!(
        LogRow,
        r#"
        select l.seq, l.kind, l.client_id, d.handle as "handle?", d.competition_code as "competition_code?",
               d.document_code as "document_code?", d.document_subcode as "document_subcode?",
               d.document_type as "document_type?", d.document_subtype as "document_subtype?", d.language as "language?",
               l.version, l.result_status, l.base_version, l.base_status, l.base_seq, l.conflatable,
               case when l.kind in ('document', 'release') and coalesce(r.canonical_size, l.canonical_size, octet_length(coalesce(r.canonical, l.canonical))) <= $7
                    then coalesce(r.canonical, l.canonical) end as canonical,
               coalesce(r.canonical_size, l.canonical_size, octet_length(coalesce(r.canonical, l.canonical))) as size, l.patch, coalesce(r.sha256, l.sha256) as sha256,
               l.received_at, l.traceparent, coalesce(r.nocs, l.nocs) as "nocs!",
               coalesce(r.status_since, l.status_since) as status_since, b.nocs as "base_nocs?",
               b.status_since as base_since, b.received_at as "base_received_at?", l.client_ids, l.released_from,
               l.released_until, r.received_at as "first_received_at?"
        from results.log l
        join results.document d on d.document_id = l.document_id
        left join results.log b on b.stream_id = l.stream_id and b.seq = l.base_seq
        left join results.log r on r.stream_id = l.stream_id and r.seq = l.released_seq
        where l.stream_id = $1 and l.seq > $2 and l.seq <= $3 and l.kind in ('document', 'invalidation', 'release')
          and d.document_type = any ($4) and d.document_code like any ($5)
        order by l.seq
        limit $6
        "#,
        stream_id,
        after,
        until,
        &lane.type_names(),
        &patterns(prefixes),
        limit,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// Documents as their senders wrote them, by their places in the log; too large ones without their bodies.
#[tracing::instrument(name = "db.log.list_raw", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_raw(pool: &PgPool, stream_id: &str, seqs: &[i64]) -> Result<HashMap<i64, Raw>, Error> {
    let rows = sqlx::query!(
        r#"
        select l.seq, case when coalesce(o.raw_size, octet_length(o.raw)) <= $3 then o.raw end as raw,
               coalesce(o.raw_size, octet_length(o.raw)) as size, coalesce(o.raw_sha256, sha256(o.raw)) as sha256
        from results.log l
        join results.log o on o.stream_id = l.stream_id and o.seq = coalesce(l.released_seq, l.seq)
        where l.stream_id = $1 and l.seq = any ($2) and o.raw is not null
        "#,
        stream_id,
        seqs,
        LARGEST,
    )
    .fetch_all(pool)
    .await?;
    let mut raws = HashMap::with_capacity(rows.len());
    for row in rows {
        let sha256 = digest(&row.sha256.unwrap_or_default())?;
        let raw =
            Raw { body: row.raw.map(unpack).transpose()?.map(Bytes::from), size: size(row.size)?, sha256 };
        raws.insert(row.seq, raw);
    }
    Ok(raws)
}

/// A document as its sender wrote it, whatever its size.
#[tracing::instrument(name = "db.log.find_raw", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_raw(pool: &PgPool, stream_id: &str, seq: i64) -> Result<Option<Bytes>, Error> {
    let raw =
        sqlx::query_scalar!("select raw from results.log where stream_id = $1 and seq = $2", stream_id, seq)
            .fetch_optional(pool)
            .await?;
    Ok(raw.flatten().map(unpack).transpose()?.map(Bytes::from))
}

/// Where the rights of each client changed last, up to `until`.
pub async fn rights_changes(
    pool: &PgPool,
    stream_id: &str,
    until: i64,
) -> Result<HashMap<String, i64>, Error> {
    let rows = sqlx::query!(
        r#"
        select client_id as "client_id!", max(seq) as "seq!" from results.log
        where stream_id = $1 and client_id is not null and seq <= $2
        group by client_id
        "#,
        stream_id,
        until,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.client_id, row.seq)).collect())
}

/// A ticket that opens one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Of its bytes.
    pub sha256: Sha256,
    /// Whose rights the connection has.
    pub client_id: String,
    /// When the connection ends.
    pub token_expires_at: DateTime<Utc>,
    /// When the ticket is no longer good.
    pub expires_at: DateTime<Utc>,
}

/// Keeps a ticket, and forgets those that are no longer good.
#[tracing::instrument(name = "db.feed_ticket.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_ticket(pool: &PgPool, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        with gone as (delete from results.feed_ticket where expires_at <= $5)
        insert into results.feed_ticket (sha256, client_id, token_expires_at, expires_at)
        values ($1, $2, $3, $4)
        "#,
        ticket.sha256.as_slice(),
        ticket.client_id,
        ticket.token_expires_at,
        ticket.expires_at,
        now,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes a ticket: it is good once.
#[tracing::instrument(name = "db.feed_ticket.take", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn take_ticket(
    pool: &PgPool,
    sha256: &Sha256,
    now: DateTime<Utc>,
) -> Result<Option<(String, DateTime<Utc>)>, Error> {
    let row = sqlx::query!(
        r#"
        delete from results.feed_ticket
        where sha256 = $1 and expires_at > $2
        returning client_id, token_expires_at
        "#,
        sha256.as_slice(),
        now,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (row.client_id, row.token_expires_at)))
}
