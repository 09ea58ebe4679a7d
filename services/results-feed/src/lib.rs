//! results-feed owns the competition's documents: it takes ODF, keeps every version in one ordered durable log, and
//! delivers what each reader may see, as a snapshot and then change by change. It computes no sports result.
//!
//! In: ODF by `POST /results/v1/odf` (API key) and gRPC `IngestService`.
//! Out: the feed by gRPC `FeedService.Subscribe` and by server-sent events at `/results/v1/feed`; questions at
//! `ResultService`; pages for fans below `/results`; rights and keys at `AccessService`.
//! Facts out: `kotinos.results.document.v1` (every entry), `.schedule.v1` (state, key unit), `.result.v1`, `.medal.v1`; test
//! documents go to `.rehearsal.v1` alone. Facts in: none.

mod app;
pub mod canonical;
mod config;
mod cursor;
mod decoders;
mod document;
mod document_type;
mod entitlement;
mod entry;
mod error;
mod events;
mod fanout;
mod frame;
mod grpc;
mod header;
mod http;
mod ledger;
mod medal;
pub mod merge_patch;
mod publisher_key;
mod quarantine;
mod result;
pub mod rsc;
mod store;
mod unit_schedule;
mod writer;

use std::time::Duration;

use chassis::{Component, Grpc, Process, Shutdown, StartError};
use domain::Service;
use proto::results::v1::{
    access_service_server::AccessServiceServer, feed_service_server::FeedServiceServer,
    ingest_service_server::IngestServiceServer, result_service_server::ResultServiceServer,
};

pub use config::Config;
pub use error::Error;

use document_type::FeedFlag;

/// Feeds that are open at once by each listener, where the process may open as many files.
const MOST_STREAMS: usize = 20_000;

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::ResultsFeed);
    let pool = process.database(&config.database_url);
    if config.pepper.expose() == config::LAPTOP_PEPPER {
        tracing::warn!("publisher keys are sealed with the laptop's pepper, set RESULTS_PEPPER");
    }
    let (app, queues) = app::App::new(
        pool.clone(),
        process.clock(),
        &config.competition,
        config.pepper,
        app::Limits { connections: config.max_connections, documents_a_second: config.publisher_rate },
        process.metrics().clone(),
    );
    let pages = http::Pages::new(config.time_zone)?;
    let body_patience = Duration::from_secs(config.body_seconds.into());
    let streams = app.clone();
    let mut component = Component::new(Service::ResultsFeed)
        .streams(MOST_STREAMS)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(
            Grpc::new()
                .add(IngestServiceServer::new(grpc::Ingest::new(app.clone())))
                .add(FeedServiceServer::new(grpc::Feed::new(app.clone())))
                .add(ResultServiceServer::new(grpc::Results::new(app.clone())))
                .add(AccessServiceServer::new(grpc::Access::new(app.clone()))),
        )
        .http(http::router(app.clone(), process.clone(), pages, body_patience))
        .prepare("feed streams", async move { streams.make_streams().await.map_err(StartError::from) });
    for (feed_flag, queue) in [(FeedFlag::Production, queues.production), (FeedFlag::Test, queues.test)] {
        let (writing, following) = (app.clone(), app.clone());
        component = component
            .task("feed writer", move |shutdown: Shutdown| async move {
                writer::write(writing, feed_flag, queue, shutdown).await;
                Ok(())
            })
            .task("feed tail", move |shutdown: Shutdown| async move {
                fanout::follow(following, feed_flag, shutdown).await;
                Ok(())
            });
    }
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    Ok(outbox::republish(component, &events::SCHEDULE, move |after| {
        let app = app.clone();
        async move {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(app.republish_schedules(after).await?)
        }
    }))
}
