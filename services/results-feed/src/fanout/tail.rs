use std::{sync::Arc, time::Duration};

use tracing::Instrument as _;

use crate::{
    Error,
    app::App,
    document_type::FeedFlag,
    store::{self, Position},
};

use super::Hub;

/// How often the stream's row is read: how late another replica's entries can be.
const PACE: Duration = Duration::from_millis(100);
/// Entries a page of the log.
const PAGE: i64 = 500;

/// Keeps a hub at the end of its stream. This process's own writer puts its entries in after each commit; whatever else
/// there is, from other replicas or from before a hole, is read from the log.
pub async fn follow(app: App, feed_flag: FeedFlag, shutdown: chassis::Shutdown) {
    let hub = Arc::clone(app.hub(feed_flag));
    let mut backoff = chassis::Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        let pause = match catch_up(&app, &hub).await {
            Ok(()) => {
                backoff = chassis::Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
                PACE
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    stream = hub.stream_id(),
                    "feed log not read"
                );
                backoff.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hub.wait_until_behind() => {}
            () = shutdown.soft() => break,
        }
    }
    hub.drain();
}

/// Brings a hub to the end of its stream.
///
/// # Errors
/// The database.
pub async fn catch_up(app: &App, hub: &Hub) -> Result<(), Error> {
    let stream_id = hub.stream_id();
    // Before the row is read: what our own writer commits in between would look like entries that the row has lost.
    let seen = hub.position();
    let Some(stored) = store::position(app.db(), stream_id).await? else { return Ok(()) };
    let Some(seen) = seen else {
        hub.restart(&stored);
        hub.confirm(app.clock().now());
        return Ok(());
    };
    if stored.epoch != seen.epoch {
        hub.restart(&stored);
        return Ok(());
    }
    if stored.seq < seen.seq {
        let span = tracing::info_span!("begin epoch", stream = stream_id);
        return begin_epoch(app, hub, &seen).instrument(span).await;
    }
    if seen.seq < stored.seq {
        let span = tracing::info_span!("read feed log", stream = stream_id);
        read_log(app, hub, seen, stored.seq).instrument(span).await?;
    }
    hub.confirm(app.clock().now());
    Ok(())
}

async fn read_log(app: &App, hub: &Hub, mut seen: Position, to: i64) -> Result<(), Error> {
    while seen.seq < to {
        let entries = store::list_after(app.db(), hub.stream_id(), seen.seq, to, PAGE).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { break };
        let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        hub.append(&seen.epoch, &entries);
        seen.seq = last;
    }
    Ok(())
}

// Entries that readers have seen are gone: a fail-over that lost commits, or a restored database. Their numbers will be
// given again, so cursors of before must not be taken for cursors of now.
async fn begin_epoch(app: &App, hub: &Hub, seen: &Position) -> Result<(), Error> {
    let epoch = app.new_epoch()?;
    if store::renew_epoch(app.db(), hub.stream_id(), seen, &epoch).await? {
        tracing::error!(
            stream = hub.stream_id(),
            lost_from = seen.seq,
            "committed feed entries are gone, new epoch"
        );
    }
    if let Some(stored) = store::position(app.db(), hub.stream_id()).await? {
        hub.restart(&stored);
    }
    Ok(())
}
