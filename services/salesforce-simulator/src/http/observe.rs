//! What every call passes through: faults, budget, latency, log; and for the data API version and session.

use std::time::{Duration, Instant};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use uuid::Uuid;

use super::{App, reply, wire::Wire};
use crate::{calls::Call, clock, fault::Action, refusal::Refusal};

const LIMIT_INFO: HeaderName = HeaderName::from_static("sforce-limit-info");
/// API versions served.
const VERSIONS: std::ops::RangeInclusive<u32> = 58..=67;

/// The API version that a call asked for. Set outside the nested router, which sees paths without their prefix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version(pub u32);

/// Longest header value that is kept in the log, in bytes.
const KEPT_HEADER: usize = 200;

/// Outermost. Order: the fault script sees the call before anything else does, and the log sees what came of it.
pub(super) async fn observe(
    State(app): State<App>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let call = call(&request);
    if let Some(version) = version(&call.path) {
        request.extensions_mut().insert(Version(version));
    }
    let (actions, budget) = admit(&app, &call);
    tokio::time::sleep(app.config.latency + delay(&actions)).await;
    let mut replied = true;
    let refused = actions.iter().find_map(|action| match action {
        Action::Status(fault) => Some(fault.refusal()),
        _ => None,
    });
    let mut response = if actions.contains(&Action::DropBeforeEffect) {
        replied = false;
        Refusal::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "DROPPED", "dropped").into_response()
    } else if let Some(refusal) = refused.or(budget.err()) {
        refusal.into_response()
    } else {
        reply::in_their_shape(next.run(request).await)
    };
    if actions.contains(&Action::DropAfterEffect) {
        replied = false;
    }
    if !replied {
        wire.cut();
    }
    finish(&app, call, &mut response, replied, began);
    response
}

fn admit(app: &App, call: &Call) -> (Vec<Action>, Result<(), Refusal>) {
    let mut world = app.world();
    let actions = world.faults.hit(&call.method, &call.path);
    let now = world.clock.now();
    // Logging in, and asking which versions there are, costs no API call.
    let counts = call.path.starts_with("/services/data/v");
    let budget = if counts { world.budget.spend_call(now) } else { Ok(()) };
    (actions, budget)
}

fn delay(actions: &[Action]) -> Duration {
    let delays = actions.iter().map(|action| if let Action::DelayMs(delay) = action { *delay } else { 0 });
    Duration::from_millis(delays.sum())
}

fn call(request: &Request) -> Call {
    let kept = |name: &str| kept(request.headers(), name);
    Call {
        number: 0,
        at: String::new(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        status: 0,
        replied: true,
        duration_us: 0,
        request_id: kept("x-request-id").unwrap_or_else(|| Uuid::now_v7().to_string()),
        traceparent: kept("traceparent"),
    }
}

fn kept(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= KEPT_HEADER).then(|| value.to_owned())
}

fn finish(app: &App, mut call: Call, response: &mut Response, replied: bool, began: Instant) {
    let mut world = app.world();
    let now = world.clock.now();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(world.budget.header()) {
        headers.insert(LIMIT_INFO, value);
    }
    // The org's clock, not the machine's: clients measure their skew against it.
    if let Ok(value) = HeaderValue::try_from(now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()) {
        headers.insert(header::DATE, value);
    }
    call.at = clock::wire(now);
    call.status = response.status().as_u16();
    call.replied = replied;
    call.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(method = %call.method, path = %call.path, status = call.status, replied, "call");
    world.calls.push(call);
}

/// For everything below `/services/data/v..`: a version that is served, and an open session.
pub(super) async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.extensions().get::<Version>().is_none() {
        return Refusal::not_found().into_response();
    }
    let open = token(request.headers()).is_some_and(|token| {
        let world = app.world();
        world.sessions.is_open(token, world.clock.now())
    });
    if !open {
        return Refusal::invalid_session().into_response();
    }
    next.run(request).await
}

/// The versions that `GET /services/data` lists.
pub(super) fn versions() -> std::ops::RangeInclusive<u32> {
    VERSIONS
}

fn version(path: &str) -> Option<u32> {
    let segment = path.strip_prefix("/services/data/")?.split('/').next()?;
    let number = segment.strip_prefix('v')?.strip_suffix(".0")?.parse().ok()?;
    VERSIONS.contains(&number).then_some(number)
}

/// `Authorization: Bearer <token>`; Salesforce takes its older `OAuth <token>` too.
fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    known.then(|| token.trim())
}
