//! Drives replays: one task a process looks for those that nobody drives, and sends each at its pace. A second task keeps
//! the rehearsals' hubs at the end of their streams, since another replica may drive them; a third one ends their embargoes
//! and their days.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chassis::{Coded as _, Metrics, Shutdown};
use tokio::{task::JoinSet, time::Instant};
use tracing::Instrument as _;

use crate::{
    Error,
    app::{App, Driven},
    fanout,
    replay::{Original, Pace, Stage},
    stream_name::{RehearsalNumber, StreamName},
};

/// How often a process looks for replays that nobody drives.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time without a word to the database: well below the lease of 10 s.
const SLICE: Duration = Duration::from_secs(3);
/// Most documents of a transaction.
const BATCH: usize = 128;
/// How often days and figures of the rehearsals are looked at.
const UPKEEP: Duration = Duration::from_secs(1);
/// How often the places of the rehearsals are read, and embargoes looked for: how late another replica's entries can be.
const TAIL: Duration = Duration::from_millis(200);

/// Drives replays as long as the process runs, and leaves them to others then.
pub async fn drive_all(app: App, shutdown: Shutdown) {
    let mut driving = JoinSet::new();
    loop {
        match app.claim_replay().await {
            Ok(Some(driven)) => {
                let span = tracing::info_span!("replay", stream = driven.replay.stream_id);
                driving.spawn(drive(app.clone(), driven, shutdown.clone()).instrument(span));
                continue;
            }
            Ok(None) => {}
            Err(error) => warn(&error, "replays not looked for"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = app.replay_started().notified() => {}
            Some(_) = driving.join_next() => {}
            () = shutdown.soft() => break,
        }
    }
    while driving.join_next().await.is_some() {}
}

async fn drive(app: App, driven: Driven, shutdown: Shutdown) {
    let mut backoff = chassis::Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut place = Place {
        next_seq: driven.replay.next_seq,
        is_cleared: driven.replay.stage != Stage::Clearing,
        begun: None,
    };
    while !shutdown.is_soft() {
        match send_page(&app, &driven, &shutdown, &mut place).await {
            Ok(true) => backoff = chassis::Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            Ok(false) => break,
            // Stopped, or another's: nothing of it is ours any more.
            Err(Error::ReplayLost) => return tracing::info!("replay stopped or taken over"),
            Err(error) => {
                warn(&error, "replay interrupted");
                place.begun = None;
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = shutdown.soft() => break,
                }
            }
        }
    }
    if let Err(error) = app.release_replay(&driven).await {
        // Its lease ends by itself.
        warn(&error, "replay not released");
    }
}

// How far the driver is.
struct Place {
    next_seq: i64,
    is_cleared: bool,
    /// When its pace began; none after an interruption.
    begun: Option<(Instant, Pace)>,
}

// False once everything was sent.
async fn send_page(
    app: &App,
    driven: &Driven,
    shutdown: &Shutdown,
    place: &mut Place,
) -> Result<bool, Error> {
    if !place.is_cleared {
        place.is_cleared = app.clear_rehearsal(driven).await?;
        return Ok(true);
    }
    let page = app.list_originals(driven, place.next_seq).await?;
    let Some(first) = page.first() else {
        app.finish_replay(driven).await?;
        return Ok(false);
    };
    let (begun, pace) =
        *place.begun.get_or_insert((Instant::now(), Pace::new(first.received_at, driven.replay.speed)));
    let at = |original: &Original| begun + pace.due(original.received_at);
    let mut rest = page.as_slice();
    while let Some(first) = rest.first() {
        if !wait_until(app, driven, shutdown, at(first)).await? {
            return Ok(false);
        }
        let now = Instant::now();
        let due = rest.iter().take(BATCH).take_while(|original| at(original) <= now).count();
        let (batch, behind) = rest.split_at(due.max(1));
        app.send_again(driven, batch).await?;
        if let Some(last) = batch.last() {
            place.next_seq = last.seq + 1;
        }
        rest = behind;
    }
    Ok(true)
}

// False where the process goes down.
async fn wait_until(app: &App, driven: &Driven, shutdown: &Shutdown, due: Instant) -> Result<bool, Error> {
    loop {
        if shutdown.is_soft() {
            return Ok(false);
        }
        let now = Instant::now();
        if due <= now {
            return Ok(true);
        }
        tokio::select! {
            () = tokio::time::sleep_until(due.min(now + SLICE)) => {}
            () = shutdown.soft() => return Ok(false),
        }
        if due > Instant::now() {
            app.keep_replay(driven).await?;
        }
    }
}

fn warn(error: &Error, what: &'static str) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        reason = error.reason(),
        what,
        "rehearsals disturbed"
    );
}

/// Keeps the hubs of the rehearsals at the end of their streams.
pub async fn follow_all(app: App, metrics: Metrics, shutdown: Shutdown) {
    let (mut awaited, mut upkeep_at) = (HashMap::new(), Instant::now());
    loop {
        if let Err(error) = follow_once(&app, &mut awaited).await {
            warn(&error, "rehearsals not read");
        }
        if Instant::now() >= upkeep_at {
            upkeep_at = Instant::now() + UPKEEP;
            for name in known(&app) {
                fanout::look_after(&app, app.hub(name), &metrics);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TAIL) => {}
            () = shutdown.soft() => break,
        }
    }
    for number in RehearsalNumber::all() {
        app.hub(StreamName::Rehearsal(number)).drain();
    }
}

// `awaited` is what the last look at each stream's row has left.
async fn follow_once(app: &App, awaited: &mut HashMap<StreamName, fanout::Awaited>) -> Result<(), Error> {
    for (name, stored) in app.list_rehearsals().await? {
        let hub = Arc::clone(app.hub(name));
        if hub.position().as_ref() == Some(&stored) {
            hub.confirm(app.clock().now());
        } else {
            let before = awaited.get(&name).copied().unwrap_or_default();
            awaited.insert(name, fanout::catch_up(app, &hub, before).await?);
        }
    }
    Ok(())
}

/// Ends embargoes in the rehearsals, tells which of their venues are late, and makes the manifests of their days.
pub async fn keep_all(app: App, shutdown: Shutdown) {
    let mut upkeep_at = Instant::now();
    loop {
        let is_due = Instant::now() >= upkeep_at;
        if is_due {
            upkeep_at = Instant::now() + UPKEEP;
        }
        for name in known(&app) {
            if let Err(error) = keep(&app, name, is_due).await {
                warn(&error, "rehearsals not looked after");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TAIL) => {}
            () = shutdown.soft() => return,
        }
    }
}

async fn keep(app: &App, name: StreamName, is_due: bool) -> Result<(), Error> {
    while app.release(name).await? {}
    if is_due { app.look_at_days(name).await } else { Ok(()) }
}

// The rehearsals that this process has seen.
fn known(app: &App) -> impl Iterator<Item = StreamName> {
    let all = RehearsalNumber::all().map(StreamName::Rehearsal);
    all.filter(|name| app.hub(*name).position().is_some())
}
