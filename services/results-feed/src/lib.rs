//! results-feed owns the competition's documents: it takes ODF, keeps every version in one ordered durable log, and
//! delivers what each reader may see, as a snapshot and then change by change. It computes no sports result.
//!
//! In: ODF by `POST /results/v1/odf` (API key) and gRPC `IngestService`.
//! Out: the feed by gRPC `FeedService.Subscribe`, server-sent events at `/results/v1/feed` and WebSocket at
//! `/results/v1/feed/ws`; questions at `ResultService`; pages for fans below `/results`, the commentators' desk at `/results/cis`; rights and keys at `AccessService`; original documents by search, and
//! POSTed to the servers that partners name at `DeliveryService`; what came once, sent again, at `RehearsalService`.
//! Facts out: `kotinos.results.document.v1` (every entry), `.schedule.v1` (state, key unit), `.result.v1`, `.medal.v1`; test
//! documents go to `.rehearsal.v1` alone. Facts in: none but its own entries, by which replicas hear of each other.

mod app;
mod as_of;
pub mod canonical;
mod code_table;
mod config;
mod cursor;
pub mod decoders;
mod delivery;
mod delivery_target;
pub mod difference;
mod document;
mod document_type;
mod entitlement;
mod entry;
mod error;
mod events;
mod facts;
mod fanout;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod generator;
mod grpc;
mod header;
mod http;
mod lane;
mod ledger;
mod log_parts;
mod logical_day;
mod manifest;
mod medal;
pub mod merge_patch;
mod publisher_key;
mod quarantine;
mod rehearsal;
mod release;
mod replay;
mod result;
pub mod rsc;
mod sealed;
mod search;
mod store;
mod stream_name;
mod unit_schedule;
mod venue_clock;
mod verbs;
mod writer;

use std::time::Duration;

use chassis::{Component, Grpc, Process, Shutdown, StartError};
use domain::Service;
use proto::results::v1::{
    access_service_server::AccessServiceServer, delivery_service_server::DeliveryServiceServer,
    feed_service_server::FeedServiceServer, ingest_service_server::IngestServiceServer,
    rehearsal_service_server::RehearsalServiceServer, result_service_server::ResultServiceServer,
};

pub use config::{Config, LogZstd};
pub use error::Error;
pub use verbs::VERBS;

use document_type::FeedFlag;

/// Feeds that are open at once by each listener, where the process may open as many files.
const MOST_STREAMS: usize = 20_000;
/// Bytes that the kernel holds for a connection: left to itself it takes in megabytes for a slow reader, which then looks
/// fast and is late.
const SEND_BUFFER: u32 = 32 << 10;

/// Puts the service together.
///
/// # Errors
/// Settings that cannot be used.
#[expect(clippy::unused_async, reason = "every service's component is made alike")]
pub async fn component(config: Config, process: Process) -> Result<Component, StartError> {
    let process = process.of(Service::ResultsFeed);
    let pool = process.database(&config.database_url);
    if config.pepper.expose() == config::LAPTOP_PEPPER {
        // Whoever knows the pepper signs in to the desk as anybody.
        if config.public_url.scheme() == "https" {
            return Err("RESULTS_PEPPER must be set where RESULTS_PUBLIC_URL is https".into());
        }
        tracing::warn!("publisher keys and sessions are sealed with the laptop's pepper, set RESULTS_PEPPER");
    }
    let desk = http::Desk::new(
        process.clone(),
        &config.public_url,
        config.identity_url.clone(),
        config.pepper.clone(),
    )?;
    let (app, queues) = app::App::new(
        pool.clone(),
        process.clock(),
        &config.competition,
        config.pepper,
        app::Limits {
            connections: config.max_connections.min(chassis::most_streams()),
            documents_a_second: config.publisher_rate,
            ka_timeout: Duration::from_secs(config.ka_timeout.into()),
            log: app::Log {
                packing: config.log_zstd,
                days: config.log_days,
                part_entries: config.log_part_entries.into(),
            },
            time_zone: config.time_zone,
        },
        process.metrics().clone(),
    );
    let egress = chassis::Egress::new(&process.settings().egress_allow)?;
    let courier = delivery::Courier {
        app: app.clone(),
        egress: egress.clone(),
        metrics: process.metrics(),
        retry: std::time::Duration::from_millis(config.delivery_retry_ms),
    };
    let pages = http::Pages::new(config.time_zone)?;
    let body_patience = Duration::from_secs(config.body_seconds.into());
    let streams = app.clone();
    let mut component = Component::new(Service::ResultsFeed)
        .streams(MOST_STREAMS)
        .send_buffer(SEND_BUFFER)
        .database(pool.clone(), sqlx::migrate!())
        .grpc(
            Grpc::new()
                .add(IngestServiceServer::new(grpc::Ingest::new(app.clone())))
                .add(FeedServiceServer::new(grpc::Feed::new(app.clone())))
                .add(ResultServiceServer::new(grpc::Results::new(app.clone())))
                .add(AccessServiceServer::new(grpc::Access::new(app.clone())))
                .add(DeliveryServiceServer::new(grpc::Delivery::new(app.clone(), egress.clone())))
                .add(RehearsalServiceServer::new(grpc::Rehearsal::new(app.clone()))),
        )
        .http(http::router(app.clone(), process.clone(), pages, desk, body_patience))
        .task("delivery", move |shutdown: Shutdown| async move {
            delivery::deliver(courier, shutdown).await;
            Ok(())
        })
        .prepare("feed streams", async move { streams.make_streams().await.map_err(StartError::from) });
    for (feed_flag, queue) in [(FeedFlag::Production, queues.production), (FeedFlag::Test, queues.test)] {
        let (writing, following, keeping) = (app.clone(), app.clone(), app.clone());
        let metrics = process.metrics();
        let (releasing, parting) = (app.clone(), app.clone());
        component = component
            .task("feed writer", move |shutdown: Shutdown| async move {
                writer::write(writing, feed_flag, queue, shutdown).await;
                Ok(())
            })
            .task("days", move |shutdown: Shutdown| async move {
                app::keep_days(keeping, feed_flag.into(), shutdown).await;
                Ok(())
            })
            .task("parts of the log", move |shutdown: Shutdown| async move {
                parting.watch_log(feed_flag, shutdown).await;
                Ok(())
            })
            .task("feed tail", move |shutdown: Shutdown| async move {
                fanout::follow(following, feed_flag, metrics, shutdown).await;
                Ok(())
            })
            .task("ends embargoes", move |shutdown: Shutdown| async move {
                release::end_embargoes(releasing, feed_flag.into(), shutdown).await;
                Ok(())
            });
    }
    let (listening, process_of_tail, closing, forgetting) =
        (app.clone(), process.clone(), app.clone(), app.clone());
    let component = component
        .task("feed topics", move |shutdown: Shutdown| async move {
            fanout::listen(listening, process_of_tail, shutdown).await;
            Ok(())
        })
        .task("forgets old decisions", move |shutdown: Shutdown| async move {
            release::forget_decisions(forgetting, shutdown).await;
            Ok(())
        })
        .task("feed connections", move |shutdown: Shutdown| async move {
            shutdown.soft().await;
            // Each says goodbye; the process does not end before.
            closing.wait_for_connections().await;
            Ok(())
        });
    let component = rehearse(component, &app, process.metrics().clone());
    let component = outbox::publish(component, &process, &pool, events::TOPICS);
    Ok(outbox::republish(component, &events::SCHEDULE, move |after| {
        let app = app.clone();
        async move {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(app.republish_schedules(after).await?)
        }
    }))
}

// What replays and their streams need; every replica drives some.
fn rehearse(component: Component, app: &app::App, metrics: chassis::Metrics) -> Component {
    let (driving, following, keeping) = (app.clone(), app.clone(), app.clone());
    component
        .task("replays", move |shutdown: Shutdown| async move {
            rehearsal::drive_all(driving, shutdown).await;
            Ok(())
        })
        .task("rehearsal tail", move |shutdown: Shutdown| async move {
            rehearsal::follow_all(following, metrics, shutdown).await;
            Ok(())
        })
        .task("rehearsal days", move |shutdown: Shutdown| async move {
            rehearsal::keep_all(keeping, shutdown).await;
            Ok(())
        })
}
