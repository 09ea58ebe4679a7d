//! `/_sim`: for tests and rehearsals, on its own port, without authentication.

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::TimeDelta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{App, body};
use crate::{clock, control, fault::Fault};

/// Bytes of a control body.
const MAX_BODY: usize = 200_000_000;

type Answer = Result<Json<Value>, Wrong>;

/// A control request that cannot be followed; the text names the field and the rule.
pub(super) struct Wrong(String);

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "error": self.0 }))).into_response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockStep {
    advance_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spending {
    api_requests: u64,
}

pub(super) fn routes(app: App) -> Router {
    Router::new()
        .route("/_sim/health", get(|| async { StatusCode::NO_CONTENT }))
        .route("/_sim/dump", get(dump))
        .route("/_sim/seed", post(seed))
        .route("/_sim/faults", get(list_faults).post(add_faults).delete(clear_faults))
        .route("/_sim/clock", get(read_clock).post(advance))
        .route("/_sim/sessions", axum::routing::delete(revoke))
        .route("/_sim/budget", post(spend))
        .with_state(app)
}

async fn dump(State(app): State<App>) -> Json<Value> {
    Json(control::dump(&app.world()))
}

async fn seed(State(app): State<App>, body: Body) -> Answer {
    let seed = parse::<control::Seed>(body).await?;
    let ids = control::seed(&mut app.world(), &seed).map_err(Wrong)?;
    Ok(Json(json!({ "ids": ids })))
}

async fn list_faults(State(app): State<App>) -> Json<Value> {
    Json(json!(app.world().faults.waiting()))
}

/// Adds to the script: a list, or one line alone.
async fn add_faults(State(app): State<App>, body: Body) -> Answer {
    let value = match parse::<Value>(body).await? {
        Value::Array(lines) => Value::Array(lines),
        line => Value::Array(vec![line]),
    };
    let faults: Vec<Fault> = serde_json::from_value(value).map_err(|error| Wrong(error.to_string()))?;
    let mut world = app.world();
    world.faults.add(faults).map_err(Wrong)?;
    Ok(Json(json!(world.faults.waiting())))
}

async fn clear_faults(State(app): State<App>) -> StatusCode {
    app.world().faults.clear();
    StatusCode::NO_CONTENT
}

async fn read_clock(State(app): State<App>) -> Json<Value> {
    Json(json!({ "now": clock::wire(app.world().clock.now()) }))
}

async fn advance(State(app): State<App>, body: Body) -> Answer {
    let step = parse::<ClockStep>(body).await?;
    let mut world = app.world();
    world.clock.advance(TimeDelta::seconds(i64::from(step.advance_seconds))).map_err(Wrong)?;
    Ok(Json(json!({ "now": clock::wire(world.clock.now()) })))
}

/// Ends every session, so that the next call of a client gets a 401.
async fn revoke(State(app): State<App>) -> StatusCode {
    app.world().sessions.revoke_all();
    StatusCode::NO_CONTENT
}

/// Spends API calls as other clients of the org would.
async fn spend(State(app): State<App>, body: Body) -> Answer {
    let spending = parse::<Spending>(body).await?;
    let mut world = app.world();
    world.budget.spent_by_others(spending.api_requests);
    Ok(Json(world.budget.to_json()))
}

async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Wrong> {
    let body = body::read(body, MAX_BODY, "").await.map_err(|refusal| Wrong(refusal.message))?;
    serde_json::from_slice(&body).map_err(|error| Wrong(error.to_string()))
}
