//! One runner a destination, over all processes: whoever holds its lease sends. The cease and change lanes and the load
//! lane go side by side, so that a withdrawal never waits for a job.

use std::{collections::HashMap, time::Duration};

use chassis::{Backoff, Coded as _, Shutdown, StartError};
use domain::Uuid;
use tokio::{task::JoinSet, time::sleep};
use tracing::Instrument;

use crate::{
    Error,
    app::{App, Outlet, Progress},
    store::{self, Lease},
};

/// How often destinations are looked for that nobody sends to.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait of the change lane for somebody whom another process put into the queue.
const LINGER: Duration = Duration::from_millis(250);
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_LAST: Duration = Duration::from_secs(30);
const LEASE_CHECK: Duration = Duration::from_secs(2);
const SHORTEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(600);

/// Runs until the process stops.
///
/// # Errors
/// None: what fails is tried again.
pub async fn run(app: App, shutdown: Shutdown) -> Result<(), StartError> {
    let mut runners: JoinSet<Uuid> = JoinSet::new();
    let mut running: HashMap<Uuid, ()> = HashMap::new();
    while !shutdown.is_soft() {
        match store::list_sending(app.db()).await {
            Ok(ids) => {
                for id in ids {
                    if running.insert(id, ()).is_none() {
                        let (app, shutdown) = (app.clone(), shutdown.clone());
                        runners.spawn(async move {
                            Box::pin(serve(&app, id, &shutdown)).await;
                            id
                        });
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "destinations cannot be read"),
        }
        tokio::select! {
            () = shutdown.soft() => {}
            () = sleep(LOOK) => {}
            Some(Ok(id)) = runners.join_next() => {
                running.remove(&id);
                // A destination that another process holds is asked about again with the next look.
                sleep(LOOK).await;
            }
        }
    }
    while runners.join_next().await.is_some() {}
    Ok(())
}

/// Forgets old request ids now and then.
///
/// # Errors
/// None: what fails is tried again.
pub async fn sweep(app: App, shutdown: Shutdown) -> Result<(), StartError> {
    while !shutdown.is_soft() {
        if let Err(error) = app.sweep().await {
            tracing::debug!(%error, "old requests stay for now");
        }
        tokio::select! {
            () = shutdown.soft() => {}
            () = sleep(SWEEP) => {}
        }
    }
    Ok(())
}

/// Sends to a destination for as long as this process holds it.
async fn serve(app: &App, destination_id: Uuid, shutdown: &Shutdown) {
    let mut lease = match Lease::take(app.db(), destination_id).await {
        Ok(Some(lease)) => lease,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, %destination_id, "destination cannot be taken over");
            return;
        }
    };
    let epoch = lease.epoch;
    tracing::info!(%destination_id, epoch, "sends to the destination");
    let lanes = async {
        tokio::try_join!(
            live(app, destination_id, epoch, shutdown),
            load(app, destination_id, epoch, shutdown)
        )
    };
    let ended = tokio::select! {
        ended = lanes => ended.map(|((), ())| ()),
        ended = keep(&mut lease) => ended,
    };
    if let Err(error) = ended {
        tracing::warn!(%error, %destination_id, epoch, "destination given up");
    }
    lease.give_up().await;
}

async fn keep(lease: &mut Lease) -> Result<(), Error> {
    loop {
        sleep(LEASE_CHECK).await;
        lease.check().await?;
    }
}

async fn live(app: &App, id: Uuid, epoch: i64, shutdown: &Shutdown) -> Result<(), Error> {
    let mut backoff = Backoff::new(SHORTEST_RETRY, LONGEST_RETRY);
    let mut recovered = false;
    while !shutdown.is_soft() {
        let step = live_step(app, id, epoch, &mut recovered).await;
        match step {
            Ok(Progress::Moved) => backoff = Backoff::new(SHORTEST_RETRY, LONGEST_RETRY),
            Ok(Progress::Idle | Progress::Wait) => {
                tokio::select! {
                    () = shutdown.soft() => {}
                    () = app.woken() => {}
                    () = sleep(LINGER) => {}
                }
            }
            Err(error) => rest(error, "live", id, &mut backoff, shutdown).await?,
        }
    }
    Ok(())
}

async fn live_step(app: &App, id: Uuid, epoch: i64, recovered: &mut bool) -> Result<Progress, Error> {
    // Read anew before each call: a suspension or a pause acts at once.
    let outlet = app.outlet(id).await?;
    if !*recovered {
        app.recover_calls(&outlet, epoch).await?;
        *recovered = true;
    }
    app.advance_live(&outlet, epoch).await
}

async fn load(app: &App, id: Uuid, epoch: i64, shutdown: &Shutdown) -> Result<(), Error> {
    let mut backoff = Backoff::new(SHORTEST_RETRY, LONGEST_RETRY);
    let mut poll = POLL_FIRST;
    while !shutdown.is_soft() {
        let wait = match load_step(app, id, epoch).await {
            Ok(Progress::Moved) => {
                backoff = Backoff::new(SHORTEST_RETRY, LONGEST_RETRY);
                poll = POLL_FIRST;
                continue;
            }
            Ok(Progress::Idle) => LOOK,
            Ok(Progress::Wait) => {
                poll = (poll * 2).min(POLL_LAST);
                poll
            }
            Err(error) => {
                rest(error, "load", id, &mut backoff, shutdown).await?;
                continue;
            }
        };
        tokio::select! {
            () = shutdown.soft() => {}
            () = sleep(wait) => {}
        }
    }
    Ok(())
}

async fn load_step(app: &App, id: Uuid, epoch: i64) -> Result<Progress, Error> {
    let outlet: Outlet = app.outlet(id).await?;
    outlet.client.refresh_budget().await?;
    let run = store::find_running(app.db(), outlet.object().object_id).await?;
    let Some(run) = run else { return Ok(Progress::Idle) };
    let span = tracing::info_span!("load", run_id = %run.run_id);
    outbox::trace::continue_rows(&span, run.traceparent.as_deref());
    app.advance_load(&outlet, epoch).instrument(span).await
}

/// Waits before the next try; a lost lease ends the runner.
async fn rest(
    error: Error,
    lane: &'static str,
    destination_id: Uuid,
    backoff: &mut Backoff,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    if matches!(error, Error::Fenced) {
        return Err(error);
    }
    let wait = error.patience().unwrap_or_else(|| backoff.next());
    let recipient = match &error {
        Error::Recipient(refusal) => refusal.code(),
        _ => "",
    };
    tracing::warn!(%error, reason = error.reason(), recipient, lane, %destination_id, ?wait, "step failed, tried again");
    tokio::select! {
        () = shutdown.soft() => {}
        () = sleep(wait) => {}
    }
    Ok(())
}
