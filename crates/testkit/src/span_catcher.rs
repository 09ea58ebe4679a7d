//! An OTLP receiver over gRPC that keeps every span.

mod tree;

use std::{
    collections::BTreeMap,
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
    /// `service.instance.id` of the resource: another one for each start of a process.
    pub instance: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
    /// What happened on the way: names, and values as text.
    pub events: Vec<(String, BTreeMap<String, String>)>,
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
        self.look(<[Span]>::to_vec)
    }

    /// What the spans so far give, without a copy of them. Nothing arrives meanwhile, so it must not ask the catcher again.
    pub fn look<T>(&self, look: impl FnOnce(&[Span]) -> T) -> T {
        look(&self.shared.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The spans of one trace, in the order of their beginning.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        let of_it = |spans: &[Span]| spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect();
        let mut spans: Vec<Span> = self.look(of_it);
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
                    if let Some(found) = self.look(&find) {
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
        tree::tree(&self.trace(trace_id))
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
    of.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|span| read(span, &resource)).collect()
}

fn read(span: otlp::Span, resource: &BTreeMap<String, String>) -> Span {
    let of_resource = |name: &str| resource.get(name).cloned().unwrap_or_default();
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
        service: of_resource("service.name"),
        instance: of_resource("service.instance.id"),
        events: span.events.into_iter().map(|event| (event.name, attributes(event.attributes))).collect(),
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

#[cfg(test)]
mod tests;
