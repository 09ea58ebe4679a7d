use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use domain::Service;
use tokio::process::Command;

use super::Suite;

impl Suite {
    /// Runs a service's program with an operator's words beside the one that serves, and gives what it prints.
    ///
    /// # Errors
    /// The program ends with another code than 0; what it says is in the error.
    pub async fn verb(&self, service: Service, words: &[&str]) -> Result<String> {
        let name = service.name();
        let ran = Command::new(self.programs.join(name))
            .args(words)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{name} {} does not start", words.join(" ")))?;
        let errors = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.success(), "{name} {} ended with {}: {errors}", words.join(" "), ran.status);
        Ok(String::from_utf8(ran.stdout)?)
    }
}
