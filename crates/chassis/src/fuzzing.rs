//! Doors for the targets in `fuzz/` to what reads the bytes of callers. Compiled with `--cfg fuzzing` alone, and never part
//! of a program.

mod gate;
mod table;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::body::Body;
use tower::{Layer as _, Service as _, service_fn};
use tracing::{Dispatch, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{
    Metrics, Network, forwarded,
    layers::{deadline, trace::GrpcTrace},
};

pub use gate::{Answer, Gate};
pub use table::{Outcome, Planted, Table};

type Answered = Ready<Result<Response<Body>, Infallible>>;

fn answered() -> Answered {
    ready(Ok(Response::new(Body::empty())))
}

/// Headers as a listener takes them; none when it would refuse a value itself.
fn headers(named: &[(&'static str, &[u8])]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        let value = HeaderValue::from_bytes(value).ok()?;
        headers.try_append(HeaderName::from_static(name), value).ok()?;
    }
    Some(headers)
}

fn request(path: &str, named: &[(&'static str, &[u8])]) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().ok()?;
    *request.headers_mut() = headers(named)?;
    Some(request)
}

/// Of a handler: what was left of its time when it began (none: no limit), and how long it took to get there.
pub fn time_left(most: Duration, grpc_timeout: &[u8]) -> Option<(Option<Duration>, Duration)> {
    let request = request("/a.B/C", &[("grpc-timeout", grpc_timeout)])?;
    let left = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&left);
    let mut service =
        deadline::Deadline::grpc(move |_| Some(most)).layer(service_fn(move |_: Request<()>| {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline::remaining());
            answered()
        }));
    let began = Instant::now();
    // The handler's first part runs here; nobody waits for the answer.
    drop(service.call(request));
    let took = began.elapsed();
    let left = left.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Some((left, took))
}

/// Whom a request with these `X-Forwarded-For` comes from.
pub fn caller(peer: SocketAddr, chain: &[&[u8]], trusted: &[Network]) -> Option<SocketAddr> {
    let chain: Vec<_> = chain.iter().map(|value| ("x-forwarded-for", *value)).collect();
    Some(forwarded::caller(peer, &headers(&chain)?, trusted))
}

/// A process that traces, and keeps nothing of it.
pub struct Tracing {
    dispatch: Dispatch,
    metrics: Metrics,
    // Its spans end with it.
    _provider: SdkTracerProvider,
}

impl Default for Tracing {
    fn default() -> Self {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("fuzz"));
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        Self { dispatch, metrics: Metrics::new(), _provider: provider }
    }
}

impl Tracing {
    /// The trace that a call with these headers is part of, in the handler's eyes: id, and state as a header. None when a
    /// listener would refuse the headers.
    pub fn of_call(&self, named: &[(&'static str, &[u8])]) -> Option<(String, String)> {
        let request = request("/a.B/C", named)?;
        let found = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&found);
        let handler = service_fn(move |_: Request<()>| {
            let context = Span::current().context();
            let context = context.span().span_context().clone();
            let trace = (context.trace_id().to_string(), context.trace_state().header());
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(trace);
            answered()
        });
        tracing::dispatcher::with_default(&self.dispatch, || {
            drop(GrpcTrace::new(|_| false, &self.metrics).layer(handler).call(request));
        });
        found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
