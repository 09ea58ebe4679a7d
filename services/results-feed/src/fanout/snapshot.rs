use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::{
    slot::Encoded,
    topic::{Representation, Topic},
};
use crate::{
    Error,
    app::{App, Reach},
    entry::Edition,
    frame::{Frame, Raw},
};

/// Documents of a page.
const PAGE: i64 = 100;
/// Most bytes of pages that a snapshot keeps; what is behind them each reader reads by itself.
const KEPT: usize = 16 << 20;

/// From so many readers on that began with one snapshot, they are a crowd.
const CROWD: usize = 8;

/// What the readers of a topic may see of the stream's state at one sequence number, read page by page when somebody
/// needs it, once for all who need it.
#[derive(Debug)]
pub struct Snapshot {
    seq: i64,
    pages: Mutex<HashMap<i64, Arc<OnceCell<Arc<Page>>>>>,
    kept: AtomicUsize,
    readers: AtomicUsize,
}

/// Some documents of a snapshot.
#[derive(Debug)]
pub struct Page {
    snaps: Vec<Snap>,
    /// Handle behind which the next page begins; none after the last one.
    next: Option<i64>,
    events: OnceLock<Bytes>,
}

/// A document of a snapshot.
#[derive(Debug)]
pub struct Snap {
    edition: Arc<Edition>,
    raw: Option<Raw>,
    encoded: OnceLock<Encoded>,
}

impl Snapshot {
    /// How old a snapshot may be that a crowd begins with.
    pub const FRESH: Duration = Duration::from_secs(2);

    /// Of the state at this number.
    #[must_use]
    pub fn new(seq: i64) -> Self {
        Self { seq, pages: Mutex::default(), kept: AtomicUsize::new(0), readers: AtomicUsize::new(0) }
    }

    /// At which sequence number.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        self.seq
    }

    /// One more reader begins with it.
    pub fn begin(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so many have begun with it that the next ones do, although something has changed since.
    #[must_use]
    pub fn is_for_a_crowd(&self, age: Duration) -> bool {
        self.readers.load(Ordering::Relaxed) >= CROWD && age < Self::FRESH
    }

    /// The page behind a handle, 0 for the first one; nothing where the log is of another epoch by now.
    ///
    /// # Errors
    /// The database.
    pub async fn page(
        &self,
        app: &App,
        topic: &Topic,
        epoch: &str,
        after: i64,
    ) -> Result<Option<Arc<Page>>, Error> {
        let cell = Arc::clone(self.pages().entry(after).or_default());
        let load = || async {
            let page = self.load(app, topic, after).await.map_err(Some)?;
            // Behind it: what was read is of the epoch that is there now.
            let reach = app.reach(topic.view().stream(), epoch, self.seq + 1).await.map_err(Some)?;
            if reach == Reach::OtherEpoch { Err(None) } else { Ok(page) }
        };
        match cell.get_or_try_init(load).await {
            Ok(page) => Ok(Some(Arc::clone(page))),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<OnceCell<Arc<Page>>>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self, app: &App, topic: &Topic, after: i64) -> Result<Arc<Page>, Error> {
        let (view, prefixes) = (topic.view(), topic.filter().prefixes());
        let editions = app.list_state(view.stream(), prefixes, self.seq, after, PAGE).await?;
        let is_last = i64::try_from(editions.len()).is_ok_and(|count| count < PAGE);
        let next = editions.last().map(|edition| edition.handle).filter(|_| !is_last);
        let until = app.released_at(view.stream(), self.seq).await?;
        let mut seen = Vec::new();
        for edition in editions {
            if view.sees(&edition, until) {
                let participants = view.participants_of(&edition, until);
                seen.push(app.cut(edition, &participants).await?);
            }
        }
        let mut raws = match topic.representation() {
            Representation::Json => HashMap::new(),
            Representation::Odf => {
                let seqs: Vec<i64> = seen.iter().map(|edition| edition.seq).collect();
                app.list_raw(view.stream(), &seqs).await?
            }
        };
        let snap = |edition: Edition| {
            let raw = raws.remove(&edition.seq);
            Snap { edition: Arc::new(edition), raw, encoded: OnceLock::new() }
        };
        let page = Page { snaps: seen.into_iter().map(snap).collect(), next, events: OnceLock::new() };
        let bytes = page.snaps.iter().map(Snap::weight).sum();
        if self.kept.fetch_add(bytes, Ordering::Relaxed) > KEPT {
            self.pages().remove(&after);
        }
        Ok(Arc::new(page))
    }
}

impl Page {
    /// Its documents.
    #[must_use]
    pub fn snaps(&self) -> &[Snap] {
        &self.snaps
    }

    /// Where the next page begins.
    #[must_use]
    pub const fn next(&self) -> Option<i64> {
        self.next
    }

    /// All of it as server-sent events: without ids, so that a reader that drops half-way starts again and not in a hole.
    #[must_use]
    pub fn events(&self) -> Bytes {
        let events = self.events.get_or_init(|| {
            let mut events = Vec::new();
            for snap in &self.snaps {
                events.extend_from_slice(&snap.encoded().event());
            }
            Bytes::from(events)
        });
        events.clone()
    }
}

impl Snap {
    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        Frame::Snap { edition: Arc::clone(&self.edition), raw: self.raw.clone() }
    }

    /// The frame as JSON.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.encoded().json()
    }

    fn encoded(&self) -> &Encoded {
        self.encoded.get_or_init(|| Encoded::new(None, &self.frame()))
    }

    fn weight(&self) -> usize {
        let bytes = |body: Option<&Bytes>| body.map_or(0, Bytes::len);
        let raw = self.raw.as_ref().and_then(|raw| raw.body.as_ref());
        // The body, the event, and the page of events.
        3 * bytes(raw.or(self.edition.body.as_ref())) + 512
    }
}
