//! What stands between a listener and a handler, outermost first:
//!
//! 1. `trace`: outermost, so that what the others refuse is seen and counted too.
//! 2. `catch_panic`: above everything that has rules of its own, since any of it may panic.
//! 3. `shed`: before there is work; its permit lasts until the body ends, or open streams would go uncounted.
//! 4. `deadline`: counts the handler's time and that of authentication, whose keys may have to be fetched.
//! 5. authentication (`auth_layer`): below the limit, so that forged tokens cannot take the processor.
//! 6. `quota`: below authentication, since a client is known by its token; one that calls too often does not get further.
//!
//! A layer answers in the words of its listener; [`Wire`] is what the two differ in.

pub(crate) mod catch_panic;
pub(crate) mod deadline;
pub(crate) mod quota;
pub(crate) mod shed;
pub(crate) mod trace;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse as _, Response as HttpResponse},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer as _, util::MapResponseLayer};
use tracing::Span;

use self::{
    catch_panic::{CatchPanic, Catching},
    deadline::{Deadline, Hurrying},
    quota::Quota,
    shed::{Crowd, Shed, Shedding},
    trace::{GrpcTrace, GrpcTracing, HttpTrace},
};
use crate::{Coded, Metrics, Problem, Settings, metrics, policy::Policies};

/// Open files that are no streams: listeners, the database, brokers, peers.
const OTHER_FILES: usize = 1_000;

/// How much a process takes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Streams of the gRPC listener that are open at once.
    streams: usize,
    /// Requests of the HTTP listener that are open at once, streams with the others.
    requests: usize,
    /// Calls a second of one client; 0 is no limit.
    client_rate: u32,
    /// Calls and requests a second of one address without a token; 0 is no limit.
    address_rate: u32,
}

impl Limits {
    /// `streams` is what a component asks for.
    pub(crate) fn new(settings: &Settings, streams: Option<usize>) -> Self {
        let most = streams.map_or(shed::STREAMS, |streams| streams.min(room(metrics::most_open_files())));
        let Settings { client_rate, address_rate, .. } = *settings;
        Self { streams: most, requests: most.max(shed::REQUESTS), client_rate, address_rate }
    }
}

/// Streams for which the open files that this process is allowed leave room.
#[must_use]
pub fn most_streams() -> usize {
    room(metrics::most_open_files())
}

// A process that may open too few files for its streams takes few of them, and none would help nobody.
fn room(files: Option<usize>) -> usize {
    files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(1))
}

/// A service behind the layers of a gRPC listener.
pub(crate) type GrpcStack<S> = GrpcTracing<Catching<Shedding<Hurrying<S>>>>;

/// Methods of the gRPC project's services that a listener has beside ours, and whether their answer is a stream.
const UTILITIES: [(&str, bool); 3] = [
    ("/grpc.health.v1.Health/Check", false),
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
];

/// Puts a gRPC listener's layers over authentication and the methods.
pub(crate) fn grpc<S>(
    inner: S,
    policies: Arc<Policies>,
    crowds: HashMap<&'static str, Crowd>,
    limits: &Limits,
    metrics: &Metrics,
) -> GrpcStack<S> {
    let streams = {
        let policies = Arc::clone(&policies);
        move |path: &str| match policies.get(path) {
            Some(policy) => policy.server_streaming,
            None => UTILITIES.contains(&(path, true)),
        }
    };
    let most = {
        let (policies, streams) = (Arc::clone(&policies), streams.clone());
        move |path: &str| {
            let most = policies.get(path).map_or(deadline::CALL, |policy| policy.max_deadline);
            (!streams(path)).then_some(most)
        }
    };
    let is_known = move |path: &str| {
        policies.get(path).is_some() || UTILITIES.iter().any(|(utility, _)| *utility == path)
    };
    let hurried = Deadline::grpc(most).layer(inner);
    let shed = Shed::grpc(streams, crowds, limits.streams, metrics).layer(hurried);
    GrpcTrace::new(is_known, metrics).layer(CatchPanic::new(metrics).layer(shed))
}

/// Puts an HTTP listener's layers over its routes. Authentication is the routes' own: each has another kind of caller.
pub(crate) fn http(routes: Router, limits: &Limits, metrics: &Metrics) -> Router {
    routes
        .layer(Quota::http(limits, metrics))
        .layer(Deadline::http(deadline::REQUEST))
        .layer(Shed::http(limits.requests, metrics))
        .layer(CatchPanic::new(metrics))
        .layer(HttpTrace::new(metrics))
}

/// Marks the answers of a service's routes as its own, before they are merged with those of others: only so its spans can
/// say whose they are.
pub(crate) fn of_service(service: domain::Service, routes: Router) -> Router {
    routes.layer(MapResponseLayer::new(move |mut answer: HttpResponse| {
        answer.extensions_mut().insert(service);
        answer
    }))
}

/// When a caller that was refused for load should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// The body of a listener's answers, and how that listener says that something is wrong.
pub(crate) trait Wire: Body<Data = Bytes, Error: Send> + Send + Unpin + Sized + 'static {
    /// Any body that fails in the same way.
    fn boxed(body: impl Body<Data = Bytes, Error = Self::Error> + Send + 'static) -> Self;

    /// The body under somebody's eyes.
    fn watched(self, watch: impl Watch) -> Self {
        Self::boxed(Watched { body: self, watch: Some(watch) })
    }

    /// An error of the table of codes; logs it.
    fn wrong(error: impl Coded) -> Response<Self>;

    /// Too much to do. Not logged, as there will be many: they are counted.
    fn busy() -> Response<Self>;

    /// The time is up.
    fn late() -> Response<Self>;

    /// The last frame of a body whose stream broke.
    fn broken(error: impl Coded) -> Result<Frame<Bytes>, Self::Error>;
}

impl Wire for tonic::body::Body {
    fn boxed(body: impl Body<Data = Bytes, Error = Self::Error> + Send + 'static) -> Self {
        Self::new(body)
    }

    fn wrong(error: impl Coded) -> Response<Self> {
        crate::status(error).into_http()
    }

    fn busy() -> Response<Self> {
        let mut details = ErrorDetails::with_retry_info(Some(COME_BACK));
        details.set_error_info("OVERLOADED", "kotinos", HashMap::new());
        tonic::Status::with_error_details(tonic::Code::Unavailable, "not now, try again", details).into_http()
    }

    fn late() -> Response<Self> {
        let details = ErrorDetails::with_error_info("DEADLINE_EXCEEDED", "kotinos", HashMap::new());
        let code = tonic::Code::DeadlineExceeded;
        tonic::Status::with_error_details(code, "the deadline has passed", details).into_http()
    }

    fn broken(error: impl Coded) -> Result<Frame<Bytes>, Self::Error> {
        let mut trailers = HeaderMap::new();
        crate::status(error).add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl Wire for axum::body::Body {
    fn boxed(body: impl Body<Data = Bytes, Error = Self::Error> + Send + 'static) -> Self {
        Self::new(body)
    }

    fn wrong(error: impl Coded) -> Response<Self> {
        Problem::from(error).into_response()
    }

    fn busy() -> Response<Self> {
        let problem = Problem::of_layer(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "not now, try again");
        let mut response = problem.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(COME_BACK.as_secs()));
        response
    }

    fn late() -> Response<Self> {
        let status = StatusCode::GATEWAY_TIMEOUT;
        Problem::of_layer(status, "DEADLINE_EXCEEDED", "the request took too long").into_response()
    }

    // HTTP has no way to take a head back: the connection breaks, so that nobody takes the part for the whole.
    fn broken(error: impl Coded) -> Result<Frame<Bytes>, Self::Error> {
        let problem = Problem::from(error);
        Err(axum::Error::new(std::io::Error::other(format!("the answer broke with {}", problem.status()))))
    }
}

/// Who looks at a body, and is dropped when it has ended: by itself or with its caller.
pub(crate) trait Watch: Send + Unpin + 'static {
    /// The span that the body's work belongs to.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// The trailers, where gRPC says how a call ended.
    fn trailers(&mut self, _: &HeaderMap) {}

    /// The body broke off.
    fn failed(&mut self) {}
}

struct Watched<B, W> {
    body: B,
    watch: Option<W>,
}

impl<B: Body<Data = Bytes> + Unpin, W: Watch> Body for Watched<B, W> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, watch } = &mut *self;
        let entered = watch.as_ref().and_then(Watch::span).map(Span::enter);
        let frame = ready!(Pin::new(body).poll_frame(context));
        drop(entered);
        match (&frame, watch) {
            (Some(Ok(frame)), Some(watch)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    watch.trailers(trailers);
                }
            }
            (Some(Err(_)), Some(watch)) => watch.failed(),
            (None, watch) => *watch = None,
            (_, None) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_as_many_as_open_files_leave_room_for() {
        let table = [(Some(1_048_576), 1_047_576), (Some(1_024), 24), (Some(256), 1), (None, usize::MAX)];
        for (files, streams) in table {
            assert_eq!(room(files), streams, "{files:?}");
        }
    }

    #[test]
    fn a_component_that_asks_for_more_streams_gets_them_by_http_too() {
        let limits = Limits::new(&Settings::default(), None);
        assert_eq!((limits.streams, limits.requests), (2_000, 2_000));
        let room = room(metrics::most_open_files());
        let limits = Limits::new(&Settings::default(), Some(20_000));
        assert_eq!((limits.streams, limits.requests), (room.min(20_000), room.clamp(2_000, 20_000)));
    }
}
