//! Very many readers at little cost: each looks for markers in the bytes that come, whatever the protocol.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use memchr::memmem::Finder;
use testkit::measure::until;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::documents::{MARKER, number_of};

/// Markers that a run may use.
const MOST_MARKERS: usize = 400_000;
/// Between one reader and the next: all at once would meet a full backlog, which is not what is measured.
const GAP: Duration = Duration::from_micros(150);
/// Bytes read at a time.
const PIECE: usize = 16 << 10;

/// When each marker was sent, and how often it was seen.
#[derive(Debug)]
pub struct Clock {
    begin: Instant,
    sent: Vec<AtomicU64>,
}

impl Clock {
    pub fn new() -> Arc<Self> {
        let sent = (0..MOST_MARKERS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { begin: Instant::now(), sent })
    }

    /// A marker is sent now.
    pub fn send(&self, number: u32) {
        if let Some(at) = self.sent.get(number as usize) {
            at.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn age_ms(&self, number: u32) -> Option<f64> {
        let at = self.sent.get(number as usize)?.load(Ordering::Relaxed);
        (at > 0).then(|| self.now().saturating_sub(at) as f64 / 1e6)
    }
}

/// How a reader asks for the feed, and what answers that it has been heard.
#[derive(Debug, Clone)]
pub struct Hail {
    pub address: SocketAddr,
    pub request: Vec<u8>,
    /// It listens once this has come.
    pub heard: &'static [u8],
    /// Bytes a second that it takes; all that come where none.
    pub pace: Option<usize>,
    /// So long after the reader before it it comes.
    pub gap: Duration,
}

impl Hail {
    /// One that takes all that comes.
    pub const fn new(address: SocketAddr, request: Vec<u8>, heard: &'static [u8]) -> Self {
        Self { address, request, heard, pace: None, gap: GAP }
    }
}

/// What all readers of a run saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Milliseconds from send to receipt of each marker that was measured.
    pub latencies: Vec<f64>,
    pub bytes: u64,
    pub cut: usize,
}

/// Readers that listen.
pub struct Readers {
    tasks: JoinSet<Seen>,
    end: watch::Sender<bool>,
    shared: Arc<Shared>,
    count: usize,
}

struct Shared {
    clock: Arc<Clock>,
    /// Markers from here on are measured.
    from: AtomicU32,
    listening: AtomicUsize,
    /// Readers that have seen the last marker.
    arrived: AtomicUsize,
    last: AtomicU32,
    deliveries: AtomicUsize,
    bytes: AtomicU64,
}

impl Readers {
    /// Connects `count` readers, and waits until all listen.
    pub async fn connect(hails: Vec<Hail>, clock: &Arc<Clock>) -> Result<Self> {
        let shared = Arc::new(Shared {
            clock: Arc::clone(clock),
            from: AtomicU32::new(u32::MAX),
            listening: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            last: AtomicU32::new(u32::MAX),
            deliveries: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        });
        let (end, _) = watch::channel(false);
        let (mut tasks, count, mut wait) = (JoinSet::new(), hails.len(), Duration::ZERO);
        for hail in hails {
            wait += hail.gap;
            let (shared, mut ended) = (Arc::clone(&shared), end.subscribe());
            tasks.spawn(async move {
                let mut reader = Reader { seen: Seen::default(), rest: Vec::new(), has_arrived: false };
                tokio::time::sleep(wait).await;
                let reading = reader.read(&hail, &shared);
                tokio::select! {
                    outcome = reading => if outcome.is_err() { reader.seen.cut += 1 },
                    _ = ended.wait_for(|ended| *ended) => {}
                }
                reader.seen
            });
        }
        let readers = Self { tasks, end, shared, count };
        let listen = async || Ok(readers.shared.listening.load(Ordering::Relaxed) == count);
        until("every reader listens", Duration::from_secs(60), listen)
            .await
            .with_context(|| format!("{} of {count} do", readers.shared.listening.load(Ordering::Relaxed)))?;
        Ok(readers)
    }

    pub const fn count(&self) -> usize {
        self.count
    }

    /// Latencies of markers from here on count.
    pub fn measure_from(&self, number: u32) {
        self.shared.from.store(number, Ordering::Relaxed);
    }

    /// Markers seen by all readers so far, of those that count.
    pub fn deliveries(&self) -> usize {
        self.shared.deliveries.load(Ordering::Relaxed)
    }

    /// Bytes that came so far, to all.
    pub fn bytes_so_far(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// This is the last marker: readers arrive at it.
    pub fn expect_last(&self, number: u32) {
        self.shared.last.store(number, Ordering::Relaxed);
    }

    /// Waits until so many readers have the last marker.
    pub async fn arrive(&self, count: usize, patience: Duration) -> Result<()> {
        let arrived = || self.shared.arrived.load(Ordering::Relaxed);
        until("the last document arrives", patience, async || Ok(arrived() >= count))
            .await
            .with_context(|| format!("{} of {count} readers have it", arrived()))
    }

    /// How many have the last marker.
    pub fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::Relaxed)
    }

    /// Drops all connections.
    pub async fn end(mut self) -> Seen {
        self.end.send_replace(true);
        let mut all = Seen::default();
        while let Some(seen) = self.tasks.join_next().await {
            let Ok(seen) = seen else { continue };
            all.latencies.extend(seen.latencies);
            all.bytes += seen.bytes;
            all.cut += seen.cut;
        }
        all
    }
}

struct Reader {
    seen: Seen,
    /// The end of the last piece, where a marker may have begun.
    rest: Vec<u8>,
    has_arrived: bool,
}

impl Reader {
    async fn read(&mut self, hail: &Hail, shared: &Shared) -> Result<()> {
        let mut stream = connect(hail).await?;
        stream.write_all(&hail.request).await?;
        let mut head = Vec::with_capacity(1_024);
        while memchr::memmem::find(&head, hail.heard).is_none() {
            ensure!(stream.read_buf(&mut head).await? > 0, "closed before it listened");
            ensure!(head.len() < 4 << 20, "it does not listen");
        }
        shared.listening.fetch_add(1, Ordering::Relaxed);
        self.look(&head, shared);
        drop(head);
        let finder = Finder::new(b"@@");
        loop {
            match hail.pace {
                None => stream.readable().await?,
                Some(pace) => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    stream.readable().await?;
                    let mut few = vec![0; pace / 4];
                    match stream.try_read(&mut few) {
                        Ok(0) => anyhow::bail!("closed"),
                        Ok(count) => self.take(&few[..count], &finder, shared),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error.into()),
                    }
                    continue;
                }
            }
            // On the stack of the thread, not of the task: ten thousand readers would hold as many buffers.
            self.drain(&stream, &finder, shared)?;
        }
    }

    fn drain(&mut self, stream: &TcpStream, finder: &Finder<'_>, shared: &Shared) -> Result<()> {
        let mut piece = [0_u8; PIECE];
        loop {
            match stream.try_read(&mut piece) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(count) => {
                    let Some(came) = piece.get(..count) else { return Ok(()) };
                    self.take(came, finder, shared);
                    if count < PIECE {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn look(&mut self, bytes: &[u8], shared: &Shared) {
        self.take(bytes, &Finder::new(b"@@"), shared);
    }

    fn take(&mut self, came: &[u8], finder: &Finder<'_>, shared: &Shared) {
        self.seen.bytes += came.len() as u64;
        shared.bytes.fetch_add(came.len() as u64, Ordering::Relaxed);
        let joined: Vec<u8>;
        let bytes = if self.rest.is_empty() {
            came
        } else {
            joined = [self.rest.as_slice(), came].concat();
            &joined
        };
        let mut at = 0;
        while let Some(found) = finder.find(&bytes[at..]) {
            let start = at + found;
            if bytes.len() - start < MARKER {
                self.rest = bytes[start..].to_vec();
                return;
            }
            match number_of(&bytes[start..]) {
                Some(number) => {
                    self.note(number, shared);
                    at = start + MARKER;
                }
                None => at = start + 1,
            }
        }
        self.rest = if bytes.last() == Some(&b'@') { vec![b'@'] } else { Vec::new() };
    }

    fn note(&mut self, number: u32, shared: &Shared) {
        if number >= shared.from.load(Ordering::Relaxed)
            && let Some(age) = shared.clock.age_ms(number)
        {
            self.seen.latencies.push(age);
            shared.deliveries.fetch_add(1, Ordering::Relaxed);
        }
        if number >= shared.last.load(Ordering::Relaxed) && !self.has_arrived {
            self.has_arrived = true;
            shared.arrived.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn connect(hail: &Hail) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if hail.pace.is_some() {
        // Otherwise the system takes megabytes in for it.
        socket.set_recv_buffer_size(4 << 10)?;
    }
    Ok(socket.connect(hail.address).await?)
}
