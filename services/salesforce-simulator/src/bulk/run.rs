//! The background life of a closed job: queue, `InProgress`, chunks, end.

use std::{sync::Arc, time::Instant};

use super::{Job, Outcome, State, load::Load};
use crate::{
    rows::Author,
    simulator::{Shared, World},
};

/// Runs a job to its end. An abort, or the simulator's own end, stops it between two chunks.
pub(crate) async fn run(shared: Arc<Shared>, id: String) {
    let work = async {
        tokio::time::sleep(shared.config.bulk_delay).await;
        let began = Instant::now();
        let Some(mut load) = start(&mut shared.world(), &id) else { return };
        loop {
            let read = load.read();
            if !step(&mut shared.world(), &id, &load, &read, began) {
                return;
            }
            // Other calls get their turn between two chunks.
            if shared.config.bulk_chunk_delay.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(shared.config.bulk_chunk_delay).await;
            }
        }
    };
    shared.stop.run_until_cancelled(work).await;
}

fn start(world: &mut World, id: &str) -> Option<Load> {
    let now = world.clock.now();
    let job = world.jobs.get_mut(id).ok().filter(|job| job.state == State::UploadComplete)?;
    let table = world.tables.iter().find(|table| table.object.name == job.object)?;
    job.state = State::InProgress;
    job.modified_at = now;
    match Load::open(job, &table.object) {
        Ok(load) => Some(load),
        Err(reason) => {
            fail(job, reason);
            None
        }
    }
}

/// Does one chunk; false when the job has ended.
fn step(world: &mut World, id: &str, load: &Load, read: &Result<usize, String>, began: Instant) -> bool {
    let at = world.clock.now();
    let Ok(job) = world.jobs.get_mut(id) else { return false };
    if job.state != State::InProgress {
        return false;
    }
    job.modified_at = at;
    job.processing_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Some(table) = world.tables.iter_mut().find(|table| table.object.name == job.object) else {
        return false;
    };
    match read {
        Ok(0) => {
            job.state = State::JobComplete;
            tracing::info!(job = %id, rows = job.outcomes.len(), failed = job.failed, "job complete");
            false
        }
        Ok(_) => {
            let by = Author { user_id: Arc::clone(&job.user_id), at };
            let outcomes = load.apply(table, &by);
            job.failed += outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
            Arc::make_mut(&mut job.outcomes).extend(outcomes);
            true
        }
        Err(reason) => {
            fail(job, reason.clone());
            false
        }
    }
}

fn fail(job: &mut Job, reason: String) {
    tracing::info!(job = %job.id(), processed = job.outcomes.len(), "job failed");
    job.state = State::Failed;
    job.error = Some(reason);
}
