//! Settings: of the process (`Args`), and of a simulator started inside a test (`Config`).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::org::Org;

/// Simulates one Salesforce org at the wire. State is kept in memory and is gone at the end.
#[derive(Debug, Clone, clap::Parser)]
#[command(version)]
pub struct Args {
    /// Address of the org: OAuth, REST and Bulk.
    #[arg(long, env = "SIMULATOR_ADDR", default_value = "127.0.0.1:8190")]
    pub addr: SocketAddr,
    /// Address of `/_sim`: dump, seed, faults, clock. Whoever reaches it owns the org.
    #[arg(long, env = "SIMULATOR_CONTROL_ADDR", default_value = "127.0.0.1:8191")]
    pub control_addr: SocketAddr,
    /// File with the connected app's RSA certificate or public key, PEM.
    #[arg(long, env = "SIMULATOR_CONNECTED_APP_CERT")]
    pub connected_app_cert: PathBuf,
    /// The connected app's consumer key: `iss` of an assertion.
    #[arg(long, env = "SIMULATOR_CLIENT_ID")]
    pub client_id: String,
    /// The integration user that the app is approved for: `sub` of an assertion.
    #[arg(long, env = "SIMULATOR_USERNAME")]
    pub username: String,
    /// Login hosts accepted as `aud` beside our own base URL, separated by commas.
    #[arg(
        long,
        env = "SIMULATOR_AUDIENCE",
        value_delimiter = ',',
        default_value = "https://login.salesforce.com"
    )]
    pub audience: Vec<String>,
    /// Base URL that clients use, where it is not `http://<addr>`; becomes `instance_url`.
    #[arg(long, env = "SIMULATOR_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Time added to each call, in milliseconds.
    #[arg(long, env = "SIMULATOR_LATENCY_MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Time a closed job waits in the queue, in milliseconds.
    #[arg(long, env = "SIMULATOR_BULK_DELAY_MS", default_value_t = 200)]
    pub bulk_delay_ms: u64,
    /// Life of an access token, in seconds of the simulator's clock.
    #[arg(long, env = "SIMULATOR_SESSION_SECONDS", default_value_t = 7200)]
    pub session_seconds: u32,
    /// REST calls a day; past it every call is refused.
    #[arg(long, env = "SIMULATOR_DAILY_REQUESTS", default_value_t = 100_000)]
    pub daily_requests: u64,
    /// Whether the integration user may use `hardDelete`.
    #[arg(long, env = "SIMULATOR_HARD_DELETE", default_value_t = true, action = clap::ArgAction::Set)]
    pub hard_delete: bool,
    /// JSON file that describes another org than the built-in one.
    #[arg(long, env = "SIMULATOR_ORG_FILE")]
    pub org_file: Option<PathBuf>,
}

impl Args {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// A file that is missing, or an org file that does not describe an org.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let certificate = std::fs::read_to_string(&self.connected_app_cert)
            .with_context(|| format!("SIMULATOR_CONNECTED_APP_CERT {}", self.connected_app_cert.display()))?;
        let org = match &self.org_file {
            None => Org::event_crm(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("SIMULATOR_ORG_FILE {}", path.display()))?;
                Org::from_json(&text).with_context(|| format!("SIMULATOR_ORG_FILE {}", path.display()))?
            }
        };
        let mut config = Config::new(certificate, self.client_id, self.username);
        config.addr = self.addr;
        config.control_addr = self.control_addr;
        config.audience = self.audience;
        config.public_url = self.public_url;
        config.latency = Duration::from_millis(self.latency_ms);
        config.bulk_delay = Duration::from_millis(self.bulk_delay_ms);
        config.session_seconds = self.session_seconds;
        config.daily_requests = self.daily_requests;
        config.hard_delete = self.hard_delete;
        config.org = org;
        Ok(config)
    }
}

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the org; port 0 for any.
    pub addr: SocketAddr,
    /// Address of `/_sim`; port 0 for any.
    pub control_addr: SocketAddr,
    /// RSA certificate or public key, PEM.
    pub certificate: String,
    /// `iss` of an assertion.
    pub client_id: String,
    /// `sub` of an assertion.
    pub username: String,
    /// `aud` values accepted beside our own base URL.
    pub audience: Vec<String>,
    /// `instance_url`, where it is not `http://<addr>`.
    pub public_url: Option<String>,
    /// Added to each call.
    pub latency: Duration,
    /// Time a closed job waits before its first row.
    pub bulk_delay: Duration,
    /// Time between two chunks of 200 rows of a job.
    pub bulk_chunk_delay: Duration,
    /// Life of an access token by the simulator's clock.
    pub session_seconds: u32,
    /// REST calls in 24 h of the simulator's clock.
    pub daily_requests: u64,
    /// Internal batches of 10,000 rows in 24 h (Salesforce: 15,000).
    pub daily_batches: u64,
    /// Whether `hardDelete` jobs may be created.
    pub hard_delete: bool,
    /// Bound of a JSON body in bytes (Salesforce: 50 MB).
    pub max_body: usize,
    /// Bound of a job's upload in bytes *after* base64, as Salesforce counts (150 MB).
    pub max_upload_base64: usize,
    /// Objects and fields.
    pub org: Org,
}

impl Config {
    /// A quick org on any free port of the loopback: no latency, jobs start at once.
    #[must_use]
    pub fn new(
        certificate: impl Into<String>,
        client_id: impl Into<String>,
        username: impl Into<String>,
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            addr: any,
            control_addr: any,
            certificate: certificate.into(),
            client_id: client_id.into(),
            username: username.into(),
            audience: vec!["https://login.salesforce.com".into()],
            public_url: None,
            latency: Duration::ZERO,
            bulk_delay: Duration::ZERO,
            bulk_chunk_delay: Duration::ZERO,
            session_seconds: 7200,
            daily_requests: 100_000,
            daily_batches: 15_000,
            hard_delete: true,
            max_body: 50_000_000,
            max_upload_base64: 150_000_000,
            org: Org::event_crm(),
        }
    }
}
