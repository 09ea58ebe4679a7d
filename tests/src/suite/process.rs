use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::until;

/// How long a process may take to end by itself.
const ENDING: Duration = Duration::from_secs(30);
/// Lines of a log that an error shows.
const TAIL: usize = 30;

/// Where a process says that it can take calls.
#[derive(Debug, Clone)]
pub struct Readiness {
    pub(super) url: String,
}

/// One process of the suite. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    readiness: Readiness,
    http: reqwest::Client,
}

impl Process {
    /// Starts a program with these settings alone; what it prints is added to the log.
    pub(super) fn spawn(
        name: &'static str,
        program: &Path,
        environment: &BTreeMap<String, String>,
        log: PathBuf,
        readiness: Readiness,
    ) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let errors = out.try_clone()?;
        let child = Command::new(program)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        Ok(Self { name, child, log, readiness, http })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it can take calls.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let Self { name, child, readiness, http, .. } = self;
        let ended = async {
            let status = child.wait().await?;
            bail!("{name} ended before it was ready: {status}")
        };
        let what = format!("{name} to be ready");
        let ready = until(&what, async || {
            let answer = http.get(&readiness.url).send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "{} answers {status}: {}", readiness.url, answer.text().await?);
            Ok(Some(()))
        });
        tokio::select! {
            ended = ended => ended,
            ready = ready => ready,
        }
    }

    /// SIGKILL, and waits for the end.
    pub(super) async fn kill(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "{} had ended by itself", self.name);
        self.child.kill().await.with_context(|| format!("{} cannot be killed", self.name))
    }

    /// SIGTERM, and waits for the end; a process that ended before, or ends with a failure, is an error.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(pid) = self.child.id() else { bail!("{} had ended before", self.name) };
        // A shell's own `kill`: the standard library knows SIGKILL only.
        Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()]).status().await?;
        match timeout(ENDING, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                // The simulator and a process that got Ctrl-C from the terminal as well end alike.
                ensure!(status.success(), "{} ended with {status}\n{}", self.name, self.tail());
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not end within {} s\n{}", self.name, ENDING.as_secs(), self.tail())
            }
        }
    }

    /// What it printed so far.
    pub(super) fn log(&self) -> Result<String> {
        let bytes =
            std::fs::read(&self.log).with_context(|| format!("{} cannot be read", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of what it printed.
    pub(super) fn tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        format!("--- {}, last {} of {} lines\n{}", self.name, last.len(), lines.len(), last.join("\n"))
    }
}
