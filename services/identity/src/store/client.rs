use domain::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use super::stored;
use crate::{client::Client, error::Error};

struct Row {
    client_id: String,
    name: String,
    kind: String,
    token_endpoint_auth_method: String,
    secret_sha256: Option<Vec<u8>>,
    jwks: Option<Value>,
    redirect_uris: Vec<String>,
    post_logout_redirect_uris: Vec<String>,
    backchannel_logout_uri: Option<String>,
    grant_types: Vec<String>,
    scopes: Vec<String>,
    audiences: Vec<String>,
    pkce_required: bool,
    sector: Option<String>,
    jwks_uri: Option<String>,
    default_max_age: Option<i32>,
}

impl Row {
    fn into_client(self) -> Result<Client, Error> {
        Ok(Client {
            client_id: self.client_id,
            name: self.name,
            kind: stored("client kind", self.kind.parse())?,
            auth_method: stored("client authentication", self.token_endpoint_auth_method.parse())?,
            secret_sha256: self.secret_sha256,
            jwks: self.jwks,
            redirect_uris: self.redirect_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            backchannel_logout_uri: self.backchannel_logout_uri,
            grant_types: self.grant_types,
            scopes: self.scopes,
            audiences: self.audiences,
            pkce_required: self.pkce_required,
            sector: self.sector,
            jwks_uri: self.jwks_uri,
            default_max_age: self.default_max_age.map(i64::from),
        })
    }
}

#[tracing::instrument(name = "db.client.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(db: impl PgExecutor<'_>, client_id: &str) -> Result<Option<Client>, Error> {
    let row = sqlx::query_as!(
        Row,
        "select client_id, name, kind, token_endpoint_auth_method, secret_sha256, jwks, redirect_uris,
                post_logout_redirect_uris, backchannel_logout_uri, grant_types, scopes, audiences, pkce_required,
                sector, jwks_uri, default_max_age
         from identity.client
         where client_id = $1",
        client_id
    )
    .fetch_optional(db)
    .await?;
    row.map(Row::into_client).transpose()
}

/// Writes a client of the bootstrap file or of a registration; a row that is already so stays as it is.
#[tracing::instrument(name = "db.client.upsert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn upsert(db: impl PgExecutor<'_>, client: &Client, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.client as old
             (client_id, name, kind, token_endpoint_auth_method, secret_sha256, jwks, redirect_uris,
              post_logout_redirect_uris, backchannel_logout_uri, grant_types, scopes, audiences, pkce_required,
              version, updated_at, sector, jwks_uri, default_max_age)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $15, $16, $17)
         on conflict (client_id) do update
         set name = excluded.name, kind = excluded.kind,
             token_endpoint_auth_method = excluded.token_endpoint_auth_method,
             secret_sha256 = excluded.secret_sha256, jwks = excluded.jwks, redirect_uris = excluded.redirect_uris,
             post_logout_redirect_uris = excluded.post_logout_redirect_uris,
             backchannel_logout_uri = excluded.backchannel_logout_uri, grant_types = excluded.grant_types,
             scopes = excluded.scopes, audiences = excluded.audiences, pkce_required = excluded.pkce_required,
             sector = excluded.sector, jwks_uri = excluded.jwks_uri, default_max_age = excluded.default_max_age,
             version = old.version + 1, updated_at = excluded.updated_at
         where (old.name, old.kind, old.token_endpoint_auth_method, old.secret_sha256, old.jwks, old.redirect_uris,
                old.post_logout_redirect_uris, old.backchannel_logout_uri, old.grant_types, old.scopes, old.audiences,
                old.pkce_required, old.sector, old.jwks_uri, old.default_max_age)
             is distinct from
               (excluded.name, excluded.kind, excluded.token_endpoint_auth_method, excluded.secret_sha256,
                excluded.jwks, excluded.redirect_uris, excluded.post_logout_redirect_uris,
                excluded.backchannel_logout_uri, excluded.grant_types, excluded.scopes, excluded.audiences,
                excluded.pkce_required, excluded.sector, excluded.jwks_uri, excluded.default_max_age)",
        client.client_id,
        client.name,
        client.kind.name(),
        client.auth_method.name(),
        client.secret_sha256,
        client.jwks,
        &client.redirect_uris,
        &client.post_logout_redirect_uris,
        client.backchannel_logout_uri,
        &client.grant_types,
        &client.scopes,
        &client.audiences,
        client.pkce_required,
        now,
        client.sector,
        client.jwks_uri,
        client.default_max_age.and_then(|age| i32::try_from(age).ok())
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a client has a redirect URI of this origin.
#[tracing::instrument(name = "db.client.has_origin", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn has_origin(db: impl PgExecutor<'_>, origin: &str) -> Result<bool, Error> {
    let there = sqlx::query_scalar!(
        r#"select exists (
             select
             from identity.client, unnest(redirect_uris) uri
             where uri = $1 or starts_with(uri, $1 || '/') or starts_with(uri, $1 || '?')) as "there!""#,
        origin
    );
    Ok(there.fetch_one(db).await?)
}
