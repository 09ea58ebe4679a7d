use chassis::Secret;
use url::Url;

/// Settings of results-feed.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `results`.
    #[arg(
        id = "RESULTS_DATABASE_URL",
        long = "results-database-url",
        env = "RESULTS_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,
    /// CompetitionCode of the documents that are taken; its streams are `<code>-P` and `<code>-T`.
    #[arg(
        id = "RESULTS_COMPETITION",
        long = "results-competition",
        env = "RESULTS_COMPETITION",
        default_value = "SYN2030"
    )]
    pub competition: String,
    /// Pepper of the publisher keys, and what the keys of delivery targets are sealed with: what is stored of either is
    /// useless without it. The default is for a laptop.
    #[arg(
        id = "RESULTS_PEPPER",
        long = "results-pepper",
        env = "RESULTS_PEPPER",
        default_value = LAPTOP_PEPPER,
        hide_env_values = true,
        hide_default_value = true
    )]
    pub pepper: Secret,
    /// Most feed connections at a time; more are answered 503 with Retry-After. Never more than the open files that the
    /// process is allowed, less 1,000.
    #[arg(
        id = "RESULTS_MAX_CONNECTIONS",
        long = "results-max-connections",
        env = "RESULTS_MAX_CONNECTIONS",
        default_value_t = 20_000
    )]
    pub max_connections: usize,
    /// Milliseconds after which a delivery target that did not take a document is given it again (ODF Foundation
    /// Principles 8.2: 5 s).
    #[arg(
        id = "RESULTS_DELIVERY_RETRY_MS",
        long = "results-delivery-retry-ms",
        env = "RESULTS_DELIVERY_RETRY_MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub delivery_retry_ms: u64,
    /// Where browsers reach results-feed: the origin of the desk's pages and of its redirect URI,
    /// `<url>/results/cis/callback`.
    #[arg(
        id = "RESULTS_PUBLIC_URL",
        long = "results-public-url",
        env = "RESULTS_PUBLIC_URL",
        default_value = "http://localhost:8106"
    )]
    pub public_url: Url,
    /// Where results-feed reaches identity's HTTP listener, when that is not the issuer's own address. Browsers go to the
    /// issuer all the same.
    #[arg(id = "RESULTS_IDENTITY_URL", long = "results-identity-url", env = "RESULTS_IDENTITY_URL")]
    pub identity_url: Option<Url>,
    /// Documents a second that one publisher, an API key or an OAuth client, may send, with twice as many at once; more
    /// are answered 429 with Retry-After (`RESOURCE_EXHAUSTED` by gRPC). 0 is no limit.
    #[arg(
        id = "RESULTS_PUBLISHER_RATE",
        long = "results-publisher-rate",
        env = "RESULTS_PUBLISHER_RATE",
        default_value_t = 1_000
    )]
    pub publisher_rate: u32,
    /// Seconds after which a venue that sends no keep-alive is late; three times as long makes it stale.
    #[arg(
        id = "RESULTS_KA_TIMEOUT",
        long = "results-ka-timeout",
        env = "RESULTS_KA_TIMEOUT",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    pub ka_timeout: u16,
    /// Seconds within which the body of a document must arrive; a slower one is answered 408.
    #[arg(
        id = "RESULTS_BODY_SECONDS",
        long = "results-body-seconds",
        env = "RESULTS_BODY_SECONDS",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..=600)
    )]
    pub body_seconds: u16,
    /// What is compressed in the log (Zstandard): `off`, `raw` (documents as sent) or `all`. What is compressed, only this
    /// version and later ones read: set `off` while an older one runs that reads it, and `all` once none does.
    #[arg(id = "RESULTS_LOG_ZSTD", long = "results-log-zstd", env = "RESULTS_LOG_ZSTD", value_enum, default_value_t = LogZstd::Raw)]
    pub log_zstd: LogZstd,
    /// Days for which every entry of the log is kept; of older ones the last version of each document of each day of
    /// competition is. 0 keeps all.
    #[arg(
        id = "RESULTS_LOG_DAYS",
        long = "results-log-days",
        env = "RESULTS_LOG_DAYS",
        default_value_t = 60
    )]
    pub log_days: u16,
    /// Entries of a part of the log, which goes as a whole. Another number holds for parts made from then on.
    #[arg(
        id = "RESULTS_LOG_PART_ENTRIES",
        long = "results-log-part-entries",
        env = "RESULTS_LOG_PART_ENTRIES",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(10..=100_000_000)
    )]
    pub log_part_entries: u32,
    /// Zone in which pages show times and days of competition begin (IANA name).
    #[arg(
        id = "RESULTS_TIME_ZONE",
        long = "results-time-zone",
        env = "RESULTS_TIME_ZONE",
        default_value = "Asia/Tokyo"
    )]
    pub time_zone: chrono_tz::Tz,
}

/// What is compressed in the log.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogZstd {
    /// Nothing.
    Off,
    /// Documents as they were sent.
    Raw,
    /// These and the canonical ones.
    All,
}

/// Known to everybody, so good for a laptop only.
pub const LAPTOP_PEPPER: &str = "laptop-pepper-of-results-feed";
