//! The two listeners: routes, and what every call of the org passes through.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, patch, post, put},
};
use tokio::net::TcpListener;

use crate::simulator::Shared;

mod body;
mod control;
mod ingest;
mod oauth;
mod observe;
mod reply;
mod rest;
mod wire;

/// What handlers share.
type App = Arc<Shared>;
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves OAuth, REST and Bulk until the stop token.
pub(crate) fn serve_org(shared: &App, listener: TcpListener) -> Serving {
    let app = Arc::clone(shared);
    Box::pin(async move {
        let stop = app.stop.clone().cancelled_owned();
        let service = org(app).into_make_service_with_connect_info::<wire::Wire>();
        let result =
            axum::serve(wire::CuttableListener::new(listener), service).with_graceful_shutdown(stop).await;
        if let Err(error) = result {
            tracing::error!(%error, "org listener ended");
        }
    })
}

/// Serves `/_sim` until the stop token.
pub(crate) fn serve_control(shared: &App, listener: TcpListener) -> Serving {
    let app = Arc::clone(shared);
    Box::pin(async move {
        let stop = app.stop.clone().cancelled_owned();
        if let Err(error) = axum::serve(listener, control::routes(app)).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "control listener ended");
        }
    })
}

fn org(app: App) -> Router {
    let version = Router::new()
        .route("/", get(rest::resources))
        .route("/limits", get(rest::limits))
        .route("/sobjects", get(rest::describe_global))
        .route("/sobjects/{object}/describe", get(rest::describe))
        .route("/query", get(rest::query))
        .route("/query/{locator}", get(rest::query_more))
        .route("/queryAll", get(rest::query_all))
        .route("/queryAll/{locator}", get(rest::query_more))
        .route("/composite/sobjects", post(rest::insert).patch(rest::update).delete(rest::delete))
        .route("/composite/sobjects/{object}/{field}", patch(rest::upsert))
        .route("/jobs/ingest", post(ingest::create).get(ingest::list))
        .route("/jobs/ingest/", post(ingest::create).get(ingest::list))
        .route("/jobs/ingest/{id}", get(ingest::get).patch(ingest::change).delete(ingest::delete))
        .route("/jobs/ingest/{id}/", get(ingest::get).patch(ingest::change).delete(ingest::delete))
        .route("/jobs/ingest/{id}/batches", put(ingest::upload))
        .route("/jobs/ingest/{id}/batches/", put(ingest::upload))
        .route("/jobs/ingest/{id}/{results}", get(ingest::results))
        .route("/jobs/ingest/{id}/{results}/", get(ingest::results))
        .fallback(reply::not_found)
        // Inside `observe`: a call refused for its session or version is counted and logged like any other.
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::authorize));
    Router::new()
        .route("/services/oauth2/token", post(oauth::token))
        .route("/services/data", get(rest::versions))
        .route("/services/data/", get(rest::versions))
        .nest("/services/data/{version}", version)
        .fallback(reply::not_found)
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}
