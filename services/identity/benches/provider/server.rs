//! A contestant: a process of its own, whose time and memory are read.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use crate::{system, web::Client};

const START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(30);

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    ready: (SocketAddr, &'static str),
}

impl Server {
    /// `ready` answers 200 when it takes requests.
    pub fn start(mut command: Command, name: &str, ready: (SocketAddr, &'static str)) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("kotinos-bench-{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, log, ready })
    }

    /// Seconds of processor so far.
    pub fn cpu(&self) -> f64 {
        system::cpu_seconds_of_family(self.child.id())
    }

    /// A script that waits for its program has little of its own.
    pub fn resident_mib(&self) -> f64 {
        let own = std::iter::once(self.child.id()).chain(system::children(self.child.id()));
        own.map(system::resident_mib).sum()
    }

    /// Waits until it takes requests; how long that was since its start.
    pub async fn ready(&mut self) -> Result<Duration> {
        let (begin, (address, path)) = (Instant::now(), self.ready);
        loop {
            if let Some(status) = self.child.try_wait()? {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(5).collect();
                bail!("{} ended with {status}: {}", self.log.display(), last.join(" | "));
            }
            if is_ready(address, path).await {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > START {
                bail!("not ready within {} s, see {}", START.as_secs(), self.log.display());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> Result<()> {
        signal("-TERM", self.child.id());
        let end = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A script's program goes on without it. It may have ended by itself.
        for child in system::children(self.child.id()) {
            signal("-KILL", child);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, pid: u32) {
    // The standard library knows SIGKILL of children only.
    if let Err(error) = Command::new("kill").args([name, &pid.to_string()]).status() {
        println!("{pid} got no signal: {error}");
    }
}

/// Whether this address says 200.
pub async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let mut client = Client::new(address, "localhost");
    let answer = tokio::time::timeout(Duration::from_secs(2), client.get(path, None)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
}

/// What a contestant sees of our own environment.
pub fn kept() -> impl Iterator<Item = (&'static str, String)> {
    ["PATH", "HOME", "TMPDIR", "JAVA_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)))
}
