//! The accept loop under the three listeners: a bounded number of connections, each of a bounded age, ended politely.

use std::{
    convert::Infallible,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http_body::Body;
use hyper::{
    Request, Response, StatusCode, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    Network, StartError,
    backoff::fraction,
    forwarded,
    lifecycle::{Lifecycle, State},
};

/// Connections of one listener at a time; more wait in the kernel's queue.
const MOST: usize = 20_000;
/// How long a connection lives, and how long one waits for it.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// A connection is closed after this, give or take a tenth, so that clients find new replicas.
    age: Duration,
    /// A client of HTTP/1.1 that takes longer to the end of its next request's head is cut off. Longer than the 60 s for
    /// which load balancers keep an idle connection: a request that crosses our closing fails, so the closing is theirs.
    head: Duration,
    /// What is under way on an old connection has this long to finish.
    grace: Duration,
}

const TIMES: Times =
    Times { age: Duration::from_secs(600), head: Duration::from_secs(75), grace: Duration::from_secs(30) };
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const STREAMS: u32 = 1_000;
/// So many calls may be taken back before they were looked at; a connection with more is closed. Callers whose deadline
/// passes while this process stands still take many back at once, and a closed connection would fail the rest.
const TAKEN_BACK: usize = 250;
const HEADERS_BYTES: u32 = 32 * 1_024;
/// What HTTP/1.1 gathers for a client that reads slowly, or of a request's head; left to itself it takes 400 KB.
const BUFFER: usize = 64 * 1_024;

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
    (speaks, send_buffer): (Speaks, Option<u32>),
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
                // Frames of a feed are small and must not wait for more.
                let _ = stream.set_nodelay(true);
                if let Some(bytes) = send_buffer {
                    bound_send_buffer(&stream, bytes);
                }
                let (service, trusted, own) = (service.clone(), Arc::clone(&trusted), lifecycle.clone());
                lifecycle.tracker.spawn(async move {
                    connection(stream, (peer, trusted), (speaks, TIMES), service, own).await;
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

/// The socket of a request that changes to another protocol (RFC 9110, 7.8), and what its caller has already said in that one.
/// It resolves when the answer with status 101 has gone out; to nothing where the connection is gone by then.
pub fn socket_of<B>(
    request: &mut Request<B>,
) -> impl Future<Output = Option<(TcpStream, Bytes)>> + Send + use<B> {
    let upgrade = hyper::upgrade::on(request);
    async move {
        let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgrade.await.ok()?).ok()?;
        Some((parts.io.into_inner(), parts.read_buf))
    }
}

// The options are the socket's, so that they may be set through a second handle; who has none left keeps the usual ones.
fn bound_send_buffer(stream: &TcpStream, bytes: u32) {
    let Ok(handle) = stream.as_fd().try_clone_to_owned() else { return };
    let _ = TcpSocket::from_std_stream(handle.into()).set_send_buffer_size(bytes);
}

async fn connection<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (peer, trusted): (SocketAddr, Arc<[Network]>),
    (speaks, times): (Speaks, Times),
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
    let ends = Arc::new(Ends { lifecycle, old: AtomicBool::new(false), http1: AtomicBool::new(false) });
    let told = Arc::clone(&ends);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let caller = forwarded::caller(peer, request.headers(), &trusted);
        request.extensions_mut().insert(ConnectInfo(caller));
        let http1 = request.version() <= Version::HTTP_11;
        told.http1.store(http1, Ordering::Relaxed);
        let (service, told) = (service.clone(), Arc::clone(&told));
        async move {
            let mut answer = tower::ServiceExt::oneshot(service, request).await?;
            if http1 && told.soon() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let builder = builder(speaks, times.head);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let age = times.age.mul_f64(0.9 + 0.2 * fraction());
    tokio::select! {
        _ = serving.as_mut() => return,
        () = shutdown.soft() => {}
        () = sleep(age) => ends.old.store(true, Ordering::Relaxed),
    }
    if ends.http1.load(Ordering::Relaxed) {
        tokio::select! {
            _ = serving.as_mut() => return,
            () = shutdown.soft() => {}
            () = sleep(times.head) => {}
        }
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = timeout(times.grace, serving.as_mut()) => {}
        () = shutdown.hard() => {}
    }
}

/// How one connection comes to its end. HTTP/2 says so in a frame; in HTTP/1.1 an answer has to (RFC 9112, 9.6), as an idle
/// connection that we close may meet the next request on its way.
struct Ends {
    lifecycle: Lifecycle,
    old: AtomicBool,
    http1: AtomicBool,
}

impl Ends {
    fn soon(&self) -> bool {
        self.old.load(Ordering::Relaxed) || self.lifecycle.state() == State::Draining
    }
}

fn builder(speaks: Speaks, head: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if speaks == Speaks::Grpc {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_headers(100).max_buf_size(BUFFER);
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SHORT: Times = Times {
        age: Duration::from_millis(300),
        head: Duration::from_millis(400),
        grace: Duration::from_millis(100),
    };

    fn begin() -> (DuplexStream, Lifecycle) {
        let (ours, theirs) = duplex(4_096);
        let lifecycle = Lifecycle::new();
        let service = tower::service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(String::from("ok")))
        });
        let peer = (SocketAddr::from(([127, 0, 0, 1], 1)), Arc::from([]));
        tokio::spawn(connection(theirs, peer, (Speaks::Http, SHORT), service, lifecycle.clone()));
        (ours, lifecycle)
    }

    async fn ask(stream: &mut DuplexStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1_024];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    }

    async fn ends(stream: &mut DuplexStream) -> bool {
        matches!(stream.read(&mut [0; 8]).await, Ok(0))
    }

    #[tokio::test]
    async fn an_old_connection_is_closed_with_an_answer_that_says_so() {
        let (mut stream, _lifecycle) = begin();
        let begun = Instant::now();
        while !ask(&mut stream).await.contains("connection: close") {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() >= SHORT.age.mul_f64(0.9));
        assert!(ends(&mut stream).await);
    }

    #[tokio::test]
    async fn a_process_that_drains_closes_connections_with_their_next_answers() {
        let (mut stream, lifecycle) = begin();
        assert!(!ask(&mut stream).await.contains("connection: close"));
        lifecycle.draining();
        assert!(ask(&mut stream).await.contains("connection: close"));
        assert!(ends(&mut stream).await);
    }

    #[tokio::test]
    async fn an_idle_connection_is_cut_off_and_an_old_one_no_sooner() {
        let (mut stream, _lifecycle) = begin();
        ask(&mut stream).await;
        let begun = Instant::now();
        assert!(ends(&mut stream).await);
        assert!(begun.elapsed() >= SHORT.head);
    }
}
