//! The processes that are killed: example `outbox-node`, each behind a proxy of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use testkit::FaultProxy;

/// So long a node may take to end politely.
const END: Duration = Duration::from_secs(20);

pub struct Node {
    pub name: String,
    /// Between it and the database.
    pub database: FaultProxy,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Mutex<Child>,
}

impl Node {
    /// It logs to a file `<name>.log` of a directory.
    pub fn start(
        name: &str,
        database: FaultProxy,
        environment: Vec<(&'static str, String)>,
        logs: &Path,
    ) -> Self {
        let log = logs.join(format!("{name}.log"));
        let _ = fs::remove_file(&log);
        let child = Mutex::new(spawn(&environment, &log));
        Self { name: name.to_owned(), database, environment, log, child }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SIGKILL, and a new process at once.
    pub fn kill_and_start(&self) {
        let mut child = self.child();
        child.kill().unwrap();
        child.wait().unwrap();
        *child = spawn(&self.environment, &self.log);
    }

    /// By name: STOP, CONT, TERM.
    pub fn signal(&self, signal: &str) {
        // Held until it is told: another fault may kill the same node meanwhile, and its number would be nobody's.
        let child = self.child();
        let pid = child.id().to_string();
        let done = Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        assert!(done.success(), "kill -{signal} {pid}");
    }

    /// Starts it again when it ended by itself, as whatever runs services would, and says how it ended.
    pub fn revive(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let ended = child.try_wait().unwrap()?;
        *child = spawn(&self.environment, &self.log);
        Some(ended)
    }

    /// Asks it to end, and says how it did.
    pub fn stop(&self) -> String {
        self.signal("TERM");
        let begun = Instant::now();
        loop {
            if let Some(ended) = self.child().try_wait().unwrap() {
                return if ended.success() { String::new() } else { format!("{}: {ended}", self.name) };
            }
            if begun.elapsed() > END {
                return format!("{} does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what it logged, all its processes together.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "{} ({}):\n{}\n",
            self.name,
            self.log.display(),
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

// Its standard input is ours to hold: when we die it ends.
fn spawn(environment: &[(&'static str, String)], log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(program())
        .env_clear()
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

// Cargo builds the examples with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/outbox-node");
    assert!(program.exists(), "{} is missing: cargo build -p outbox --examples", program.display());
    program
}
