use std::{path::Path, sync::Arc};

use chassis::FieldViolation;
use domain::{DateTime, EmailAddress, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::App;
use crate::{
    client::{AuthMethod, Client, InvalidClient, Profile, TokenRules},
    error::Error,
    jws::{Algorithm, UnknownAlgorithm},
    registration::Policy,
    store::{self, record::AuditRecord},
    theme::Theme,
};

/// The first clients and staff.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    #[serde(default)]
    clients: Vec<FileClient>,
    #[serde(default)]
    staff: Vec<FileStaff>,
    #[serde(default)]
    registration_policies: Vec<FilePolicy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileClient {
    client_id: String,
    name: String,
    kind: String,
    token_endpoint_auth_method: String,
    client_secret_sha256: Option<String>,
    jwks: Option<Value>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    post_logout_redirect_uris: Vec<String>,
    backchannel_logout_uri: Option<String>,
    #[serde(default)]
    grant_types: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default = "required")]
    pkce_required: bool,
    access_token_format: Option<String>,
    access_token_seconds: Option<u32>,
    refresh_grace_seconds: Option<u32>,
    profile: Option<String>,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
    #[serde(default)]
    dpop_bound_access_tokens: bool,
    #[serde(default)]
    token_url_audience: bool,
    jwks_uri: Option<String>,
    default_max_age: Option<u32>,
    id_token_signed_response_alg: Option<String>,
    theme: Option<Value>,
}

/// What clients that register themselves may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicy {
    name: String,
    scopes: Vec<String>,
    #[serde(default = "code_and_refresh")]
    grant_types: Vec<String>,
    #[serde(default = "confidential")]
    token_endpoint_auth_methods: Vec<String>,
    #[serde(default = "required")]
    pkce_required: bool,
    #[serde(default = "hundred")]
    most_clients: u32,
    expires_at: Option<DateTime<Utc>>,
}

fn code_and_refresh() -> Vec<String> {
    ["authorization_code", "refresh_token"].map(str::to_owned).to_vec()
}

fn confidential() -> Vec<String> {
    let methods = [AuthMethod::SecretBasic, AuthMethod::SecretPost, AuthMethod::PrivateKeyJwt];
    methods.map(|method| method.name().to_owned()).to_vec()
}

const fn hundred() -> u32 {
    100
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStaff {
    email: String,
    scopes: Vec<String>,
}

const fn required() -> bool {
    true
}

/// Why a bootstrap file is refused, whole.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBootstrap {
    /// It cannot be read.
    #[error("bootstrap file cannot be read")]
    Read(#[from] std::io::Error),
    /// It is no JSON of the right form.
    #[error("bootstrap file is not of the right form")]
    Form(#[from] serde_json::Error),
    /// One client breaks a rule.
    #[error("client {client_id}: {source}")]
    Client {
        /// Which one.
        client_id: String,
        /// What it breaks.
        source: InvalidClient,
    },
    /// One staff entry breaks a rule.
    #[error("staff entry {number}: must have a conforming address and 1 to 64 scopes")]
    Staff {
        /// Counted from 1: addresses are personal.
        number: usize,
    },
    /// One registration policy breaks a rule.
    #[error("registration policy {name}: {rule}")]
    Policy {
        /// Which one.
        name: String,
        /// What it must be.
        rule: &'static str,
    },
    /// It could not be applied.
    #[error(transparent)]
    Apply(#[from] Error),
}

/// Largest file, in bytes.
const LARGEST: usize = 1 << 20;

impl Bootstrap {
    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// Unreadable, too large, or no JSON of the right form.
    pub async fn read(path: &Path) -> Result<Self, InvalidBootstrap> {
        let text = tokio::fs::read(path).await?;
        if text.len() > LARGEST {
            return Err(std::io::Error::other("larger than 1 MiB").into());
        }
        Ok(serde_json::from_slice(&text)?)
    }

    /// One client as the file would have it; none when it breaks a rule.
    #[cfg(fuzzing)]
    pub fn client(client: Value) -> Option<Client> {
        serde_json::from_value::<FileClient>(client).ok()?.into_client().ok()
    }
}

/// A client in the form of the file, with the same defaults and rules.
///
/// # Errors
/// The first field that breaks a rule.
pub(super) fn client_of(fields: Value) -> Result<Client, Error> {
    let wrong = |field: &str, rule: &str| Error::from(FieldViolation::new(format!("client.{field}"), rule));
    let file: FileClient = serde_json::from_value(fields)
        .map_err(|error| wrong("", &format!("is not of the right form: {error}")))?;
    file.into_client().map_err(|refused| match refused {
        InvalidBootstrap::Client { source, .. } => wrong(source.field, source.rule),
        other => wrong("", &other.to_string()),
    })
}

impl FileClient {
    fn into_client(self) -> Result<Client, InvalidBootstrap> {
        let client_id = self.client_id.clone();
        let wrong = |source| InvalidBootstrap::Client { client_id: client_id.clone(), source };
        let secret = self.client_secret_sha256.as_deref().map(hex).map(|bytes| {
            bytes
                .ok_or(InvalidClient { field: "client_secret_sha256", rule: "must be 64 hexadecimal digits" })
        });
        let rules = TokenRules::default();
        let tokens = TokenRules {
            format: self
                .access_token_format
                .as_deref()
                .map_or(Ok(rules.format), str::parse)
                .map_err(wrong)?,
            access_seconds: self.access_token_seconds,
            refresh_grace_seconds: self.refresh_grace_seconds.unwrap_or(rules.refresh_grace_seconds),
        };
        let client = Client {
            client_id: self.client_id,
            name: self.name,
            kind: self.kind.parse().map_err(wrong)?,
            auth_method: self.token_endpoint_auth_method.parse().map_err(wrong)?,
            secret_sha256: secret.transpose().map_err(wrong)?,
            jwks: self.jwks,
            redirect_uris: self.redirect_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            backchannel_logout_uri: self.backchannel_logout_uri,
            grant_types: self.grant_types,
            scopes: self.scopes,
            audiences: self.audiences,
            pkce_required: self.pkce_required,
            tokens,
            profile: self.profile.as_deref().unwrap_or(Profile::Oauth.name()).parse().map_err(wrong)?,
            par_required: self.require_pushed_authorization_requests,
            dpop_required: self.dpop_bound_access_tokens,
            token_url_audience: self.token_url_audience,
            sector: None,
            jwks_uri: self.jwks_uri,
            default_max_age: self.default_max_age.map(i64::from),
            id_token_alg: match self.id_token_signed_response_alg {
                Some(name) => name.parse().map_err(|error: UnknownAlgorithm| wrong(error.into()))?,
                None => Algorithm::Es256,
            },
            theme: self.theme.as_ref().map(Theme::parse).transpose().map_err(wrong)?.map(Arc::new),
        };
        client.check().map_err(wrong)?;
        Ok(client)
    }
}

impl FilePolicy {
    fn into_policy(self) -> Result<Policy, InvalidBootstrap> {
        let policy = Policy {
            policy_id: domain::new_id(),
            name: self.name,
            generation: 0,
            scopes: self.scopes,
            grant_types: self.grant_types,
            auth_methods: self.token_endpoint_auth_methods,
            pkce_required: self.pkce_required,
            most_clients: self.most_clients,
            expires_at: self.expires_at,
        };
        match policy.check() {
            Ok(()) => Ok(policy),
            Err(rule) => Err(InvalidBootstrap::Policy { name: policy.name, rule }),
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

impl App {
    /// Writes clients and staff of the file, all or nothing; a second time changes nothing, and what the file no longer
    /// names is left alone.
    ///
    /// # Errors
    /// The first entry that breaks a rule; the database.
    pub async fn apply(&self, bootstrap: Bootstrap) -> Result<(), InvalidBootstrap> {
        let (clients, staff) = (bootstrap.clients.len(), bootstrap.staff.len());
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await.map_err(Error::from)?;
        let mut changed = Vec::with_capacity(clients);
        for client in bootstrap.clients {
            let client = client.into_client()?;
            if store::client::upsert(&mut *tx, &client, now).await? {
                let record = AuditRecord {
                    actor: "system".to_owned(),
                    action: "bootstrap_client",
                    subject: client.client_id.clone(),
                    outcome: "done",
                    ..AuditRecord::default()
                };
                store::record::insert(&mut *tx, &record, now).await?;
                changed.push(client.client_id);
            }
        }
        for policy in bootstrap.registration_policies {
            store::registration::upsert_policy(&mut *tx, &policy.into_policy()?, now).await?;
        }
        for (index, entry) in bootstrap.staff.into_iter().enumerate() {
            let wrong = InvalidBootstrap::Staff { number: index + 1 };
            let address = EmailAddress::conforming(&entry.email).ok();
            let Some(key) = address.as_ref().and_then(store::user::address_key) else { return Err(wrong) };
            let right = |scope: &String| (1..=64).contains(&scope.len()) && scope.is_ascii();
            if !(1..=64).contains(&entry.scopes.len()) || !entry.scopes.iter().all(right) {
                return Err(wrong);
            }
            store::staff::nominate(&mut tx, &key, &entry.scopes, now).await?;
        }
        tx.commit().await.map_err(Error::from)?;
        for client_id in changed {
            self.clients.forget(&client_id);
        }
        tracing::info!(clients, staff, "bootstrap file applied");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(hex(&"0f".repeat(32)), Some(vec![15; 32]));
        for wrong in ["", "0f", &"zz".repeat(32), &"é".repeat(32), &"+f".repeat(32)] {
            assert_eq!(hex(wrong), None);
        }
    }

    #[test]
    fn a_theme_that_breaks_a_rule_is_named_with_its_client() {
        let client = |theme: &str| {
            let file = format!(
                r#"{{"client_id": "shop", "name": "Shop", "kind": "partner", "token_endpoint_auth_method": "none",
                     "theme": {theme}}}"#
            );
            serde_json::from_str::<FileClient>(&file).unwrap().into_client()
        };
        assert!(client("null").unwrap().theme.is_none());
        assert!(client(r##"{"accent": "#8a1538"}"##).unwrap().theme.is_some());
        let refused = client(r##"{"accent": "#ffffff"}"##).unwrap_err().to_string();
        assert!(refused.starts_with("client shop: theme.accent must have a contrast of 4.5"), "{refused}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = r#"{"clients": [], "staff": [], "admins": []}"#;
        assert!(serde_json::from_str::<Bootstrap>(text).is_err());
    }
}
