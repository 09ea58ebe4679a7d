//! The operators' listener: probes and metrics. It answers from the first moment on, and never to the public.

use std::time::Duration;

use axum::{
    Router,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;
use tokio::{sync::watch, time::timeout};

use crate::{
    Metrics,
    lifecycle::{Lifecycle, State},
};

/// A probe's patience is a second.
const ANSWER: Duration = Duration::from_millis(900);

/// What the probes look at.
#[derive(Clone)]
pub(crate) struct Health {
    lifecycle: Lifecycle,
    metrics: Metrics,
    // Filled when the components are built.
    pools: watch::Receiver<Vec<PgPool>>,
}

impl Health {
    pub(crate) fn new(lifecycle: Lifecycle, metrics: Metrics, pools: watch::Receiver<Vec<PgPool>>) -> Self {
        Self { lifecycle, metrics, pools }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/startupz", get(startup))
            .route("/readyz", get(readiness))
            .route("/livez", get(liveness))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    // Kafka is not asked: without it writes go to the outbox, and reads go on.
    async fn databases_answer(&self) -> bool {
        let pools = self.pools.borrow().clone();
        let asked = pools.iter().map(|pool| async move {
            let answer = timeout(ANSWER, sqlx::query("select 1").execute(pool)).await;
            matches!(answer, Ok(Ok(_)))
        });
        futures::future::join_all(asked).await.into_iter().all(|answers| answers)
    }
}

async fn startup(Shared(health): Shared<Health>) -> Response {
    match health.lifecycle.state() {
        State::Starting(why) => not_yet(&why),
        State::Ready | State::Draining => "started\n".into_response(),
    }
}

async fn readiness(Shared(health): Shared<Health>) -> Response {
    match health.lifecycle.state() {
        State::Starting(why) => not_yet(&why),
        State::Draining => not_yet("the process is ending"),
        State::Ready if health.databases_answer().await => "ready\n".into_response(),
        State::Ready => not_yet("a database does not answer"),
    }
}

// That it answers at all says that the runtime turns.
async fn liveness() -> &'static str {
    "alive\n"
}

async fn metrics(Shared(health): Shared<Health>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.encode()).into_response()
}

fn not_yet(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}
