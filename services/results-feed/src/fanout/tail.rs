use std::{collections::HashMap, sync::Arc, time::Duration};

use chassis::{Backoff, Metrics, Process, Shutdown};
use outbox::{Tail, TailRecord, TailStart};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{
    Error,
    app::App,
    document_type::FeedFlag,
    events,
    store::{self, Position},
};

use super::{Figures, Hub};

/// How often the stream's row is read. What is still missing the next time comes from the log.
const PACE: Duration = Duration::from_millis(100);
/// How often operators' figures are told, and idle topics looked for.
const UPKEEP: Duration = Duration::from_secs(1);
/// Entries a page of the log.
const PAGE: i64 = 500;

/// What one look at a stream's row leaves to the next one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Awaited {
    /// The number that the row had: so long others had to bring it.
    seq: i64,
    /// What Kafka had told of when the log last had to help out. While it tells of nothing more, the log is not waited
    /// with: a broker that is away costs one pace and not two.
    silent_at: Option<i64>,
}

/// Keeps a hub at the end of its stream. An entry comes from whichever is first: this process's own writer puts it in
/// after the commit, Kafka tells of it ([`listen`]), and what the stream's row has and neither of them brought is read
/// from the log.
pub async fn follow(app: App, feed_flag: FeedFlag, metrics: Metrics, shutdown: Shutdown) {
    let hub = Arc::clone(app.hub(feed_flag));
    let backoff = || Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let (mut waits, mut awaited, mut upkeep_at) = (backoff(), Awaited::default(), Instant::now());
    loop {
        let pause = match catch_up(&app, &hub, awaited).await {
            Ok(next) => {
                waits = backoff();
                awaited = next;
                PACE
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    stream = hub.stream_id(),
                    "feed log not read"
                );
                waits.next()
            }
        };
        if Instant::now() >= upkeep_at {
            upkeep_at = Instant::now() + UPKEEP;
            look_after(&app, &hub, &metrics);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hub.wait_until_behind() => {}
            () = shutdown.soft() => break,
        }
    }
    hub.drain();
}

/// Tells operators' figures of a hub, and forgets topics that are idle for long.
pub fn look_after(app: &App, hub: &Hub, metrics: &Metrics) {
    let age = hub.confirmed_at().and_then(|at| (app.clock().now() - at).to_std().ok());
    Figures::tell_stream(metrics, hub.stream_id(), age, hub.sweep(Instant::now()));
    hub.figures().tell(metrics);
}

/// Brings a hub to where its stream is, but for entries that were not missing yet the last time.
///
/// # Errors
/// The database.
pub async fn catch_up(app: &App, hub: &Hub, before: Awaited) -> Result<Awaited, Error> {
    let stream_id = hub.stream_id();
    // Before the row is read: what our own writer commits in between, and what Kafka tells of it, would look like entries
    // that the row has lost.
    let seen = hub.position();
    let heard = seen.as_ref().map_or(0, |seen| hub.heard(&seen.epoch));
    let Some(stored) = store::position(app.db(), stream_id).await? else { return Ok(Awaited::default()) };
    let awaited = Awaited { seq: stored.seq, ..before };
    let Some(seen) = seen else {
        restart(app, hub, &stored).await?;
        return Ok(awaited);
    };
    if stored.epoch != seen.epoch {
        restart(app, hub, &stored).await?;
        return Ok(awaited);
    }
    let highest = Position { seq: seen.seq.max(heard), ..seen.clone() };
    if stored.seq < highest.seq {
        let span = tracing::info_span!("begin epoch", stream = stream_id);
        begin_epoch(app, hub, &highest).instrument(span).await?;
        return Ok(Awaited::default());
    }
    let due = if before.silent_at == Some(heard) { stored.seq } else { before.seq };
    let needs_log = seen.seq < due;
    if needs_log {
        let span = tracing::info_span!("read feed log", stream = stream_id);
        read_log(app, hub, seen, stored.seq).instrument(span).await?;
    }
    hub.confirm(app.clock().now());
    Ok(Awaited { silent_at: if needs_log { Some(heard) } else { before.silent_at }, ..awaited })
}

async fn restart(app: &App, hub: &Hub, stored: &Position) -> Result<(), Error> {
    let rights: HashMap<String, i64> = store::rights_changes(app.db(), hub.stream_id(), stored.seq).await?;
    hub.restart(stored, rights);
    hub.confirm(app.clock().now());
    Ok(())
}

async fn read_log(app: &App, hub: &Hub, mut seen: Position, to: i64) -> Result<(), Error> {
    while seen.seq < to {
        let entries = store::list_after(app.db(), hub.stream_id(), seen.seq, to, PAGE).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { break };
        hub.figures().filled(hub.append(&seen.epoch, entries.into_iter().map(Arc::new)));
        seen.seq = last;
    }
    Ok(())
}

// Entries that readers have seen, or that Kafka has, are gone: a fail-over that lost commits, or a restored database.
// Their numbers will be given again, so cursors of before must not be taken for cursors of now.
async fn begin_epoch(app: &App, hub: &Hub, seen: &Position) -> Result<(), Error> {
    let epoch = app.new_epoch()?;
    if store::renew_epoch(app.db(), hub.stream_id(), seen, &epoch).await? {
        hub.figures().began_epoch();
        tracing::error!(
            stream = hub.stream_id(),
            lost_from = seen.seq,
            "committed feed entries are gone, new epoch"
        );
    }
    if let Some(stored) = store::position(app.db(), hub.stream_id()).await? {
        restart(app, hub, &stored).await?;
    }
    Ok(())
}

/// Hears from Kafka what other replicas committed. It begins with the newest record of each partition, which tells of
/// entries that the database may have lost.
pub async fn listen(app: App, process: Process, shutdown: Shutdown) {
    let mut waits = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let mut tail = Tail::open(&process, &events::ENTRY_TOPICS, TailStart::End { before: 1 });
        loop {
            let next = tokio::select! {
                next = tail.next() => next,
                () = shutdown.soft() => return,
            };
            match next {
                Ok(TailRecord::Record(record)) => hear(&app, &record),
                Ok(TailRecord::CaughtUp) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "feed topics not read");
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(waits.next()) => {}
            () = shutdown.soft() => return,
        }
    }
}

fn hear(app: &App, record: &outbox::Record) {
    let Some(told) = events::read_document_entry(record) else {
        tracing::debug!(topic = record.topic, offset = record.offset, "a record tells of no entry");
        return;
    };
    let Some(stream) = app.stream_of(&told.stream) else { return };
    let hub = app.hub(stream);
    hub.hear(&told.epoch, told.seq);
    if let Some(entry) = told.entry {
        hub.figures().heard(hub.append(&told.epoch, [Arc::new(entry)]));
    }
}
