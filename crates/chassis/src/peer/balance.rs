use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tonic::{
    body::Body,
    transport::{self, Channel, Endpoint},
};
use tower::{ServiceExt as _, service_fn};

use super::retry::{self, Failure};
use crate::Backoff;

const CONNECT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Calls given up whose late answers are expected, and for how long. Each answer to a forgotten one counts as a fault of the
/// peer, and after a thousand of those the connection would be closed under the calls that are well.
const GIVEN_UP: usize = 1_000;
const LATEST_ANSWER: Duration = Duration::from_secs(10);
/// Between two tries to connect, however much they are wanted.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
/// The same while nobody asks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A replica of a peer: what it is called, and its address where the name has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) uri: Uri,
    pub(super) address: Option<std::net::SocketAddr>,
}

/// Gives calls in turn to the replicas that can be reached.
///
/// tonic's own balance takes a replica that refuses connections for one that is ready, so that half of the calls would go
/// to the one of two that is gone, as long as its name still has the address. Here a connection is made aside, is given
/// calls once it is there, and is used no more as soon as it has closed.
#[derive(Clone)]
pub(super) struct Balance(Arc<Shared>);

struct Shared {
    replicas: watch::Sender<Vec<Replica>>,
    turn: AtomicUsize,
    connections: AtomicU64,
    // Somebody wants a replica and there is none.
    wanted: Notify,
}

struct Replica {
    place: Place,
    standing: Standing,
    _keeper: AbortOnDropHandle<()>,
}

enum Standing {
    Connecting,
    /// With the connection's number: who finds it broken tells no other.
    Ready(u64, Channel),
    Away(Arc<transport::Error>),
}

impl Balance {
    pub(super) fn new() -> Self {
        let (replicas, _) = watch::channel(Vec::new());
        let shared = Shared {
            replicas,
            turn: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            wanted: Notify::new(),
        };
        Self(Arc::new(shared))
    }

    pub(super) fn add(&self, place: Place) {
        self.0.replicas.send_modify(|replicas| {
            let keeper = tokio::spawn(keep(Arc::downgrade(&self.0), place.clone()));
            let _keeper = AbortOnDropHandle::new(keeper);
            replicas.push(Replica { place, standing: Standing::Connecting, _keeper });
        });
    }

    pub(super) fn remove(&self, place: &Place) {
        self.0.replicas.send_modify(|replicas| replicas.retain(|replica| replica.place != *place));
    }

    /// Gives a request to a replica; waits for one while none is known, or the first connection is being made.
    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let (number, channel) = self.ready().await?;
        let outcome = channel.oneshot(request).await;
        outcome.map_err(|error| {
            let failure = Failure::of(error);
            if retry::is_broken(&failure) {
                self.0.lost(number);
            }
            failure
        })
    }

    async fn ready(&self) -> Result<(u64, Channel), Failure> {
        let mut replicas = self.0.replicas.subscribe();
        loop {
            if let Some(found) = self.0.choose(&replicas.borrow_and_update()) {
                if found.is_err() {
                    self.0.wanted.notify_waiters();
                }
                return found.map_err(Failure::Away);
            }
            // The sender is ours.
            let _ = replicas.changed().await;
        }
    }
}

impl Shared {
    /// The next ready one; an error when every one is away, and nothing while that is not known.
    fn choose(&self, replicas: &[Replica]) -> Option<Result<(u64, Channel), Arc<transport::Error>>> {
        let ready = |replica: &&Replica| matches!(replica.standing, Standing::Ready(..));
        let count = replicas.iter().filter(ready).count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or_default();
        if let Some(Standing::Ready(number, channel)) =
            replicas.iter().filter(ready).nth(turn).map(|replica| &replica.standing)
        {
            return Some(Ok((*number, channel.clone())));
        }
        let mut away = None;
        for replica in replicas {
            let Standing::Away(error) = &replica.standing else { return None };
            away = Some(Arc::clone(error));
        }
        away.map(Err)
    }

    fn lost(&self, lost: u64) {
        self.replicas.send_if_modified(|replicas| {
            let found = replicas
                .iter_mut()
                .find(|replica| matches!(replica.standing, Standing::Ready(number, _) if number == lost));
            let Some(replica) = found else { return false };
            replica.standing = Standing::Connecting;
            true
        });
    }

    fn set(&self, place: &Place, standing: Standing) {
        self.replicas.send_if_modified(|replicas| {
            let Some(replica) = replicas.iter_mut().find(|replica| replica.place == *place) else {
                return false;
            };
            replica.standing = standing;
            true
        });
    }
}

/// Keeps a connection to one replica.
async fn keep(shared: Weak<Shared>, place: Place) {
    let pauses = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut pause = pauses.clone();
    loop {
        let closed = CancellationToken::new();
        let connected = connect(&place, closed.clone()).await;
        let Some(here) = shared.upgrade() else { return };
        match connected {
            Ok(channel) => {
                pause = pauses.clone();
                let number = here.connections.fetch_add(1, Ordering::Relaxed);
                let mut replicas = here.replicas.subscribe();
                here.set(&place, Standing::Ready(number, channel));
                drop(here);
                let is_lost = |replicas: &Vec<Replica>| {
                    !replicas.iter().any(
                        |replica| matches!(replica.standing, Standing::Ready(other, _) if other == number),
                    )
                };
                tokio::select! {
                    () = closed.cancelled() => {}
                    _ = replicas.wait_for(is_lost) => {}
                }
                if let Some(shared) = shared.upgrade() {
                    shared.lost(number);
                }
            }
            Err(error) => {
                here.set(&place, Standing::Away(Arc::new(error)));
                sleep(SHORTEST_PAUSE).await;
                tokio::select! {
                    () = here.wanted.notified() => {}
                    () = sleep(pause.next()) => {}
                }
            }
        }
    }
}

/// A connection that is made once: when it has closed, its channel has no other.
async fn connect(place: &Place, closed: CancellationToken) -> Result<Channel, transport::Error> {
    let endpoint = Endpoint::from(place.uri.clone())
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_max_concurrent_reset_streams(GIVEN_UP)
        .http2_reset_stream_duration(LATEST_ANSWER);
    let mut unused = Some((place.clone(), closed.drop_guard()));
    let dial = service_fn(move |_: Uri| {
        let unused = unused.take();
        async move {
            let (place, guard) = unused.ok_or(io::ErrorKind::NotConnected)?;
            let stream = match place.address {
                Some(address) => TcpStream::connect(address).await?,
                None => {
                    let host = place.uri.host().unwrap_or_default();
                    let bare = host.trim_start_matches('[').trim_end_matches(']');
                    TcpStream::connect((bare, place.uri.port_u16().unwrap_or(80))).await?
                }
            };
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(Connected { stream, _guard: guard }))
        }
    });
    endpoint.connect_with_connector(dial).await
}

/// Tells when it is dropped, which its owner does as soon as the connection is over.
struct Connected {
    stream: TcpStream,
    _guard: DropGuard,
}

impl AsyncRead for Connected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connected {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    /// Answers with its address, until it is told to end.
    struct Server {
        address: SocketAddr,
        end: CancellationToken,
        ended: tokio::task::JoinHandle<()>,
    }

    impl Server {
        async fn at(address: SocketAddr) -> Self {
            let listener = TcpListener::bind(address).await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = axum::Router::new().fallback(move || async move { address.to_string() });
            let end = CancellationToken::new();
            let serving = axum::serve(listener, router)
                .with_graceful_shutdown(end.clone().cancelled_owned())
                .into_future();
            Self { address, end, ended: tokio::spawn(async { serving.await.unwrap() }) }
        }

        async fn stop(self) -> SocketAddr {
            self.end.cancel();
            self.ended.await.unwrap();
            self.address
        }

        fn place(&self) -> Place {
            Place { uri: "http://peer:9102".parse().unwrap(), address: Some(self.address) }
        }
    }

    async fn ask(balance: &Balance) -> Result<SocketAddr, Failure> {
        let request = Request::post("/a.B/C").body(Body::empty()).unwrap();
        let answer = balance.call(request).await?;
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        Ok(std::str::from_utf8(&body).unwrap().parse().unwrap())
    }

    // A connection may be there later than the first call.
    async fn ask_until(balance: &Balance, wanted: SocketAddr) {
        let begun = Instant::now();
        while ask(balance).await.unwrap() != wanted {
            assert!(begun.elapsed() < Duration::from_secs(10), "{wanted} gets no calls");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn replicas_get_calls_in_turn_and_none_when_they_are_gone() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (first, second) = (Server::at(nowhere).await, Server::at(nowhere).await);
        let balance = Balance::new();
        balance.add(first.place());
        balance.add(second.place());
        ask_until(&balance, first.address).await;
        ask_until(&balance, second.address).await;
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(ask(&balance).await.unwrap());
        }
        assert!(asked[0] != asked[1] && asked[..2] == asked[2..], "{asked:?}");

        let gone = second.stop().await;
        let begun = Instant::now();
        // At most the one that finds out.
        let failed = futures::future::join_all((0..50).map(|_| ask(&balance))).await;
        let failed = failed.iter().filter(|outcome| outcome.is_err()).count();
        for _ in 0..50 {
            assert_eq!(ask(&balance).await.unwrap(), first.address);
        }
        assert!(failed <= 1 && begun.elapsed() < Duration::from_secs(1), "{failed} failed");

        let again = Server::at(gone).await;
        ask_until(&balance, again.address).await;
        balance.remove(&first.place());
        for _ in 0..4 {
            assert_eq!(ask(&balance).await.unwrap(), again.address);
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_told_as_such_and_found_again() {
        let server = Server::at(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let (place, balance) = (server.place(), Balance::new());
        let address = server.stop().await;
        balance.add(place);
        assert!(matches!(ask(&balance).await, Err(Failure::Away(_))));
        let server = Server::at(address).await;
        let begun = Instant::now();
        while ask(&balance).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(5), "the peer stays away");
            sleep(Duration::from_millis(5)).await;
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn a_call_waits_while_no_replica_is_known() {
        let (server, balance) = (Server::at(SocketAddr::from(([127, 0, 0, 1], 0))).await, Balance::new());
        let later = async {
            sleep(Duration::from_millis(20)).await;
            balance.add(server.place());
        };
        let (asked, ()) = tokio::join!(ask(&balance), later);
        assert_eq!(asked.unwrap(), server.address);
    }
}
