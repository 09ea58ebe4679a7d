mod moving;
mod start;

use std::{pin::Pin, sync::Arc, time::Duration};

use domain::{DateTime, Utc};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tracing::Instrument as _;

use self::moving::Moving;
use super::{
    Hub, Sent,
    catch_up::{CatchUp, Piece, Walker},
    filter::Filter,
    place::{Mode, Place, Resume, Step, Taken},
    slot::Slot,
    snapshot::Snapshot,
    topic::{Next, Representation, Topic},
    view::Form,
};
use crate::{
    Error,
    app::App,
    cursor::Cursor,
    entitlement::Participants,
    entry::Entry,
    frame::{ByeCause, Frame, HEARTBEAT_SECONDS, ResetCause},
    lane::Lane,
    store::Position,
    stream_name::StreamName,
};

/// Most frames that are taken in one go: so many wait in a connection's hands while its carrier is busy.
const MOST_FRAMES: usize = 16;
/// How long a connection waits in one go for its process to hear of an epoch that it has met in the log.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Age of a connection in seconds, to which up to a tenth is added.
const AGE_SECONDS: u64 = 600;

/// What a reader asks for.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Which stream.
    pub stream: StreamName,
    /// What it wants to see.
    pub filter: Filter,
    /// In which form.
    pub representation: Representation,
    /// Where to go on, as it was given.
    pub cursor: Option<String>,
    /// Which versions.
    pub mode: Mode,
    /// The OAuth client, where there is a token.
    pub client_id: Option<String>,
    /// When the token ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A connection: its topic, its place there, and nothing else.
#[derive(Debug)]
pub struct Reader {
    app: App,
    hub: Arc<Hub>,
    asked: Subscription,
    phase: Phase,
    epoch: String,
    ends_at: Instant,
    retry_ms: u32,
    number: u32,
    /// Of the call that asked: what is read from the database belongs to it. Frames that all share are given outside of it:
    /// to enter it for each took a tenth of the processor's time of a crowd.
    span: tracing::Span,
}

#[derive(Debug)]
enum Phase {
    Start,
    Snapshot {
        topic: Arc<Topic>,
        snapshot: Arc<Snapshot>,
        after: i64,
    },
    Live(Box<Live>),
    /// Between the rights of before and those of now.
    Moving(Box<Moving>),
    Ended,
}

#[derive(Debug)]
struct Live {
    topic: Arc<Topic>,
    place: Place,
    catch_up: CatchUp,
    wakes: watch::Receiver<()>,
    heartbeat_at: Instant,
    /// Set anew when it has rung, and not with each frame: it may ring before there is anything to do.
    alarm: Pin<Box<Sleep>>,
}

fn next_heartbeat() -> Instant {
    Instant::now() + Duration::from_secs(u64::from(HEARTBEAT_SECONDS))
}

enum Wake {
    Moved,
    Heartbeat,
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
            phase: Phase::Start,
            epoch: String::new(),
            ends_at: Instant::now() + Duration::from_secs(AGE_SECONDS + u64::from(one) % (AGE_SECONDS / 10)),
            // Spread, so that those who lost one replica do not reach the next one together.
            retry_ms: 1_000 + two % 4_000,
            number: one,
            span: tracing::Span::current(),
        })
    }

    /// When to come back after a loss, in milliseconds.
    #[must_use]
    pub const fn retry_ms(&self) -> u32 {
        self.retry_ms
    }

    /// Of the call that asked.
    #[must_use]
    pub const fn span(&self) -> &tracing::Span {
        &self.span
    }

    /// The next frames, one at least; nothing after the last one.
    ///
    /// # Errors
    /// The database, or a process that does not know its stream yet.
    pub async fn next(&mut self) -> Result<Option<Vec<Sent>>, Error> {
        loop {
            if !matches!(self.phase, Phase::Ended | Phase::Start)
                && let Some(why) = self.must_end()
            {
                return Ok(Some(vec![self.bye(why)]));
            }
            let frames = match &self.phase {
                Phase::Live(_) => self.changes().await?,
                Phase::Ended => return Ok(None),
                _ => self.come().await?,
            };
            if !frames.is_empty() {
                return Ok(Some(frames));
            }
        }
    }

    // What is seldom done has its memory only while it is done: most connections are live, and there are very many.
    async fn come(&mut self) -> Result<Vec<Sent>, Error> {
        let span = self.span.clone();
        let coming = async {
            match &self.phase {
                Phase::Start => self.start().await,
                Phase::Snapshot { .. } => self.page().await,
                Phase::Moving(_) => self.move_on().await,
                Phase::Live(_) | Phase::Ended => Ok(Vec::new()),
            }
        };
        Box::pin(coming.instrument(span)).await
    }

    // What was told is void, or told by other rights.
    async fn turn(&mut self) -> Result<Vec<Sent>, Error> {
        let span = self.span.clone();
        Box::pin(self.begin_again().instrument(span)).await
    }

    fn go_live(&mut self, topic: Arc<Topic>, place: Place) {
        let mut wakes = topic.wakes(self.number);
        wakes.mark_unchanged();
        let heartbeat_at = next_heartbeat();
        let alarm = Box::pin(sleep_until(heartbeat_at));
        let live = Live { topic, place, catch_up: CatchUp::default(), wakes, heartbeat_at, alarm };
        self.phase = Phase::Live(Box::new(live));
    }

    fn begin_snapshot(&mut self, topic: Arc<Topic>) {
        let snapshot = topic.snapshot(self.hub.seq());
        self.phase = Phase::Snapshot { topic, snapshot, after: 0 };
    }

    fn reset(&mut self, why: ResetCause, topic: Arc<Topic>) -> Sent {
        self.begin_snapshot(topic);
        let cursor = Cursor::new(self.epoch.clone(), self.hub.seq());
        Sent::own(Frame::Reset { why, cursor }, None)
    }

    async fn page(&mut self) -> Result<Vec<Sent>, Error> {
        let Phase::Snapshot { topic, snapshot, after } = &mut self.phase else { return Ok(Vec::new()) };
        if topic.is_closed() {
            return self.begin_again().await;
        }
        let Some(page) = snapshot.page(&self.app, topic, &self.epoch, *after).await? else {
            self.wait_for_epoch().await;
            return Ok(Vec::new());
        };
        let mut sent = Vec::new();
        if let Some(next) = page.next() {
            *after = next;
        } else {
            let (topic, seq) = (Arc::clone(topic), snapshot.seq());
            let cursor = Cursor::new(self.epoch.clone(), seq);
            self.go_live(topic, Place::new(cursor.at));
            sent.push(Sent::own(Frame::Live { cursor: cursor.clone() }, Some(cursor)));
        }
        if !page.snaps().is_empty() {
            sent.insert(0, Sent::page(page));
        }
        Ok(sent)
    }

    async fn changes(&mut self) -> Result<Vec<Sent>, Error> {
        let Phase::Live(live) = &mut self.phase else { return Ok(Vec::new()) };
        // Before the topic is looked at: what it gets after this is looked at the next time.
        live.wakes.mark_unchanged();
        if self.hub.is_draining() {
            return Ok(vec![self.bye(ByeCause::Drain)]);
        }
        let seen = self.hub.seq();
        let taken = match live.topic.take(&mut live.place, self.asked.mode, seen, MOST_FRAMES) {
            Next::Taken(taken) => taken,
            Next::Closed => return self.turn().await,
        };
        if !taken.steps.is_empty() {
            return self.give(taken).await;
        }
        if let Some(lane) = taken.behind {
            return Box::pin(self.walk(lane, seen)).await;
        }
        match self.wait().await {
            Wake::Moved => Ok(Vec::new()),
            Wake::Heartbeat => self.heartbeat().await,
        }
    }

    async fn walk(&mut self, lane: Lane, seen: i64) -> Result<Vec<Sent>, Error> {
        let Phase::Live(live) = &mut self.phase else { return Ok(Vec::new()) };
        let (epoch, span) = (&self.epoch, self.span.clone());
        let walker = Walker { app: &self.app, topic: &live.topic, mode: self.asked.mode, epoch, seen };
        let piece = live.catch_up.walk(&walker, &mut live.place, lane).instrument(span.clone()).await?;
        self.told(piece).instrument(span).await
    }

    async fn told(&mut self, piece: Piece) -> Result<Vec<Sent>, Error> {
        match piece {
            Piece::Frames(frames) => Ok(frames),
            Piece::TooFar => {
                let topic = self.topic().await?;
                Ok(vec![self.reset(ResetCause::CursorTooOld, topic)])
            }
            Piece::OtherEpoch => {
                self.wait_for_epoch().await;
                Ok(Vec::new())
            }
        }
    }

    // Not for ever: whether the connection must end is looked at in between.
    async fn wait_for_epoch(&self) {
        self.hub.hurry();
        let mut positions = self.hub.watch();
        let is_new = |position: &Option<Position>| {
            position.as_ref().is_some_and(|position| position.epoch != self.epoch)
        };
        let _ = tokio::time::timeout(LONGEST_WAIT, positions.wait_for(is_new)).await;
    }

    async fn give(&mut self, taken: Taken) -> Result<Vec<Sent>, Error> {
        let Phase::Live(live) = &mut self.phase else { return Ok(Vec::new()) };
        live.heartbeat_at = next_heartbeat();
        self.hub.figures().conflated(taken.conflated);
        let mut sent = Vec::with_capacity(taken.steps.len());
        for (resume, step) in taken.steps {
            let cursor = match resume {
                Resume::At(at) => Some(Cursor { epoch: self.epoch.clone(), at }),
                Resume::Shared | Resume::No => None,
            };
            match step {
                Step::Own(frame) => sent.push(Sent::own(frame, cursor)),
                Step::Behind(slot, form, previous) => {
                    let form = self.prepare(&slot, form).await?;
                    let cursor = cursor.or_else(|| (resume == Resume::Shared).then(|| slot.cursor()));
                    let frame = slot.frame_behind(form, previous);
                    sent.extend(frame.map(|frame| Sent::own(frame, cursor)));
                }
                Step::Slot(slot, form) => {
                    let form = self.prepare(&slot, form).await?;
                    sent.push(match resume {
                        Resume::Shared => Sent::shared(slot, form),
                        _ => Sent::shared_at(slot, form, cursor),
                    });
                }
            }
        }
        Ok(sent)
    }

    // Loads what a frame needs beside its entry, and gives the form that it has in this representation.
    async fn prepare(&self, slot: &Slot, form: Form) -> Result<Form, Error> {
        let Phase::Live(live) = &self.phase else { return Ok(form) };
        let is_odf = live.topic.representation() == Representation::Odf;
        if slot.participants() != &Participants::All || is_odf {
            Box::pin(self.load(live, slot).instrument(self.span.clone())).await?;
        }
        let age = self.app.clock().now() - slot.entry().received_at;
        self.hub.figures().lagged(age.num_milliseconds());
        Ok(if is_odf { Form::Whole } else { form })
    }

    async fn load(&self, live: &Live, slot: &Slot) -> Result<(), Error> {
        if let Participants::Of(_) = slot.participants() {
            let entry = Entry::clone(slot.entry());
            let load = || self.app.cut_entry(live.topic.view(), entry);
            slot.cut().get_or_try_init(load).await?;
        }
        if live.topic.representation() == Representation::Odf && slot.shows_content() {
            let load = || self.app.get_raw(self.asked.stream, slot.seq());
            slot.raw().get_or_try_init(load).await?;
        }
        Ok(())
    }

    fn must_end(&self) -> Option<ByeCause> {
        if self.hub.is_draining() {
            return Some(ByeCause::Drain);
        }
        if self.asked.expires_at.is_some_and(|at| at <= self.app.clock().now()) {
            return Some(ByeCause::TokenExpired);
        }
        (Instant::now() >= self.ends_at).then_some(ByeCause::Age)
    }

    // Nothing but these two wakes a connection, ten thousand times a frame. A process that goes down wakes its topics, and
    // whether the connection must end is looked at whenever it is awake.
    async fn wait(&mut self) -> Wake {
        let (ends_at, expires_at) = (self.ends_at, self.expires_at());
        let Phase::Live(live) = &mut self.phase else { return Wake::Moved };
        let until = live.heartbeat_at.min(ends_at).min(expires_at.unwrap_or(ends_at));
        if live.alarm.is_elapsed() || until < live.alarm.deadline() {
            live.alarm.as_mut().reset(until);
        }
        tokio::select! {
            biased;
            _ = live.wakes.changed() => Wake::Moved,
            () = live.alarm.as_mut() => {
                if Instant::now() >= live.heartbeat_at { Wake::Heartbeat } else { Wake::Moved }
            }
        }
    }

    fn expires_at(&self) -> Option<Instant> {
        let left = self.asked.expires_at? - self.app.clock().now();
        Some(Instant::now() + left.to_std().unwrap_or_default())
    }

    fn bye(&mut self, why: ByeCause) -> Sent {
        self.phase = Phase::Ended;
        Sent::own(Frame::Bye { why, retry_ms: self.retry_ms }, None)
    }

    // A quiet reader's cursor moves on: it must not have to look at everything that it did not want to see.
    async fn heartbeat(&mut self) -> Result<Vec<Sent>, Error> {
        let Phase::Live(live) = &mut self.phase else { return Ok(Vec::new()) };
        live.heartbeat_at = next_heartbeat();
        let seen = self.hub.seq();
        let taken = match live.topic.take(&mut live.place, self.asked.mode, seen, MOST_FRAMES) {
            Next::Taken(taken) => taken,
            Next::Closed => return self.turn().await,
        };
        let Some(at) = live.place.rest(seen).filter(|_| taken.steps.is_empty()) else {
            return self.give(taken).await;
        };
        let now = self.app.clock().now();
        let age = self.hub.confirmed_at().map_or(0, |confirmed| (now - confirmed).num_milliseconds());
        let lag_ms = u32::try_from(age.max(0)).unwrap_or(u32::MAX);
        let cursor = Cursor { epoch: self.epoch.clone(), at };
        let frame = Frame::Heartbeat { seq: seen, at: now, lag_ms, stale: self.hub.stale() };
        Ok(vec![Sent::own(frame, Some(cursor))])
    }
}
