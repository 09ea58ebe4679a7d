use domain::{DateTime, UserId, Utc, Uuid};
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};

use super::record::{self, AuditRecord};
use crate::error::Error;

/// Scopes that a user holds as staff.
#[tracing::instrument(name = "db.staff_grant.list_of_user", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn scopes(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<String>, Error> {
    let scopes = sqlx::query_scalar!(
        "select scope from identity.staff_grant where user_id = $1 order by scope",
        user_id.0
    );
    Ok(scopes.fetch_all(db).await?)
}

/// Gives a scope; a second time changes nothing. False when there is no such user.
#[tracing::instrument(name = "db.staff_grant.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn grant(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    scope: &str,
    granted_by: &str,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let there = sqlx::query_scalar!(
        r#"with granted as (
             insert into identity.staff_grant (user_id, scope, granted_by, granted_at)
             select user_id, $2, $3, $4 from identity.user where user_id = $1
             on conflict do nothing
         )
         select exists (select from identity.user where user_id = $1) as "there!""#,
        user_id.0,
        scope,
        granted_by,
        now
    );
    Ok(there.fetch_one(db).await?)
}

/// Takes a scope, and the nomination that it came of; false when the user does not hold it.
#[tracing::instrument(name = "db.staff_grant.revoke", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn revoke(db: &mut PgConnection, user_id: UserId, scope: &str) -> Result<bool, Error> {
    let done =
        sqlx::query!("delete from identity.staff_grant where user_id = $1 and scope = $2", user_id.0, scope);
    let done = done.execute(&mut *db).await?;
    // Nor does whoever proves this address later get it again.
    sqlx::query(
        "delete from identity.staff_nomination n
         using identity.user_email e
         where e.user_id = $1 and n.address_key = e.address_key and n.scope = $2",
    )
    .bind(user_id.0)
    .bind(scope)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A grant as operators see it.
pub struct Listed {
    pub user_id: UserId,
    pub scope: String,
    pub granted_by: String,
    pub granted_at: DateTime<Utc>,
}

/// At most 500 grants, of everyone or of one user.
#[tracing::instrument(name = "db.staff_grant.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list(db: impl PgExecutor<'_>, user_id: Option<UserId>) -> Result<Vec<Listed>, Error> {
    let rows = sqlx::query!(
        "select user_id, scope, granted_by, granted_at
         from identity.staff_grant
         where $1::uuid is null or user_id = $1
         order by user_id, scope
         limit 500",
        user_id.map(|user| user.0)
    )
    .fetch_all(db)
    .await?;
    let listed = rows.into_iter().map(|row| Listed {
        user_id: row.user_id.into(),
        scope: row.scope,
        granted_by: row.granted_by,
        granted_at: row.granted_at,
    });
    Ok(listed.collect())
}

/// Names staff by address, and gives the scopes at once to a user who has that address.
#[tracing::instrument(name = "db.staff_nomination.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn nominate(
    db: &mut PgConnection,
    address_key: &str,
    scopes: &[String],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.staff_nomination (address_key, scope, nominated_at)
         select $1, scope, $3 from unnest($2::text[]) scope
         on conflict do nothing",
        address_key,
        scopes,
        now
    )
    .execute(&mut *db)
    .await?;
    apply_nominations(db, address_key, now).await
}

/// Turns the nominations of an address into grants of the user who has proved it, and notes them in the audit.
#[tracing::instrument(name = "db.staff_nomination.apply", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn apply_nominations(
    db: &mut PgConnection,
    address_key: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let granted: Vec<(Uuid, String)> = sqlx::query_as(
        "insert into identity.staff_grant (user_id, scope, granted_by, granted_at)
         select e.user_id, n.scope, 'bootstrap', $2
         from identity.staff_nomination n
         join identity.user_email e using (address_key)
         where n.address_key = $1
         on conflict do nothing
         returning user_id, scope",
    )
    .bind(address_key)
    .bind(now)
    .fetch_all(&mut *db)
    .await?;
    for (user_id, scope) in granted {
        let record = AuditRecord {
            actor: "system".to_owned(),
            action: "grant_staff_scope",
            subject: user_id.to_string(),
            outcome: "done",
            detail: Some(json!({"scope": scope})),
            ..AuditRecord::default()
        };
        record::insert(&mut *db, &record, now).await?;
    }
    Ok(())
}

/// What a user allowed a client.
#[derive(Debug, Default)]
pub struct Consented {
    pub scopes: Vec<String>,
    /// Asked for by name, beyond the scopes.
    pub claims: Vec<String>,
}

impl Consented {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.claims.is_empty()
    }
}

#[tracing::instrument(name = "db.consent.list", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn consented(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    client_id: &str,
) -> Result<Consented, Error> {
    let consented = sqlx::query_as!(
        Consented,
        "select scopes, claims from identity.consent where user_id = $1 and client_id = $2",
        user_id.0,
        client_id
    );
    Ok(consented.fetch_optional(db).await?.unwrap_or_default())
}

#[tracing::instrument(name = "db.consent.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_consent(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    client_id: &str,
    allowed: &Consented,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.consent as old (user_id, client_id, scopes, granted_at, claims)
         values ($1, $2, $3, $4, $5)
         on conflict (user_id, client_id) do update
         set scopes = array(select distinct unnest(old.scopes || excluded.scopes) order by 1),
             claims = array(select distinct unnest(old.claims || excluded.claims) order by 1),
             granted_at = excluded.granted_at",
        user_id.0,
        client_id,
        &allowed.scopes,
        now,
        &allowed.claims
    )
    .execute(db)
    .await?;
    Ok(())
}
