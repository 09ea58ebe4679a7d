//! A PostgreSQL and a Kafka of the test's own, which it may kill: the checkout's stack `feedkills`.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

const NAME: &str = "feedkills";
/// Below those that the system gives to outgoing connections, and beside those of the other stacks.
const PORTS: std::ops::Range<u16> = 24_000..25_000;

/// Both servers; they go, with their data, when this is dropped or its process dies.
pub struct Servers {
    script: PathBuf,
    environment: Vec<(&'static str, String)>,
    postgres: u16,
    kafka: u16,
    cleaner: Child,
    // One at a time in a checkout.
    _lock: File,
}

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Kafka,
}

impl Servers {
    /// Starts both on ports that nobody listens on now.
    pub fn start() -> Self {
        let first = u16::try_from(std::process::id() % 900).unwrap();
        let mut free =
            PORTS.skip(first.into()).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let mut next = || free.next().expect("a free port");
        let [postgres, kafka, tls, controller] = [next(), next(), next(), next()];
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let script = root.join("deploy/local/stack");
        fs::create_dir_all(root.join(".local")).unwrap();
        let lock = File::create(root.join(".local/feedkills-test.lock")).unwrap();
        lock.lock().unwrap();
        let environment = vec![
            ("KOTINOS_POSTGRES_PORT", postgres.to_string()),
            ("KOTINOS_KAFKA_PORT", kafka.to_string()),
            ("KOTINOS_KAFKA_TLS_PORT", tls.to_string()),
            ("KOTINOS_KAFKA_CONTROLLER_PORT", controller.to_string()),
        ];
        // Its standard input ends when we do, however that comes about. In a process group of its own it outlives a signal
        // to ours.
        let clean =
            "cat >/dev/null; for try in 1 2 3 4 5 6; do \"$0\" down feedkills --clean && exit; sleep 1; done";
        let cleaner = Command::new("sh")
            .args(["-c", clean])
            .arg(&script)
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let servers = Self { script, environment, postgres, kafka, cleaner, _lock: lock };
        servers.run(&["down", NAME, "--clean"]);
        servers.up();
        servers
    }

    /// Ends a server as a crash would.
    pub fn kill(&self, server: Server) {
        self.run(&["kill", NAME, if server == Server::Postgres { "postgresql" } else { "kafka" }]);
    }

    /// Starts what does not run, on the data that is there.
    pub fn up(&self) {
        self.run(&["up", NAME]);
    }

    fn run(&self, arguments: &[&str]) {
        let done = Command::new(&self.script)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "deploy/local/stack {arguments:?}: {said}");
    }

    /// Of the database `kotinos`.
    pub fn database_url(&self) -> String {
        format!("postgres://kotinos@127.0.0.1:{}/kotinos", self.postgres)
    }

    /// Where Kafka answers.
    pub fn brokers(&self) -> String {
        format!("localhost:{}", self.kafka)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}
