//! Calls over a real connection, to a server that answers as the test wants.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

const READ: &str = "/kotinos.profile.v1.ProfileService/GetProfile";
const WRITE: &str = "/kotinos.profile.v1.ProfileService/UpdateProfile";
const WATCH: &str = "/kotinos.results.v1.FeedService/Subscribe";

/// Notes what it gets; the n-th call gets the n-th status, the last one for ever.
struct Server {
    uri: Uri,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Server {
    async fn start(statuses: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, statuses)
    }

    fn on(listener: TcpListener, statuses: &'static [&'static str]) -> Self {
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (got, count) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let noted = Arc::clone(&got);
        let answer = move |request: axum::extract::Request| {
            let (noted, count) = (Arc::clone(&noted), Arc::clone(&count));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                noted.lock().unwrap().push((head.headers, body));
                let turn = count.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1);
                if statuses[turn] == "never" {
                    std::future::pending::<()>().await;
                }
                [("content-type", "application/grpc"), ("grpc-status", statuses[turn])]
            }
        };
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { uri, got }
    }

    fn calls(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn header(&self, call: usize, name: &str) -> Option<String> {
        let got = self.got.lock().unwrap();
        got[call].0.get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

async fn call(peer: &Peer, path: &str) -> Result<Code, Status> {
    let mut request = Request::new(Body::new(Full::new(Bytes::from_static(b"question"))));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = path.parse().unwrap();
    let answer = peer.clone().oneshot(request).await?;
    Ok(answer::code(answer.headers()).unwrap())
}

#[tokio::test]
async fn a_question_is_repeated_while_the_peer_is_not_available() {
    let server = Server::start(&["14", "14", "0"]).await;
    let peer = Peer::fixed(server.uri.clone(), None);
    assert_eq!(call(&peer, READ).await.unwrap(), Code::Ok);
    assert_eq!(server.calls(), 3);
    assert!(server.got.lock().unwrap().iter().all(|(_, body)| body == "question"));
}

#[tokio::test]
async fn three_attempts_are_all() {
    let server = Server::start(&["14"]).await;
    assert_eq!(call(&Peer::fixed(server.uri.clone(), None), READ).await.unwrap(), Code::Unavailable);
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn a_command_and_an_answer_are_final() {
    for (path, statuses) in [(WRITE, &["14"][..]), (READ, &["13"]), (READ, &["8"]), ("/a.B/C", &["14"])] {
        let server = Server::start(statuses).await;
        let code = call(&Peer::fixed(server.uri.clone(), None), path).await.unwrap();
        assert_eq!((code, server.calls()), (Code::from_bytes(statuses[0].as_bytes()), 1), "{path}");
    }
}

#[tokio::test]
async fn a_command_that_could_not_be_sent_is_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let peer = Peer::fixed(format!("http://{address}").parse().unwrap(), None);
    let begun = Instant::now();
    let status = call(&peer, WRITE).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(begun.elapsed() >= Duration::from_millis(100), "two waits of at least 50 ms");

    let server = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Server::on(TcpListener::bind(address).await.unwrap(), &["0"])
    };
    let (code, server) = tokio::join!(call(&peer, WRITE), server);
    assert_eq!((code.unwrap(), server.calls()), (Code::Ok, 1));
}

#[tokio::test]
async fn a_call_carries_token_and_deadline() {
    let server = Server::start(&["0"]).await;
    let peer = Peer::fixed(server.uri.clone(), Some("secret".to_owned()));
    for path in [READ, WRITE, WATCH, "/a.B/C"] {
        call(&peer, path).await.unwrap();
    }
    assert_eq!(server.header(0, "authorization").unwrap(), "Bearer secret");
    let milliseconds = |call| {
        let text = server.header(call, "grpc-timeout")?;
        text.strip_suffix('m').unwrap().parse::<u32>().ok()
    };
    assert!((1_500..=2_000).contains(&milliseconds(0).unwrap()));
    assert!((4_500..=5_000).contains(&milliseconds(1).unwrap()));
    assert_eq!(milliseconds(2), None, "a stream has no deadline");
    assert!((4_500..=5_000).contains(&milliseconds(3).unwrap()));
    assert!(!format!("{peer:?}").contains("secret"));

    let without = Peer::fixed(server.uri.clone(), None);
    call(&without, READ).await.unwrap();
    assert_eq!(server.header(4, "authorization"), None);
}

#[tokio::test]
async fn what_is_left_of_a_calls_own_time_goes_downstream_less_what_it_needs_itself() {
    use tower::{Layer as _, service_fn};

    let server = Server::start(&["0"]).await;
    let peer = Peer::fixed(server.uri.clone(), None);
    let handler = service_fn(move |_: Request<Body>| {
        let peer = peer.clone();
        async move {
            call(&peer, WRITE).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            // A stream too: it is a part of the call that asks for it.
            call(&peer, WATCH).await?;
            Ok::<_, Status>(Response::new(Body::empty()))
        }
    });
    let service = deadline::Deadline::grpc(|_| Some(Duration::from_secs(1))).layer(handler);
    service.oneshot(Request::new(Body::empty())).await.unwrap();
    let milliseconds = |call| {
        let text = server.header(call, "grpc-timeout").unwrap();
        text.strip_suffix('m').unwrap().parse::<u32>().unwrap()
    };
    assert!((700..=995).contains(&milliseconds(0)), "{}", milliseconds(0));
    assert!(milliseconds(1) + 95 <= milliseconds(0), "{} {}", milliseconds(0), milliseconds(1));
}

#[tokio::test]
async fn a_peer_that_never_answers_is_given_up_in_time() {
    let server = Server::start(&["never"]).await;
    let begun = Instant::now();
    let status = call(&Peer::fixed(server.uri.clone(), None), READ).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(3) && server.calls() == 1);
}

#[tokio::test]
async fn a_stream_begins_in_time_and_then_has_no_end() {
    let rules = Peer::fixed("http://127.0.0.1:9".parse().unwrap(), None).rules(WATCH);
    assert_eq!(rules.until, None);
    assert!(rules.begins <= Instant::now() + STREAM_HEAD);
    assert!(rules.begins > Instant::now());
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_given_up_in_time() {
    let until = Instant::now() + Duration::from_millis(50);
    let stuck = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<Bytes>, Status>,
    >());
    let mut answer = Answer::new(Body::new(stuck), Some(until), Span::none());
    let status = answer.frame().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn a_peer_without_an_address_is_not_available() {
    let nowhere: PeerPlaces = Arc::new(|| None);
    let peer = Peer::new(Channels::default(), nowhere, TokenSource::None, Arc::default());
    assert_eq!(call(&peer, READ).await.unwrap_err().code(), Code::Unavailable);
}

/// Keeps the spans that have ended.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

#[tokio::test]
async fn a_call_is_a_span_that_the_peer_continues() {
    let server = Server::start(&["5"]).await;
    let peer = Peer::fixed(server.uri.clone(), Some("secret".to_owned()));
    // A span's place in the code that is first passed by a test without a subscriber would stay off for this one too.
    call(&peer, READ).await.unwrap();

    let ended = Ended::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _traced = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let outer = tracing::info_span!("outer");
    assert_eq!(call(&peer, READ).instrument(outer).await.unwrap(), Code::NotFound);

    let spans = ended.0.lock().unwrap().clone();
    let span = spans.iter().find(|span| span.name == READ.trim_start_matches('/')).unwrap();
    let outer = spans.iter().find(|span| span.name == "outer").unwrap();
    assert_eq!((&span.span_kind, span.parent_span_id), (&SpanKind::Client, outer.span_context.span_id()));
    assert_eq!(span.status, SpanStatus::error(""));
    let context = &span.span_context;
    let carried = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    assert_eq!(server.header(1, "traceparent"), Some(carried));
    let attribute = |key: &str| {
        let pair = span.attributes.iter().find(|pair| pair.key.as_str() == key);
        pair.map(|pair| pair.value.to_string()).unwrap_or_default()
    };
    assert_eq!(attribute(semconv::RPC_SYSTEM_NAME), "grpc");
    assert_eq!(attribute(semconv::RPC_METHOD), READ.trim_start_matches('/'));
    assert_eq!(attribute(semconv::RPC_RESPONSE_STATUS_CODE), "NOT_FOUND");
    assert_eq!(attribute(SERVER_ADDRESS), "127.0.0.1");
    assert!(!format!("{spans:?}").contains("secret"));
}

#[test]
fn a_timeout_fits_its_header() {
    for (left, text) in [(0, "1m"), (2_000, "2000m"), (u64::MAX, "86400000m")] {
        assert_eq!(timeout(Duration::from_millis(left)), text);
    }
}
