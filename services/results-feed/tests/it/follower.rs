//! A reader of server-sent events that comes back with its last id whenever its connection ends, as a browser does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use url::{Position, Url};

use crate::world::{DEADLINE, merge};

/// So long a reader waits before it comes back: shorter than its server asks for, since a test is in a hurry.
const PAUSE: Duration = Duration::from_millis(50);
/// Silence after which a connection is given up: heartbeats come each 5 s.
const SILENCE: Duration = Duration::from_secs(15);

/// What a reader holds and has seen.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Version and body by handle.
    pub documents: BTreeMap<i64, (i64, Value)>,
    /// Sequence numbers of changes in the order in which they came.
    pub seqs: Vec<i64>,
    /// Times that it connected.
    pub connections: usize,
    /// Why it was reset.
    pub resets: Vec<String>,
    /// What the guide does not allow.
    pub faults: Vec<String>,
    /// Where its first snapshot was complete.
    pub began: Option<i64>,
    last_id: Option<String>,
    in_snapshot: bool,
    /// The newest `s` that was taken of each document, also of those that are gone.
    newest: BTreeMap<i64, i64>,
    /// `s` of the newest frame by lane, as far as known in this connection.
    last: BTreeMap<u64, i64>,
}

/// A running reader.
pub struct Follower {
    followed: Arc<Mutex<Followed>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Reads a feed at an address, in the name of a token's client, until it is dropped.
    pub fn start(url: &str, token: Option<&str>) -> Self {
        let url: Url = url.parse().unwrap();
        let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let followed: Arc<Mutex<Followed>> = Arc::default();
        let of_task = Arc::clone(&followed);
        let task = tokio::spawn(async move {
            loop {
                read(&url, &token, &of_task).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { followed, task }
    }

    /// What it holds now.
    pub fn followed(&self) -> Followed {
        self.followed.lock().unwrap().clone()
    }

    /// Waits until a condition on what it holds is met.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Followed) -> bool) {
        testkit::eventually(3 * DEADLINE, || {
            let is_met = condition(&self.followed.lock().unwrap());
            std::future::ready(is_met.then_some(()))
        })
        .await;
    }

    /// Waits until it holds this, and says what it lacks where it never does.
    pub async fn wait_for(&self, state: &BTreeMap<i64, (i64, Value)>) {
        let waiting = self.wait_until(|followed| followed.documents == *state);
        if tokio::time::timeout(2 * DEADLINE, waiting).await.is_err() {
            panic!("{}", self.followed().lack(state));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// Over a bare connection, in HTTP/1.0 so that the body has no chunks: in a client that hands its requests to a task of the
// connection, a request may be lost for ever when the connection ends at that very moment, which is not the feed's fault.
async fn read(url: &Url, token: &str, followed: &Mutex<Followed>) {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let target = &url[Position::BeforePath..];
    let mut request = format!("GET {target} HTTP/1.0\r\nhost: test\r\n{token}");
    if let Some(id) = followed.lock().unwrap().last_id.clone() {
        request += &format!("last-event-id: {id}\r\n");
    }
    request += "\r\n";
    if stream.write_all(request.as_bytes()).await.is_err() {
        return;
    }
    let mut bytes = Vec::new();
    let status = loop {
        if let Some(head) = take_until(&mut bytes, b"\r\n\r\n") {
            break head.split(' ').nth(1).map(str::to_owned);
        }
        match timeout(SILENCE, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return,
            Err(_) => return followed.lock().unwrap().miss_an_answer(),
        }
    };
    if status.as_deref() != Some("200") {
        return;
    }
    followed.lock().unwrap().begin();
    loop {
        while let Some(block) = take_until(&mut bytes, b"\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let Some(data) = field("data: ") {
                let frame: Value = serde_json::from_str(data).unwrap();
                followed.lock().unwrap().take(field("id: "), &frame);
            }
        }
        let Ok(Ok(1..)) = timeout(SILENCE, stream.read_buf(&mut bytes)).await else { return };
    }
}

fn take_until(bytes: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    let taken: Vec<u8> = bytes.drain(..at + end.len()).collect();
    Some(String::from_utf8(taken).unwrap())
}

impl Followed {
    fn miss_an_answer(&mut self) {
        self.faults.push(format!("no answer to the connection after the {}th", self.connections));
    }

    /// A new connection; gives the id to go on with.
    pub fn begin(&mut self) -> Option<String> {
        self.connections += 1;
        self.last.clear();
        self.in_snapshot = self.last_id.is_none();
        if self.in_snapshot {
            self.forget();
        }
        self.last_id.clone()
    }

    /// What it does not hold of a state, or holds otherwise, and what it has gone through.
    fn lack(&self, state: &BTreeMap<i64, (i64, Value)>) -> String {
        let other: Vec<(i64, Option<i64>, Option<i64>)> = self
            .documents
            .keys()
            .chain(state.keys())
            .filter(|handle| self.documents.get(handle) != state.get(handle))
            .map(|handle| {
                let version =
                    |held: &BTreeMap<i64, (i64, Value)>| held.get(handle).map(|(version, _)| *version);
                (*handle, version(&self.documents), version(state))
            })
            .collect();
        let Self { connections, resets, faults, last_id, .. } = self;
        format!(
            "held and to be held, by handle: {other:?}; {connections} connections, {last_id:?}, {resets:?}, {faults:?}"
        )
    }

    /// Takes a frame.
    pub fn take(&mut self, id: Option<&str>, frame: &Value) {
        let kind = frame["t"].as_str().unwrap_or_default();
        let (handle, version) =
            (frame["k"].as_i64().unwrap_or_default(), frame["v"].as_i64().unwrap_or_default());
        match kind {
            "snap" => {
                self.newest.insert(handle, frame["s"].as_i64().unwrap_or_default());
                self.documents.insert(handle, (version, frame["b"].clone()));
            }
            "live" => {
                self.in_snapshot = false;
                let cursor = frame["cursor"].as_str().unwrap_or_default();
                let seq = cursor.split(['.', '-']).nth(1).and_then(|seq| seq.parse().ok());
                self.began = self.began.or(seq);
            }
            "reset" => {
                self.resets.push(frame["why"].as_str().unwrap_or_default().to_owned());
                self.forget();
                self.last.clear();
                self.last_id = None;
                self.in_snapshot = true;
            }
            "skip" => self.follow(frame),
            "delta" | "full" | "gone" | "superseded" => {
                self.follow(frame);
                self.seqs.push(frame["s"].as_i64().unwrap_or_default());
                self.change(kind, handle, version, frame);
            }
            _ => {}
        }
        if let Some(id) = id {
            if self.in_snapshot {
                self.faults.push(format!("an id in a snapshot: {frame}"));
            }
            self.last_id = Some(id.to_owned());
        }
    }

    fn follow(&mut self, frame: &Value) {
        let (previous, seq) = (frame["p"].as_i64(), frame["s"].as_i64().unwrap_or_default());
        let lane = frame["l"].as_u64().unwrap_or_default();
        let last = self.last.insert(lane, seq);
        if !self.in_snapshot && last.is_some() && previous != last {
            self.faults.push(format!("the frame before was {last:?}: {frame}"));
        }
    }

    fn forget(&mut self) {
        self.documents.clear();
        self.newest.clear();
    }

    fn change(&mut self, kind: &str, handle: i64, version: i64, frame: &Value) {
        let seq = frame["s"].as_i64().unwrap_or_default();
        if self.newest.get(&handle).is_some_and(|newest| *newest >= seq) {
            // It came before a loss.
            return;
        }
        self.newest.insert(handle, seq);
        match (kind, self.documents.get_mut(&handle)) {
            ("gone" | "superseded", _) => {
                self.documents.remove(&handle);
            }
            ("full", _) => {
                self.documents.insert(handle, (version, frame["b"].clone()));
            }
            (_, Some((held, body))) if frame["bv"].as_i64() == Some(*held) => {
                merge(body, &frame["d"]);
                *held = version;
            }
            (_, held) => self.faults.push(format!("holds {:?}: {frame}", held.map(|(version, _)| *version))),
        }
    }
}

/// The state as the server tells it, page by page.
pub async fn state(client: &reqwest::Client, url: &str) -> BTreeMap<i64, (i64, Value)> {
    let mut documents = BTreeMap::new();
    let mut after = String::new();
    loop {
        let separator = if url.contains('?') { '&' } else { '?' };
        let page = client.get(format!("{url}{separator}limit=100{after}")).send().await.unwrap();
        let page: Value = serde_json::from_slice(&page.bytes().await.unwrap()).unwrap();
        for snap in page["documents"].as_array().unwrap() {
            documents.insert(snap["k"].as_i64().unwrap(), (snap["v"].as_i64().unwrap(), snap["b"].clone()));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return documents,
        }
    }
}
