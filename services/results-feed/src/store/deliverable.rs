use std::collections::HashSet;

use domain::{DateTime, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::{document_type, facts, status};
use crate::{Error, delivery::Candidate};

/// What an entry of the log means to a delivery.
#[derive(Debug)]
pub enum What {
    /// A version of a document.
    Document {
        /// It.
        candidate: Candidate,
        /// Whether a newer version is there.
        has_newer: bool,
    },
    /// The end of an embargo.
    Release {
        /// The version that it held back.
        candidate: Candidate,
        /// For whose readers.
        client_ids: Vec<String>,
        /// Until when embargoes were over before.
        from: DateTime<Utc>,
    },
    /// The rights of this client changed.
    Entitlement(String),
    /// Nothing to deliver.
    Other,
}

/// An entry of the log, without its bytes.
#[derive(Debug)]
pub struct Deliverable {
    /// Its place.
    pub seq: i64,
    /// What it says.
    pub what: What,
}

struct DeliverableRow {
    seq: i64,
    kind: String,
    client_id: Option<String>,
    document_id: Option<Uuid>,
    document_code: Option<String>,
    document_type: Option<String>,
    result_status: Option<String>,
    base_status: Option<String>,
    conflatable: bool,
    received_at: DateTime<Utc>,
    newest: Option<i64>,
    version_seq: Option<i64>,
    nocs: Option<Vec<String>>,
    status_since: Option<DateTime<Utc>>,
    version_received_at: Option<DateTime<Utc>>,
    client_ids: Option<Vec<String>>,
    released_from: Option<DateTime<Utc>>,
    released_until: DateTime<Utc>,
    refused_since: Option<DateTime<Utc>>,
}

impl TryFrom<DeliverableRow> for Deliverable {
    type Error = Error;

    fn try_from(row: DeliverableRow) -> Result<Self, Error> {
        let seq = row.seq;
        let (kind, client_id, client_ids) = (row.kind.clone(), row.client_id.clone(), row.client_ids.clone());
        let (has_newer, from) = (row.newest > row.version_seq, row.released_from);
        let what = match (kind.as_str(), client_id, candidate(row)?) {
            ("entitlement", Some(client_id), _) => What::Entitlement(client_id),
            ("document" | "invalidation", _, Some(candidate)) => What::Document { candidate, has_newer },
            ("release", _, Some(candidate)) => What::Release {
                candidate,
                client_ids: client_ids.unwrap_or_default(),
                from: from.ok_or(Error::Corrupt { what: "released_from" })?,
            },
            _ => What::Other,
        };
        Ok(Self { seq, what })
    }
}

// Of an entry that is about a document.
fn candidate(row: DeliverableRow) -> Result<Option<Candidate>, Error> {
    let (Some(document_id), Some(version_seq)) = (row.document_id, row.version_seq) else { return Ok(None) };
    let is_invalidation = row.kind == "invalidation";
    let version_received_at = row.version_received_at.unwrap_or(row.received_at);
    Ok(Some(Candidate {
        seq: row.seq,
        version_seq,
        document_id,
        code: row.document_code.unwrap_or_default(),
        document_type: document_type(&row.document_type.unwrap_or_default())?,
        status: status(if is_invalidation { row.base_status } else { row.result_status })?,
        conflatable: row.conflatable && !is_invalidation,
        received_at: row.received_at,
        facts: facts(&row.nocs.unwrap_or_default(), row.status_since, version_received_at)?,
        released_until: row.released_until,
        refused_since: row.refused_since,
    }))
}

/// The entries behind `seq` up to `last`, at most `limit`, in order.
pub async fn list_deliverable(
    pool: &PgPool,
    stream_id: &str,
    seq: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Deliverable>, Error> {
    // The page is cut before anything is joined: see `list_after`, but here what is old may have holes.
    let rows = sqlx::query_as!(
        DeliverableRow,
        r#"
        select l.seq, l.kind, l.client_id, l.document_id, d.document_code as "document_code?",
               d.document_type as "document_type?", l.result_status, l.base_status, l.conflatable, l.received_at,
               d.seq as "newest?", coalesce(l.released_seq, l.seq) as version_seq, f.nocs as "nocs?",
               f.status_since as "status_since?", f.received_at as "version_received_at?", l.client_ids,
               l.released_from, l.released_until, null::timestamptz as refused_since
        from (select * from results.log where stream_id = $1 and seq > $2 and seq <= $3 order by seq limit $4) l
        left join results.document d on d.document_id = l.document_id
        left join results.log f on f.stream_id = l.stream_id and f.seq = case l.kind
            when 'invalidation' then l.base_seq when 'release' then l.released_seq else l.seq end
        order by l.seq
        "#,
        stream_id,
        seq,
        last,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Deliverable::try_from).collect()
}

/// What waits to be sent to a target once more and is not known yet, oldest first.
pub async fn list_resends(
    pool: &PgPool,
    target_id: Uuid,
    stream_id: &str,
    known: &[i64],
    limit: i64,
) -> Result<Vec<Candidate>, Error> {
    let rows = sqlx::query_as!(
        DeliverableRow,
        r#"
        select l.seq, l.kind, l.client_id, l.document_id, d.document_code as "document_code?",
               d.document_type as "document_type?", l.result_status, l.base_status, l.conflatable, l.received_at,
               d.seq as "newest?", coalesce(l.released_seq, l.seq) as version_seq, f.nocs as "nocs?",
               f.status_since as "status_since?", f.received_at as "version_received_at?", l.client_ids,
               l.released_from, l.released_until, r.refused_since
        from results.delivery_resend r
        join results.log l on l.stream_id = $2 and l.seq = r.seq
        join results.document d on d.document_id = l.document_id
        left join results.log f on f.stream_id = l.stream_id and f.seq = case l.kind
            when 'invalidation' then l.base_seq when 'release' then l.released_seq else l.seq end
        where r.target_id = $1 and r.seq <> all ($3)
        order by r.seq
        limit $4
        "#,
        target_id,
        stream_id,
        known,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let mut candidates = Vec::with_capacity(rows.len());
    for row in rows {
        candidates.extend(candidate(row)?);
    }
    Ok(candidates)
}

/// Notes versions that are to be sent once more; gives how many wait in all.
#[tracing::instrument(name = "db.delivery_resend.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_resends(tx: &mut PgTransaction<'_>, target_id: Uuid, seqs: &[i64]) -> Result<i64, Error> {
    sqlx::query!(
        r#"
        insert into results.delivery_resend (target_id, seq)
        select $1, seq from unnest($2::bigint[]) as wanted (seq)
        on conflict do nothing
        "#,
        target_id,
        seqs,
    )
    .execute(&mut **tx)
    .await?;
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "waiting!" from results.delivery_resend where target_id = $1"#,
        target_id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(waiting)
}

/// Forgets those that were taken.
pub async fn delete_resends(pool: &PgPool, target_id: Uuid, seqs: &[i64]) -> Result<(), Error> {
    sqlx::query!(
        "delete from results.delivery_resend where target_id = $1 and seq = any ($2)",
        target_id,
        seqs
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes versions that a target refuses, so that its lane goes on without them.
pub async fn insert_set_aside(
    pool: &PgPool,
    target_id: Uuid,
    seqs: &[i64],
    since: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into results.delivery_resend (target_id, seq, refused_since)
        select $1, seq, $3 from unnest($2::bigint[]) as refused (seq)
        on conflict (target_id, seq) do update set refused_since = excluded.refused_since
        "#,
        target_id,
        seqs,
        since,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The documents of which versions are set aside.
pub async fn list_set_aside(pool: &PgPool, target_id: Uuid, stream_id: &str) -> Result<HashSet<Uuid>, Error> {
    let documents = sqlx::query_scalar!(
        r#"
        select distinct l.document_id as "document_id!"
        from results.delivery_resend r
        join results.log l on l.stream_id = $2 and l.seq = r.seq
        where r.target_id = $1 and r.refused_since is not null and l.document_id is not null
        "#,
        target_id,
        stream_id,
    )
    .fetch_all(pool)
    .await?;
    Ok(documents.into_iter().collect())
}
