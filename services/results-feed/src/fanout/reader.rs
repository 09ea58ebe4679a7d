use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{DateTime, Utc};
use tokio::time::Instant;

use crate::{
    Error,
    app::App,
    cursor::Cursor,
    entitlement::Rights,
    entry::Entry,
    frame::{ByeCause, Frame, HEARTBEAT_SECONDS, ResetCause, Sent},
    rsc::Prefix,
    store::Position,
    stream_name::StreamName,
};

use super::{
    Hub, Read,
    live::{Live, View},
};

/// Entries that are looked at in one go.
const BATCH: usize = 256;
/// Documents of a page of the snapshot.
const PAGE: i64 = 100;
/// How long the start may wait for this process to learn where the stream is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Age of a connection in seconds, to which up to a tenth is added.
const AGE_SECONDS: u64 = 600;

/// Which versions a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The newest, where it is late.
    #[default]
    State,
    /// Every one.
    Every,
}

/// What a reader asks for.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Which stream.
    pub stream: StreamName,
    /// Any of them; none means all.
    pub prefixes: Vec<Prefix>,
    /// Where to go on, as it was given.
    pub cursor: Option<String>,
    /// Which versions.
    pub mode: Mode,
    /// The OAuth client, where there is a token.
    pub client_id: Option<String>,
    /// When the token ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A reader's place in a stream, and what it holds.
#[derive(Debug)]
pub struct Reader {
    app: App,
    hub: Arc<Hub>,
    asked: Subscription,
    rights: Rights,
    phase: Phase,
    epoch: String,
    ends_at: Instant,
    retry_ms: u32,
}

#[derive(Debug)]
enum Phase {
    Start,
    /// Pages of the state, each read when the one before was sent.
    Snapshot {
        from: i64,
        after: i64,
        newer: HashMap<i64, i64>,
    },
    Live {
        live: Live,
        heartbeat_at: Instant,
    },
    Ended,
}

fn next_heartbeat() -> Instant {
    Instant::now() + Duration::from_secs(u64::from(HEARTBEAT_SECONDS))
}

enum Wake {
    Moved,
    Heartbeat,
    Bye(ByeCause),
}

impl Reader {
    /// At the start, before anything was read.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new(app: App, asked: Subscription) -> Result<Self, Error> {
        let hub = Arc::clone(app.hub(asked.stream));
        let [one, two] = app.random_numbers()?;
        Ok(Self {
            hub,
            asked,
            app,
            rights: Rights::default(),
            phase: Phase::Start,
            epoch: String::new(),
            ends_at: Instant::now() + Duration::from_secs(AGE_SECONDS + u64::from(one) % (AGE_SECONDS / 10)),
            // Spread, so that those who lost one replica do not reach the next one together.
            retry_ms: 1_000 + two % 4_000,
        })
    }

    /// When to come back after a loss, in milliseconds.
    #[must_use]
    pub const fn retry_ms(&self) -> u32 {
        self.retry_ms
    }

    /// The next frames, one at least; nothing after the last one.
    ///
    /// # Errors
    /// The database, or a process that does not know its stream yet.
    pub async fn next(&mut self) -> Result<Option<Vec<Sent>>, Error> {
        loop {
            let frames = match &self.phase {
                Phase::Start => self.start().await?,
                Phase::Snapshot { .. } => self.page().await?,
                Phase::Live { .. } => self.changes().await?,
                Phase::Ended => return Ok(None),
            };
            if !frames.is_empty() {
                return Ok(Some(frames));
            }
        }
    }

    async fn start(&mut self) -> Result<Vec<Sent>, Error> {
        let position = self.known_position().await?;
        self.epoch.clone_from(&position.epoch);
        // After the position: an entry about these rights that comes later is seen.
        self.rights = self.app.rights(self.asked.client_id.as_deref()).await?;
        let hello =
            Frame::Hello { stream: self.hub.stream_id().to_owned(), cursor: self.cursor(position.seq) };
        let mut frames = vec![Sent { cursor: None, frame: hello }];
        match self.resume_at(&position).await? {
            Ok(Some(seq)) => self.go_live(Live::resumed(seq)),
            Ok(None) => self.begin_snapshot(position.seq),
            Err(why) => frames.push(self.reset(why, position.seq)),
        }
        Ok(frames)
    }

    // Where to go on; nothing without a cursor; why not, where the cursor can't be served.
    async fn resume_at(&self, position: &Position) -> Result<Result<Option<i64>, ResetCause>, Error> {
        let Some(text) = &self.asked.cursor else { return Ok(Ok(None)) };
        let Ok(cursor) = text.parse::<Cursor>() else { return Ok(Err(ResetCause::CursorInvalid)) };
        if cursor.epoch != position.epoch {
            return Ok(Err(ResetCause::EpochChanged));
        }
        if cursor.seq > position.seq {
            // Another replica may be ahead of this one by a moment.
            let stored = self.app.stored_position(self.asked.stream).await?;
            if stored.epoch != cursor.epoch || stored.seq < cursor.seq {
                return Ok(Err(ResetCause::CursorAhead));
            }
        }
        if !self.app.reaches_back_to(self.asked.stream, cursor.seq + 1).await? {
            return Ok(Err(ResetCause::CursorTooOld));
        }
        Ok(Ok(Some(cursor.seq)))
    }

    async fn known_position(&self) -> Result<Position, Error> {
        let mut newest = self.hub.watch();
        let known = tokio::time::timeout(PATIENCE, newest.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(position)) => position.clone().ok_or(Error::Unavailable("the stream is not read yet")),
            _ => Err(Error::Unavailable("the stream is not read yet")),
        }
    }

    fn go_live(&mut self, live: Live) {
        self.phase = Phase::Live { live, heartbeat_at: next_heartbeat() };
    }

    fn begin_snapshot(&mut self, from: i64) {
        self.phase = Phase::Snapshot { from, after: 0, newer: HashMap::new() };
    }

    fn reset(&mut self, why: ResetCause, seq: i64) -> Sent {
        self.begin_snapshot(seq);
        Sent { cursor: None, frame: Frame::Reset { why, cursor: self.cursor(seq) } }
    }

    fn cursor(&self, seq: i64) -> Cursor {
        Cursor { epoch: self.epoch.clone(), seq }
    }

    // Pages are read one after the other without a transaction around them, so a document may be newer than the start
    // of the snapshot; that is remembered, and its entries are not sent again.
    async fn page(&mut self) -> Result<Vec<Sent>, Error> {
        let Phase::Snapshot { from, after, newer } = &mut self.phase else { return Ok(Vec::new()) };
        let from = *from;
        let editions = self.app.list_editions(self.asked.stream, &self.asked.prefixes, *after, PAGE).await?;
        let is_last = editions.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        let mut frames = Vec::new();
        for edition in editions {
            *after = edition.handle;
            if edition.seq > from {
                newer.insert(edition.handle, edition.seq);
            }
            if self.rights.permit(&edition.subject(self.asked.stream.feed_flag())) {
                frames.push(Sent { cursor: None, frame: Frame::Snap(Arc::new(edition)) });
            }
        }
        if is_last {
            let newer = std::mem::take(newer);
            let stored = self.app.stored_position(self.asked.stream).await?;
            self.go_live(Live::after_snapshot(from, newer, stored.seq.max(from)));
        }
        Ok(frames)
    }

    async fn changes(&mut self) -> Result<Vec<Sent>, Error> {
        let Phase::Live { live, heartbeat_at } = &mut self.phase else { return Ok(Vec::new()) };
        if let Some(seq) = live.completes_snapshot() {
            let cursor = self.cursor(seq);
            return Ok(vec![Sent { cursor: Some(cursor.clone()), frame: Frame::Live { cursor } }]);
        }
        let (at, heartbeat_at) = (live.at(), *heartbeat_at);
        let entries = match self.hub.read_after(&self.epoch, at, BATCH) {
            Read::Entries(entries) => entries,
            Read::Older => {
                let entries = self.app.list_entries(self.asked.stream, at, BATCH).await?;
                if entries.first().is_none_or(|entry| entry.seq != at + 1) {
                    let position = self.known_position().await?;
                    return Ok(vec![self.reset(ResetCause::CursorTooOld, position.seq)]);
                }
                entries
            }
            Read::OtherEpoch => return self.begin_epoch().await,
        };
        if !entries.is_empty() {
            return self.take(&entries).await;
        }
        match self.wait(at, heartbeat_at).await {
            Wake::Moved => Ok(Vec::new()),
            Wake::Heartbeat => Ok(vec![self.heartbeat(at)]),
            Wake::Bye(why) => {
                self.phase = Phase::Ended;
                Ok(vec![Sent { cursor: None, frame: Frame::Bye { why, retry_ms: self.retry_ms } }])
            }
        }
    }

    async fn begin_epoch(&mut self) -> Result<Vec<Sent>, Error> {
        let position = self.known_position().await?;
        self.epoch.clone_from(&position.epoch);
        self.rights = self.app.rights(self.asked.client_id.as_deref()).await?;
        Ok(vec![self.reset(ResetCause::EpochChanged, position.seq)])
    }

    async fn wait(&self, at: i64, heartbeat_at: Instant) -> Wake {
        let mut newest = self.hub.watch();
        let mut draining = self.hub.draining();
        let moved = newest.wait_for(|position| {
            position.as_ref().is_some_and(|position| position.seq > at || position.epoch != self.epoch)
        });
        tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => Wake::Bye(ByeCause::Drain),
            () = tokio::time::sleep_until(self.ends_at) => Wake::Bye(ByeCause::Age),
            () = self.token_expires() => Wake::Bye(ByeCause::TokenExpired),
            // Before the moves: a stream that never rests would leave a reader of a quiet code without a sign of life.
            () = tokio::time::sleep_until(heartbeat_at) => Wake::Heartbeat,
            _ = moved => Wake::Moved,
        }
    }

    async fn token_expires(&self) {
        match self.asked.expires_at {
            Some(at) => tokio::time::sleep((at - self.app.clock().now()).to_std().unwrap_or_default()).await,
            None => std::future::pending().await,
        }
    }

    fn heartbeat(&mut self, seq: i64) -> Sent {
        let now = self.app.clock().now();
        let age = self.hub.confirmed_at().map_or(0, |confirmed| (now - confirmed).num_milliseconds());
        let lag_ms = u32::try_from(age.max(0)).unwrap_or(u32::MAX);
        let mut resumable = None;
        if let Phase::Live { live, heartbeat_at } = &mut self.phase {
            *heartbeat_at = next_heartbeat();
            resumable = live.is_resumable().then_some(seq);
        }
        let cursor = resumable.map(|seq| self.cursor(seq));
        Sent { cursor, frame: Frame::Heartbeat { seq, at: now, lag_ms } }
    }

    async fn take(&mut self, entries: &[Arc<Entry>]) -> Result<Vec<Sent>, Error> {
        let Phase::Live { live, heartbeat_at } = &mut self.phase else { return Ok(Vec::new()) };
        let taken = live.take(&View { rights: &self.rights, asked: &self.asked }, entries);
        if !taken.frames.is_empty() {
            *heartbeat_at = next_heartbeat();
        }
        let epoch = &self.epoch;
        let cursor = |seq| Cursor { epoch: epoch.clone(), seq };
        let mut frames: Vec<Sent> = taken
            .frames
            .into_iter()
            .map(|(resumable, frame)| Sent { cursor: resumable.map(cursor), frame })
            .collect();
        if let Some(seq) = taken.rights_changed_at {
            self.rights = self.app.rights(self.asked.client_id.as_deref()).await?;
            frames.push(self.reset(ResetCause::FilterChanged, seq));
        }
        Ok(frames)
    }
}
