//! Sockudo: channels by WebSocket in the protocol of Pusher, published to by signed HTTP requests.

use std::{fmt::Write as _, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use domain::Clock;
use md5::{Digest as _, Md5};
use testkit::measure::{Contestant, free_address, kept};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{contestants, processors, readers::Hail};

const APP: &str = "bench";
const SECRET: &str = "secret of a benchmark";
const CHANNEL: &str = "feed";
const HEARD: &[u8] = b"subscription_succeeded";
const PATH: &str = "/apps/bench/events";

/// A server that keeps nothing, without its limits of calls a second.
pub struct Sockudo {
    pub process: Contestant,
    address: SocketAddr,
}

impl Sockudo {
    /// Nothing where it is not installed.
    pub async fn start() -> Result<Option<Self>> {
        let Ok(program) = std::env::var("BENCH_SOCKUDO") else { return Ok(None) };
        let address = free_address()?;
        let mut command = processors::on_the_first(program.as_ref());
        command
            .env_clear()
            .envs(kept())
            .env("HOST", address.ip().to_string())
            .env("PORT", address.port().to_string())
            .env("SOCKUDO_DEFAULT_APP_ID", APP)
            .env("SOCKUDO_DEFAULT_APP_KEY", APP)
            .env("SOCKUDO_DEFAULT_APP_SECRET", SECRET)
            .env("SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS", "60000")
            .env("SOCKUDO_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SECOND", "1000000")
            .env("RATE_LIMITER_ENABLED", "false")
            .env("METRICS_ENABLED", "false")
            .env("RUST_LOG", "warn");
        let mut process = Contestant::start(command, "sockudo")?;
        drop(contestants::connect(&mut process, address).await?);
        Ok(Some(Self { process, address }))
    }

    /// A handshake, and at once the wish for the channel.
    pub fn reader(&self) -> Hail {
        let wish = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{CHANNEL}"}}}}"#);
        let mut request = format!(
            "GET /app/{APP}?protocol=7 HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5IG9mIHRoZSBiZW5jaA==\r\n\r\n"
        )
        .into_bytes();
        // A whole text of less than 126 bytes, under a mask of zeros (RFC 6455 5.2).
        let [.., length] = wish.len().to_be_bytes();
        request.extend([0x81, 0x80 | length, 0, 0, 0, 0]);
        request.extend(wish.as_bytes());
        Hail::new(self.address, request, HEARD)
    }

    /// Published once it is answered, which each time ends the connection.
    pub async fn send(&self, bytes: &[u8]) -> Result<()> {
        let data = std::str::from_utf8(bytes)?;
        let body = serde_json::json!({ "name": "frame", "channel": CHANNEL, "data": data }).to_string();
        let query = sign(&body);
        let head = format!(
            "POST {PATH}?{query} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.context("the answer")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "not published: {answer}");
        Ok(())
    }
}

// The query of a request of Pusher's HTTP API that publishes this.
fn sign(body: &str) -> String {
    let now = Clock::system().now().timestamp();
    let digest = hex(&Md5::digest(body));
    let query = format!("auth_key={APP}&auth_timestamp={now}&auth_version=1.0&body_md5={digest}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("POST\n{PATH}\n{query}").as_bytes());
    format!("{query}&auth_signature={}", hex(tag.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string has no way to fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
