use std::time::Duration;

use anyhow::{Context, Result};
use domain::Service;
use tokio::time::sleep;

use super::{Listeners, Process, Suite};

/// One more process of a service, beside the suite's own and like it but for its ports. Dropped, it is killed.
#[derive(Debug)]
pub struct Replica {
    /// Where it listens.
    pub listeners: Listeners,
    service: Service,
    process: Process,
}

impl Replica {
    /// Replaces it, as a rollout does: it is asked to end, and when it has ended and its place was empty for a while,
    /// another one takes it.
    ///
    /// # Errors
    /// It does not end by itself, or the new one does not get ready.
    pub async fn replace(&mut self, suite: &Suite, empty: Duration) -> Result<()> {
        self.process.stop().await?;
        sleep(empty).await;
        self.process = suite.replica_at(self.service, self.listeners)?;
        self.process.ready().await
    }

    /// Asks it to end, and waits for it.
    ///
    /// # Errors
    /// It does not end by itself, or ends with a failure.
    pub async fn stop(mut self) -> Result<()> {
        self.process.stop().await
    }
}

impl Suite {
    /// Starts one more process of a service and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn replica(&self, service: Service) -> Result<Replica> {
        let listeners = Listeners::choose()?;
        let mut process = self.replica_at(service, listeners)?;
        process.ready().await.with_context(|| process.tail())?;
        Ok(Replica { listeners, service, process })
    }

    /// Replaces the suite's own process of a service, as [`Replica::replace`] does.
    ///
    /// # Errors
    /// It does not run, does not end by itself, or the new one does not get ready.
    pub async fn replace(&self, service: Service, empty: Duration) -> Result<()> {
        let process = self.running.lock().await.remove(service.name());
        process.with_context(|| format!("{service} does not run"))?.stop().await?;
        sleep(empty).await;
        self.restart(service).await
    }

    fn replica_at(&self, service: Service, listeners: Listeners) -> Result<Process> {
        let log = format!("{service}-2");
        self.process(service.name(), &log, &self.environment_at(listeners), listeners.readiness())
    }
}
