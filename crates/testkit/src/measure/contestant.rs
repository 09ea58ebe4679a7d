use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::system;

/// So long a contestant may take to end by itself.
const STOP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A contestant: a process of its own, whose time and memory are read. Dropped, it is killed.
#[derive(Debug)]
pub struct Contestant {
    child: Child,
    log: PathBuf,
}

impl Contestant {
    /// What it says goes to a file of this name among the temporary ones.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(mut command: Command, name: &str) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("kotinos-bench-{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, log })
    }

    /// Where it is told what went wrong.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Seconds of processor so far, of all its processes: a script that starts a program has little of its own.
    pub fn cpu(&self) -> f64 {
        system::cpu_seconds_of_family(self.child.id())
    }

    /// What of it its first process spent in the kernel.
    pub fn kernel_cpu(&self) -> f64 {
        system::kernel_seconds(self.child.id())
    }

    /// The memory that all its processes have resident, in MiB; pages that they share count once in each.
    pub fn resident_mib(&self) -> f64 {
        let others = system::descendants(self.child.id()).into_iter().map(system::resident_mib);
        // One that ends meanwhile has none.
        system::resident_mib(self.child.id()) + others.filter(|mib| mib.is_finite()).sum::<f64>()
    }

    /// The most memory that it had resident, in MiB, without children.
    pub fn peak_mib(&self) -> f64 {
        system::peak_mib(self.child.id())
    }

    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            bail!("{} ended with {status}: {}", self.log.display(), last.join(" | "));
        }
        Ok(())
    }

    /// Asks it to end, and waits for half a minute; then it is killed.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn stop(mut self) -> Result<()> {
        signal("-TERM", self.child.id())?;
        let end = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() && Instant::now() < end {
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // A script's program goes on without it, and programs take groups of their own: neither a child nor a group is
        // all. The first one goes first, for it may start others anew; any may have ended by itself.
        let others = system::descendants(self.child.id());
        let _ = self.child.kill();
        for pid in others {
            let _ = signal("-KILL", pid);
        }
        let _ = self.child.wait();
    }
}

// The standard library knows SIGKILL of children only.
fn signal(name: &str, pid: u32) -> Result<()> {
    Command::new("kill").args([name, &pid.to_string()]).status().context("kill")?;
    Ok(())
}

/// What a contestant sees of our own environment.
pub fn kept() -> impl Iterator<Item = (&'static str, String)> {
    ["PATH", "HOME", "TMPDIR", "JAVA_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)))
}

/// Free a moment ago, which is all that can be said.
///
/// # Errors
/// No port is free.
pub fn free_address() -> Result<SocketAddr> {
    let port = crate::free_ports(1)?.into_iter().next().context("a free port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Waits until a condition holds.
///
/// # Errors
/// Patience is over, or the condition cannot be looked at.
pub async fn until(what: &str, patience: Duration, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + patience;
    while !condition().await? {
        if Instant::now() > end {
            bail!("{what}: not within {} s", patience.as_secs());
        }
        sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn processes_of_processes_count_and_end_with_it() {
        // Seconds that nobody else sleeps.
        let seconds = format!("3600.{}", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sh -c 'sleep {seconds}; true'; true")]);
        let contestant = Contestant::start(command, "family").unwrap();
        let sleepers = || system::pids_with_argument(&seconds);
        until("it sleeps", Duration::from_secs(10), async || Ok(sleepers().len() == 1)).await.unwrap();
        let family = system::descendants(contestant.child.id());
        assert_eq!(family.len(), 2, "{family:?}");
        assert!(sleepers().iter().all(|pid| family.contains(pid)));
        assert!(contestant.resident_mib() > system::resident_mib(contestant.child.id()));
        drop(contestant);
        until("all end", Duration::from_secs(10), async || Ok(sleepers().is_empty())).await.unwrap();
    }

    #[tokio::test]
    async fn time_of_what_a_child_started_counts() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'sh -c \"while :; do :; done\"; true'; true"]);
        let contestant = Contestant::start(command, "busy").unwrap();
        until("it works", Duration::from_secs(30), async || Ok(contestant.cpu() > 0.2)).await.unwrap();
        assert!(system::cpu_seconds(contestant.child.id()) < 0.1);
    }
}
