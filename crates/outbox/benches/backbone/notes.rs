//! What a reader tells of its work: by a file in memory, so that it may be another process and is not held up.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Result;
use domain::Clock;

const ENTRY: usize = 8;

/// How many records were taken in, and of numbered ones when, in microseconds of the machine's clock.
#[derive(Debug)]
pub struct Notes {
    file: File,
    pub path: PathBuf,
    count: Mutex<i64>,
    made_here: bool,
}

impl Notes {
    /// Empty ones, which go with this value.
    pub fn create() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = folder.join(format!("kotinos-bench-{}", domain::new_id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, count: Mutex::default(), made_here: true })
    }

    /// Those that another process made.
    pub fn open(path: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.into(), count: Mutex::default(), made_here: false })
    }

    /// So many more records are taken in.
    pub fn add(&self, records: usize) -> Result<()> {
        // Held while it is written, or an older count could come last.
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += i64::try_from(records)?;
        Ok(self.file.write_all_at(&count.to_le_bytes(), 0)?)
    }

    pub fn count(&self) -> Result<i64> {
        let mut bytes = [0; ENTRY];
        // Nothing is written yet: no bytes are read.
        let read = self.file.read_at(&mut bytes, 0)?;
        Ok(if read == ENTRY { i64::from_le_bytes(bytes) } else { 0 })
    }

    /// A repeat overwrites: it counts against whoever sent it.
    pub fn arrived(&self, number: i64) -> Result<()> {
        let at = ENTRY as u64 * (u64::try_from(number)? + 1);
        Ok(self.file.write_all_at(&now().to_le_bytes(), at)?)
    }

    fn arrivals(&self) -> Result<Vec<i64>> {
        let bytes = std::fs::read(&self.path)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        Ok(entries.iter().skip(1).map(|entry| i64::from_le_bytes(*entry)).collect())
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.made_here {
            // Somebody may have tidied up.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// In microseconds since 1970.
pub fn now() -> i64 {
    Clock::system().now().timestamp_micros()
}

/// When numbered events were committed, and by a reader's notes when they came to it.
#[derive(Debug)]
pub struct Times {
    committed: Vec<AtomicI64>,
    next: AtomicI64,
    pub notes: Notes,
}

impl Times {
    pub fn of(most: u64) -> Result<Self> {
        let committed = (0..most).map(|_| AtomicI64::new(0)).collect();
        Ok(Self { committed, next: AtomicI64::new(0), notes: Notes::create()? })
    }

    /// The number of the next event. None when there is room for no more.
    pub fn number(&self) -> Option<i64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        usize::try_from(number).is_ok_and(|number| number < self.committed.len()).then_some(number)
    }

    pub fn committed(&self, number: i64) {
        if let Some(time) = usize::try_from(number).ok().and_then(|number| self.committed.get(number)) {
            time.store(now(), Ordering::Relaxed);
        }
    }

    // Commit and arrival of each committed event.
    fn pairs(&self) -> Result<Vec<(i64, Option<i64>)>> {
        let arrivals = self.notes.arrivals()?;
        let arrival = |number: usize| arrivals.get(number).copied().filter(|at| *at > 0);
        let committed = self.committed.iter().map(|time| time.load(Ordering::Relaxed)).enumerate();
        let pairs = committed.filter(|(_, at)| *at > 0).map(|(number, at)| (at, arrival(number)));
        Ok(pairs.collect())
    }

    /// Committed events that did not come yet.
    pub fn missing(&self) -> Result<usize> {
        Ok(self.pairs()?.iter().filter(|(_, arrived)| arrived.is_none()).count())
    }

    /// From commit to arrival, in milliseconds, of what was committed since a moment. One that came before its writer
    /// heard of the commit took no time.
    pub fn delays(&self, since: i64) -> Result<Vec<f64>> {
        let pairs = self.pairs()?.into_iter().filter(|(committed, _)| *committed >= since);
        let delays =
            pairs.filter_map(|(committed, arrived)| Some((arrived? - committed).max(0) as f64 / 1e3));
        Ok(delays.collect())
    }
}

/// 400 B that begin with the event's number.
pub fn payload(number: i64) -> Vec<u8> {
    let mut payload = vec![b'.'; 400];
    payload[..ENTRY].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Of such a payload.
pub fn number_in(payload: Option<&[u8]>) -> Option<i64> {
    payload.and_then(|payload| payload.first_chunk()).map(|first| i64::from_be_bytes(*first))
}
