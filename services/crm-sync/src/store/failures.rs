use domain::{DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use super::sixteen;
use crate::{Error, gate::DecisionId, row_failure::RowFailure};

/// A row that was refused, or could not be made.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Who.
    pub profile_id: ProfileId,
    /// The decision.
    pub decision_id: DecisionId,
    /// What to do about it: again, data, identity, gone, config.
    pub class: String,
    /// Code.
    pub code: String,
    /// Fields that it names.
    pub fields: Vec<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Failed {
    /// A failure of a decision's row.
    #[must_use]
    pub fn new(
        profile_id: ProfileId,
        decision_id: DecisionId,
        failure: &RowFailure,
        at: DateTime<Utc>,
    ) -> Self {
        let (class, code) = (failure.class.name().to_owned(), failure.code.clone());
        Self { profile_id, decision_id, class, code, fields: failure.fields.clone(), at }
    }
}

/// Writes failures of a chunk or run.
#[tracing::instrument(name = "db.row_failure.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_failures(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    chunk_id: Option<Uuid>,
    run_id: Option<Uuid>,
    failures: &[Failed],
) -> Result<(), Error> {
    for failure in failures {
        sqlx::query!(
            r#"
            insert into crmsync.delivery_failure
                (object_id, chunk_id, run_id, profile_id, decision_id, class, code, fields, at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            "#,
            object_id,
            chunk_id,
            run_id,
            failure.profile_id.0,
            failure.decision_id.as_slice(),
            failure.class,
            failure.code,
            &failure.fields,
            failure.at,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The failures of a run, first ones first.
#[tracing::instrument(name = "db.row_failure.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_failures(pool: &PgPool, run_id: Uuid, most: i64) -> Result<Vec<Failed>, Error> {
    let rows = sqlx::query!(
        r#"
        select profile_id, decision_id, class, code, fields, at
        from crmsync.delivery_failure
        where run_id = $1
        order by delivery_failure_id
        limit $2
        "#,
        run_id,
        most,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Failed {
                profile_id: row.profile_id.into(),
                decision_id: sixteen(&row.decision_id, "decision id")?,
                class: row.class,
                code: row.code,
                fields: row.fields,
                at: row.at,
            })
        })
        .collect()
}
