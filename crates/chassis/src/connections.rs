//! The accept loop under the three listeners: a bounded number of connections, each of a bounded age, ended politely.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::extract::ConnectInfo;
use http_body::Body;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{Network, Shutdown, StartError, backoff::fraction, forwarded, lifecycle::Lifecycle};

/// Connections of one listener at a time; more wait in the kernel's queue.
const MOST: usize = 20_000;
/// A connection is closed after this, give or take a tenth, so that clients find new replicas.
const AGE: Duration = Duration::from_secs(600);
/// What is under way on an old connection has this long to finish.
const GRACE: Duration = Duration::from_secs(30);
/// A client that sends its request's head more slowly is cut off.
const HEAD: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const STREAMS: u32 = 1_000;
/// So many calls may be taken back before they were looked at; a connection with more is closed. Callers whose deadline
/// passes while this process stands still take many back at once, and a closed connection would fail the rest.
const TAKEN_BACK: usize = 250;
const HEADERS_BYTES: u32 = 32 * 1_024;

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// HTTP/2 only.
    Grpc,
}

/// Serves until the soft shutdown, and finishes what is under way until the hard one.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    speaks: Speaks,
    trusted: Arc<[Network]>,
    service: S,
    lifecycle: Lifecycle,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StartError>,
{
    let shutdown = lifecycle.shutdown();
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.soft() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (service, shutdown, trusted) = (service.clone(), shutdown.clone(), Arc::clone(&trusted));
                lifecycle.tracker.spawn(async move {
                    connection(stream, (peer, trusted), speaks, service, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: the loop must not spin.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection<S, B>(
    stream: TcpStream,
    (peer, trusted): (SocketAddr, Arc<[Network]>),
    speaks: Speaks,
    service: S,
    shutdown: Shutdown,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StartError>,
{
    // Frames of a feed are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let caller = forwarded::caller(peer, request.headers(), &trusted);
        request.extensions_mut().insert(ConnectInfo(caller));
        let service = service.clone();
        tower::ServiceExt::oneshot(service, request)
    });
    let builder = builder(speaks);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let age = AGE.mul_f64(0.9 + 0.2 * fraction());
    tokio::select! {
        _ = serving.as_mut() => return,
        () = shutdown.soft() => {}
        () = sleep(age) => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = timeout(GRACE, serving.as_mut()) => {}
        () = shutdown.hard() => {}
    }
}

fn builder(speaks: Speaks) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if speaks == Speaks::Grpc {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(TAKEN_BACK)
        .max_header_list_size(HEADERS_BYTES);
    builder
}
