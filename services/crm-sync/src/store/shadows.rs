use std::collections::{BTreeSet, HashMap};

use domain::{DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgExecutor, PgTransaction};

use crate::{Error, gate::Held};

/// What the recipient holds of a person by our last acknowledged row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    /// Fields with values from us, and whether the record was ceased.
    pub held: Held,
    /// Id of the record there; empty when it is not known.
    pub record_id: String,
    /// Keyed hash of the row; empty when a reply was lost and nobody knows.
    pub row_hash: Vec<u8>,
}

/// An acknowledged row.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Who.
    pub profile_id: ProfileId,
    /// What the recipient holds now.
    pub shadow: Shadow,
    /// Which profile it was made of.
    pub profile_version: i64,
    /// Under which consents.
    pub consent_version: i64,
    /// The decision.
    pub decision_id: [u8; 16],
}

/// What the recipient holds of these people.
#[tracing::instrument(name = "db.shadow.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_shadows(
    db: impl PgExecutor<'_>,
    object_id: Uuid,
    ids: &[Uuid],
) -> Result<HashMap<ProfileId, Shadow>, Error> {
    let rows = sqlx::query!(
        r#"
        select profile_id, record_id, row_hash, held, ceased
        from crmsync.shadow
        where object_id = $1 and profile_id = any($2)
        "#,
        object_id,
        ids,
    )
    .fetch_all(db)
    .await?;
    let shadow = |row_hash, record_id, held: Vec<String>, ceased| Shadow {
        held: Held { fields: held.into_iter().collect(), ceased },
        record_id,
        row_hash,
    };
    Ok(rows
        .into_iter()
        .map(|row| (row.profile_id.into(), shadow(row.row_hash, row.record_id, row.held, row.ceased)))
        .collect())
}

/// What a load that is under way may have put there of these people: masks of the sent fields, with the mapping that
/// names them.
#[tracing::instrument(name = "db.shadow.maybe_held", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn maybe_held(
    db: impl PgExecutor<'_>,
    object_id: Uuid,
    ids: &[Uuid],
) -> Result<HashMap<ProfileId, i64>, Error> {
    let rows = sqlx::query!(
        r#"
        select d.profile_id as "profile_id!", bit_or(d.sent) as "sent!"
        from crmsync.delivery d
        join crmsync.chunk c using (chunk_id)
        where c.object_id = $1 and c.lane = 'load' and c.state in ('closing', 'closed', 'finished')
          and d.profile_id = any($2) and d.outcome = 'open' and d.verdict = 'deliver'
        group by d.profile_id
        "#,
        object_id,
        ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.profile_id.into(), row.sent)).collect())
}

/// Writes what the recipient has acknowledged.
#[tracing::instrument(name = "db.shadow.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_shadows(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    rows: &[Acknowledged],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.profile_id.0).collect();
    let records: Vec<String> = rows.iter().map(|row| row.shadow.record_id.clone()).collect();
    let profiles: Vec<i64> = rows.iter().map(|row| row.profile_version).collect();
    let consents: Vec<i64> = rows.iter().map(|row| row.consent_version).collect();
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.shadow.row_hash.clone()).collect();
    // Arrays of arrays must be rectangular in PostgreSQL; names of fields hold no comma.
    let held: Vec<String> = rows.iter().map(|row| joined(&row.shadow.held.fields)).collect();
    let ceased: Vec<bool> = rows.iter().map(|row| row.shadow.held.ceased).collect();
    let decisions: Vec<Vec<u8>> = rows.iter().map(|row| row.decision_id.to_vec()).collect();
    sqlx::query!(
        r#"
        insert into crmsync.shadow as s
            (object_id, profile_id, record_id, profile_version, consent_version, row_hash, held, ceased, decision_id,
             settled_at)
        select $1, n.profile_id, n.record_id, n.profile_version, n.consent_version, n.row_hash,
               array_remove(string_to_array(n.held, ','), ''), n.ceased, n.decision_id, $10
        from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::text[], $8::boolean[],
                    $9::bytea[])
             as n (profile_id, record_id, profile_version, consent_version, row_hash, held, ceased, decision_id)
        on conflict (object_id, profile_id) do update
        set record_id = case when excluded.record_id = '' then s.record_id else excluded.record_id end,
            profile_version = excluded.profile_version,
            consent_version = excluded.consent_version,
            row_hash = excluded.row_hash,
            held = excluded.held,
            ceased = excluded.ceased,
            decision_id = excluded.decision_id,
            settled_at = excluded.settled_at
        "#,
        object_id,
        &ids,
        &records,
        &profiles,
        &consents,
        &hashes,
        &held,
        &ceased,
        &decisions,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A reply was lost: the recipient may hold these fields as well. The empty hash equals no row's, so the next one goes
/// out; and whoever loses the permission meanwhile is ceased, since there may be something to cease.
#[tracing::instrument(name = "db.shadow.mark_unsure", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn mark_unsure(
    tx: &mut PgTransaction<'_>,
    object_id: Uuid,
    rows: &[Acknowledged],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for row in rows {
        let fields: Vec<String> = row.shadow.held.fields.iter().cloned().collect();
        sqlx::query!(
            r#"
            insert into crmsync.shadow as s
                (object_id, profile_id, profile_version, consent_version, row_hash, held, ceased, decision_id,
                 settled_at)
            values ($1, $2, $3, $4, '', $5, false, $6, $7)
            on conflict (object_id, profile_id) do update
            set row_hash = '',
                held = array(select distinct unnest(s.held || excluded.held)),
                ceased = false
            "#,
            object_id,
            row.profile_id.0,
            row.profile_version,
            row.consent_version,
            &fields,
            row.decision_id.as_slice(),
            now,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

fn joined(fields: &BTreeSet<String>) -> String {
    fields.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}
