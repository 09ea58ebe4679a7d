//! Forgetting what is over.

use std::time::Duration;

use chassis::Shutdown;

use super::App;
use crate::{error::Error, store};

const EVERY: Duration = Duration::from_secs(60);

impl App {
    /// Ends overdue sessions and deletes rows that nobody needs any more, until the process ends.
    pub async fn run_sweep(self, shutdown: Shutdown) {
        while !shutdown.is_soft() {
            if let Err(error) = self.sweep(&shutdown).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "expired rows are not swept now");
            }
            pause(&shutdown).await;
        }
    }

    async fn sweep(&self, shutdown: &Shutdown) -> Result<(), Error> {
        while !shutdown.is_soft() && self.end_overdue().await? > 0 {
            self.nudges.logout.notify_one();
        }
        let now = self.now();
        let mut swept = 0;
        for kept in store::sweep::KEPT {
            while !shutdown.is_soft() {
                let rows = store::sweep::delete(&self.db, kept, now).await?;
                swept += rows;
                if rows < store::sweep::BATCH {
                    break;
                }
            }
        }
        swept += store::sweep::delete_throttles(&self.db, now).await?;
        store::sweep::forget_networks(&self.db, now).await?;
        if swept > 0 {
            tracing::info!(rows = swept, "expired rows deleted");
        }
        Ok(())
    }
}

async fn pause(shutdown: &Shutdown) {
    tokio::select! {
        () = tokio::time::sleep(EVERY) => {}
        () = shutdown.soft() => {}
    }
}
