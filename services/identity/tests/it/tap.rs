//! A tap on the line to PostgreSQL: it passes everything on, counts commits and statements, and can cut the line or kill a
//! process between two statements.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use url::Url;

/// What tasks do by themselves, whatever a flow does: a piece of text that only their statements have.
const BACKGROUND: [&str; 27] = [
    "_default",
    "advisory",
    "array['RS256', 'PS256']",
    "delete from identity.throttle where until",
    "from identity.inbox",
    "from identity.outbox",
    "from identity.revocation\n",
    "from identity.secret_key",
    "from identity.signing_key",
    "hashtextextended",
    "identity.audit_chain",
    "identity.audit_networks",
    "identity.audit_seal",
    "identity.inbox_old",
    "identity.make_days",
    "identity.relay_",
    "limit 200",
    "limit 5000",
    "mail_state = ",
    "order by position, audit_id",
    "pg_inherits",
    "pg_snapshot_xmin",
    "set ip_hmac = null",
    "set seen_at = n.at",
    "update identity.logout_delivery",
    "used_on",
    "with recursive waiting",
];

/// A proxy that speaks enough of PostgreSQL's protocol to read statements. Clones share it.
#[derive(Clone)]
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Mutex<Option<(String, u16)>>,
    seen: Mutex<Vec<Statement>>,
    connections: AtomicU64,
    open: watch::Sender<bool>,
    trap: Mutex<Option<Trap>>,
}

/// When a process dies of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The database never sees it.
    Before,
    /// The database has done it; nobody hears of it.
    After,
}

struct Trap {
    left: usize,
    when: When,
    pid: u32,
    /// Connections on which a flow's transaction is open.
    writing: HashSet<u64>,
}

#[derive(Debug, Clone)]
struct Statement {
    connection: u64,
    sql: String,
}

/// What went over the line since the last look, without the tasks' part.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Transactions, or statements by themselves, that write: each is a wait for the disk.
    pub commits: usize,
    /// All statements but begin, commit and rollback.
    pub statements: usize,
    /// Their texts.
    pub texts: Vec<String>,
}

impl Tap {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicU64::default(),
            open: watch::channel(true).0,
            trap: Mutex::default(),
        });
        let this = Self { address: listener.local_addr().unwrap(), shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        this
    }

    /// The URL of the same database by way of this tap.
    pub fn lead(&self, database_url: &str) -> String {
        let mut url = Url::parse(database_url).unwrap();
        let host = url.host_str().unwrap_or("localhost").to_owned();
        *self.shared.upstream.lock().unwrap() = Some((host, url.port().unwrap_or(5432)));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Ends every connection and takes no other one.
    pub fn cut(&self) {
        self.shared.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.shared.open.send_replace(true);
    }

    /// Kills the process at the nth statement from now on. What tasks do does not count; the end of a flow's transaction
    /// does, and its begin does not, as nobody knows yet whose it is.
    pub fn arm(&self, nth: usize, when: When, pid: u32) {
        *self.shared.trap.lock().unwrap() = Some(Trap { left: nth, when, pid, writing: HashSet::new() });
    }

    /// Takes the trap away; whether it was sprung.
    pub fn disarm(&self) -> bool {
        self.shared.trap.lock().unwrap().take().is_none_or(|trap| trap.left == 0)
    }

    /// What went over since the last time that somebody asked.
    pub fn take(&self) -> Traffic {
        let seen = std::mem::take(&mut *self.shared.seen.lock().unwrap());
        traffic(&seen)
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) {
        let mut open = self.open.subscribe();
        let upstream = self.upstream.lock().unwrap().clone();
        let Some((host, port)) = upstream.filter(|_| *open.borrow()) else { return };
        let Ok(mut server) = TcpStream::connect((host.as_str(), port)).await else { return };
        // What is passed on does not wait for more to come.
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
            return;
        }
        let mut reader =
            Reader { connection: self.connections.fetch_add(1, Ordering::Relaxed), ..Reader::default() };
        let (mut from_client, mut from_server) = (vec![0; 16_384], vec![0; 16_384]);
        loop {
            tokio::select! {
                read = client.read(&mut from_client) => match read {
                    Ok(length @ 1..) => {
                        let statements = reader.read(&from_client[..length]);
                        let sprung = self.step(&statements);
                        self.seen.lock().unwrap().extend(statements);
                        if let Some((When::Before, pid)) = sprung {
                            return kill(pid);
                        }
                        if server.write_all(&from_client[..length]).await.is_err() { return }
                        if let Some((When::After, pid)) = sprung {
                            // The answer comes when the statement, and its commit, are done.
                            let _ = server.read(&mut from_server).await;
                            return kill(pid);
                        }
                    }
                    _ => return,
                },
                read = server.read(&mut from_server) => match read {
                    Ok(length @ 1..) => {
                        if client.write_all(&from_server[..length]).await.is_err() { return }
                    }
                    _ => return,
                },
                changed = open.changed() => if changed.is_err() || !*open.borrow() { return },
            }
        }
    }

    fn step(&self, statements: &[Statement]) -> Option<(When, u32)> {
        let mut trap = self.trap.lock().unwrap();
        let trap = trap.as_mut().filter(|trap| trap.left > 0)?;
        for Statement { connection, sql } in statements {
            if is(sql, "begin") {
                trap.writing.remove(connection);
                continue;
            }
            let ends = is(sql, "commit") || is(sql, "rollback");
            let counts = if ends { trap.writing.remove(connection) } else { is_of_a_flow(sql) };
            if !counts {
                continue;
            }
            if !ends {
                trap.writing.insert(*connection);
            }
            trap.left -= 1;
            if trap.left == 0 {
                return Some((trap.when, trap.pid));
            }
        }
        None
    }
}

fn kill(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success(), "no process {pid}");
}

/// Reads what one client sends: the start-up, then messages of a type, a length and a body.
#[derive(Default)]
struct Reader {
    connection: u64,
    started: bool,
    buffer: Vec<u8>,
    prepared: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) -> Vec<Statement> {
        self.buffer.extend_from_slice(bytes);
        let mut seen = Vec::new();
        loop {
            let head = usize::from(self.started);
            let Some(length) = self.buffer.get(head..head + 4) else { return seen };
            let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.buffer.len() < end {
                return seen;
            }
            let message: Vec<u8> = self.buffer.drain(..end).collect();
            if self.started {
                seen.extend(self.statement(message[0], &message[5..]));
            } else {
                // Anything but the question for TLS starts the session.
                self.started = message[4..8] != 80_877_103_u32.to_be_bytes();
            }
        }
    }

    fn statement(&mut self, kind: u8, body: &[u8]) -> Option<Statement> {
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut next = || texts.next().unwrap_or_default();
        let sql = match kind {
            b'P' => {
                let (name, sql) = (next(), next());
                self.prepared.insert(name, sql);
                return None;
            }
            b'B' => {
                let (portal, name) = (next(), next());
                self.portals.insert(portal, self.prepared.get(&name).cloned().unwrap_or_default());
                return None;
            }
            b'E' => self.portals.get(&next()).cloned().unwrap_or_default(),
            b'Q' => next(),
            _ => return None,
        };
        Some(Statement { connection: self.connection, sql })
    }
}

fn traffic(seen: &[Statement]) -> Traffic {
    let mut by_connection: HashMap<u64, Vec<&str>> = HashMap::new();
    for statement in seen {
        by_connection.entry(statement.connection).or_default().push(&statement.sql);
    }
    let mut traffic = Traffic::default();
    for statements in by_connection.values() {
        let mut open: Option<Vec<&str>> = None;
        for sql in statements {
            if is(sql, "begin") {
                open = Some(Vec::new());
            } else if is(sql, "commit") || is(sql, "rollback") {
                traffic.add(&open.take().unwrap_or_default(), is(sql, "commit"));
            } else if let Some(open) = &mut open {
                open.push(sql);
            } else {
                traffic.add(&[sql], true);
            }
        }
        // What is still open was not written yet, and is said all the same.
        traffic.add(&open.unwrap_or_default(), false);
    }
    traffic
}

impl Traffic {
    fn add(&mut self, statements: &[&str], committed: bool) {
        if statements.iter().any(|sql| is_of_a_task(sql)) {
            return;
        }
        let statements = statements.iter().filter(|sql| is_of_a_flow(sql));
        let texts: Vec<String> = statements.map(|sql| (*sql).to_owned()).collect();
        self.commits += usize::from(committed && texts.iter().any(|sql| writes(sql)));
        self.statements += texts.len();
        self.texts.extend(texts);
    }
}

fn is(sql: &str, word: &str) -> bool {
    sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn is_of_a_task(sql: &str) -> bool {
    BACKGROUND.iter().any(|text| sql.contains(text))
}

// A ping is a comment.
fn is_of_a_flow(sql: &str) -> bool {
    !sql.trim().is_empty() && !sql.starts_with("/*") && !is_of_a_task(sql)
}

// A lock on a row is written too.
fn writes(sql: &str) -> bool {
    ["insert into", "update identity", "delete from", "for update", "for share"]
        .iter()
        .any(|word| sql.contains(word))
}
