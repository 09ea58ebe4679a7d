use domain::{DateTime, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::{document_type, facts, status};
use crate::{
    Error,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Decision, Facts, RulePlace, Subject},
    header::DocumentKey,
};

/// A decision that was kept: one that changed, or a read that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDecision {
    /// In the order of time.
    pub decision_id: Uuid,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// `entitlement`, `release` or `read`.
    pub cause: String,
    /// Whose.
    pub client_id: String,
    /// In which stream.
    pub stream_id: String,
    /// Which document.
    pub document_id: Uuid,
    /// Its code.
    pub document_code: String,
    /// Its type.
    pub document_type: String,
    /// The version's place in the log.
    pub seq: i64,
    /// The version; none where the log no longer holds it.
    pub version: Option<i32>,
    /// Of the entry that changed the decision.
    pub entry_seq: Option<i64>,
    /// What was decided.
    pub permitted: bool,
    /// Why, as a code.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<RulePlace>,
}

/// Keeps what was decided anew about versions, in the caller's transaction.
#[tracing::instrument(name = "db.access_decision.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_decisions(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    cause: &str,
    decided_at: DateTime<Utc>,
    decided: &[(String, Uuid, i64, i64, Decision)],
) -> Result<(), Error> {
    if decided.is_empty() {
        return Ok(());
    }
    let id: Vec<Uuid> = decided.iter().map(|_| domain::new_id()).collect();
    let client_id: Vec<String> = decided.iter().map(|one| one.0.clone()).collect();
    let document_id: Vec<Uuid> = decided.iter().map(|one| one.1).collect();
    let seq: Vec<i64> = decided.iter().map(|one| one.2).collect();
    let entry_seq: Vec<i64> = decided.iter().map(|one| one.3).collect();
    let permitted: Vec<bool> = decided.iter().map(|one| one.4.permitted).collect();
    let reason: Vec<String> = decided.iter().map(|one| one.4.reason.code().to_owned()).collect();
    let rules: Vec<Option<&RulePlace>> = decided.iter().map(|one| one.4.rule.as_ref()).collect();
    let rule_client: Vec<Option<String>> =
        rules.iter().map(|rule| rule.map(|rule| rule.client_id.clone())).collect();
    let rule_version: Vec<Option<i64>> = rules.iter().map(|rule| rule.map(|rule| rule.version)).collect();
    let rule_index: Vec<Option<i32>> = rules.iter().map(|rule| rule.and_then(index)).collect();
    sqlx::query!(
        r#"
        insert into results.access_decision
            (stream_id, cause, decided_at, decision_id, client_id, document_id, seq, entry_seq, permitted, reason,
             rule_client, rule_version, rule_index)
        select $1, $2, $3, row.*
        from unnest($4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::bigint[], $9::boolean[], $10::text[],
                    $11::text[], $12::bigint[], $13::integer[]) as row
        "#,
        stream_id,
        cause,
        decided_at,
        &id,
        &client_id,
        &document_id,
        &seq,
        &entry_seq,
        &permitted,
        &reason,
        &rule_client as _,
        &rule_version as _,
        &rule_index as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps that a client was refused a version, once for each reason.
#[tracing::instrument(name = "db.access_decision.insert_refused", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_refused_read(
    pool: &PgPool,
    client_id: &str,
    handle: i64,
    seq: i64,
    decision: &Decision,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let rule = decision.rule.as_ref();
    sqlx::query!(
        r#"
        insert into results.access_decision
            (decision_id, decided_at, cause, client_id, stream_id, document_id, seq, permitted, reason, rule_client,
             rule_version, rule_index)
        select $1, $2, 'read', $3, stream_id, document_id, $5, false, $6, $7, $8, $9
        from results.document
        where handle = $4
        on conflict (client_id, stream_id, seq, reason) where cause = 'read' do nothing
        "#,
        domain::new_id(),
        now,
        client_id,
        handle,
        seq,
        decision.reason.code(),
        rule.map(|rule| rule.client_id.as_str()),
        rule.map(|rule| rule.version),
        rule.and_then(index),
    )
    .execute(pool)
    .await?;
    Ok(())
}

fn index(rule: &RulePlace) -> Option<i32> {
    i32::try_from(rule.index).ok()
}

struct DecisionRow {
    decision_id: Uuid,
    decided_at: DateTime<Utc>,
    cause: String,
    client_id: String,
    stream_id: String,
    document_id: Uuid,
    document_code: String,
    document_type: String,
    seq: i64,
    version: Option<i32>,
    entry_seq: Option<i64>,
    permitted: bool,
    reason: String,
    rule_client: Option<String>,
    rule_version: Option<i64>,
    rule_index: Option<i32>,
}

impl From<DecisionRow> for StoredDecision {
    fn from(row: DecisionRow) -> Self {
        let rule = match (row.rule_client, row.rule_version, row.rule_index) {
            (Some(client_id), Some(version), Some(index)) => {
                Some(RulePlace { client_id, version, index: usize::try_from(index).unwrap_or_default() })
            }
            _ => None,
        };
        Self {
            decision_id: row.decision_id,
            decided_at: row.decided_at,
            cause: row.cause,
            client_id: row.client_id,
            stream_id: row.stream_id,
            document_id: row.document_id,
            document_code: row.document_code,
            document_type: row.document_type,
            seq: row.seq,
            version: row.version,
            entry_seq: row.entry_seq,
            permitted: row.permitted,
            reason: row.reason,
            rule,
        }
    }
}

/// Kept decisions before `before`, newest first: of one client, or of all where none is named.
#[tracing::instrument(name = "db.access_decision.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_decisions(
    pool: &PgPool,
    client_id: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StoredDecision>, Error> {
    let rows = sqlx::query_as!(
        DecisionRow,
        r#"
        select a.decision_id, a.decided_at, a.cause, a.client_id, a.stream_id, a.document_id, d.document_code,
               d.document_type, a.seq, l.version as "version?", a.entry_seq, a.permitted, a.reason, a.rule_client,
               a.rule_version, a.rule_index
        from results.access_decision a
        join results.document d using (document_id)
        left join results.log l on l.stream_id = a.stream_id and l.seq = a.seq
        where ($1::text is null or a.client_id = $1) and ($2::uuid is null or a.decision_id < $2)
        order by a.decision_id desc
        limit $3
        "#,
        client_id,
        before,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(StoredDecision::from).collect())
}

/// Forgets some decisions of before a time; gives how many.
#[tracing::instrument(name = "db.access_decision.delete", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_decisions(pool: &PgPool, before: DateTime<Utc>, limit: i64) -> Result<u64, Error> {
    let deleted = sqlx::query!(
        r#"
        delete from results.access_decision
        where decision_id in (
            select decision_id from results.access_decision where decided_at < $1 order by decision_id limit $2)
        "#,
        before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// Which version a question about a decision is about.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The document's short name.
    pub handle: Option<i64>,
    /// Or its identity.
    pub key: Option<DocumentKey>,
    /// The version's number.
    pub version: Option<i32>,
    /// Or its place in the log.
    pub seq: Option<i64>,
    /// Or the newest one at a time.
    pub at: Option<DateTime<Utc>>,
}

/// A version of a document, as far as rights are about it.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The document's short name.
    pub handle: i64,
    /// Its identity.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// The version's number.
    pub version: i32,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// Its place in the log.
    pub seq: i64,
    /// The rest.
    pub facts: Facts,
}

impl Explained {
    /// What a right is about.
    #[must_use]
    pub fn subject(&self, feed_flag: FeedFlag) -> Subject<'_> {
        Subject {
            code: &self.key.document_code,
            document_type: self.document_type,
            status: self.status,
            feed_flag,
            facts: &self.facts,
        }
    }
}

/// The version that a question is about: the newest of those that it fits. One that came late never reached readers and is
/// none.
#[tracing::instrument(name = "db.log.find_explained", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_explained(
    pool: &PgPool,
    stream_id: &str,
    asked: &Asked,
) -> Result<Option<Explained>, Error> {
    let key = asked.key.as_ref();
    let row = sqlx::query!(
        r#"
        select d.handle, d.competition_code, d.document_code, d.document_subcode, d.document_type, d.document_subtype,
               d.language, l.version as "version!", l.result_status, l.seq, l.nocs, l.status_since, l.received_at
        from results.document d
        join results.log l on l.document_id = d.document_id and l.kind = 'document'
        where d.stream_id = $1
          and ($2::bigint is null or d.handle = $2)
          and ($3::text is null or (d.document_code, d.document_type, d.document_subcode, d.document_subtype, d.language,
               d.competition_code) = ($3, $4::text, $5::text, $6::text, $7::text, $8::text))
          and ($9::integer is null or l.version = $9)
          and ($10::bigint is null or l.seq = $10)
          and ($11::timestamptz is null or l.received_at <= $11)
        order by l.seq desc
        limit 1
        "#,
        stream_id,
        asked.handle,
        key.map(|key| key.document_code.as_str()),
        key.map(|key| key.document_type.as_str()),
        key.map(|key| key.document_subcode.as_str()),
        key.map(|key| key.document_subtype.as_str()),
        key.map(|key| key.language.as_str()),
        key.map(|key| key.competition_code.as_str()),
        asked.version,
        asked.seq,
        asked.at,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Explained {
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
        facts: facts(&row.nocs, row.status_since, row.received_at)?,
    }))
}
