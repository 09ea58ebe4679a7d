//! A PostgreSQL and a Kafka of the campaign's own, which it may kill: the checkout's stack `campaign`.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

const NAME: &str = "campaign";
/// Below those that the system gives to outgoing connections: such a one could take a killed server's port.
const PORTS: std::ops::Range<u16> = 22_000..24_000;

/// Both servers; they go, with their data, when this is dropped or its process dies.
pub struct Servers {
    script: PathBuf,
    environment: Vec<(&'static str, String)>,
    ports: Ports,
    proxy: u16,
    cleaner: Child,
    // One campaign at a time in a checkout.
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
pub struct Ports {
    postgres: u16,
    kafka: u16,
    /// Of the listener whose clients are sent to a proxy.
    pub kafka_behind_proxy: u16,
    kafka_tls: u16,
    kafka_controller: u16,
}

impl Ports {
    /// Ports that nobody listens on now.
    pub fn free() -> Self {
        let first = u16::try_from(std::process::id() % 1_500).unwrap();
        let mut free =
            PORTS.skip(first.into()).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let mut next = || free.next().expect("a free port");
        Self {
            postgres: next(),
            kafka: next(),
            kafka_behind_proxy: next(),
            kafka_tls: next(),
            kafka_controller: next(),
        }
    }
}

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Kafka,
}

impl Servers {
    /// Starts both. Clients that come to the one listener of Kafka are told to go on at `proxy`.
    pub fn start(ports: Ports, proxy: u16) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let script = root.join("deploy/local/stack");
        fs::create_dir_all(root.join(".local")).unwrap();
        let lock = File::create(root.join(".local/campaign-test.lock")).unwrap();
        lock.lock().unwrap();
        let environment = vec![
            ("KOTINOS_POSTGRES_PORT", ports.postgres.to_string()),
            ("KOTINOS_KAFKA_PORT", ports.kafka.to_string()),
            ("KOTINOS_KAFKA_TLS_PORT", ports.kafka_tls.to_string()),
            ("KOTINOS_KAFKA_CONTROLLER_PORT", ports.kafka_controller.to_string()),
            ("KOTINOS_KAFKA_PROXIED", format!("{}:{proxy}", ports.kafka_behind_proxy)),
        ];
        // Its standard input ends when we do, however that comes about. In a process group of its own it outlives a signal
        // to ours.
        let clean =
            "cat >/dev/null; for try in 1 2 3 4 5 6; do \"$0\" down campaign --clean && exit; sleep 1; done";
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
        let servers = Self { script, environment, ports, proxy, cleaner, _lock: lock };
        servers.run(&["down", NAME, "--clean"]);
        servers.up();
        servers
    }

    /// Ends a server as a crash would.
    pub fn kill(&self, server: Server) {
        self.run(&["kill", NAME, if server == Server::Postgres { "postgresql" } else { "kafka" }]);
    }

    /// Starts what does not run, on the data that is there, and says since when all of it answers.
    pub fn up(&self) -> Instant {
        self.run(&["up", NAME]);
        Instant::now()
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

    /// Of the database `kotinos`, in the name of a role, through a port.
    pub fn database_url(&self, role: &str, port: Option<u16>) -> String {
        format!("postgres://{role}@127.0.0.1:{}/kotinos", port.unwrap_or(self.ports.postgres))
    }

    /// Where PostgreSQL answers.
    pub fn postgres(&self) -> String {
        format!("127.0.0.1:{}", self.ports.postgres)
    }

    /// The proxy that leads to Kafka.
    pub fn brokers_behind_proxy(&self) -> String {
        format!("127.0.0.1:{}", self.proxy)
    }

    /// Of the listener without a proxy.
    pub fn brokers(&self) -> String {
        format!("localhost:{}", self.ports.kafka)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}
