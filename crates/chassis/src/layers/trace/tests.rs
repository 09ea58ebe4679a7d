use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use axum::{Router, routing::get};
use http_body_util::BodyExt as _;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tower::{ServiceExt as _, service_fn};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Keeps the spans that have ended.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

impl Ended {
    fn traced() -> (Self, tracing::subscriber::DefaultGuard) {
        let ended = Self::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (ended, guard)
    }

    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

fn call(path: &str) -> Request<()> {
    Request::builder().uri(path).header("traceparent", PARENT).body(()).unwrap()
}

fn grpc(metrics: &Metrics) -> GrpcTrace {
    let is_known = |path: &str| path == "/kotinos.profile.v1.ProfileService/GetProfile";
    GrpcTrace::new(is_known, metrics)
}

#[tokio::test]
async fn a_call_continues_the_trace_of_its_caller() {
    let (ended, _traced) = Ended::traced();
    let metrics = Metrics::new();
    let service = grpc(&metrics).layer(service_fn(async |_: Request<()>| {
        tracing::info_span!("db.profile.load").in_scope(|| {});
        Ok::<_, Infallible>(tonic::Status::not_found("").into_http::<tonic::body::Body>())
    }));
    service.oneshot(call("/kotinos.profile.v1.ProfileService/GetProfile")).await.unwrap();

    let spans = ended.spans();
    let [inner, span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(span.name, "kotinos.profile.v1.ProfileService/GetProfile");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(inner.parent_span_id, span.span_context.span_id());
    assert_eq!(attribute(span, semconv::SERVICE).as_deref(), Some("profile"));
    assert_eq!(attribute(span, semconv::RPC_SYSTEM_NAME).as_deref(), Some("grpc"));
    assert_eq!(attribute(span, semconv::RPC_METHOD).as_deref(), Some(&*span.name));
    assert_eq!(attribute(span, semconv::RPC_RESPONSE_STATUS_CODE).as_deref(), Some("NOT_FOUND"));
    assert_eq!(span.status, Status::Unset, "a caller's mistake is no failure of ours");
    let text = metrics.encode();
    assert!(text.contains(&format!("{{trace_id=\"{TRACE}\"}}")), "{text}");
}

#[tokio::test]
async fn a_span_ends_with_the_trailers_of_its_stream() {
    let (ended, _traced) = Ended::traced();
    let metrics = Metrics::new();
    let service = grpc(&metrics).layer(service_fn(async |_: Request<()>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "13".parse().unwrap());
        let frames = [
            Ok::<_, tonic::Status>(http_body::Frame::data(bytes::Bytes::from_static(b"a message"))),
            Ok(http_body::Frame::trailers(trailers)),
        ];
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        Ok::<_, Infallible>(Response::new(tonic::body::Body::new(body)))
    }));
    let mut body =
        service.oneshot(call("/kotinos.profile.v1.ProfileService/GetProfile")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(ended.spans(), [], "the call goes on");
    body.frame().await.unwrap().unwrap();
    drop(body);
    let span = ended.spans().pop().unwrap();
    assert_eq!(span.status, Status::error(""));
    assert_eq!(attribute(&span, semconv::ERROR_TYPE).as_deref(), Some("INTERNAL"));
    assert!(metrics.encode().contains("rpc_response_status_code=\"INTERNAL\""));
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let metrics = Metrics::new();
    let service = grpc(&metrics).layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<tonic::body::Body>, Infallible>>()
    }));
    let mut answer = service.oneshot(call("/kotinos.profile.v1.ProfileService/GetProfile"));
    assert!(futures::poll!(&mut answer).is_pending());
    drop(answer);
    assert!(metrics.encode().contains("rpc_response_status_code=\"CANCELLED\""));
}

#[tokio::test]
async fn made_up_methods_share_one_name() {
    let (ended, _traced) = Ended::traced();
    let metrics = Metrics::new();
    let service = grpc(&metrics).layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(tonic::Status::unimplemented("").into_http::<tonic::body::Body>())
    }));
    for path in ["/alice@example.org/A", "/kotinos.profile.v1.ProfileService/Alice"] {
        service.clone().oneshot(call(path)).await.unwrap();
    }
    let names: Vec<_> = ended.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["unknown", "unknown"]);
    let text = metrics.encode();
    assert!(text.contains("rpc_server_call_duration_seconds_count{rpc_method=\"unknown\""), "{text}");
    assert!(!format!("{text}{:?}", ended.spans()).to_lowercase().contains("alice"));
}

#[tokio::test]
async fn a_request_is_named_by_its_route_alone() {
    let (ended, _traced) = Ended::traced();
    let metrics = Metrics::new();
    let mailer = Router::new().route("/mail/{address}", get(async || http::StatusCode::BAD_GATEWAY));
    let app = Router::new()
        .merge(crate::layers::of_service(domain::Service::Mailer, mailer))
        .layer(HttpTrace::new(&metrics));
    for path in ["/mail/alice@example.org?name=Alice", "/alice"] {
        let request = Request::builder().uri(path).header("traceparent", PARENT);
        let answer = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let spans = ended.spans();
    let [matched, unmatched] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(matched.name, "GET /mail/{address}");
    assert_eq!(matched.span_context.trace_id().to_string(), TRACE);
    assert_eq!(attribute(matched, semconv::HTTP_RESPONSE_STATUS_CODE).as_deref(), Some("502"));
    assert_eq!(attribute(matched, semconv::SERVICE).as_deref(), Some("mailer"));
    assert_eq!(matched.status, Status::error(""));
    assert_eq!(unmatched.name, "GET");
    assert_eq!(unmatched.status, Status::Unset);
    let text = metrics.encode();
    assert!(text.contains("http_route=\"/mail/{address}\",http_response_status_code=\"502\""), "{text}");
    assert!(text.contains("http_route=\"unmatched\",http_response_status_code=\"404\""), "{text}");
    assert!(!format!("{text}{spans:?}").to_lowercase().contains("alice"));
}
