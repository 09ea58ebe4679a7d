mod crowd;
mod pressure;

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

pub(crate) use self::crowd::Crowd;
use self::crowd::Place;
use super::{Watch, Wire};
use crate::{Metrics, semconv};

/// Streams of a gRPC listener that are open at once, when no component asks for more.
pub(super) const STREAMS: usize = 2_000;
/// Requests of an HTTP listener that are open at once, streams with the others; at least.
pub(super) const REQUESTS: usize = 2_000;

/// Refuses at once what is too much, so that what was taken in stays fast. There is no queue: a caller that waits here
/// would wait in vain, as its deadline runs.
///
/// A permit is kept until the answer's body has ended, since a stream's work begins with its head.
///
/// Unary calls have a limit that follows what they wait for (`pressure`), each component its own.
#[derive(Clone)]
pub(crate) struct Shed(Arc<Limits>);

enum Limits {
    Grpc { crowds: HashMap<&'static str, Crowd>, others: Crowd, streams: Limit, is_stream: IsStream },
    Http(Limit),
}

/// Whether the answer of a path is a stream.
type IsStream = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// At most so many at once.
struct Limit {
    kind: &'static str,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

/// What is given back when the call has ended.
enum Permit {
    Unary(#[expect(dead_code, reason = "it is there to be dropped")] Place),
    Other(#[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit),
}

impl Shed {
    /// For gRPC. `crowds` has the component of each service that it knows by name; the others are one crowd.
    pub(crate) fn grpc(
        is_stream: impl Fn(&str) -> bool + Send + Sync + 'static,
        crowds: HashMap<&'static str, Crowd>,
        streams: usize,
        metrics: &Metrics,
    ) -> Self {
        count(metrics, crowd::KIND, 0);
        let others = Crowd::new("none", None, metrics);
        let streams = Limit::new("stream", streams, metrics);
        Self(Arc::new(Limits::Grpc { crowds, others, streams, is_stream: Box::new(is_stream) }))
    }

    /// For HTTP, with one limit.
    pub(crate) fn http(requests: usize, metrics: &Metrics) -> Self {
        Self(Arc::new(Limits::Http(Limit::new("request", requests, metrics))))
    }

    fn permit(&self, path: &str) -> Option<Permit> {
        match &*self.0 {
            Limits::Http(limit) => limit.permit().map(Permit::Other),
            Limits::Grpc { streams, is_stream, .. } if is_stream(path) => streams.permit().map(Permit::Other),
            Limits::Grpc { crowds, others, .. } => {
                let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
                crowds.get(service).unwrap_or(others).place().map(Permit::Unary)
            }
        }
    }
}

impl Limit {
    fn new(kind: &'static str, most: usize, metrics: &Metrics) -> Self {
        count(metrics, kind, 0);
        Self { kind, permits: Arc::new(Semaphore::new(most)), metrics: metrics.clone() }
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_none() {
            count(&self.metrics, self.kind, 1);
        }
        permit
    }
}

fn count(metrics: &Metrics, kind: &str, by: u64) {
    metrics.add(semconv::REQUESTS_SHED, "Calls and requests refused for load", &[("kind", kind)], by);
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

impl Watch for Permit {}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;
    use tonic_types::StatusExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn shed(streams: usize, metrics: &Metrics) -> Shed {
        Shed::grpc(|path| path == "/feed", HashMap::new(), streams, metrics)
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
    async fn unary_calls_keep_their_places_until_they_end() {
        let metrics = Metrics::new();
        let shed = shed(0, &metrics);
        let mut places: Vec<_> = (0..256).map(|_| shed.permit("/a.Service/Call").unwrap()).collect();
        assert!(shed.permit("/a.Service/Call").is_none());
        let text = metrics.encode();
        assert!(text.contains("kotinos_requests_shed_total{kind=\"unary\"} 1\n"), "{text}");
        assert!(text.contains("kotinos_calls_limit{service=\"none\"} 256.0\n"), "{text}");
        places.pop();
        assert!(shed.permit("/a.Service/Call").is_some());
    }

    #[tokio::test]
    async fn a_refused_call_hears_when_to_come_back() {
        let service = shed(0, &Metrics::new()).layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        }));
        let refused = service.oneshot(request("/feed")).await.unwrap();
        let status = tonic::Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(wait.as_secs(), 1);
    }
}
