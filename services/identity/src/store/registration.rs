use chrono::NaiveDate;
use domain::{DateTime, Utc, Uuid};
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgExecutor, types::Json};

use super::{count, uncount};
use crate::{error::Error, registration::Policy};

#[derive(sqlx::FromRow)]
struct PolicyRow {
    policy_id: Uuid,
    name: String,
    generation: i32,
    scopes: Vec<String>,
    grant_types: Vec<String>,
    auth_methods: Vec<String>,
    pkce_required: bool,
    most_clients: i32,
    expires_at: Option<DateTime<Utc>>,
}

impl From<PolicyRow> for Policy {
    fn from(row: PolicyRow) -> Self {
        Self {
            policy_id: row.policy_id,
            name: row.name,
            generation: uncount(row.generation),
            scopes: row.scopes,
            grant_types: row.grant_types,
            auth_methods: row.auth_methods,
            pkce_required: row.pkce_required,
            most_clients: uncount(row.most_clients),
            expires_at: row.expires_at,
        }
    }
}

/// Of an initial access token.
#[tracing::instrument(name = "db.registration_policy.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn policy(db: impl PgExecutor<'_>, policy_id: Uuid) -> Result<Option<Policy>, Error> {
    let row = sqlx::query_as::<_, PolicyRow>(
        "select policy_id, name, generation, scopes, grant_types, auth_methods, pkce_required, most_clients, expires_at
         from identity.registration_policy
         where policy_id = $1",
    );
    Ok(row.bind(policy_id).fetch_optional(db).await?.map(Policy::from))
}

/// Of this name, or all of them in the order of their names, each with the number of its clients.
#[tracing::instrument(name = "db.registration_policy.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn policies(db: impl PgExecutor<'_>, name: Option<&str>) -> Result<Vec<(Policy, i64)>, Error> {
    #[derive(sqlx::FromRow)]
    struct Counted {
        #[sqlx(flatten)]
        policy: PolicyRow,
        clients: i64,
    }
    let rows = sqlx::query_as::<_, Counted>(
        "select policy_id, name, generation, scopes, grant_types, auth_methods, pkce_required, most_clients, expires_at,
                (select count(*) from identity.client_registration r where r.policy_id = p.policy_id) as clients
         from identity.registration_policy p
         where $1::text is null or name = $1
         order by name
         limit 500",
    );
    let rows = rows.bind(name).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.policy.into(), row.clients)).collect())
}

/// Writes a policy of the bootstrap file under its name; id and generation of one that is there stay.
#[tracing::instrument(name = "db.registration_policy.upsert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn upsert_policy(
    db: impl PgExecutor<'_>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "insert into identity.registration_policy
             (policy_id, name, scopes, grant_types, auth_methods, pkce_required, most_clients, expires_at, updated_at,
              generation)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (name) do update
         set scopes = excluded.scopes, grant_types = excluded.grant_types, auth_methods = excluded.auth_methods,
             pkce_required = excluded.pkce_required, most_clients = excluded.most_clients,
             expires_at = excluded.expires_at, updated_at = excluded.updated_at",
    )
    .bind(policy.policy_id)
    .bind(&policy.name)
    .bind(&policy.scopes)
    .bind(&policy.grant_types)
    .bind(&policy.auth_methods)
    .bind(policy.pkce_required)
    .bind(count(policy.most_clients))
    .bind(policy.expires_at)
    .bind(now)
    .bind(count(policy.generation))
    .execute(db)
    .await?;
    Ok(())
}

/// Revokes the tokens of a policy that were given out so far; false when there is no such policy.
#[tracing::instrument(name = "db.registration_policy.raise", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn raise_generation(
    db: impl PgExecutor<'_>,
    name: &str,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update identity.registration_policy set generation = generation + 1, updated_at = $2 where name = $1",
    );
    Ok(done.bind(name).bind(now).execute(db).await?.rows_affected() == 1)
}

/// What is kept of a registered client beside its row.
pub struct Registered {
    pub policy_id: Uuid,
    pub metadata: Map<String, Value>,
    pub created_at: DateTime<Utc>,
}

/// Notes a registration; false when the policy has as many clients as it may have. Registrations of one policy follow
/// each other, or two at once would both find the last place free.
#[tracing::instrument(name = "db.client_registration.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(
    db: &mut PgConnection,
    registration_id: Uuid,
    client_id: &str,
    registered: &Registered,
) -> Result<bool, Error> {
    sqlx::query("select from identity.registration_policy where policy_id = $1 for update")
        .bind(registered.policy_id)
        .execute(&mut *db)
        .await?;
    let done = sqlx::query(
        "insert into identity.client_registration (registration_id, client_id, policy_id, metadata, created_at)
         select $1, $2, policy_id, $4, $5
         from identity.registration_policy p
         where policy_id = $3
           and (select count(*) from identity.client_registration r where r.policy_id = p.policy_id) < most_clients",
    )
    .bind(registration_id)
    .bind(client_id)
    .bind(registered.policy_id)
    .bind(Json(&registered.metadata))
    .bind(registered.created_at)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[tracing::instrument(name = "db.client_registration.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(db: impl PgExecutor<'_>, registration_id: Uuid) -> Result<Option<Registered>, Error> {
    let row = sqlx::query_as::<_, (Uuid, Json<Map<String, Value>>, DateTime<Utc>)>(
        "select policy_id, metadata, created_at from identity.client_registration where registration_id = $1",
    );
    let row = row.bind(registration_id).fetch_optional(db).await?;
    Ok(row.map(|(policy_id, Json(metadata), created_at)| Registered { policy_id, metadata, created_at }))
}

/// Replaces the metadata; false when the client has gone in between.
#[tracing::instrument(name = "db.client_registration.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save(
    db: impl PgExecutor<'_>,
    registration_id: Uuid,
    metadata: &Map<String, Value>,
) -> Result<bool, Error> {
    let done =
        sqlx::query("update identity.client_registration set metadata = $2 where registration_id = $1");
    Ok(done.bind(registration_id).bind(Json(metadata)).execute(db).await?.rows_affected() == 1)
}

/// Notes on which days clients got tokens, in one statement.
#[tracing::instrument(name = "db.client_registration.note_used", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn note_used(db: impl PgExecutor<'_>, used: &[(String, NaiveDate)]) -> Result<(), Error> {
    let (client_ids, days): (Vec<String>, Vec<NaiveDate>) = used.iter().cloned().unzip();
    sqlx::query(
        "update identity.client_registration r
         set used_on = n.day
         from unnest($1::text[], $2::date[]) n (client_id, day)
         where r.client_id = n.client_id and (r.used_on is null or r.used_on < n.day)",
    )
    .bind(client_ids)
    .bind(days)
    .execute(db)
    .await?;
    Ok(())
}

/// At most 100 clients that never got a token and registered before one time, or got none since the day of another;
/// locked, to be deleted.
pub async fn lock_idle(
    db: &mut PgConnection,
    registered_before: DateTime<Utc>,
    unused_since: DateTime<Utc>,
) -> Result<Vec<String>, Error> {
    // The client's row, as whoever changes or allows a client locks it first; another instance's are passed over.
    let ids = sqlx::query_scalar(
        "select c.client_id
         from identity.client_registration r
         join identity.client c on c.client_id = r.client_id
         where r.used_on is null and r.created_at < $1
            or r.used_on < ($2::timestamptz at time zone 'utc')::date
         order by r.registration_id
         limit 100
         for update of c skip locked",
    );
    Ok(ids.bind(registered_before).bind(unused_since).fetch_all(db).await?)
}
