//! Clients as their administrators see them. What is written here and what the bootstrap file says keep the same rules.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::Actor;
use domain::Uuid;
use serde_json::{Value, json};
use sqlx::PgTransaction;

use super::{App, admin::record};
use crate::{
    client::{AuthMethod, Client, secret_sha256},
    error::Error,
    revocation::Revoked,
    store::{self, client_admin, record::AuditRecord},
};

pub use client_admin::ClientRow;

const NO_CLIENT: Error = Error::NotFound { what: "client" };

impl App {
    /// A client.
    ///
    /// # Errors
    /// No such client.
    pub async fn get_client(&self, client_id: &str) -> Result<ClientRow, Error> {
        client_admin::load(&self.db, client_id).await?.ok_or(NO_CLIENT)
    }

    /// Clients by id, behind one.
    ///
    /// # Errors
    /// The database.
    pub async fn list_clients(&self, after: &str, most: u32) -> Result<Vec<ClientRow>, Error> {
        client_admin::list(&self.db, after, i64::from(most)).await
    }

    /// Writes a new client; the same again changes nothing. With the secret, where it has one.
    ///
    /// # Errors
    /// A field that breaks a rule; another client of this id.
    pub async fn create_client(
        &self,
        actor: &Actor,
        request_id: Uuid,
        draft: Draft,
    ) -> Result<(ClientRow, Option<String>), Error> {
        let secret = draft.has_secret().then(|| self.client_secret(draft.client_id(), request_id));
        let client = draft.of_new(secret.as_deref())?;
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        if let Some(there) = client_admin::load_for_update(&mut tx, &client.client_id).await? {
            let same = there.client == client;
            return if same { Ok((there, secret)) } else { Err(Error::AlreadyThere { what: "client" }) };
        }
        store::client::upsert(&mut *tx, &client, now).await?;
        let row = self.written(&mut tx, actor, "create_client", &client.client_id, None).await?;
        tx.commit().await?;
        self.clients.forget(&client.client_id);
        Ok((row, secret))
    }

    /// Puts other fields in the place of a client's; its secret stays.
    ///
    /// # Errors
    /// No such client, another version than expected, a field that breaks a rule.
    pub async fn update_client(
        &self,
        actor: &Actor,
        draft: Draft,
        version: Option<i64>,
    ) -> Result<ClientRow, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let there = expected(&mut tx, draft.client_id(), version).await?;
        let client = draft.over(&there.client)?;
        if client == there.client {
            return Ok(there);
        }
        store::client::upsert(&mut *tx, &client, self.now()).await?;
        let row = self.written(&mut tx, actor, "update_client", &client.client_id, None).await?;
        tx.commit().await?;
        self.clients.forget(&client.client_id);
        Ok(row)
    }

    /// Takes a client away, with its consents and its tokens.
    ///
    /// # Errors
    /// No such client, another version than expected.
    pub async fn delete_client(
        &self,
        actor: &Actor,
        client_id: &str,
        version: Option<i64>,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        expected(&mut tx, client_id, version).await?;
        client_admin::delete(&mut tx, &[client_id.to_owned()], now).await?;
        store::record::insert(&mut *tx, &record(actor, "delete_client", client_id), now).await?;
        tx.commit().await?;
        self.clients.forget(client_id);
        self.revocations.note([Revoked::Client(client_id.into())]);
        tracing::info!(client_id, "client deleted");
        Ok(())
    }

    /// Gives a client another secret; the former one is refused from then on. The same request gives the same secret.
    ///
    /// # Errors
    /// No such client, another version than expected, a client that authenticates otherwise.
    pub async fn rotate_client_secret(
        &self,
        actor: &Actor,
        client_id: &str,
        version: Option<i64>,
        request_id: Uuid,
    ) -> Result<(ClientRow, String), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut there = client_admin::load_for_update(&mut tx, client_id).await?.ok_or(NO_CLIENT)?;
        let secret = self.client_secret(client_id, request_id);
        if there.client.has_secret(&secret) {
            return Ok((there, secret));
        }
        if version.is_some_and(|expected| expected != there.version) {
            return Err(Error::StaleVersion { actual: there.version });
        }
        if !there.client.auth_method.is_secret() {
            return Err(Error::NoSecret);
        }
        there.client.secret_sha256 = Some(secret_sha256(&secret));
        store::client::upsert(&mut *tx, &there.client, self.now()).await?;
        let detail = Some(json!({"request_id": request_id}));
        let row = self.written(&mut tx, actor, "rotate_client_secret", client_id, detail).await?;
        tx.commit().await?;
        self.clients.forget(client_id);
        Ok((row, secret))
    }

    async fn written(
        &self,
        tx: &mut PgTransaction<'_>,
        actor: &Actor,
        action: &'static str,
        client_id: &str,
        detail: Option<Value>,
    ) -> Result<ClientRow, Error> {
        let row = client_admin::load(&mut **tx, client_id).await?.ok_or(NO_CLIENT)?;
        let record = AuditRecord { detail, ..record(actor, action, client_id) };
        store::record::insert(&mut **tx, &record, self.now()).await?;
        tracing::info!(client_id, action, version = row.version, "client written");
        Ok(row)
    }

    // 256 bits that nobody stores: whoever repeats the request gets them again.
    fn client_secret(&self, client_id: &str, request_id: Uuid) -> String {
        let key = self.keys().oldest().derive("client secret", client_id);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, request_id.as_bytes()))
    }
}

async fn expected(
    tx: &mut PgTransaction<'_>,
    client_id: &str,
    version: Option<i64>,
) -> Result<ClientRow, Error> {
    let there = client_admin::load_for_update(tx, client_id).await?.ok_or(NO_CLIENT)?;
    match version {
        Some(expected) if expected != there.version => Err(Error::StaleVersion { actual: there.version }),
        _ => Ok(there),
    }
}

/// The fields of a client that an administrator says, as text. What they do not say keeps its value or its default.
#[derive(Debug, Clone, Default)]
pub struct Draft(pub serde_json::Map<String, Value>);

impl Draft {
    /// The client's id; empty when it has none.
    pub fn client_id(&self) -> &str {
        self.0.get("client_id").and_then(Value::as_str).unwrap_or_default()
    }

    fn has_secret(&self) -> bool {
        let method = self.0.get("token_endpoint_auth_method").and_then(Value::as_str);
        method.and_then(|name| name.parse::<AuthMethod>().ok()).is_some_and(AuthMethod::is_secret)
    }

    fn of_new(mut self, secret: Option<&str>) -> Result<Client, Error> {
        if let Some(secret) = secret {
            self.0.insert("client_secret_sha256".to_owned(), hex(&secret_sha256(secret)).into());
        }
        super::bootstrap::client_of(Value::Object(self.0))
    }

    // What is not said stays. A change of the method takes a secret away; a client without one is made anew to get one,
    // since only its creator is told a secret.
    fn over(self, there: &Client) -> Result<Client, Error> {
        let mut fields = fields_of(there);
        fields.extend(self.0);
        let whole = Self(fields);
        let secret = there.secret_sha256.as_deref().filter(|_| whole.has_secret());
        let mut fields = whole.0;
        fields.insert("client_secret_sha256".to_owned(), secret.map(hex).into());
        let said = super::bootstrap::client_of(Value::Object(fields))?;
        Ok(Client { sector: there.sector.clone(), ..said })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// A client in the form of the bootstrap file.
fn fields_of(client: &Client) -> serde_json::Map<String, Value> {
    let fields = json!({
        "client_id": client.client_id,
        "name": client.name,
        "kind": client.kind.name(),
        "token_endpoint_auth_method": client.auth_method.name(),
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
        "redirect_uris": client.redirect_uris,
        "post_logout_redirect_uris": client.post_logout_redirect_uris,
        "backchannel_logout_uri": client.backchannel_logout_uri,
        "grant_types": client.grant_types,
        "scopes": client.scopes,
        "audiences": client.audiences,
        "pkce_required": client.pkce_required,
        "access_token_format": client.tokens.format.name(),
        "access_token_seconds": client.tokens.access_seconds,
        "refresh_grace_seconds": client.tokens.refresh_grace_seconds,
        "profile": client.profile.name(),
        "require_pushed_authorization_requests": client.par_required,
        "dpop_bound_access_tokens": client.dpop_required,
        "token_url_audience": client.token_url_audience,
        "default_max_age": client.default_max_age,
        "id_token_signed_response_alg": client.id_token_alg.name(),
        "theme": client.theme.as_ref().map(|theme| theme.to_json()),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}
