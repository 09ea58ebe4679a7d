//! A broker whose disk is full: it fails its writes and ends itself. Facts wait in the outbox meanwhile.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{Component, Settings};
use outbox::Fact;
use sqlx::PgPool;
use testkit::{CaughtRecord, RecordCatcher, TestApp, Topics, eventually};

use crate::world::{DEADLINE, ORDERED, SERVICE, TOPICS, migrator, versions};

const KEYS: [&str; 3] = ["alice", "bob", "carol"];
const DISK: &str = "size=48m";
/// More than what is left of a file's last page.
const LARGE: usize = 60_000;

/// Where a broker keeps its data.
enum Disk {
    /// A file system of its own in a mount namespace of its own, which is there as long as this process.
    Small(Child),
    /// Where nobody may mount: the system lets the broker write as if no file could grow.
    Limited,
}

impl Disk {
    fn new(place: &Path) -> Self {
        let mount = format!("mount -t tmpfs -o {DISK} tmpfs \"$0\" && echo mounted && exec cat");
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
            .arg(place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut holder) = holder else { return Self::Limited };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line == "mounted\n" {
            return Self::Small(holder);
        }
        holder.wait().unwrap();
        Self::Limited
    }

    // A program of a JVM on this disk. It ends with the thread that starts it.
    fn java(&self, place: &Broker, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Small(holder) => {
                let mut enter = Command::new("nsenter");
                enter.args([
                    "--user",
                    "--mount",
                    "--preserve-credentials",
                    "--target",
                    &holder.id().to_string(),
                ]);
                enter.arg("setpriv");
                enter
            }
            Self::Limited => Command::new("setpriv"),
        };
        command
            .args(["--pdeathsig", "KILL", "java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC"])
            .args(["-XX:TieredStopAtLevel=1", "-cp"])
            .arg(place.libraries.join("*"))
            .arg(format!("-Dlog4j2.configurationFile={}", place.logging.display()))
            .args(arguments)
            .arg(place.home.join("server.properties"))
            .stdin(Stdio::null());
        command
    }

    fn fill(&self, place: &Path, broker: u32) {
        match self {
            Self::Small(holder) => {
                let inside = format!("/proc/{}/root{}/filler", holder.id(), place.display());
                let mut filler = File::create(inside).unwrap();
                // Twice what fits, and no more: on another disk this would take all of it.
                let full = (0..24_576).find_map(|_| filler.write_all(&[7; 4_096]).err());
                let full = full.expect("the small disk took twice its size");
                assert_eq!(full.kind(), ErrorKind::StorageFull);
            }
            Self::Limited => {
                let limit =
                    Command::new("prlimit").args(["--fsize=1:", "--pid", &broker.to_string()]).status();
                assert!(limit.unwrap().success());
            }
        }
    }

    fn relieve(&self, place: &Path) {
        if let Self::Small(holder) = self {
            fs::remove_file(format!("/proc/{}/root{}/filler", holder.id(), place.display())).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Small(holder) = self {
            // It reads to the end of this.
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}

/// A broker of the test's own.
struct Broker {
    process: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
    disk: Disk,
    libraries: PathBuf,
    logging: PathBuf,
    home: PathBuf,
    data: PathBuf,
    address: String,
}

impl Broker {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let logging = root.join("deploy/local/kafka/log4j2.xml");
        let libraries = fs::read_dir(root.join(".local")).unwrap().map(|entry| entry.unwrap().path());
        let is_whole = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .strip_prefix("kafka-libs-")
                .is_some_and(|version| version != "new")
        };
        let libraries =
            libraries.filter(is_whole).max().expect("kafka's libraries: deploy/local/stack up gets them");
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("full-disk-{}", std::process::id()));
        let data = home.join("data");
        fs::create_dir_all(&data).unwrap();
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [kafka, controller] = ports.map(|port| port.local_addr().unwrap().port());
        // A broker that crashed is let in again when its session is over: soon.
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://localhost:{kafka},CONTROLLER://localhost:{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\nbroker.session.timeout.ms=2000\n\
             broker.heartbeat.interval.ms=500\nlog.index.size.max.bytes=131072\n\
             log.cleaner.dedupe.buffer.size=16777216\nlog.cleaner.threads=1\n",
            data.display()
        );
        fs::write(home.join("server.properties"), settings).unwrap();
        let disk = Disk::new(&data);
        let broker = Self {
            process: None,
            log: Arc::default(),
            disk,
            libraries,
            logging,
            home,
            data,
            address: format!("localhost:{kafka}"),
        };
        let format =
            ["kafka.tools.StorageTool", "format", "--cluster-id", "S2FmcHV0b2tlbjEyMzQ1Ng", "--config"];
        let formatted = broker.disk.java(&broker, &format).output().unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        broker
    }

    async fn start(&mut self) {
        let mut command = self.disk.java(self, &["kafka.Kafka"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // Read here: where no file can grow, a log could not either.
        let said = process.stdout.take().unwrap();
        let log = Arc::default();
        (self.process, self.log) = (Some(process), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        eventually(DEADLINE, || async { self.says("Kafka Server started").then_some(()) }).await;
    }

    fn says(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    fn fill_disk(&self) {
        self.disk.fill(&self.data, self.process.as_ref().unwrap().id());
    }

    // As it does when it has no disk left to write to.
    async fn ends_itself(&mut self) {
        let mut process = self.process.take().unwrap();
        let until = std::time::Instant::now() + DEADLINE;
        while process.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > until {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("the broker goes on with a full disk");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let said = ["No space left on device", "File too large", "unsafe memory access"];
        assert!(said.iter().any(|text| self.says(text)), "the broker ended for another reason");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

// Facts whose payloads do not compress.
fn large(of: std::ops::RangeInclusive<i64>) -> Vec<Fact> {
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let mut facts = versions(&ORDERED, &KEYS, of);
    for fact in &mut facts {
        fact.payload = Some((0..LARGE).map(|_| noise()).collect());
    }
    facts
}

async fn commit(pool: &PgPool, facts: &[Fact]) {
    for fact in facts {
        let mut tx = pool.begin().await.unwrap();
        outbox::append(&mut tx, SERVICE, fact).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn is_ready(app: &TestApp) -> bool {
    app.http().get(app.ops_url("/readyz")).send().await.unwrap().status() == 200
}

async fn arrived(topics: &Topics, count: usize) -> Vec<CaughtRecord> {
    let enough = |records: &[CaughtRecord]| (records.len() >= count).then(|| records.to_vec());
    RecordCatcher::new(topics.clone()).wait_for(&[ORDERED.name()], DEADLINE, enough).await
}

#[tokio::test]
async fn a_full_broker_disk_keeps_facts_in_the_outbox_and_all_arrive_afterwards() {
    let mut broker = Broker::new();
    broker.start().await;
    let address = broker.address.clone();
    let change = move |settings: &mut Settings| settings.kafka_brokers = address;
    let app = TestApp::start_with(SERVICE, change, |process, url| async move {
        let pool = process.database(&url.parse()?);
        let component = Component::new(SERVICE).database(pool.clone(), migrator());
        Ok(vec![outbox::publish(component, &process, &pool, TOPICS)])
    })
    .await;
    let topics = Topics { brokers: broker.address.clone(), prefix: app.topics().prefix.clone() };
    commit(&app.pool, &large(1..=2)).await;
    arrived(&topics, 6).await;

    broker.fill_disk();
    commit(&app.pool, &large(3..=5)).await;
    assert!(is_ready(&app).await);
    broker.ends_itself().await;
    commit(&app.pool, &large(6..=8)).await;
    assert!(is_ready(&app).await, "writes go to the outbox, so that the service is");

    broker.disk.relieve(&broker.data);
    broker.start().await;
    commit(&app.pool, &large(9..=9)).await;
    let records = arrived(&topics, 27).await;
    for key in KEYS {
        let versions = records.iter().filter(|record| record.key == key);
        let versions: Vec<i64> =
            versions.map(|record| record.headers["kotinos_version"].parse().unwrap()).collect();
        let firsts: Vec<i64> = (0..versions.len())
            .filter(|at| !versions[..*at].contains(&versions[*at]))
            .map(|at| versions[at])
            .collect();
        assert_eq!(firsts, (1..=9).collect::<Vec<i64>>(), "{key}: {versions:?}");
    }
    assert!(is_ready(&app).await);
    app.stop().await;
}
