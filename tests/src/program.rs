use std::{fs::File, path::Path, process::Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Duration, timeout},
};

/// Longest time until a program says something.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program around somebody else's library: it speaks in lines of JSON, and hears them. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    answers: ChildStdin,
}

impl Program {
    /// Starts it; what it complains of lies in `log`.
    ///
    /// # Errors
    /// It is not there, or the log cannot be written.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let mut child =
            command.kill_on_drop(true).spawn().with_context(|| format!("{name} does not start"))?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let answers = child.stdin.take().context("no input")?;
        Ok(Self { child, lines, answers })
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// It says nothing for 90 seconds, or no JSON, or has ended.
    pub async fn told(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("the program is silent")??;
        let Some(line) = line else {
            bail!("the program ended: {}", self.child.wait().await?);
        };
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// Tells it something, as a line.
    ///
    /// # Errors
    /// It does not listen any more.
    pub async fn answer(&mut self, answer: &Value) -> Result<()> {
        Ok(self.answers.write_all(format!("{answer}\n").as_bytes()).await?)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It fails.
    pub async fn ended(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        ensure!(status.success(), "the program ended: {status}");
        Ok(())
    }
}
