//! Logs and traces of the process. Neither holds personal data: `Pii` is no value of a field, requests are named by their
//! route or method, and of other crates' log lines only the text and a few harmless fields are kept.

mod export;
mod log_line;

use std::{io::IsTerminal as _, time::Duration};

use domain::Service;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::sync::oneshot;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::{export::Reporting, log_line::LogLines};
use crate::{Settings, StartError};

/// So long the last spans have to reach the collector.
const FLUSH: Duration = Duration::from_secs(5);
const EXPORT: Duration = Duration::from_secs(5);
/// Spans that wait for the next export; what comes on top is lost. A span is about 1 KB.
const QUEUE: usize = 8_192;
const EXPORT_EACH: Duration = Duration::from_secs(1);

/// Crates below ours whose spans would be traces of the exporter's own calls, or noise under ours.
const SILENT: [&str; 7] = ["h2", "hyper", "tonic", "opentelemetry", "tower", "reqwest", "rustls"];

/// The guard of logs and traces.
pub(crate) struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Begins logs on standard error and, with a collector, traces. Once in a process, in its runtime: the exporter's
    /// connection lives there. The collector may be away.
    ///
    /// # Errors
    /// A setting that cannot be read, or somebody else has begun already.
    pub(crate) fn start(service: Service, settings: &Settings) -> Result<Self, StartError> {
        let filter = EnvFilter::try_new(&settings.log).map_err(|error| format!("KOTINOS_LOG: {error}"))?;
        let provider = provider(service, settings)?;
        let terminal = std::io::stderr().is_terminal();
        let lines = if terminal {
            tracing_subscriber::fmt::layer().compact().with_ansi(false).with_writer(std::io::stderr).boxed()
        } else {
            LogLines::new(service, std::io::stderr).boxed()
        };
        // Each with a filter of its own: fewer logs must not mean fewer spans.
        tracing_subscriber::registry().with(spans(&provider)).with(lines.with_filter(filter)).try_init()?;
        if !terminal {
            std::panic::set_hook(Box::new(log_panic));
        }
        Ok(Self { provider })
    }

    /// Sends the last spans, for 5 seconds at most. On a thread of its own: the flush blocks its thread, and the exporter
    /// needs the runtime's meanwhile.
    pub(crate) async fn stop(self) {
        let (sender, flushed) = oneshot::channel();
        let flush = move || {
            // Nobody waits any more when the time was up.
            let _ = sender.send(self.provider.shutdown_with_timeout(FLUSH));
        };
        if let Err(error) = std::thread::Builder::new().name("telemetry-flush".to_owned()).spawn(flush) {
            tracing::warn!(%error, "the last spans are not sent");
            return;
        }
        match tokio::time::timeout(FLUSH, flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans are lost"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last spans are lost, the collector does not answer"),
        }
    }
}

fn spans<S: Subscriber + for<'a> LookupSpan<'a>>(provider: &SdkTracerProvider) -> impl Layer<S> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        // The place in the code is in the span's name; threads mean nothing in a runtime.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_traced))
}

fn provider(service: Service, settings: &Settings) -> Result<SdkTracerProvider, StartError> {
    // With what a site says in OTEL_RESOURCE_ATTRIBUTES.
    let resource = Resource::builder()
        .with_service_name(service.name())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", domain::new_id().to_string()))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else {
        // Ids are made all the same: logs of one call are found by them, and a caller's trace goes on behind us.
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    };
    if !(0.0..=1.0).contains(&settings.trace_ratio) {
        return Err("KOTINOS_TRACE_RATIO: must be from 0 to 1".into());
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.as_str())
        .with_timeout(EXPORT)
        .build()
        .map_err(|error| format!("KOTINOS_OTLP_ENDPOINT: {error}"))?;
    let config =
        BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(EXPORT_EACH).build();
    let batches = BatchSpanProcessor::builder(Reporting::new(exporter)).with_batch_config(config).build();
    Ok(builder
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_ratio))))
        .with_span_processor(batches)
        .build())
}

// Log lines are not repeated in spans: they have an order and a filter of their own, and carry the trace's id.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    let is_silent = SILENT
        .iter()
        .any(|silent| root.strip_prefix(silent).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')));
    metadata.is_span() && *metadata.level() <= Level::INFO && !is_silent
}

// The place, and the text only if the code has it word for word: a formatted one may hold a value.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, text, thread = thread.name(), "a panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&str>) -> Settings {
        Settings { otlp_endpoint: endpoint.map(|url| url.parse().unwrap()), ..Settings::default() }
    }

    #[test]
    fn ids_are_made_without_a_collector() {
        use opentelemetry::trace::{Span as _, Tracer as _};

        let provider = provider(Service::Profile, &settings(None)).unwrap();
        let span = provider.tracer("test").start("db.profile.load");
        assert!(span.span_context().is_valid());
        assert!(!span.span_context().is_sampled());
    }

    #[tokio::test]
    async fn a_collector_that_is_away_holds_up_neither_start_nor_end() {
        use opentelemetry::trace::{Span as _, Tracer as _};

        // Port 1 is nobody's.
        let provider = provider(Service::Profile, &settings(Some("http://127.0.0.1:1"))).unwrap();
        let mut span = provider.tracer("test").start("db.profile.load");
        assert!(span.span_context().is_sampled());
        span.end();
        let began = std::time::Instant::now();
        Telemetry { provider }.stop().await;
        assert!(began.elapsed() < FLUSH + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn settings_that_cannot_be_are_named() {
        let mut wrong = settings(Some("http://127.0.0.1:1"));
        wrong.trace_ratio = 1.5;
        assert!(
            provider(Service::Profile, &wrong).unwrap_err().to_string().starts_with("KOTINOS_TRACE_RATIO")
        );
        let tls = settings(Some("https://collector:4317"));
        assert!(
            provider(Service::Profile, &tls).unwrap_err().to_string().starts_with("KOTINOS_OTLP_ENDPOINT")
        );
    }

    #[test]
    fn fewer_logs_do_not_mean_fewer_spans() {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;

        let provider = provider(Service::Profile, &settings(None)).unwrap();
        let lines = LogLines::new(Service::Profile, std::io::sink).boxed();
        let subscriber = tracing_subscriber::registry()
            .with(spans(&provider))
            .with(lines.with_filter(EnvFilter::new("error")));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("update");
            assert!(span.set_parent(opentelemetry::Context::new()).is_ok());
            let _entered = span.enter();
            tracing::error!("a line that looks for its trace");
            assert!(span.context().span().span_context().is_valid());
        });
    }

    #[test]
    fn spans_of_the_exporters_own_calls_are_not_traced() {
        use std::sync::{Arc, Mutex};

        struct Seen(Arc<Mutex<Vec<&'static str>>>);
        impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Seen {
            fn on_new_span(
                &self,
                span: &tracing::span::Attributes<'_>,
                _: &tracing::Id,
                _: tracing_subscriber::layer::Context<'_, S>,
            ) {
                self.0.lock().unwrap().push(span.metadata().target());
            }
        }

        let seen = Arc::new(Mutex::new(Vec::new()));
        let layer = Seen(Arc::clone(&seen)).with_filter(filter_fn(is_traced));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _ = tracing::info_span!(target: "h2::client", "poll");
            let _ = tracing::info_span!(target: "hyper_util", "connect");
            let _ = tracing::info_span!(target: "opentelemetry_sdk::trace", "export");
            let _ = tracing::info_span!(target: "towering", "no crate of those");
            let _ = tracing::debug_span!(target: "profile::app", "detail");
            let _ = tracing::info_span!(target: "profile::app", "update");
        });
        assert_eq!(*seen.lock().unwrap(), ["towering", "profile::app"]);
    }
}
