use domain::{DateTime, UserId, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::error::Error;

/// What a user allowed a site.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OwnConsent {
    pub client_id: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub claims: Vec<String>,
    pub granted_at: DateTime<Utc>,
}

/// What a user allowed sites, by their names; at most 200.
#[tracing::instrument(name = "db.consent.list_own", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_own(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Vec<OwnConsent>, Error> {
    let rows = sqlx::query_as(
        "select client_id, client.name, consent.scopes, consent.claims, consent.granted_at
         from identity.consent
         join identity.client using (client_id)
         where user_id = $1
         order by client.name, client_id
         limit 200",
    );
    Ok(rows.bind(user_id.0).fetch_all(db).await?)
}

/// Takes a consent back, revokes what the client got by it and tells every instance; the scopes that were allowed, or
/// nothing where there is no consent.
#[tracing::instrument(name = "db.consent.withdraw", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn withdraw(
    db: &mut PgConnection,
    user_id: UserId,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Vec<String>>, Error> {
    let scopes: Option<Vec<String>> = sqlx::query_scalar(
        "delete from identity.consent where user_id = $1 and client_id = $2 returning scopes",
    )
    .bind(user_id.0)
    .bind(client_id)
    .fetch_optional(&mut *db)
    .await?;
    let Some(scopes) = scopes else { return Ok(None) };
    // Families are found by their sessions or as those that outlive them: both ways have an index.
    sqlx::query(
        "with revoked as (
             update identity.token_family
             set revoked_at = $3
             where client_id = $2 and user_id = $1 and revoked_at is null
               and (offline or session_id in (
                   select session_id from identity.browser_session where user_id = $1 and ended_at is null))
             returning family_id
         )
         insert into identity.revocation (family_id, at)
         select family_id, $3 from revoked",
    )
    .bind(user_id.0)
    .bind(client_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(Some(scopes))
}
