use std::sync::Arc;

use domain::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgExecutor};

use super::{count, stored, uncount};
use crate::{
    client::{Client, TokenRules},
    error::Error,
    theme::Theme,
};

/// The columns of a client, named in one place.
pub(super) const COLUMNS: &str =
    "client_id, name, kind, token_endpoint_auth_method, secret_sha256, jwks, redirect_uris,
    post_logout_redirect_uris, backchannel_logout_uri, grant_types, scopes, audiences, pkce_required, profile,
    par_required, dpop_required, token_url_audience, sector, jwks_uri, default_max_age, access_token_format,
    access_token_seconds, refresh_grace_seconds, id_token_signed_response_alg, theme";

#[derive(sqlx::FromRow)]
pub(super) struct Row {
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
    profile: String,
    par_required: bool,
    dpop_required: bool,
    token_url_audience: bool,
    sector: Option<String>,
    jwks_uri: Option<String>,
    default_max_age: Option<i32>,
    id_token_signed_response_alg: String,
    access_token_format: String,
    access_token_seconds: Option<i32>,
    refresh_grace_seconds: i32,
    theme: Option<Value>,
}

impl Row {
    pub(super) fn into_client(self) -> Result<Client, Error> {
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
            profile: stored("client profile", self.profile.parse())?,
            par_required: self.par_required,
            dpop_required: self.dpop_required,
            token_url_audience: self.token_url_audience,
            sector: self.sector,
            jwks_uri: self.jwks_uri,
            default_max_age: self.default_max_age.map(i64::from),
            id_token_alg: stored("algorithm", self.id_token_signed_response_alg.parse())?,
            tokens: TokenRules {
                format: stored("access token format", self.access_token_format.parse())?,
                access_seconds: self.access_token_seconds.map(uncount),
                refresh_grace_seconds: uncount(self.refresh_grace_seconds),
            },
            theme: stored("client theme", self.theme.as_ref().map(Theme::parse).transpose())?.map(Arc::new),
        })
    }
}

#[tracing::instrument(name = "db.client.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find(db: impl PgExecutor<'_>, client_id: &str) -> Result<Option<Client>, Error> {
    Ok(load(db, Some(client_id), 1).await?.pop())
}

/// The clients that changed last, at most `most`.
pub async fn list(db: impl PgExecutor<'_>, most: i64) -> Result<Vec<Client>, Error> {
    load(db, None, most).await
}

async fn load(db: impl PgExecutor<'_>, client_id: Option<&str>, most: i64) -> Result<Vec<Client>, Error> {
    let sql = format!(
        "select {COLUMNS}
         from identity.client
         where $1::text is null or client_id = $1
         order by updated_at desc
         limit $2"
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).bind(client_id).bind(most).fetch_all(db).await?;
    rows.into_iter().map(Row::into_client).collect()
}

/// What differs after any change to any client.
pub async fn fingerprint(db: impl PgExecutor<'_>) -> Result<String, Error> {
    let fingerprint = sqlx::query_scalar(
        "select coalesce(sum(hashtextextended(client_id || ' ' || version || ' ' || xmin, 0)), 0)::text
         from identity.client",
    );
    Ok(fingerprint.fetch_one(db).await?)
}

const UPSERT: &str = "insert into identity.client as old
         (client_id, name, kind, token_endpoint_auth_method, secret_sha256, jwks, redirect_uris,
          post_logout_redirect_uris, backchannel_logout_uri, grant_types, scopes, audiences, pkce_required,
          version, updated_at, sector, jwks_uri, default_max_age, id_token_signed_response_alg, profile,
          par_required, dpop_required, token_url_audience, access_token_format, access_token_seconds,
          refresh_grace_seconds, theme)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25, $26)
     on conflict (client_id) do update
     set name = excluded.name, kind = excluded.kind,
         token_endpoint_auth_method = excluded.token_endpoint_auth_method,
         secret_sha256 = excluded.secret_sha256, jwks = excluded.jwks, redirect_uris = excluded.redirect_uris,
         post_logout_redirect_uris = excluded.post_logout_redirect_uris,
         backchannel_logout_uri = excluded.backchannel_logout_uri, grant_types = excluded.grant_types,
         scopes = excluded.scopes, audiences = excluded.audiences, pkce_required = excluded.pkce_required,
         profile = excluded.profile, par_required = excluded.par_required,
         dpop_required = excluded.dpop_required, token_url_audience = excluded.token_url_audience,
         sector = excluded.sector, jwks_uri = excluded.jwks_uri, default_max_age = excluded.default_max_age,
         id_token_signed_response_alg = excluded.id_token_signed_response_alg,
         access_token_format = excluded.access_token_format,
         access_token_seconds = excluded.access_token_seconds,
         refresh_grace_seconds = excluded.refresh_grace_seconds, theme = excluded.theme,
         version = old.version + 1, updated_at = excluded.updated_at
     where (old.name, old.kind, old.token_endpoint_auth_method, old.secret_sha256, old.jwks, old.redirect_uris,
            old.post_logout_redirect_uris, old.backchannel_logout_uri, old.grant_types, old.scopes, old.audiences,
            old.pkce_required, old.profile, old.par_required, old.dpop_required, old.token_url_audience,
            old.sector, old.jwks_uri, old.default_max_age, old.access_token_format, old.access_token_seconds,
            old.refresh_grace_seconds, old.id_token_signed_response_alg, old.theme)
         is distinct from
           (excluded.name, excluded.kind, excluded.token_endpoint_auth_method, excluded.secret_sha256,
            excluded.jwks, excluded.redirect_uris, excluded.post_logout_redirect_uris,
            excluded.backchannel_logout_uri, excluded.grant_types, excluded.scopes, excluded.audiences,
            excluded.pkce_required, excluded.profile, excluded.par_required, excluded.dpop_required,
            excluded.token_url_audience, excluded.sector, excluded.jwks_uri, excluded.default_max_age,
            excluded.access_token_format, excluded.access_token_seconds, excluded.refresh_grace_seconds,
            excluded.id_token_signed_response_alg, excluded.theme)";

/// Writes a client; false when its row is already so, and stays as it is.
#[tracing::instrument(name = "db.client.upsert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn upsert(db: impl PgExecutor<'_>, client: &Client, now: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query(UPSERT)
        .bind(&client.client_id)
        .bind(&client.name)
        .bind(client.kind.name())
        .bind(client.auth_method.name())
        .bind(&client.secret_sha256)
        .bind(&client.jwks)
        .bind(&client.redirect_uris)
        .bind(&client.post_logout_redirect_uris)
        .bind(&client.backchannel_logout_uri)
        .bind(&client.grant_types)
        .bind(&client.scopes)
        .bind(&client.audiences)
        .bind(client.pkce_required)
        .bind(now)
        .bind(&client.sector)
        .bind(&client.jwks_uri)
        .bind(client.default_max_age.and_then(|age| i32::try_from(age).ok()))
        .bind(client.id_token_alg.name())
        .bind(client.profile.name())
        .bind(client.par_required)
        .bind(client.dpop_required)
        .bind(client.token_url_audience)
        .bind(client.tokens.format.name())
        .bind(client.tokens.access_seconds.map(count))
        .bind(count(client.tokens.refresh_grace_seconds))
        .bind(client.theme.as_ref().map(|theme| theme.to_json()))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
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
