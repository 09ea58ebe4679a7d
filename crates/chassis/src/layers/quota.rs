mod bucket;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::ConnectInfo;
use domain::Service as Ours;
use futures::future::{BoxFuture, ready};
use http::{Extensions, Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service};

pub use self::bucket::{Buckets, Rate};
use super::{Limits, Wire};
use crate::{Actor, Code, Coded, Metrics, semconv};

/// So many clients, and so many addresses, are told apart: a megabyte or so.
const MOST: usize = 10_000;

/// Refuses a client that calls more often than its share, so that the others keep theirs. Known by its token, it is a
/// client of OAuth; without one, an address.
///
/// The suite's own services are let through: a fan's call at the portal is the portal's call here, and a bucket for it
/// would be one for all fans. What they send is bounded by the layer that sheds, and by their own budget of retries.
#[derive(Clone)]
pub(crate) struct Quota(Arc<Shares>);

struct Shares {
    began: Instant,
    clients: Option<Buckets<String>>,
    addresses: Option<Buckets<IpAddr>>,
    metrics: Metrics,
}

impl Quota {
    /// For gRPC, below authentication.
    pub(crate) fn grpc(limits: &Limits, metrics: &Metrics) -> Self {
        Self::new(limits.client_rate, limits.address_rate, metrics)
    }

    /// For HTTP, where the routes ask for tokens themselves, if at all: all that is known here is an address.
    pub(crate) fn http(limits: &Limits, metrics: &Metrics) -> Self {
        Self::new(0, limits.address_rate, metrics)
    }

    fn new(client_rate: u32, address_rate: u32, metrics: &Metrics) -> Self {
        let shares = Shares {
            began: Instant::now(),
            clients: Rate::new(client_rate).map(|rate| Buckets::new(rate, MOST)),
            addresses: Rate::new(address_rate).map(|rate| Buckets::new(rate, MOST)),
            metrics: metrics.clone(),
        };
        for kind in ["client", "address"] {
            shares.count(kind, 0);
        }
        Self(Arc::new(shares))
    }

    fn take(&self, extensions: &Extensions) -> Result<(), OverQuota> {
        let shares = &*self.0;
        let now = shares.began.elapsed();
        let (kind, taken) = match (extensions.get::<Actor>(), extensions.get::<ConnectInfo<SocketAddr>>()) {
            (Some(actor), _) => ("client", shares.take_of_client(&actor.client_id, now)),
            (None, Some(ConnectInfo(address))) => ("address", shares.take_of_address(address.ip(), now)),
            (None, None) => return Ok(()),
        };
        taken.map_err(|wait| {
            shares.count(kind, 1);
            OverQuota(wait)
        })
    }
}

impl Shares {
    fn take_of_client(&self, client_id: &str, now: Duration) -> Result<(), Duration> {
        match &self.clients {
            Some(clients) if !Ours::ALL.iter().any(|ours| ours.short() == client_id) => {
                clients.take(client_id, now)
            }
            _ => Ok(()),
        }
    }

    fn take_of_address(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.addresses.as_ref().map_or(Ok(()), |addresses| addresses.take(&network(address), now))
    }

    fn count(&self, kind: &str, by: u64) {
        let help = "Calls and requests refused because their client makes too many";
        self.metrics.add(semconv::REQUESTS_OVER_QUOTA, help, &[("kind", kind)], by);
    }
}

// Whoever has one IPv6 address has all of its network of 64 bits (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many calls, try again later")]
struct OverQuota(Duration);

impl Coded for OverQuota {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "QUOTA_EXCEEDED"
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.0)
    }
}

impl<S> Layer<S> for Quota {
    type Service = Sharing<S>;

    fn layer(&self, inner: S) -> Sharing<S> {
        Sharing { inner, quota: self.clone() }
    }
}

/// [`Quota`] over a service.
#[derive(Clone)]
pub(crate) struct Sharing<S> {
    inner: S,
    quota: Quota,
}

impl<S, Q, B> Service<Request<Q>> for Sharing<S>
where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static, Error: Send + 'static>,
    B: Wire,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        match self.quota.take(request.extensions()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(over) => Box::pin(ready(Ok(B::wrong(over)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use chrono::DateTime;
    use tonic_types::StatusExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn from_client(client_id: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(Actor {
            subject: domain::new_id().to_string(),
            client_id: client_id.to_owned(),
            scopes: Vec::new(),
            acr: None,
            expires_at: DateTime::UNIX_EPOCH,
        });
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 5_000))));
        request
    }

    fn from_address(address: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 5_000)));
        request
    }

    async fn by_grpc(quota: &Quota, request: Request<()>) -> tonic::Status {
        let service = quota.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(tonic::Status::ok("").into_http::<tonic::body::Body>())
        }));
        tonic::Status::from_header_map(service.oneshot(request).await.unwrap().headers()).unwrap()
    }

    async fn by_http(quota: &Quota, request: Request<()>) -> Response<axum::body::Body> {
        let service = quota.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(axum::body::Body::empty()))
        }));
        service.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_client_that_calls_too_often_is_told_when_to_come_back_and_the_others_go_on() {
        let metrics = Metrics::new();
        let quota = Quota::new(1, 0, &metrics);
        for _ in 0..2 {
            assert_eq!(by_grpc(&quota, from_client("partner")).await.code(), tonic::Code::Ok);
        }
        let refused = by_grpc(&quota, from_client("partner")).await;
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "QUOTA_EXCEEDED");
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(by_grpc(&quota, from_client("another")).await.code(), tonic::Code::Ok);
        assert!(metrics.encode().contains("kotinos_requests_over_quota_total{kind=\"client\"} 1\n"));
    }

    #[tokio::test]
    async fn the_portal_calls_for_every_fan() {
        let quota = Quota::new(1, 1, &Metrics::new());
        for ours in Ours::ALL {
            for _ in 0..10 {
                assert_eq!(by_grpc(&quota, from_client(ours.short())).await.code(), tonic::Code::Ok);
            }
        }
    }

    #[tokio::test]
    async fn a_request_too_many_of_an_address_is_answered_with_429() {
        let metrics = Metrics::new();
        let quota = Quota::new(0, 1, &metrics);
        for address in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(by_http(&quota, from_address(address)).await.status(), 200);
        }
        let refused = by_http(&quota, from_address("2001:db8::3")).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        for elsewhere in ["2001:db8:0:1::1", "10.0.0.1", "::ffff:10.0.0.1"] {
            assert_eq!(by_http(&quota, from_address(elsewhere)).await.status(), 200, "{elsewhere}");
        }
        assert_eq!(
            by_http(&quota, from_address("10.0.0.1")).await.status(),
            429,
            "a mapped address is itself"
        );
        assert_eq!(by_grpc(&quota, from_address("10.0.0.1")).await.code(), tonic::Code::ResourceExhausted);
        assert!(metrics.encode().contains("kotinos_requests_over_quota_total{kind=\"address\"} 3\n"));
    }

    #[tokio::test]
    async fn by_default_an_address_has_no_limit_and_a_client_a_high_one() {
        let limits = Limits::new(&crate::Settings::default(), None);
        let (grpc, http) = (Quota::grpc(&limits, &Metrics::new()), Quota::http(&limits, &Metrics::new()));
        for _ in 0..3_000 {
            assert_eq!(by_http(&http, from_address("10.0.0.1")).await.status(), 200);
        }
        for _ in 0..2_000 {
            assert_eq!(by_grpc(&grpc, from_client("partner")).await.code(), tonic::Code::Ok);
        }
    }
}
