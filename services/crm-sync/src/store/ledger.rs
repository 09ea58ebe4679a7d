use domain::{DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgExecutor, PgPool, PgTransaction};

use super::sixteen;
use crate::{
    Error,
    delivery::{Decision, Lane, Line, Outcome},
    gate::DecisionId,
    mapping::{FieldMapping, Mask},
};

/// What the decisions of a chunk have in common.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Where to.
    pub object_id: Uuid,
    /// The job or call; none where nothing has to go out.
    pub chunk_id: Option<Uuid>,
    /// The run.
    pub run_id: Option<Uuid>,
    /// Which way.
    pub lane: Lane,
    /// Under which agreement.
    pub agreement_id: Option<Uuid>,
    /// By which mapping.
    pub mapping_version_id: Uuid,
    /// What is known of them.
    pub outcome: Outcome,
    /// When they were made.
    pub at: DateTime<Utc>,
}

/// A decision whose outcome is open.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// Who.
    pub profile_id: ProfileId,
    /// Which profile was seen.
    pub profile_version: i64,
    /// Which consents were seen.
    pub consent_version: i64,
    /// Whether it empties the record.
    pub ceases: bool,
    /// What was permitted.
    pub permitted: Mask,
    /// What goes out with a value.
    pub sent: Mask,
    /// What is emptied.
    pub cleared: Mask,
    /// Keyed hash of the row.
    pub row_hash: Vec<u8>,
    /// The decision.
    pub decision_id: DecisionId,
}

/// Writes decisions.
#[tracing::instrument(name = "db.delivery.insert_decisions", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_decisions(
    tx: &mut PgTransaction<'_>,
    written: &Written,
    decisions: &[&Decision],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = decisions.iter().map(|one| one.profile_id.0).collect();
    let profiles: Vec<i64> = decisions.iter().map(|one| one.profile_version).collect();
    let consents: Vec<i64> = decisions.iter().map(|one| one.consent_version).collect();
    let verdicts: Vec<String> = decisions.iter().map(|one| one.verdict.name().to_owned()).collect();
    let reasons: Vec<String> = decisions
        .iter()
        .map(|one| one.verdict.reason().map(|reason| reason.code().to_owned()).unwrap_or_default())
        .collect();
    let permitted: Vec<i64> = decisions.iter().map(|one| one.verdict.permitted().to_sql()).collect();
    let sent: Vec<i64> = decisions.iter().map(|one| one.sent().to_sql()).collect();
    let cleared: Vec<i64> = decisions.iter().map(|one| one.cleared().to_sql()).collect();
    let hashes: Vec<Option<Vec<u8>>> =
        decisions.iter().map(|one| one.row.as_ref().map(|row| row.hash.to_vec())).collect();
    let decision_ids: Vec<Vec<u8>> = decisions.iter().map(|one| one.decision_id.to_vec()).collect();
    sqlx::query!(
        r#"
        insert into crmsync.delivery
            (object_id, chunk_id, run_id, lane, agreement_id, mapping_version_id, outcome, at, profile_id,
             profile_version, consent_version, verdict, reason, permitted, sent, cleared, row_hash, decision_id)
        select $1, $2, $3, $4, $5, $6, $7, $8, n.*
        from unnest($9::uuid[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::bigint[],
                    $15::bigint[], $16::bigint[], $17::bytea[], $18::bytea[]) as n
        "#,
        written.object_id,
        written.chunk_id,
        written.run_id,
        written.lane.name(),
        written.agreement_id,
        written.mapping_version_id,
        written.outcome.name(),
        written.at,
        &ids,
        &profiles,
        &consents,
        &verdicts,
        &reasons,
        &permitted,
        &sent,
        &cleared,
        &hashes as &[Option<Vec<u8>>],
        &decision_ids,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The open decisions of a chunk.
#[tracing::instrument(name = "db.delivery.open_rows", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn open_rows(db: impl PgExecutor<'_>, chunk_id: Uuid) -> Result<Vec<LedgerRow>, Error> {
    let rows = sqlx::query!(
        r#"
        select profile_id as "profile_id!", profile_version, consent_version, verdict, permitted, sent, cleared,
               row_hash, decision_id
        from crmsync.delivery
        where chunk_id = $1 and outcome = 'open' and profile_id is not null
        "#,
        chunk_id,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LedgerRow {
                profile_id: row.profile_id.into(),
                profile_version: row.profile_version,
                consent_version: row.consent_version,
                ceases: row.verdict == "cease",
                permitted: Mask::from_sql(row.permitted),
                sent: Mask::from_sql(row.sent),
                cleared: Mask::from_sql(row.cleared),
                row_hash: row.row_hash.unwrap_or_default(),
                decision_id: sixteen(&row.decision_id, "decision id")?,
            })
        })
        .collect()
}

/// Writes what became of open decisions of a chunk.
#[tracing::instrument(name = "db.delivery.settle_rows", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn settle_rows(
    tx: &mut PgTransaction<'_>,
    chunk_id: Uuid,
    ids: &[Uuid],
    outcome: Outcome,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update crmsync.delivery
        set outcome = $3, settled_at = $4
        where chunk_id = $1 and profile_id = any($2) and outcome = 'open'
        "#,
        chunk_id,
        ids,
        outcome.name(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How many open rows of a chunk have no known record at the recipient.
#[tracing::instrument(name = "db.delivery.count_missing_records", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn count_missing_records(
    db: impl PgExecutor<'_>,
    chunk_id: Uuid,
    object_id: Uuid,
) -> Result<i64, Error> {
    let missing = sqlx::query_scalar!(
        r#"
        select count(*) as "missing!"
        from crmsync.delivery d
        left join crmsync.shadow s on s.object_id = $2 and s.profile_id = d.profile_id
        where d.chunk_id = $1 and d.outcome = 'open' and coalesce(s.record_id, '') = ''
        "#,
        chunk_id,
        object_id,
    );
    Ok(missing.fetch_one(db).await?)
}

/// Of these people, the reasons why each was withheld by the newest decision, where it was.
#[tracing::instrument(name = "db.delivery.last_withheld", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn last_withheld(
    db: impl PgExecutor<'_>,
    object_id: Uuid,
    ids: &[Uuid],
) -> Result<Vec<(ProfileId, String)>, Error> {
    let rows = sqlx::query!(
        r#"
        select last.profile_id as "profile_id!", last.reason as "reason!"
        from unnest($2::uuid[]) as asked (id)
        cross join lateral (
            select d.profile_id, d.reason, d.verdict
            from crmsync.delivery d
            where d.profile_id = asked.id and d.object_id = $1
            order by d.delivery_id desc
            limit 1
        ) as last
        where last.verdict = 'withhold'
        "#,
        object_id,
        ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.profile_id.into(), row.reason)).collect())
}

struct LineRow {
    profile_id: Uuid,
    destination_id: Uuid,
    lane: String,
    chunk_id: Option<Uuid>,
    run_id: Option<Uuid>,
    verdict: String,
    reason: String,
    permitted: i64,
    sent: i64,
    cleared: i64,
    profile_version: i64,
    consent_version: i64,
    agreement_id: Option<Uuid>,
    mapping_version_id: Uuid,
    decision_id: Vec<u8>,
    outcome: String,
    at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    fields: serde_json::Value,
}

impl LineRow {
    fn line(self) -> Result<Line, Error> {
        let fields: Vec<FieldMapping> =
            serde_json::from_value(self.fields).map_err(|_| Error::Stored { what: "mapping" })?;
        let names = |bits: i64| {
            let named = fields.iter().enumerate().filter(|(at, _)| Mask::from_sql(bits).has(*at));
            named.map(|(_, field)| field.target.clone()).collect()
        };
        Ok(Line {
            profile_id: self.profile_id.into(),
            destination_id: self.destination_id,
            lane: self.lane,
            chunk_id: self.chunk_id,
            run_id: self.run_id,
            verdict: self.verdict,
            reason: self.reason,
            permitted: names(self.permitted),
            sent: names(self.sent),
            cleared: names(self.cleared),
            profile_version: self.profile_version,
            consent_version: self.consent_version,
            agreement_id: self.agreement_id,
            mapping_version_id: self.mapping_version_id,
            decision_id: sixteen(&self.decision_id, "decision id")?,
            outcome: self.outcome,
            at: self.at,
            settled_at: self.settled_at,
        })
    }
}

/// The ledger of a person, newest first.
#[tracing::instrument(name = "db.delivery.list_by_profile", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_by_profile(pool: &PgPool, profile_id: ProfileId, most: i64) -> Result<Vec<Line>, Error> {
    let rows = sqlx::query_as!(
        LineRow,
        r#"
        select d.profile_id as "profile_id!", o.destination_id, d.lane, d.chunk_id, d.run_id, d.verdict, d.reason,
               d.permitted, d.sent, d.cleared, d.profile_version, d.consent_version, d.agreement_id,
               d.mapping_version_id, d.decision_id, d.outcome, d.at, d.settled_at, m.fields
        from crmsync.delivery d
        join crmsync.destination_object o using (object_id)
        join crmsync.mapping_version m on m.mapping_version_id = d.mapping_version_id
        where d.profile_id = $1
        order by d.delivery_id desc
        limit $2
        "#,
        profile_id.0,
        most,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LineRow::line).collect()
}

/// The lines of a decision, newest first.
#[tracing::instrument(name = "db.delivery.list_by_decision", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_by_decision(pool: &PgPool, decision_id: DecisionId) -> Result<Vec<Line>, Error> {
    let rows = sqlx::query_as!(
        LineRow,
        r#"
        select d.profile_id as "profile_id!", o.destination_id, d.lane, d.chunk_id, d.run_id, d.verdict, d.reason,
               d.permitted, d.sent, d.cleared, d.profile_version, d.consent_version, d.agreement_id,
               d.mapping_version_id, d.decision_id, d.outcome, d.at, d.settled_at, m.fields
        from crmsync.delivery d
        join crmsync.destination_object o using (object_id)
        join crmsync.mapping_version m on m.mapping_version_id = d.mapping_version_id
        where d.decision_id = $1 and d.profile_id is not null
        order by d.delivery_id desc
        limit 100
        "#,
        decision_id.as_slice(),
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(LineRow::line).collect()
}
