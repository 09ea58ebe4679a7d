use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use super::{Addresses, workspace};
use domain::Service;

/// The consumer key of the connected app at the simulated CRM.
pub const CRM_CLIENT_ID: &str = "kotinos-consumer-key";
/// Its integration user.
pub const CRM_USERNAME: &str = "integration@ioc.example";
/// Under this id the service knows the key that seals agreements.
pub const AGREEMENT_KEY_ID: &str = "legal-1";

/// The keys of a stack, and the file that this suite derives of them.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Made by `deploy/local/keys`.
    made: PathBuf,
    bootstrap: PathBuf,
}

impl Keys {
    /// Writes what this suite needs beside the stack's keys: the bootstrap file with its own addresses.
    pub(super) async fn prepare(
        folder: &Path,
        addresses: &Addresses,
        second_rp_logout: &str,
        more: &Value,
    ) -> Result<Self> {
        let given =
            std::env::var("KOTINOS_TEST_KEYS").or_else(|_| std::env::var("KOTINOS_AUTH_CLIENT_KEY_DIR"));
        let made =
            PathBuf::from(given.context("KOTINOS_TEST_KEYS is not set; start through deploy/local/stack")?);
        let keys = Self { bootstrap: folder.join("bootstrap.json"), made };
        write_bootstrap(&keys.made, &keys.bootstrap, addresses, second_rp_logout).await?;
        keys.add(more)?;
        Ok(keys)
    }

    fn add(&self, more: &Value) -> Result<()> {
        let mut file: Value = serde_json::from_slice(&std::fs::read(&self.bootstrap)?)?;
        for (name, entries) in more.as_object().into_iter().flatten() {
            let entries = entries.as_array().with_context(|| format!("{name} is no list"))?;
            if file[name].is_null() {
                file[name] = Value::Array(Vec::new());
            }
            let there = file[name].as_array_mut().with_context(|| format!("{name} is no list"))?;
            there.extend_from_slice(entries);
        }
        Ok(std::fs::write(&self.bootstrap, serde_json::to_vec(&file)?)?)
    }

    /// Removes the derived file.
    pub(super) fn forget(&self) {
        // What is not there needs no removing.
        let _ = std::fs::remove_file(&self.bootstrap);
    }

    /// The text of a key file.
    ///
    /// # Errors
    /// It is not there.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.made.join(name);
        std::fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read; deploy/local/keys makes it", path.display()))
    }

    /// The id under which identity knows a client's key.
    ///
    /// # Errors
    /// The client is not in the bootstrap file, or has no key.
    pub fn key_id(&self, client_id: &str) -> Result<String> {
        let file: Value = serde_json::from_slice(&std::fs::read(&self.bootstrap)?)?;
        let clients = file["clients"].as_array().context("the bootstrap file names no clients")?;
        let client = clients.iter().find(|client| client["client_id"] == client_id);
        let client = client.with_context(|| format!("the bootstrap file does not name {client_id}"))?;
        Ok(client["jwks"]["keys"][0]["kid"]
            .as_str()
            .with_context(|| format!("{client_id} has no key"))?
            .to_owned())
    }

    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let made = |name: &str| self.made.join(name).display().to_string();
        vec![
            ("KOTINOS_AUTH_CLIENT_KEY_DIR", self.made.display().to_string()),
            ("IDENTITY_KEK_FILE", made("identity-kek")),
            ("IDENTITY_BOOTSTRAP_FILE", self.bootstrap.display().to_string()),
            ("MAILER_KEK_FILE", made("mailer-kek")),
            ("MAILER_TOKEN_KEYS_FILE", made("mailer-token-keys")),
            ("RESULTS_PEPPER_FILE", made("results-pepper")),
            ("CRMSYNC_KEK_FILE", made("crmsync-kek")),
            ("CRMSYNC_AGREEMENT_KEYS_FILE", made("agreement-keys")),
            ("CRMSYNC_SALESFORCE_KEY_FILE", made("salesforce-jwt.pem")),
        ]
    }

    pub(super) fn simulator_settings(&self) -> BTreeMap<String, String> {
        let certificate = self.made.join("salesforce-jwt.crt").display().to_string();
        [
            ("SIMULATOR_CONNECTED_APP_CERT", certificate.as_str()),
            ("SIMULATOR_CLIENT_ID", CRM_CLIENT_ID),
            ("SIMULATOR_USERNAME", CRM_USERNAME),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

async fn write_bootstrap(
    keys: &Path,
    file: &Path,
    addresses: &Addresses,
    second_rp_logout: &str,
) -> Result<()> {
    let script = workspace().join("deploy/local/bootstrap.py");
    let run = Command::new("python3")
        .arg(&script)
        .arg(keys)
        .args(["--base-url", &addresses.url(Service::Portal)])
        .args(["--results-url", &addresses.url(Service::ResultsFeed)])
        .args(["--second-rp-logout", second_rp_logout])
        .output()
        .await
        .context("python3 does not start")?;
    if !run.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&run.stderr));
    }
    Ok(std::fs::write(file, run.stdout)?)
}
