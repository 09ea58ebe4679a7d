//! An OTLP receiver over gRPC that keeps every span.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    io,
    net::SocketAddr,
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{DateTime, Utc};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{self as otlp, ResourceSpans, status::StatusCode},
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};

/// Largest export that is taken, in bytes.
const LARGEST: usize = 64 << 20;

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Empty at the root of a trace.
    pub parent_span_id: String,
    /// Its name.
    pub name: String,
    /// Whose side of a call it is.
    pub kind: SpanKind,
    /// `service.name` of the resource.
    pub service: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
    /// Spans that it names without being their child.
    pub links: Vec<SpanLink>,
    /// When it began.
    pub start: DateTime<Utc>,
    /// When it ended.
    pub end: DateTime<Utc>,
    /// The description, when its status is an error.
    pub error: Option<String>,
}

/// Whose side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Nobody's, or not said.
    Internal,
    /// The one who is called.
    Server,
    /// The one who calls.
    Client,
    /// The one who sends and does not wait.
    Producer,
    /// The one who takes what was sent.
    Consumer,
}

/// A span of another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanLink {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
}

/// A running receiver.
#[derive(Debug)]
pub struct SpanCatcher {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    arrived: Notify,
}

struct Receiver(Arc<Shared>);

impl SpanCatcher {
    /// Listens on a free port of this machine.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port for the span catcher")
    }

    /// Listens on an address.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_on(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let receiver =
            TraceServiceServer::new(Receiver(Arc::clone(&shared))).max_decoding_message_size(LARGEST);
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            // Its clients see what is wrong with it.
            let _ =
                Server::builder().add_service(receiver).serve_with_incoming_shutdown(incoming, stopped).await;
        });
        Ok(Self { addr, shared, stop, task })
    }

    /// What an exporter is told: `http://127.0.0.1:4317`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every span so far, in the order of their arrival.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.shared.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans of one trace, in the order of their beginning.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id);
        spans.sort_by_key(|span| span.start);
        spans
    }

    /// What the spans so far give, as soon as they give something.
    ///
    /// # Panics
    /// When the deadline passes, with the names of what came instead.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        deadline: Duration,
        find: impl Fn(&[Span]) -> Option<T>,
    ) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let found = async {
                loop {
                    let arrived = self.shared.arrived.notified();
                    if let Some(found) = find(&self.spans()) {
                        return found;
                    }
                    arrived.await;
                }
            };
            if let Ok(found) = timeout(deadline, found).await {
                return found;
            }
            let mut came: BTreeMap<String, usize> = BTreeMap::new();
            for span in self.spans() {
                *came.entry(format!("{}: {}", span.service, span.name)).or_default() += 1;
            }
            panic!("no such spans within {deadline:?}, asked at {caller}; what came: {came:?}")
        }
    }

    /// A trace for people: a line a span, indented below its parent, in the order of their beginning.
    #[must_use]
    pub fn tree(&self, trace_id: &str) -> String {
        tree(&self.trace(trace_id))
    }

    /// Closes the port.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for SpanCatcher {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let came: Vec<Span> = request.into_inner().resource_spans.into_iter().flat_map(spans_of).collect();
        self.0.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(came);
        self.0.arrived.notify_waiters();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn spans_of(of: ResourceSpans) -> Vec<Span> {
    let resource = attributes(of.resource.map(|resource| resource.attributes).unwrap_or_default());
    let service = resource.get("service.name").cloned().unwrap_or_default();
    of.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| read(span, &service)).collect()
}

fn read(span: otlp::Span, service: &str) -> Span {
    let kind = match span.kind() {
        otlp::span::SpanKind::Unspecified | otlp::span::SpanKind::Internal => SpanKind::Internal,
        otlp::span::SpanKind::Server => SpanKind::Server,
        otlp::span::SpanKind::Client => SpanKind::Client,
        otlp::span::SpanKind::Producer => SpanKind::Producer,
        otlp::span::SpanKind::Consumer => SpanKind::Consumer,
    };
    let link =
        |link: &otlp::span::Link| SpanLink { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id) };
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        kind,
        service: service.to_owned(),
        links: span.links.iter().map(link).collect(),
        start: time(span.start_time_unix_nano),
        end: time(span.end_time_unix_nano),
        error: span.status.filter(|status| status.code() == StatusCode::Error).map(|status| status.message),
        name: span.name,
        attributes: attributes(span.attributes),
    }
}

fn attributes(held: Vec<KeyValue>) -> BTreeMap<String, String> {
    held.into_iter().map(|held| (held.key, held.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    let list = |values: Vec<String>| format!("[{}]", values.join(", "));
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::BytesValue(bytes)) => hex(&bytes),
        Some(Value::ArrayValue(values)) => list(values.values.into_iter().map(text).collect()),
        Some(Value::KvlistValue(values)) => {
            let values = attributes(values.values);
            list(values.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
        }
        // Of profiles, which nobody sends us.
        Some(Value::StringValueStrindex(_)) | None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string has no way to fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn time(nanoseconds: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
}

fn tree(spans: &[Span]) -> String {
    let ids: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        // One whose parent did not arrive stands at the left.
        let parent = span.parent_span_id.as_str();
        children.entry(if ids.contains(parent) { parent } else { "" }).or_default().push(span);
    }
    let mut lines = String::new();
    let mut waiting: Vec<(usize, &Span)> = roots(&children, "", 0);
    let mut printed: HashSet<&str> = HashSet::new();
    while let Some((depth, span)) = waiting.pop() {
        if printed.insert(&span.span_id) {
            line(&mut lines, depth, span);
            waiting.extend(roots(&children, &span.span_id, depth + 1));
        }
    }
    lines
}

// Last first, as a stack wants them.
fn roots<'a>(children: &HashMap<&str, Vec<&'a Span>>, parent: &str, depth: usize) -> Vec<(usize, &'a Span)> {
    children.get(parent).into_iter().flatten().rev().map(|span| (depth, *span)).collect()
}

fn line(lines: &mut String, depth: usize, span: &Span) {
    let kind = match span.kind {
        SpanKind::Internal => "",
        SpanKind::Server => "server ",
        SpanKind::Client => "client ",
        SpanKind::Producer => "producer ",
        SpanKind::Consumer => "consumer ",
    };
    let took = (span.end - span.start).num_microseconds().unwrap_or(i64::MAX);
    let (whole, tenth) = (took / 1_000, took % 1_000 / 100);
    let error = span.error.as_ref().map(|error| format!(" ERROR {error}")).unwrap_or_default();
    let (name, service, indent) = (&span.name, &span.service, depth * 2);
    let _ = writeln!(lines, "{:indent$}{name} ({kind}{service}, {whole}.{tenth} ms){error}", "");
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::trace_service_client::TraceServiceClient, resource::v1::Resource,
        trace::v1::ScopeSpans,
    };

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn span(id: u8, parent: u8, name: &str, start: u64) -> otlp::Span {
        let id_of = |id: u8| if id == 0 { Vec::new() } else { vec![id; 8] };
        otlp::Span {
            trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
            span_id: id_of(id),
            parent_span_id: id_of(parent),
            name: name.to_owned(),
            kind: otlp::span::SpanKind::Server.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1_250_000,
            attributes: vec![attribute("rpc.method", Value::StringValue("Get".to_owned()))],
            links: vec![otlp::span::Link {
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
    }

    fn export(service: &str, spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
        let resource = Resource {
            attributes: vec![attribute("service.name", Value::StringValue(service.to_owned()))],
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let of = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
        ExportTraceServiceRequest { resource_spans: vec![of] }
    }

    #[tokio::test]
    async fn spans_of_several_services_make_one_tree() {
        let catcher = SpanCatcher::start().await;
        let mut client = TraceServiceClient::connect(catcher.endpoint()).await.unwrap();
        let failed = otlp::Status { message: "no".to_owned(), code: StatusCode::Error.into() };
        let second = otlp::Span { status: Some(failed), ..span(3, 1, "second", 3_000_000) };
        client.export(export("profile", vec![span(2, 1, "first", 2_000_000), second])).await.unwrap();
        client.export(export("portal", vec![span(1, 0, "GET /", 1_000_000)])).await.unwrap();
        let found = catcher
            .wait_for(Duration::from_secs(5), |spans| (spans.len() == 3).then(|| spans.to_vec()))
            .await;
        assert_eq!(found[0].attributes["rpc.method"], "Get");
        assert_eq!(found[0].links, [SpanLink { trace_id: "01".repeat(16), span_id: "02".repeat(8) }]);
        assert_eq!(catcher.trace(TRACE).len(), 3);
        assert_eq!(
            catcher.tree(TRACE),
            "GET / (server portal, 1.2 ms)\n  first (server profile, 1.2 ms)\n  second (server profile, 1.2 ms) ERROR no\n"
        );
        assert_eq!(catcher.tree("another"), "");
        catcher.stop().await;
    }

    #[tokio::test]
    #[should_panic(expected = "what came: {}")]
    async fn what_does_not_come_fails_the_test_with_what_did() {
        SpanCatcher::start().await.wait_for(Duration::from_millis(50), |_| None::<()>).await;
    }

    #[test]
    fn an_orphan_stands_at_the_left_and_a_circle_ends() {
        let spans: Vec<Span> =
            [span(2, 9, "orphan", 1), span(3, 3, "circle", 2)].map(|span| read(span, "s")).into();
        assert_eq!(tree(&spans), "orphan (server s, 1.2 ms)\n");
    }
}
