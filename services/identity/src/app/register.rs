//! Clients that register themselves and look after their registration (RFC 7591, RFC 7592).

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::Actor;
use domain::Uuid;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{App, Origin, admin::record};
use crate::{
    client::{Client, secret_sha256},
    error::Error,
    handle::{Handle, Kind},
    registration::{InvalidMetadata, Policy, Registration, client_id_of, described},
    revocation::Revoked,
    sealed::SealError,
    store::{self, client_admin, record::AuditRecord, registration::Registered},
};

/// Why a registration is refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The token is none, or counts no more, or is another client's.
    #[error("the token does not count here")]
    Token,
    /// The policy has as many clients as it may have.
    #[error("the policy has no room for another client")]
    Full,
    /// The metadata breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidMetadata),
    /// It could not be judged.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<sqlx::Error> for RegistrationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

const NO_POLICY: Error = Error::NotFound { what: "registration policy" };

/// A client's answer about itself (RFC 7591 3.2.1), with its secrets.
pub type Answer = Map<String, Value>;

impl App {
    /// Registers a client under the policy of an initial access token.
    ///
    /// # Errors
    /// A token that does not count, metadata that breaks a rule, a policy without room; the database.
    pub async fn register(
        &self,
        token: &str,
        metadata: &Map<String, Value>,
        origin: Origin,
    ) -> Result<Answer, RegistrationError> {
        let now = self.now();
        let handle = Handle::read(self.keys(), Kind::InitialAccess, token).ok_or(RegistrationError::Token)?;
        let policy = store::registration::policy(&self.db, handle.id).await?;
        let policy = policy.filter(|policy| policy.is_open(handle.counter, now));
        let policy = policy.ok_or(RegistrationError::Token)?;
        let registration_id = domain::new_id();
        let registration = self.judge_metadata(registration_id, metadata, &policy).await?;
        let secret = registration.has_secret().then(new_secret).transpose()?;
        let (client, metadata) =
            registration.into_client(secret.as_deref().map(|secret| secret_sha256(secret)))?;
        let registered = Registered { policy_id: policy.policy_id, metadata, created_at: now };
        let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
        store::client::upsert(&mut *tx, &client, now).await?;
        if !store::registration::insert(&mut tx, registration_id, &client.client_id, &registered).await? {
            return Err(RegistrationError::Full);
        }
        let record = AuditRecord {
            ip_hmac: self.network_hash(origin),
            detail: Some(json!({"policy": policy.name})),
            ..changed(&client.client_id, "register_client")
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        self.clients.forget(&client.client_id);
        tracing::info!(client_id = %client, policy = policy.name, "client registered");
        Ok(self.answer(registration_id, &client, &registered, secret.as_deref().map(String::as_str)))
    }

    /// Tells a client what is registered of it. Its secret is not told again: nobody knows it.
    ///
    /// # Errors
    /// A token that is not this client's; the database.
    pub async fn registration(&self, client_id: &str, token: &str) -> Result<Answer, RegistrationError> {
        let (registration_id, client, registered) = self.registered(client_id, token).await?;
        Ok(self.answer(registration_id, &client, &registered, None))
    }

    /// Replaces what is registered of a client (RFC 7592 2.2). A secret is made where there was none, and kept otherwise.
    ///
    /// # Errors
    /// As [`App::register`].
    pub async fn update_registration(
        &self,
        client_id: &str,
        token: &str,
        metadata: &Map<String, Value>,
    ) -> Result<Answer, RegistrationError> {
        let (registration_id, _, registered) = self.registered(client_id, token).await?;
        if metadata.get("client_id").and_then(Value::as_str) != Some(client_id) {
            return Err(InvalidMetadata::field("client_id", "must be the client's own").into());
        }
        let policy = store::registration::policy(&self.db, registered.policy_id).await?;
        let policy = policy.ok_or(RegistrationError::Token)?;
        let registration = self.judge_metadata(registration_id, metadata, &policy).await?;
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
        // As it is now, not as this instance knows it: a secret that was rotated a moment ago must not come back.
        let old = client_admin::load_for_update(&mut tx, client_id).await?.ok_or(RegistrationError::Token)?;
        match metadata.get("client_secret") {
            None | Some(Value::Null) => {}
            Some(Value::String(secret)) if old.client.has_secret(secret) => {}
            Some(_) => return Err(InvalidMetadata::field("client_secret", "must be the present one").into()),
        }
        let kept = old.client.secret_sha256.filter(|_| registration.has_secret());
        let is_new = registration.has_secret() && kept.is_none();
        let secret = is_new.then(new_secret).transpose()?;
        let digest = secret.as_deref().map(|secret| secret_sha256(secret)).or(kept);
        let (client, metadata) = registration.into_client(digest)?;
        // What an operator gave it, which it cannot say itself.
        let client = Client { theme: old.client.theme, ..client };
        if !store::registration::save(&mut *tx, registration_id, &metadata).await? {
            return Err(RegistrationError::Token);
        }
        store::client::upsert(&mut *tx, &client, now).await?;
        store::record::insert(&mut *tx, &changed(client_id, "update_client"), now).await?;
        tx.commit().await?;
        self.clients.forget(client_id);
        tracing::info!(client_id = %client, "client registration replaced");
        let registered = Registered { metadata, ..registered };
        Ok(self.answer(registration_id, &client, &registered, secret.as_deref().map(String::as_str)))
    }

    /// Deletes a client with its grants (RFC 7592 2.3).
    ///
    /// # Errors
    /// A token that is not this client's; the database.
    pub async fn delete_registration(&self, client_id: &str, token: &str) -> Result<(), RegistrationError> {
        self.registered(client_id, token).await?;
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
        if client_admin::delete(&mut tx, &[client_id.to_owned()], now).await? == 0 {
            return Err(RegistrationError::Token);
        }
        store::record::insert(&mut *tx, &changed(client_id, "delete_client"), now).await?;
        tx.commit().await?;
        self.clients.forget(client_id);
        self.revocations.note([Revoked::Client(client_id.into())]);
        tracing::info!(client_id, "client registration deleted");
        Ok(())
    }

    /// Every policy with the number of its clients.
    ///
    /// # Errors
    /// The database.
    pub async fn registration_policies(&self) -> Result<Vec<(Policy, i64)>, Error> {
        store::registration::policies(&self.db, None).await
    }

    /// An initial access token of a policy: the same each time, until they are revoked.
    ///
    /// # Errors
    /// No such policy; the database.
    pub async fn initial_access_token(&self, actor: &Actor, policy: &str) -> Result<String, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let found = store::registration::policies(&mut *tx, Some(policy)).await?.into_iter().next();
        let (found, _) = found.ok_or(NO_POLICY)?;
        let record = record(actor, "give_initial_access_token", policy);
        store::record::insert(&mut *tx, &record, self.now()).await?;
        tx.commit().await?;
        let handle = Handle { kind: Kind::InitialAccess, id: found.policy_id, counter: found.generation };
        Ok(handle.mint(self.keys()))
    }

    /// Revokes the initial access tokens of a policy that were given out so far.
    ///
    /// # Errors
    /// No such policy; the database.
    pub async fn revoke_initial_access_tokens(&self, actor: &Actor, policy: &str) -> Result<(), Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        if !store::registration::raise_generation(&mut *tx, policy, now).await? {
            return Err(NO_POLICY);
        }
        let record = record(actor, "revoke_initial_access_tokens", policy);
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        tracing::info!(policy, "initial access tokens revoked");
        Ok(())
    }

    // The client of this path, if the token is its own.
    async fn registered(
        &self,
        client_id: &str,
        token: &str,
    ) -> Result<(Uuid, Client, Registered), RegistrationError> {
        let handle = Handle::read(self.keys(), Kind::Registration, token).ok_or(RegistrationError::Token)?;
        if client_id_of(handle.id) != client_id {
            return Err(RegistrationError::Token);
        }
        let registered = store::registration::find(&self.db, handle.id).await?;
        match (registered, self.client(client_id).await?) {
            (Some(registered), Some(client)) => Ok((handle.id, client, registered)),
            _ => Err(RegistrationError::Token),
        }
    }

    async fn judge_metadata(
        &self,
        registration_id: Uuid,
        metadata: &Map<String, Value>,
        policy: &Policy,
    ) -> Result<Registration, RegistrationError> {
        let registration = Registration::parse(registration_id, metadata, policy)?;
        for (field, uri) in registration.called() {
            if !self.egress.may_call(uri) {
                return Err(InvalidMetadata::field(field, "must be https to a public address").into());
            }
        }
        if let Some(uri) = &registration.sector_identifier_uri {
            let document = self.egress.get_json(uri).await.map_err(|error| {
                tracing::info!(%error, "sector identifier was not read");
                InvalidMetadata::field("sector_identifier_uri", "must lead to JSON of at most 64 KiB")
            })?;
            registration.check_sector(&document)?;
        }
        Ok(registration)
    }

    fn answer(
        &self,
        registration_id: Uuid,
        client: &Client,
        registered: &Registered,
        secret: Option<&str>,
    ) -> Answer {
        let mut answer = described(client, &registered.metadata);
        let token = Handle::of(Kind::Registration, registration_id).mint(self.keys());
        let uri = format!("{}/oauth2/registration/{}", self.issuer(), client.client_id);
        answer.insert("client_id_issued_at".to_owned(), registered.created_at.timestamp().into());
        answer.insert("registration_access_token".to_owned(), token.into());
        answer.insert("registration_client_uri".to_owned(), uri.into());
        if let Some(secret) = secret {
            answer.insert("client_secret".to_owned(), secret.into());
            answer.insert("client_secret_expires_at".to_owned(), 0.into());
        }
        answer
    }
}

fn changed(client_id: &str, action: &'static str) -> AuditRecord {
    AuditRecord {
        actor: client_id.to_owned(),
        action,
        subject: client_id.to_owned(),
        client_id: client_id.to_owned(),
        outcome: "done",
        ..AuditRecord::default()
    }
}

// 256 random bits: no slow hash needed.
fn new_secret() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}
