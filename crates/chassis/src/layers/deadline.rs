use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use super::Wire;

/// A gRPC call's time when neither the caller nor the method says another.
pub(crate) const CALL: Duration = Duration::from_secs(5);
/// An HTTP request's time until the head of its answer. What is a stream has no limit after it.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);

tokio::task_local! {
    static DEADLINE: Instant;
}

/// How much of the present call's time is left: what a database statement or a call to a peer may take. None outside of
/// calls, in streams, and in tasks that a call has spawned.
#[must_use]
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

type Limit = Arc<dyn Fn(&str, &HeaderMap) -> Option<Duration> + Send + Sync>;

/// Ends what takes too long. The handler is dropped where it waits, so an open transaction rolls back.
#[derive(Clone)]
pub(crate) struct Deadline {
    limit: Limit,
}

impl Deadline {
    /// For gRPC: `most` says of a path how long its method may take, [`CALL`] if nothing else, and none for those whose
    /// answer is a stream. The caller may want it sooner (`grpc-timeout`).
    pub(crate) fn grpc(most: impl Fn(&str) -> Option<Duration> + Send + Sync + 'static) -> Self {
        let limit = move |path: &str, headers: &HeaderMap| {
            let most = most(path)?;
            Some(grpc_timeout(headers).map_or(most, |wanted| wanted.min(most)))
        };
        Self { limit: Arc::new(limit) }
    }

    /// For HTTP: the same for every route, until the head of the answer.
    pub(crate) fn http(most: Duration) -> Self {
        Self { limit: Arc::new(move |_, _| Some(most)) }
    }
}

/// What a caller wants, in `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2). Garbage is as good as
/// nothing.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

impl<S> Layer<S> for Deadline {
    type Service = Hurrying<S>;

    fn layer(&self, inner: S) -> Hurrying<S> {
        Hurrying { inner, limit: Arc::clone(&self.limit) }
    }
}

/// [`Deadline`] over a service.
#[derive(Clone)]
pub(crate) struct Hurrying<S> {
    inner: S,
    limit: Limit,
}

impl<S, Q, B> Service<Request<Q>> for Hurrying<S>
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
        let limit = (self.limit)(request.uri().path(), request.headers());
        let Some(limit) = limit else { return Box::pin(self.inner.call(request)) };
        let deadline = Instant::now() + limit;
        let answer = DEADLINE.sync_scope(deadline, || self.inner.call(request));
        Box::pin(async move {
            match timeout_at(deadline, DEADLINE.scope(deadline, answer)).await {
                Ok(answer) => answer,
                Err(_) => Ok(B::late()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    async fn never(_: Request<()>) -> Result<Response<tonic::body::Body>, Infallible> {
        std::future::pending().await
    }

    fn request(timeout: &str) -> Request<()> {
        Request::builder().uri("/a.B/C").header("grpc-timeout", timeout).body(()).unwrap()
    }

    #[tokio::test]
    async fn a_call_ends_when_its_callers_time_is_up() {
        let service = Deadline::grpc(|_| Some(CALL)).layer(service_fn(never));
        let began = Instant::now();
        let answer = service.oneshot(request("20m")).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert!(began.elapsed() < CALL);
    }

    #[tokio::test]
    async fn a_method_allows_no_more_than_its_own_time() {
        let service = Deadline::grpc(|_| Some(Duration::from_millis(20))).layer(service_fn(never));
        let answer = service.oneshot(request("1H")).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered_with_504() {
        let service = Deadline::http(Duration::from_millis(20)).layer(service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<axum::body::Body>, Infallible>>().await
        }));
        let answer = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(answer.status(), 504);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }

    #[tokio::test]
    async fn a_handler_knows_how_much_time_is_left() {
        assert_eq!(remaining(), None);
        let handler = service_fn(async |request: Request<()>| {
            match (request.uri().path(), remaining()) {
                ("/a.B/C", left) => assert!(left.unwrap() <= Duration::from_secs(1)),
                (_, left) => assert_eq!(left, None, "a stream has no deadline"),
            }
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        });
        let service = Deadline::grpc(|path| (path != "/a.B/Watch").then_some(CALL)).layer(handler);
        service.clone().oneshot(request("1S")).await.unwrap();
        let stream = Request::builder().uri("/a.B/Watch").header("grpc-timeout", "1S").body(()).unwrap();
        service.oneshot(stream).await.unwrap();
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            grpc_timeout(&headers)
        };
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        for garbage in ["", "S", "5", "-5S", "+5S", "123456789S", "1.5S", "5s"] {
            assert_eq!(read(garbage), None, "{garbage}");
        }
    }
}
