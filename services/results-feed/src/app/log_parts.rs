use std::time::Duration;

use chassis::Coded;
use domain::TimeDelta;

use super::App;
use crate::{Error, document_type::FeedFlag, log_parts, store};

/// How often parts are looked at: two reads of a few rows.
const PACE: Duration = Duration::from_secs(5);
/// Entries that are looked through in one transaction.
const SWEPT: i64 = 50_000;

impl App {
    /// Until the process goes down: makes parts of the log ahead, and gives up old ones.
    pub async fn watch_log(&self, feed_flag: FeedFlag, shutdown: chassis::Shutdown) {
        loop {
            if let Err(error) = self.keep_log(feed_flag).await {
                let stream = self.hub(feed_flag).stream_id();
                tracing::warn!(error = &error as &dyn std::error::Error, code = ?error.code(), stream, "parts of the log not kept");
            }
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = shutdown.soft() => break,
            }
        }
    }

    async fn keep_log(&self, feed_flag: FeedFlag) -> Result<(), Error> {
        self.make_log_parts(feed_flag).await?;
        if self.log.days > 0 {
            self.give_up_old_entries(feed_flag).await?;
        }
        Ok(())
    }

    /// Makes the parts that a stream will need. Without them entries go into the default part: slower later, never lost.
    pub async fn make_log_parts(&self, feed_flag: FeedFlag) -> Result<(), Error> {
        let stream_id = self.hub(feed_flag).stream_id();
        let seq = self.stored_position(feed_flag).await?.seq;
        let parts = store::list_parts(&self.db, stream_id).await?;
        for part in log_parts::to_make(&parts, seq, self.log.part_entries) {
            let mut tx = chassis::begin(&self.db).await?;
            // Another process may be at it; what is missing then is made the next time.
            if !store::try_parts_turn(&mut tx).await?
                || store::list_parts(&mut *tx, stream_id).await?.contains(&part)
            {
                return Ok(());
            }
            store::make_part(&mut tx, stream_id, part).await?;
            tx.commit().await?;
            tracing::info!(stream = stream_id, from = part.from, to = part.to, "part of the log made");
        }
        Ok(())
    }

    async fn give_up_old_entries(&self, feed_flag: FeedFlag) -> Result<(), Error> {
        let (stream_id, now) = (self.hub(feed_flag).stream_id(), self.clock.now());
        let horizon = now - TimeDelta::days(self.log.days.into());
        let old_until = store::seq_at(&self.db, stream_id, horizon).await?;
        let parts = store::list_parts(&self.db, stream_id).await?;
        let before = store::whole_from(&self.db, stream_id).await?;
        let whole_from = log_parts::whole_from(&parts, before, old_until);
        if whole_from > before {
            store::save_whole_from(&self.db, stream_id, whole_from).await?;
            tracing::info!(stream = stream_id, whole_from, "older entries of the log go");
        }
        for part in log_parts::to_compact(&parts, whole_from) {
            let mut tx = chassis::begin(&self.db).await?;
            if !store::try_parts_turn(&mut tx).await?
                || !store::list_parts(&mut *tx, stream_id).await?.contains(&part)
            {
                return Ok(());
            }
            let kept = store::compact_part(&mut tx, stream_id, part, whole_from, now).await?;
            tx.commit().await?;
            tracing::info!(
                stream = stream_id,
                from = part.from,
                to = part.to,
                kept,
                "part of the log compacted"
            );
        }
        if store::swept_until(&self.db, stream_id).await? < whole_from {
            self.sweep(feed_flag, whole_from).await?;
        }
        Ok(())
    }

    // What lies beside every part, and what was kept of older parts and something newer took the place of.
    async fn sweep(&self, feed_flag: FeedFlag, until: i64) -> Result<(), Error> {
        let stream_id = self.hub(feed_flag).stream_id();
        let (mut from, mut deleted) = (1, 0);
        while from < until {
            let to = until.min(from + SWEPT);
            let mut tx = chassis::begin(&self.db).await?;
            if !store::try_parts_turn(&mut tx).await? {
                return Ok(());
            }
            deleted += store::sweep(&mut tx, stream_id, (from, to), until).await?;
            tx.commit().await?;
            from = to;
        }
        let mut tx = chassis::begin(&self.db).await?;
        let lost = store::save_swept(&mut tx, stream_id, feed_flag, until).await?;
        tx.commit().await?;
        if lost > 0 {
            tracing::warn!(
                stream = stream_id,
                lost,
                "versions that partners had not taken went with the old log"
            );
        }
        tracing::info!(stream = stream_id, until, deleted, "old log swept");
        Ok(())
    }
}
