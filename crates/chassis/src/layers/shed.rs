use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::{Watch, Wire};
use crate::{Metrics, semconv};

/// Unary calls of a gRPC listener that run at once.
const UNARY: usize = 256;
/// Streams of a gRPC listener that are open at once, when no component asks for more.
pub(super) const STREAMS: usize = 2_000;
/// Requests of an HTTP listener that are open at once, streams with the others; at least.
pub(super) const REQUESTS: usize = 2_000;

/// Refuses at once what is too much, so that what was taken in stays fast. There is no queue: a caller that waits here
/// would wait in vain, as its deadline runs.
///
/// A permit is kept until the answer's body has ended, since a stream's work begins with its head.
#[derive(Clone)]
pub(crate) struct Shed {
    short: Limit,
    streams: Limit,
    is_stream: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

#[derive(Clone)]
struct Limit {
    kind: &'static str,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

impl Shed {
    /// For gRPC. `is_stream` says of a path whether its answer is a stream: those count by themselves.
    pub(crate) fn grpc(
        is_stream: impl Fn(&str) -> bool + Send + Sync + 'static,
        streams: usize,
        metrics: &Metrics,
    ) -> Self {
        let (short, streams) = (Limit::new("unary", UNARY, metrics), Limit::new("stream", streams, metrics));
        Self { short, streams, is_stream: Arc::new(is_stream) }
    }

    /// For HTTP, with one limit.
    pub(crate) fn http(requests: usize, metrics: &Metrics) -> Self {
        let requests = Limit::new("request", requests, metrics);
        Self { short: requests.clone(), streams: requests, is_stream: Arc::new(|_| false) }
    }

    fn permit(&self, path: &str) -> Option<OwnedSemaphorePermit> {
        let limit = if (self.is_stream)(path) { &self.streams } else { &self.short };
        limit.permit()
    }
}

impl Limit {
    fn new(kind: &'static str, most: usize, metrics: &Metrics) -> Self {
        let limit = Self { kind, permits: Arc::new(Semaphore::new(most)), metrics: metrics.clone() };
        limit.count(0);
        limit
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_none() {
            self.count(1);
        }
        permit
    }

    fn count(&self, by: u64) {
        let help = "Calls and requests refused for load";
        self.metrics.add(semconv::REQUESTS_SHED, help, &[("kind", self.kind)], by);
    }
}

impl<S> Layer<S> for Shed {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Shedding<S> {
        Shedding { inner, shed: self.clone() }
    }
}

/// [`Shed`] over a service.
#[derive(Clone)]
pub(crate) struct Shedding<S> {
    inner: S,
    shed: Shed,
}

impl<S, Q, B> Service<Request<Q>> for Shedding<S>
where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static>,
    B: Wire,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let Some(permit) = self.shed.permit(request.uri().path()) else {
            return Box::pin(async { Ok(B::busy()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| body.watched(permit))) })
    }
}

impl Watch for OwnedSemaphorePermit {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;
    use tonic_types::StatusExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn shed(most: usize, metrics: &Metrics) -> Shed {
        let (short, streams) = (Limit::new("unary", most, metrics), Limit::new("stream", most, metrics));
        Shed { short, streams, is_stream: Arc::new(|path| path == "/feed") }
    }

    fn request(path: &str) -> Request<()> {
        Request::builder().uri(path).body(()).unwrap()
    }

    #[tokio::test]
    async fn an_open_stream_keeps_its_permit() {
        let metrics = Metrics::new();
        let service = shed(1, &metrics).layer(service_fn(|_: Request<()>| async {
            let frames = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"a frame"))])
                .chain(futures::stream::pending());
            Ok::<_, Infallible>(Response::new(axum::body::Body::from_stream(frames)))
        }));
        let open = service.clone().oneshot(request("/feed")).await.unwrap();
        assert_eq!(open.status(), 200);
        let mut body = open.into_body();
        body.frame().await.unwrap().unwrap();

        let refused = service.clone().oneshot(request("/feed")).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        let unary = service.clone().oneshot(request("/else")).await.unwrap();
        assert_eq!(unary.status(), 200, "streams do not take the place of unary calls");

        drop(body);
        assert_eq!(service.oneshot(request("/feed")).await.unwrap().status(), 200);
        assert!(metrics.encode().contains("kotinos_requests_shed_total{kind=\"stream\"} 1\n"));
    }

    #[tokio::test]
    async fn a_refused_call_hears_when_to_come_back() {
        let service = shed(0, &Metrics::new()).layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        }));
        let refused =
            service.oneshot(request("/kotinos.profile.v1.ProfileService/GetProfile")).await.unwrap();
        let status = tonic::Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(wait.as_secs(), 1);
    }
}
