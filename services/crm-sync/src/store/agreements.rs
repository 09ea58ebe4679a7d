use domain::{DateTime, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use super::thirty_two;
use crate::{
    Error,
    agreement::{Agreement, State},
    agreement_token,
};

struct Row {
    destination_id: Uuid,
    state: String,
    token: String,
    sha256: Vec<u8>,
    proposed_by: String,
    activated_by: Option<String>,
}

impl Row {
    fn agreement(self) -> Result<(Uuid, Agreement), Error> {
        let stored = |what| Error::Stored { what };
        let agreement = Agreement {
            claims: agreement_token::stored_claims(&self.token).map_err(|_| stored("agreement"))?,
            sha256: thirty_two(&self.sha256, "agreement hash")?,
            state: State::find(&self.state).ok_or(stored("agreement state"))?,
            proposed_by: self.proposed_by,
            activated_by: self.activated_by,
        };
        Ok((self.destination_id, agreement))
    }
}

/// A new agreement of an object.
///
/// # Errors
/// Its id is used.
#[tracing::instrument(name = "db.agreement.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_agreement(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    agreement: &Agreement,
    token: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let inserted = sqlx::query!(
        r#"
        insert into crmsync.agreement
            (agreement_id, object_id, state, token, sha256, proposed_by, created_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $7)
        on conflict (agreement_id) do nothing
        "#,
        agreement.claims.agreement_id,
        object_id,
        agreement.state.name(),
        token,
        &agreement.sha256,
        agreement.proposed_by,
        now,
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 1 { Ok(()) } else { Err(Error::AgreementTaken) }
}

/// An agreement with its destination's id.
pub async fn load_agreement(
    db: impl PgExecutor<'_>,
    agreement_id: Uuid,
) -> Result<Option<(Uuid, Agreement)>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select o.destination_id, a.state, a.token, a.sha256, a.proposed_by, a.activated_by
        from crmsync.agreement a
        join crmsync.destination_object o using (object_id)
        where a.agreement_id = $1
        "#,
        agreement_id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::agreement).transpose()
}

/// An agreement with its destination's id, locked. Take the destination's lock first.
#[tracing::instrument(name = "db.agreement.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_agreement(
    tx: &mut PgTransaction<'_>,
    agreement_id: Uuid,
) -> Result<Option<(Uuid, Agreement)>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select o.destination_id, a.state, a.token, a.sha256, a.proposed_by, a.activated_by
        from crmsync.agreement a
        join crmsync.destination_object o using (object_id)
        where a.agreement_id = $1
        for update of a
        "#,
        agreement_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Row::agreement).transpose()
}

/// The one that is in force or held up, locked.
#[tracing::instrument(name = "db.agreement.find_in_force", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_in_force(tx: &mut PgTransaction<'_>, object_id: Uuid) -> Result<Option<Agreement>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select o.destination_id, a.state, a.token, a.sha256, a.proposed_by, a.activated_by
        from crmsync.agreement a
        join crmsync.destination_object o using (object_id)
        where a.object_id = $1 and a.state in ('active', 'suspended')
        for update of a
        "#,
        object_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Row::agreement).transpose()?.map(|(_, agreement)| agreement))
}

/// Writes where a locked agreement stands.
#[tracing::instrument(name = "db.agreement.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_agreement(
    tx: &mut PgTransaction<'_>,
    agreement: &Agreement,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update crmsync.agreement set state = $2, activated_by = $3, changed_at = $4 where agreement_id = $1",
        agreement.claims.agreement_id,
        agreement.state.name(),
        agreement.activated_by.as_deref(),
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
