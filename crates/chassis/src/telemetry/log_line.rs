use std::{fmt, io::Write as _};

use chrono::SecondsFormat;
use domain::{Clock, Service};
use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context};

/// Crates whose fields are all written, since their values obey our rule on personal data.
const OWN: [&str; 14] = [
    "all_in_one",
    "chassis",
    "crm_sync",
    "domain",
    "e2e",
    "identity",
    "mailer",
    "outbox",
    "portal",
    "profile",
    "results_feed",
    "salesforce_simulator",
    "segmentation",
    "testkit",
];
/// What other crates may say beside their text: a statement's verb and table, times and numbers.
const HARMLESS: [&str; 4] = ["summary", "elapsed", "elapsed_secs", "rows_affected"];
/// Members of every line, which no field may take.
const MEMBERS: [&str; 7] = ["time", "level", "service", "target", "message", "trace_id", "span_id"];

/// Writes an event as a line of JSON: `time` (RFC 3339), `level`, `service`, `target`, `message`, the ids of the trace it
/// belongs to, and its fields. The fields of spans are not repeated in their events.
pub(super) struct LogLines<W> {
    service: Service,
    writer: W,
}

impl<W> LogLines<W> {
    pub(super) const fn new(service: Service, writer: W) -> Self {
        Self { service, writer }
    }

    fn line(&self, event: &Event<'_>) -> String {
        let target = event.metadata().target();
        let root = target.split("::").next().unwrap_or_default();
        let mut fields = Fields { own: OWN.contains(&root), message: String::new(), others: Map::new() };
        event.record(&mut fields);
        let mut line = format!(
            r#"{{"time":"{}","level":"{}","service":"{}","target":{},"message":{}"#,
            Clock::system().now().to_rfc3339_opts(SecondsFormat::Micros, true),
            event.metadata().level(),
            self.service.name(),
            Value::from(target),
            Value::from(fields.message),
        );
        // The thread's context and not the span's: asking the subscriber from within an event would lock it twice.
        let (trace, span) = opentelemetry::Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            (span.is_valid().then(|| span.trace_id()), span.span_id())
        });
        if let Some(trace) = trace {
            line.push_str(&format!(r#","trace_id":"{trace}","span_id":"{span}""#));
        }
        for (name, value) in fields.others {
            line.push_str(&format!(",{}:{value}", Value::from(name)));
        }
        line.push_str("}\n");
        line
    }
}

impl<S: Subscriber, W: for<'a> MakeWriter<'a> + 'static> Layer<S> for LogLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // One write a line, so that lines of threads do not mix. There is nobody to tell when it fails.
        let _ = self.writer.make_writer().write_all(self.line(event).as_bytes());
    }
}

struct Fields {
    own: bool,
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if self.own || HARMLESS.contains(&name) {
            let name = if MEMBERS.contains(&name) { format!("event.{name}") } else { name.to_owned() };
            self.others.insert(name, value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let lines = LogLines::new(Service::CrmSync, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans).with(lines), log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_says_who_and_in_which_trace() {
        let lines = lines(|| {
            let span = tracing::info_span!("sync", secret = "of the span");
            span.in_scope(|| tracing::warn!(destination = "crm \"one\"", rows = 3, "a destination is away"));
            tracing::info!("ready");
        });
        let line = &lines[0];
        assert_eq!(line["message"], "a destination is away");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["service"], "crm-sync");
        assert_eq!(line["destination"], "crm \"one\"");
        assert_eq!(line["rows"], 3);
        assert_eq!(line["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        assert!(!line.to_string().contains("of the span"));
        assert_eq!(lines[1].get("trace_id"), None);
    }

    #[test]
    fn other_crates_say_their_text_and_harmless_fields() {
        let lines = lines(|| {
            let person = "alice@example.org";
            tracing::warn!(target: "sqlx::query", { db.statement = person, elapsed_secs = 1.5 }, "slow statement");
            tracing::info!(service = "mailer", "a field of a member's name");
        });
        assert_eq!(lines[0]["message"], "slow statement");
        assert_eq!(lines[0]["elapsed_secs"], 1.5);
        assert!(!lines[0].to_string().contains("alice"));
        assert_eq!(lines[1]["service"], "crm-sync");
        assert_eq!(lines[1]["event.service"], "mailer");
    }

    #[test]
    fn every_service_is_our_own() {
        for service in Service::ALL.into_iter().chain([Service::AllInOne]) {
            assert!(OWN.contains(&service.name().replace('-', "_").as_str()), "{service}");
        }
    }
}
