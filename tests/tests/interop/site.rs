//! A library's site as a process of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Duration, timeout},
};

/// Longest time until a program says something.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts a script of `tests/interop`; what it complains of lies in `log`.
    pub fn start(words: &[&str], given: &Value, log: &Path) -> Result<Self> {
        let folder = scripts();
        let program = match words[0] {
            // The interpreter that sees the packages that are locked there.
            "python" => folder.join("../../.local/interop-venv/bin/python").into_os_string(),
            other => other.into(),
        };
        ensure!(folder.join("node_modules").exists(), "run: make interop");
        let mut child = Command::new(&program)
            .args(&words[1..])
            .arg(given.to_string())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Self { child, lines })
    }

    /// The next line of JSON that it prints.
    pub async fn told(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("the program is silent")??;
        let Some(line) = line else {
            anyhow::bail!("the program ended: {}", self.child.wait().await?);
        };
        serde_json::from_str(&line).with_context(|| line.clone())
    }
}

/// Where the scripts and their libraries lie.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}
