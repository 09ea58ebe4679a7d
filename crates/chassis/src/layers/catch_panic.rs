use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service};

use super::Wire;
use crate::{Code, Coded, Metrics, semconv};

/// Makes a panic of a handler an internal error of that one call. Without it the connection would go, and with it the
/// calls of others.
#[derive(Clone)]
pub(crate) struct CatchPanic {
    metrics: Metrics,
}

impl CatchPanic {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let catch = Self { metrics: metrics.clone() };
        catch.count(0);
        catch
    }

    fn count(&self, by: u64) {
        self.metrics.add(semconv::HANDLER_PANICS, "Panics of handlers", &[], by);
    }
}

/// Where it happened the panic hook logs; what it said stays inside, for it may hold a value.
#[derive(Debug, thiserror::Error)]
#[error("a handler panicked")]
struct Panicked;

impl Coded for Panicked {
    fn code(&self) -> Code {
        Code::Internal
    }

    fn reason(&self) -> &'static str {
        "HANDLER_PANICKED"
    }
}

impl<S> Layer<S> for CatchPanic {
    type Service = Catching<S>;

    fn layer(&self, inner: S) -> Catching<S> {
        Catching { inner, catch: self.clone() }
    }
}

/// [`CatchPanic`] over a service.
#[derive(Clone)]
pub(crate) struct Catching<S> {
    inner: S,
    catch: CatchPanic,
}

impl<S, Q, B> Service<Request<Q>> for Catching<S>
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
        let catch = self.catch.clone();
        // The call itself runs code as well, before there is a future.
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) else {
            catch.count(1);
            return Box::pin(async { Ok(B::wrong(Panicked)) });
        };
        Box::pin(async move {
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(answer) => Ok(answer?.map(|body| B::boxed(CaughtBody { body: Some(body), catch }))),
                Err(_) => {
                    catch.count(1);
                    Ok(B::wrong(Panicked))
                }
            }
        })
    }
}

/// A body whose stream may panic, long after its head.
struct CaughtBody<B> {
    // None after a panic: what is left of it is in no state to be polled.
    body: Option<B>,
    catch: CatchPanic,
}

impl<B: Wire> Body for CaughtBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Ok(frame) = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context))) {
            return frame;
        }
        self.catch.count(1);
        self.body = None;
        Poll::Ready(Some(B::broken(Panicked)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn request() -> Request<()> {
        Request::new(())
    }

    #[tokio::test]
    async fn a_panic_becomes_internal() {
        let metrics = Metrics::new();
        let service = CatchPanic::new(&metrics).layer(service_fn(async |request: Request<()>| {
            assert!(request.uri().path().is_empty(), "planted");
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        }));
        let answer = service.oneshot(request()).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(status.message().starts_with("internal error, reference "), "{status}");
        assert!(metrics.encode().contains("kotinos_handler_panics_total{} 1\n"), "{}", metrics.encode());
    }

    #[tokio::test]
    async fn a_panic_becomes_500() {
        let service = CatchPanic::new(&Metrics::new()).layer(service_fn(async |request: Request<()>| {
            assert!(request.uri().path().is_empty(), "planted");
            Ok::<_, Infallible>(Response::new(axum::body::Body::empty()))
        }));
        let answer = service.oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }

    struct PanickingBody;

    impl Body for PanickingBody {
        type Data = Bytes;
        type Error = tonic::Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
            panic!("in the middle of a stream")
        }
    }

    #[tokio::test]
    async fn a_stream_that_panics_ends_with_internal() {
        let service = CatchPanic::new(&Metrics::new()).layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(tonic::body::Body::new(PanickingBody)))
        }));
        let mut body = service.oneshot(request()).await.unwrap().into_body();
        let frame = body.frame().await.unwrap().unwrap();
        let status = tonic::Status::from_header_map(frame.trailers_ref().unwrap()).unwrap();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(body.frame().await.is_none());
    }
}
