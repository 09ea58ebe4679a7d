use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use domain::Service;
use url::Url;

use crate::{Network, Secret, peer::Replicas};

const BROKERS: &str = "localhost:19092";
const ISSUER: &str = "http://localhost:8101";
const LOG: &str = "info,sqlx=warn,hyper=warn,h2=warn,tonic=warn,tower=warn,librdkafka=warn,rdkafka=warn";
const CONNECTIONS: u32 = 10;
// A fraction of what a process can bear, so that one client leaves the rest to the others.
const CLIENT_RATE: u32 = 1_000;
const DRAIN_DELAY: &str = "5s";
const DRAIN_HARD: &str = "25s";

/// Settings that every process has. A setting whose value is a secret can be given as a file, by its name with `_FILE`.
#[derive(clap::Args, Debug, Clone)]
pub struct Settings {
    /// Address of the public HTTP listener. Default: 127.0.0.1 with the service's own port, 8101 to 8107; all-in-one 8100.
    #[arg(id = "KOTINOS_HTTP_ADDR", long = "http-addr", env = "KOTINOS_HTTP_ADDR")]
    pub http_addr: Option<SocketAddr>,

    /// Address of the gRPC listener. Default: 127.0.0.1 with the service's own port, 9101 to 9107; all-in-one 9100.
    #[arg(id = "KOTINOS_GRPC_ADDR", long = "grpc-addr", env = "KOTINOS_GRPC_ADDR")]
    pub grpc_addr: Option<SocketAddr>,

    /// Address of the operators' listener: probes and metrics, never for the public. Default: 127.0.0.1 with the service's
    /// own port, 9201 to 9207; all-in-one 9200.
    #[arg(id = "KOTINOS_OPS_ADDR", long = "ops-addr", env = "KOTINOS_OPS_ADDR")]
    pub ops_addr: Option<SocketAddr>,

    /// Kafka brokers, `host:port` with commas between.
    #[arg(id = "KOTINOS_KAFKA_BROKERS", long = "kafka-brokers", env = "KOTINOS_KAFKA_BROKERS", default_value = BROKERS)]
    pub kafka_brokers: String,

    /// How brokers are spoken to. `sasl_ssl` is TLS with SCRAM-SHA-512.
    #[arg(
        id = "KOTINOS_KAFKA_SECURITY",
        long = "kafka-security",
        env = "KOTINOS_KAFKA_SECURITY",
        default_value = "plaintext"
    )]
    pub kafka_security: KafkaSecurity,

    /// User name at the brokers, with `sasl_ssl`.
    #[arg(
        id = "KOTINOS_KAFKA_USERNAME",
        long = "kafka-username",
        env = "KOTINOS_KAFKA_USERNAME",
        hide_env_values = true
    )]
    pub kafka_username: Option<Secret>,

    /// Password at the brokers, with `sasl_ssl`.
    #[arg(
        id = "KOTINOS_KAFKA_PASSWORD",
        long = "kafka-password",
        env = "KOTINOS_KAFKA_PASSWORD",
        hide_env_values = true
    )]
    pub kafka_password: Option<Secret>,

    /// Certificates, in PEM, of the authority that signed the brokers' certificates; the system's when not given.
    #[arg(id = "KOTINOS_KAFKA_CA", long = "kafka-ca", env = "KOTINOS_KAFKA_CA", hide_env_values = true)]
    pub kafka_ca: Option<Secret>,

    /// What topics do at the start: `ensure` creates those that are missing, `verify` stops at a difference.
    #[arg(id = "KOTINOS_TOPICS", long = "topics", env = "KOTINOS_TOPICS", default_value = "ensure")]
    pub topics: Topics,

    /// Prefix of topics and consumer groups; empty in production. Rehearsals and tests keep theirs apart with it.
    #[arg(
        id = "KOTINOS_TOPIC_PREFIX",
        long = "topic-prefix",
        env = "KOTINOS_TOPIC_PREFIX",
        default_value = ""
    )]
    pub topic_prefix: String,

    /// Who issues the tokens that callers show.
    #[command(flatten)]
    pub auth: AuthSettings,

    /// Where the other services answer.
    #[command(flatten)]
    pub peers: PeerSettings,

    /// What migrations do at the start: `run` them, or `check` that somebody did and wait.
    #[arg(id = "KOTINOS_MIGRATE", long = "migrate", env = "KOTINOS_MIGRATE", default_value = "run")]
    pub migrate: Migrate,

    /// Most database connections of one service of this process.
    #[arg(
        id = "KOTINOS_DATABASE_CONNECTIONS",
        long = "database-connections",
        env = "KOTINOS_DATABASE_CONNECTIONS",
        default_value_t = CONNECTIONS,
        value_parser = clap::value_parser!(u32).range(4..=200)
    )]
    pub database_connections: u32,

    /// So long an ending process still takes calls, until everybody knows that it ends: `5s`, `250ms`.
    #[arg(
        id = "KOTINOS_DRAIN_DELAY",
        long = "drain-delay",
        env = "KOTINOS_DRAIN_DELAY",
        default_value = DRAIN_DELAY,
        value_parser = duration
    )]
    pub drain_delay: Duration,

    /// So long an ending process has in all; what is not finished then is dropped.
    #[arg(
        id = "KOTINOS_DRAIN_HARD",
        long = "drain-hard",
        env = "KOTINOS_DRAIN_HARD",
        default_value = DRAIN_HARD,
        value_parser = duration
    )]
    pub drain_hard: Duration,

    /// `host:port` with commas between: private or unencrypted places that outgoing calls may reach, for laptops and tests.
    #[arg(
        id = "KOTINOS_EGRESS_ALLOW",
        long = "egress-allow",
        env = "KOTINOS_EGRESS_ALLOW",
        value_delimiter = ',',
        hide_default_value = true
    )]
    pub egress_allow: Vec<String>,

    /// Networks of proxies, with commas between (`10.0.0.0/8`), whose `X-Forwarded-For` says who calls. Without it every
    /// caller behind a proxy counts as one, and shares one counter of failed sign-ins.
    #[arg(
        id = "KOTINOS_TRUSTED_PROXIES",
        long = "trusted-proxies",
        env = "KOTINOS_TRUSTED_PROXIES",
        value_delimiter = ',',
        hide_default_value = true
    )]
    pub trusted_proxies: Vec<Network>,

    /// Calls a second that one OAuth client may make of a process by gRPC, and of identity's token endpoint and those
    /// beside it, with twice as many at once; 0 is no limit. There a public client, whose name anybody can say, has a tenth
    /// of it from each network. The suite's own services have none: the portal calls for every fan.
    #[arg(
        id = "KOTINOS_CLIENT_RATE",
        long = "client-rate",
        env = "KOTINOS_CLIENT_RATE",
        default_value_t = CLIENT_RATE,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub client_rate: u32,

    /// The same for callers without a token, by address (an IPv6 network of 64 bits counts as one): HTTP requests, and
    /// calls of public methods. No limit by default, since a stadium may have one address, and so have all callers behind a
    /// proxy that KOTINOS_TRUSTED_PROXIES does not name.
    #[arg(
        id = "KOTINOS_ADDRESS_RATE",
        long = "address-rate",
        env = "KOTINOS_ADDRESS_RATE",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub address_rate: u32,

    /// OTLP collector for traces (gRPC), such as http://localhost:4317; without it nothing is traced.
    #[arg(id = "KOTINOS_OTLP_ENDPOINT", long = "otlp-endpoint", env = "KOTINOS_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,

    /// Share of the traces that begin here which are kept: 0 to 1. A caller's decision is followed.
    #[arg(
        id = "KOTINOS_TRACE_RATIO",
        long = "trace-ratio",
        env = "KOTINOS_TRACE_RATIO",
        default_value_t = 1.0
    )]
    pub trace_ratio: f64,

    /// What is logged: levels, by target (tracing-subscriber's EnvFilter).
    #[arg(id = "KOTINOS_LOG", long = "log", env = "KOTINOS_LOG", default_value = LOG)]
    pub log: String,

    /// Threads of the runtime; by default one a core. A container without a CPU limit sees every core of its node.
    #[arg(
        id = "KOTINOS_CPUS",
        long = "cpus",
        env = "KOTINOS_CPUS",
        value_parser = clap::value_parser!(u16).range(1..=512)
    )]
    pub cpus: Option<u16>,
}

/// Who issues the tokens that callers show, and how we get our own.
#[derive(clap::Args, Debug, Clone)]
pub struct AuthSettings {
    /// Identity's issuer: the `iss` of every token.
    #[arg(id = "KOTINOS_AUTH_ISSUER", long = "auth-issuer", env = "KOTINOS_AUTH_ISSUER", default_value = ISSUER)]
    pub issuer: Url,

    /// Where the issuer's keys are fetched; by default at the issuer itself.
    #[arg(id = "KOTINOS_AUTH_JWKS_URL", long = "auth-jwks-url", env = "KOTINOS_AUTH_JWKS_URL")]
    pub jwks_url: Option<Url>,

    /// Directory with the private keys of the services' OAuth clients: `<short name>.pem`, P-256, PKCS#8.
    #[arg(
        id = "KOTINOS_AUTH_CLIENT_KEY_DIR",
        long = "auth-client-key-dir",
        env = "KOTINOS_AUTH_CLIENT_KEY_DIR"
    )]
    pub client_key_dir: Option<PathBuf>,
}

impl AuthSettings {
    /// The issuer as tokens spell it: without a slash at its end.
    #[must_use]
    pub fn issuer_text(&self) -> &str {
        self.issuer.as_str().trim_end_matches('/')
    }
}

/// Addresses of the peers' gRPC listeners. A service of the same process is always its own. A name stands for every
/// address that it has; where replicas have no name in common each is listed, with commas between.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct PeerSettings {
    /// gRPC address of identity. Default: http://localhost:9101; the others follow, in the order of this list.
    #[arg(id = "IDENTITY_GRPC_URL", long = "identity-grpc-url", env = "IDENTITY_GRPC_URL")]
    pub identity: Option<Replicas>,
    /// gRPC address of profile.
    #[arg(id = "PROFILE_GRPC_URL", long = "profile-grpc-url", env = "PROFILE_GRPC_URL")]
    pub profile: Option<Replicas>,
    /// gRPC address of segmentation.
    #[arg(id = "SEGMENTATION_GRPC_URL", long = "segmentation-grpc-url", env = "SEGMENTATION_GRPC_URL")]
    pub segmentation: Option<Replicas>,
    /// gRPC address of mailer.
    #[arg(id = "MAILER_GRPC_URL", long = "mailer-grpc-url", env = "MAILER_GRPC_URL")]
    pub mailer: Option<Replicas>,
    /// gRPC address of crm-sync.
    #[arg(id = "CRMSYNC_GRPC_URL", long = "crmsync-grpc-url", env = "CRMSYNC_GRPC_URL")]
    pub crmsync: Option<Replicas>,
    /// gRPC address of results-feed.
    #[arg(id = "RESULTS_GRPC_URL", long = "results-grpc-url", env = "RESULTS_GRPC_URL")]
    pub results: Option<Replicas>,
    /// gRPC address of the portal.
    #[arg(id = "PORTAL_GRPC_URL", long = "portal-grpc-url", env = "PORTAL_GRPC_URL")]
    pub portal: Option<Replicas>,
}

impl PeerSettings {
    /// Where a service answers.
    pub(crate) fn of(&self, service: Service) -> Option<Replicas> {
        let given = match service {
            Service::Identity => &self.identity,
            Service::Profile => &self.profile,
            Service::Segmentation => &self.segmentation,
            Service::Mailer => &self.mailer,
            Service::CrmSync => &self.crmsync,
            Service::ResultsFeed => &self.results,
            Service::Portal => &self.portal,
            Service::AllInOne => return None,
        };
        given.clone().or_else(|| format!("http://localhost:{}", service.grpc_port()).parse().ok())
    }
}

/// How brokers are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum KafkaSecurity {
    /// Neither TLS nor a password: for a laptop.
    Plaintext,
    /// TLS, and SCRAM-SHA-512.
    SaslSsl,
}

/// What topics do at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Topics {
    /// Create those that are missing.
    Ensure,
    /// Stop at a difference to their declarations.
    Verify,
}

/// What migrations do at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Migrate {
    /// Run them.
    Run,
    /// Wait until somebody has run them.
    Check,
}

impl Default for Settings {
    /// The documented defaults, whatever the environment says.
    fn default() -> Self {
        Self {
            http_addr: None,
            grpc_addr: None,
            ops_addr: None,
            kafka_brokers: BROKERS.to_owned(),
            kafka_security: KafkaSecurity::Plaintext,
            kafka_username: None,
            kafka_password: None,
            kafka_ca: None,
            topics: Topics::Ensure,
            topic_prefix: String::new(),
            auth: AuthSettings {
                #[expect(clippy::expect_used, reason = "a constant, read by a test")]
                issuer: ISSUER.parse().expect("a url"),
                jwks_url: None,
                client_key_dir: None,
            },
            peers: PeerSettings::default(),
            migrate: Migrate::Run,
            database_connections: CONNECTIONS,
            drain_delay: Duration::from_secs(5),
            drain_hard: Duration::from_secs(25),
            egress_allow: Vec::new(),
            trusted_proxies: Vec::new(),
            client_rate: CLIENT_RATE,
            address_rate: 0,
            otlp_endpoint: None,
            trace_ratio: 1.0,
            log: LOG.to_owned(),
            cpus: None,
        }
    }
}

/// `250ms`, `5s` or `2m`; at most an hour.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const RULE: &str = "must be a time such as 250ms, 5s or 2m, at most an hour";
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let number: u64 = digits.parse().map_err(|_| RULE)?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    milliseconds.filter(|time| *time <= 3_600_000).map(Duration::from_millis).ok_or(RULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "-1s", "1h", "99999999999999999999s", "18446744073709551615m", "2 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_issuer_has_no_slash_at_its_end() {
        assert_eq!(Settings::default().auth.issuer_text(), ISSUER);
    }

    #[test]
    fn peers_have_their_ports() {
        let peers = PeerSettings::default();
        assert_eq!(peers.of(Service::CrmSync).unwrap().uris(), ["http://localhost:9105"]);
        assert_eq!(peers.of(Service::AllInOne), None);
    }
}
