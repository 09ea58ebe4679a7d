//! results-feed as an installation runs it: its own process, over a database of its own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use chassis::Peer;
use domain::Clock;
use proto::results::v1::{
    CreatePublisherKeyRequest, EntitlementRule, UpdateEntitlementsRequest,
    access_service_client::AccessServiceClient,
};
use testkit::{
    Db, Issuer,
    measure::{Contestant, Surroundings, free_address, kept},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{processors, readers::Hail};

const START: Duration = Duration::from_secs(120);

/// An installation with one process.
pub struct Feed {
    pub db: Db,
    pub http: SocketAddr,
    pub process: Contestant,
    grpc: SocketAddr,
    ops: SocketAddr,
    issuer: Issuer,
    brokers: String,
}

impl Feed {
    /// An empty one, ready to take documents.
    pub async fn install(surroundings: &Surroundings) -> Result<Self> {
        Self::install_beside(&surroundings.brokers).await
    }

    /// The same, with no broker within reach.
    pub async fn install_without_broker() -> Result<Self> {
        Self::install_beside("127.0.0.1:9").await
    }

    async fn install_beside(brokers: &str) -> Result<Self> {
        let (db, issuer) = (Db::empty().await, Issuer::start(Clock::system()).await);
        let [http, grpc, ops] = addresses()?;
        let brokers = brokers.to_owned();
        let process = start(&db, &issuer, &brokers, [http, grpc, ops])?;
        let mut feed = Self { db, http, process, grpc, ops, issuer, brokers };
        feed.ready().await?;
        Ok(feed)
    }

    /// Another process of the same installation: it, and where it serves.
    pub async fn replica(&self) -> Result<(Contestant, SocketAddr)> {
        let addresses = addresses()?;
        let mut process = start(&self.db, &self.issuer, &self.brokers, addresses)?;
        wait_until_ready(&mut process, addresses[2]).await?;
        Ok((process, addresses[0]))
    }

    /// Waits until the process takes requests.
    pub async fn ready(&mut self) -> Result<Duration> {
        wait_until_ready(&mut self.process, self.ops).await
    }

    /// Makes the log so many entries longer, all late versions of the last document: rows that say nothing to a reader.
    pub async fn copy_rows(&self, entries: i64) -> Result<()> {
        let mut tx = self.db.pool.begin().await?;
        let copied = sqlx::query(
            "insert into results.log
             select (jsonb_populate_record(own, jsonb_build_object('seq', own.seq + n, 'kind', 'late', 'patch', null))).*
             from results.log own, generate_series(1, $1) n
             where own.seq = (select seq from results.stream where stream_id = 'SYN2030-P')
               and own.stream_id = 'SYN2030-P'",
        );
        copied.bind(entries).execute(&mut *tx).await?;
        sqlx::query("update results.stream set seq = seq + $1 where stream_id = 'SYN2030-P'")
            .bind(entries)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Kills the process and starts another one at the same addresses.
    pub fn restart(&mut self) -> Result<()> {
        let addresses = [self.http, self.grpc, self.ops];
        let killed = std::mem::replace(&mut self.process, placeholder()?);
        drop(killed);
        self.process = start(&self.db, &self.issuer, &self.brokers, addresses)?;
        Ok(())
    }

    /// An API key for all documents of production.
    pub async fn key(&self) -> Result<String> {
        let request =
            CreatePublisherKeyRequest { name: "bench".to_owned(), ..CreatePublisherKeyRequest::default() };
        let created = self.access()?.create_publisher_key(request).await?;
        Ok(created.into_inner().secret)
    }

    /// Rules for a client that has none.
    pub async fn entitle(&self, client_id: &str, rules: Vec<EntitlementRule>) -> Result<()> {
        let request =
            UpdateEntitlementsRequest { client_id: client_id.to_owned(), expected_version: 0, rules };
        self.access()?.update_entitlements(request).await?;
        Ok(())
    }

    /// An access token of a client that may read the feed.
    pub fn token(&self, client_id: &str) -> String {
        self.issuer.token(&self.issuer.claims(client_id, client_id, &["results.subscribe"]))
    }

    fn access(&self) -> Result<AccessServiceClient<Peer>> {
        let token = self.issuer.token(&self.issuer.claims("bench", "bench", &["results.admin"]));
        Ok(AccessServiceClient::new(Peer::fixed(format!("http://{}", self.grpc).parse()?, Some(token))))
    }

    /// A reader by server-sent events; of the public where there is no token.
    pub fn by_events(&self, query: &str, token: Option<&str>) -> Hail {
        let request =
            format!("GET /results/v1/feed?{query} HTTP/1.1\r\nHost: bench\r\n{}\r\n", bearer(token));
        Hail::new(self.http, request.into_bytes(), br#""t":"live""#)
    }

    /// A reader by WebSocket (RFC 6455).
    pub fn by_socket(&self, query: &str, token: Option<&str>) -> Hail {
        by_socket_at(self.http, query, token)
    }
}

/// A reader by WebSocket of the process that serves there.
pub fn by_socket_at(http: SocketAddr, query: &str, token: Option<&str>) -> Hail {
    let request = format!(
        "GET /results/v1/feed/ws?{query} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5IG9mIHRoZSBiZW5jaA==\r\n\
         Sec-WebSocket-Protocol: kotinos.feed.v1\r\n{}\r\n",
        bearer(token)
    );
    Hail::new(http, request.into_bytes(), br#""t":"live""#)
}

// Its public, its gRPC and its operators' interface.
fn addresses() -> Result<[SocketAddr; 3]> {
    Ok([free_address()?, free_address()?, free_address()?])
}

async fn wait_until_ready(process: &mut Contestant, ops: SocketAddr) -> Result<Duration> {
    let begin = std::time::Instant::now();
    while begin.elapsed() < START {
        process.check()?;
        if get(ops, "/readyz").await.is_ok_and(|status| status == 200) {
            return Ok(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("not ready within {} s, see {}", START.as_secs(), process.log().display())
}

fn bearer(token: Option<&str>) -> String {
    token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
}

// Something to hold while the real one starts.
fn placeholder() -> Result<Contestant> {
    Contestant::start(std::process::Command::new("true"), "placeholder")
}

fn start(db: &Db, issuer: &Issuer, brokers: &str, addresses: [SocketAddr; 3]) -> Result<Contestant> {
    let program: PathBuf = std::env::var("BENCH_RESULTS_FEED")
        .context("BENCH_RESULTS_FEED is not set; start by `make bench`")?
        .into();
    let mut command = processors::on_the_first(&program);
    let [http, grpc, ops] = addresses;
    command
        .env_clear()
        .envs(kept())
        .env("KOTINOS_HTTP_ADDR", http.to_string())
        .env("KOTINOS_GRPC_ADDR", grpc.to_string())
        .env("KOTINOS_OPS_ADDR", ops.to_string())
        .env("KOTINOS_KAFKA_BROKERS", brokers)
        .env("KOTINOS_TOPIC_PREFIX", format!("{}.", db.url.rsplit('/').next().unwrap_or_default()))
        .env("KOTINOS_AUTH_ISSUER", issuer.url().as_str().trim_end_matches('/'))
        .env("KOTINOS_DRAIN_DELAY", "0s")
        // All load comes from one address.
        .env("KOTINOS_CLIENT_RATE", "0")
        .env("KOTINOS_LOG", "warn")
        .env("RESULTS_DATABASE_URL", &db.url)
        .env("RESULTS_MAX_CONNECTIONS", "60000")
        .env("RESULTS_PEPPER", "pepper of a benchmark");
    Contestant::start(command, "results-feed")
}

// The status of an answer.
async fn get(address: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(2), stream.read_to_string(&mut answer)).await??;
    let status = answer.split_whitespace().nth(1).context("no status")?;
    Ok(status.parse()?)
}
