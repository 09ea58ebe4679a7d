//! segmentation answers who belongs where, and why. It owns segments, memberships and freezes.
//!
//! RPCs: `kotinos.segmentation.v1` SegmentService, QueryService, FreezeService, WatchService.
//! Facts in: `kotinos.profile.profile.v1` and `kotinos.profile.consent.v1`, tailed by every replica into its own index.
//! Facts out: `kotinos.segmentation.membership.v1` (who entered and left a live segment), `kotinos.segmentation.segment.v1`.

mod config;
mod segment;
mod rule;
mod person;
mod explain;
mod freeze;
mod membership;
mod index;
mod app;
mod store;
mod grpc;
mod consumer;
mod events;
mod error;

use chassis::{Component, Grpc, Process, Shutdown, StartError};
use domain::Service;
use outbox::{Tail, TailRecord, TailStart};
use proto::segmentation::v1::{
    freeze_service_server::FreezeServiceServer, query_service_server::QueryServiceServer,
    segment_service_server::SegmentServiceServer, watch_service_server::WatchServiceServer,
};
use tokio::sync::mpsc;

pub use config::Config;
pub use error::Error;

/// People whose change waits to be tested; beyond it the tail waits.
const TOUCHED_BUFFER: usize = 10_000;

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::Segmentation);
    let pool = process.database(&config.database_url);
    let index = index::Index::default();
    let app = app::App::new(pool.clone(), process.clock(), index.clone(), process.peer(Service::Profile));
    let (touched, changes) = mpsc::channel(TOUCHED_BUFFER);
    let (emitter, states) = (app.clone(), app.clone());
    let tailing = process.clone();
    let component = Component::new(Service::Segmentation)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(
            Grpc::new()
                .add(SegmentServiceServer::new(grpc::Segments::new(app.clone())))
                .add(QueryServiceServer::new(grpc::Queries::new(app.clone())))
                .add(FreezeServiceServer::new(grpc::Freezes::new(app.clone())))
                .add(WatchServiceServer::new(grpc::Watch::new(app))),
        )
        .task("index", move |shutdown: Shutdown| async move {
            Ok(follow(tailing, index, touched, shutdown).await?)
        })
        .task("emitter", move |shutdown: Shutdown| async move { Ok(emitter.emit(changes, shutdown).await?) });
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    Ok(outbox::republish(component, &events::SEGMENT, move |after| {
        let app = states.clone();
        async move {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(app.republish_segments(after).await?)
        }
    }))
}

/// Reads the topics into the index for as long as the process lives.
async fn follow(
    process: Process,
    index: index::Index,
    touched: mpsc::Sender<app::Touched>,
    shutdown: Shutdown,
) -> Result<(), outbox::Error> {
    let mut tail = Tail::open(&process, &consumer::TOPICS, TailStart::Beginning);
    loop {
        let next = tokio::select! {
            () = shutdown.soft() => return Ok(()),
            next = tail.next() => next?,
        };
        match next {
            TailRecord::CaughtUp => index.set_caught_up(),
            TailRecord::Record(record) => {
                let cause = if record.topic == consumer::TOPICS[0] { "profile" } else { "consent" };
                match consumer::apply(&index, &record) {
                    Ok(Some(profile_id)) => {
                        let change = app::Touched { profile_id, cause, span: record.span() };
                        // The emitter is gone only when the process ends.
                        let _ = touched.send(change).await;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        topic = record.topic,
                        partition = record.partition,
                        offset = record.offset,
                        "record cannot be read"
                    ),
                }
                index.advance(&record.topic, record.partition, record.offset + 1);
            }
        }
    }
}
