use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text},
    metrics::{
        counter::{ConstCounter, Counter},
        exemplar::HistogramWithExemplars,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Metric, Registry},
};

use crate::semconv;

/// Upper bounds in seconds. The conventions begin at 5 ms, which says nothing of calls that take 2.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What an exemplar says: the trace to look at.
type Exemplar = [(&'static str, String); 1];
type Histogram = HistogramWithExemplars<Exemplar>;
type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// The figures of a process, as operators scrape them. Clones share everything.
///
/// Every label's values must be few and known before: a service, a consumer, a route; never an id, never a value that a
/// caller chooses, never anything personal.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    registry: Mutex<Registry>,
    // Apart from the registry, which is locked while a scrape is written.
    gauges: RwLock<HashMap<&'static str, Gauges>>,
    counters: RwLock<HashMap<&'static str, Counters>>,
    rpc_calls: Family<RpcLabels, Histogram, fn() -> Histogram>,
    http_requests: Family<HttpLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    rpc_method: Arc<str>,
    rpc_response_status_code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    http_request_method: &'static str,
    http_route: Arc<str>,
    http_response_status_code: u16,
}

impl Metrics {
    /// The media type of [`Metrics::encode`]; exemplars exist in this one only.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Figures of calls and of the process itself, and room for more.
    #[must_use]
    pub fn new() -> Self {
        let rpc_calls = Family::new_with_constructor(histogram as fn() -> Histogram);
        let http_requests = Family::new_with_constructor(histogram as fn() -> Histogram);
        let mut registry = Registry::default();
        registry.register(semconv::RPC_SERVER_CALL_DURATION, "Time of gRPC calls", rpc_calls.clone());
        registry.register(
            semconv::HTTP_SERVER_REQUEST_DURATION,
            "Time of HTTP requests",
            http_requests.clone(),
        );
        registry.register_collector(Box::new(OwnProcess));
        Self(Arc::new(Figures {
            registry: Mutex::new(registry),
            gauges: RwLock::default(),
            counters: RwLock::default(),
            rpc_calls,
            http_requests,
        }))
    }

    /// Registers figures of one's own. A name may be registered once in a process: services that share it use
    /// [`Metrics::set`] and [`Metrics::add`].
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sets a gauge. The first use of a name registers it.
    pub fn set(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let gauges = self.family(&self.0.gauges, name, help);
        gauges.get_or_create(&owned(labels)).set(value);
    }

    /// Raises a counter, whose name the scrape ends with `_total`. The first use of a name registers it; raising it by 0
    /// makes it visible before anything happened.
    pub fn add(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], by: u64) {
        let counters = self.family(&self.0.counters, name, help);
        counters.get_or_create(&owned(labels)).inc_by(by);
    }

    fn family<T: Metric + Default + Clone>(
        &self,
        families: &RwLock<HashMap<&'static str, T>>,
        name: &'static str,
        help: &'static str,
    ) -> T {
        if let Some(family) = families.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return family.clone();
        }
        let mut families = families.write().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| {
            let family = T::default();
            self.register(|registry| registry.register(name, help, family.clone()));
            family
        });
        family.clone()
    }

    /// Takes in a gRPC call that has ended.
    pub(crate) fn rpc_call(
        &self,
        method: Arc<str>,
        code: tonic::Code,
        took: Duration,
        trace_id: Option<String>,
    ) {
        let labels = RpcLabels { rpc_method: method, rpc_response_status_code: semconv::grpc_code(code) };
        let exemplar = trace_id.map(|trace_id| [("trace_id", trace_id)]);
        self.0.rpc_calls.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }

    /// Takes in an HTTP request that has been answered.
    pub(crate) fn http_request(
        &self,
        method: &'static str,
        route: Arc<str>,
        status: u16,
        took: Duration,
        trace_id: Option<String>,
    ) {
        let labels =
            HttpLabels { http_request_method: method, http_route: route, http_response_status_code: status };
        let exemplar = trace_id.map(|trace_id| [("trace_id", trace_id)]);
        self.0.http_requests.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }

    /// Everything, in the text format of OpenMetrics 1.0.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // A string takes everything; only an encoder of somebody's own can fail.
        if text::encode(&mut text, &registry).is_err() {
            tracing::error!("figures cannot be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS.into_iter())
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// What the kernel tells of this process, read at each scrape (proc(5)). Absent where there is no `/proc`.
#[derive(Debug)]
struct OwnProcess;

impl Collector for OwnProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes())?;
        gauge("process_open_fds", "Open file descriptors.", open_files())?;
        gauge("process_start_time_seconds", "Start of the process since the Unix epoch.", start_time())?;
        if let Some(seconds) = processor_time() {
            let counter = ConstCounter::new(seconds);
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                "Processor time.",
                None,
                counter.metric_type(),
            )?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// The kernel counts times for user space in hundredths of a second, whatever its own clock is (USER_HZ).
const TICKS: f64 = 100.0;

// VmRSS and not /proc/self/statm: that counts pages, whose size std does not tell.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let entries = u32::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    // The listing itself is one.
    Some(f64::from(entries.saturating_sub(1)))
}

/// How many files this process may have open; none where there is no `/proc`, or no limit.
pub(crate) fn most_open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn start_time() -> Option<f64> {
    // The boot time is a whole second, and reading it costs more: once.
    static START: AtomicU64 = AtomicU64::new(0);
    let known = f64::from_bits(START.load(Ordering::Relaxed));
    if known > 0.0 {
        return Some(known);
    }
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let start = boot + own_stat(22)? / TICKS;
    START.store(start.to_bits(), Ordering::Relaxed);
    Some(start)
}

fn processor_time() -> Option<f64> {
    Some((own_stat(14)? + own_stat(15)?) / TICKS)
}

// A field of /proc/self/stat, counted from 1. The second one, the name, may hold spaces and brackets.
fn own_stat(field: usize) -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_leaves_its_trace_in_the_histogram() {
        let metrics = Metrics::new();
        let trace = "0af7651916cd43dd8448eb211c80319c".to_owned();
        let method: Arc<str> = "kotinos.profile.v1.ProfileService/GetProfile".into();
        metrics.rpc_call(Arc::clone(&method), tonic::Code::Ok, Duration::from_millis(3), Some(trace.clone()));
        metrics.rpc_call(method, tonic::Code::NotFound, Duration::from_secs(60), None);
        metrics.http_request("GET", "/readyz".into(), 200, Duration::from_millis(700), Some(trace));
        let text = metrics.encode();
        for line in [
            "rpc_server_call_duration_seconds_bucket{le=\"0.005\",rpc_method=\"kotinos.profile.v1.ProfileService/\
             GetProfile\",rpc_response_status_code=\"OK\"} 1 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.003",
            "rpc_server_call_duration_seconds_count{rpc_method=\"kotinos.profile.v1.ProfileService/GetProfile\",\
             rpc_response_status_code=\"NOT_FOUND\"} 1",
            "http_server_request_duration_seconds_bucket{le=\"1.0\",http_request_method=\"GET\",\
             http_route=\"/readyz\",http_response_status_code=\"200\"} 1 # {trace_id=\"",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_services_of_a_process_share_a_name() {
        let metrics = Metrics::new();
        for service in ["profile", "mailer"] {
            metrics.set("outbox_unsent_rows", "Rows", &[("service", service)], 2.0);
            metrics.add("outbox_published_rows", "Rows", &[("service", service)], 3);
        }
        metrics.add("outbox_published_rows", "Rows", &[("service", "mailer")], 1);
        let text = metrics.encode();
        assert_eq!(text.matches("# TYPE outbox_unsent_rows gauge").count(), 1, "{text}");
        assert!(text.contains("outbox_unsent_rows{service=\"profile\"} 2.0"), "{text}");
        assert!(text.contains("outbox_published_rows_total{service=\"mailer\"} 4"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_shows_its_memory_files_and_start() {
        let text = Metrics::new().encode();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
            "process_cpu_seconds_total",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{name}\n{text}"));
            assert!(value.trim().parse::<f64>().unwrap() >= 0.0, "{name}{value}");
        }
    }

    #[test]
    fn figures_of_ones_own_are_written_too() {
        let metrics = Metrics::new();
        let gauge = Gauge::<i64>::default();
        metrics.register(|registry| registry.register("feed_subscribers", "Open feeds", gauge.clone()));
        gauge.set(8);
        assert!(metrics.encode().contains("feed_subscribers 8\n"));
    }
}
