//! NATS, spoken to in its own text protocol: core subjects, and `JetStream`'s durable stream with a push consumer for
//! each reader.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use testkit::measure::{Contestant, free_address};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{contestants, processors, readers::Hail};

const SUBJECT: &str = "feed";
const STREAM: &str = "FEED";

/// A server, and the connection that publishes.
pub struct Nats {
    pub process: Contestant,
    address: SocketAddr,
    publisher: TcpStream,
    is_durable: bool,
    _folder: tempfile::TempDir,
}

impl Nats {
    /// Nothing where it is not installed.
    pub async fn start(is_durable: bool) -> Result<Option<Self>> {
        let Ok(program) = std::env::var("BENCH_NATS") else { return Ok(None) };
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let mut command = processors::on_the_first(program.as_ref());
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        command.args(["-a", &host, "-p", &port, "-js", "-sd"]).arg(folder.path());
        let mut process = Contestant::start(command, "nats")?;
        let publisher = contestants::connect(&mut process, address).await?;
        publisher.set_nodelay(true)?;
        let mut nats = Self { process, address, publisher, is_durable, _folder: folder };
        nats.publisher.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
        nats.until_line("PONG").await?;
        if is_durable {
            nats.make_stream().await?;
        }
        Ok(Some(nats))
    }

    async fn make_stream(&mut self) -> Result<()> {
        let stream = format!(
            r#"{{"name":"{STREAM}","subjects":["{SUBJECT}"],"storage":"file","retention":"limits","num_replicas":1}}"#
        );
        self.publisher.write_all(b"SUB acks 9\r\n").await?;
        let order = format!("PUB $JS.API.STREAM.CREATE.{STREAM} acks {}\r\n{stream}\r\n", stream.len());
        self.publisher.write_all(order.as_bytes()).await?;
        let answer = self.until_line("{").await?;
        ensure!(!answer.contains("\"error\""), "no stream: {answer}");
        Ok(())
    }

    /// A subscription; of `JetStream` with a consumer of its own, from now on.
    pub fn reader(&self, number: usize) -> Hail {
        let request = if self.is_durable {
            let consumer = format!(
                r#"{{"stream_name":"{STREAM}","config":{{"deliver_subject":"d.{number}","deliver_policy":"new","ack_policy":"none","replay_policy":"instant"}}}}"#
            );
            format!(
                "CONNECT {{\"verbose\":false}}\r\nSUB d.{number} 1\r\nSUB r.{number} 2\r\n\
                 PUB $JS.API.CONSUMER.CREATE.{STREAM} r.{number} {}\r\n{consumer}\r\n",
                consumer.len()
            )
        } else {
            format!("CONNECT {{\"verbose\":false}}\r\nSUB {SUBJECT} 1\r\nPING\r\n")
        };
        let heard: &[u8] =
            if self.is_durable { b"io.nats.jetstream.api.v1.consumer_create_response" } else { b"PONG" };
        Hail::new(self.address, request.into_bytes(), heard)
    }

    /// Core: written to the socket. Durable: acknowledged, as our answer is.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let reply = if self.is_durable { " acks" } else { "" };
        let head = format!("PUB {SUBJECT}{reply} {}\r\n", bytes.len());
        self.publisher.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).await?;
        if self.is_durable {
            let answer = self.until_line("{").await?;
            ensure!(answer.contains("\"seq\""), "not stored: {answer}");
        }
        Ok(())
    }

    // The first line that begins so; the others are the protocol's.
    async fn until_line(&mut self, start: &str) -> Result<String> {
        let mut came = Vec::new();
        loop {
            if self.publisher.read_buf(&mut came).await.context("nats")? == 0 {
                bail!("nats closed: {}", String::from_utf8_lossy(&came));
            }
            let text = String::from_utf8_lossy(&came);
            let whole = text.rsplit_once("\r\n").map(|(whole, _)| whole).unwrap_or_default();
            if let Some(line) = whole.split("\r\n").find(|line| line.starts_with(start)) {
                return Ok(line.to_owned());
            }
        }
    }
}
