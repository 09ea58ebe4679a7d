//! Who delivers: all take the same documents, and readers look for the same markers.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use testkit::measure::{Contestant as Process, Surroundings};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    documents::marker,
    floor::Floor,
    mosquitto::Mosquitto,
    nats::Nats,
    ours::Feed,
    publisher::Publisher,
    pushpin::Pushpin,
    readers::{Clock, Hail},
    sockudo::Sockudo,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Socket,
    Events,
    Floor,
    Nats,
    JetStream,
    Mosquitto,
    Pushpin,
    Sockudo,
}

impl Kind {
    /// Without it there is nothing to compare.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Socket | Self::Events)
    }

    /// The row of a peer that failed: the others are measured all the same.
    pub fn could_not_be_run(self, error: &anyhow::Error) -> Vec<String> {
        // Neither ends the cell nor the row.
        let why = format!("{error:#}").replace('|', "/").replace('\n', " ");
        vec![self.name().to_owned(), format!("could not be run: {why}")]
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "results-feed, WebSocket",
            Self::Events => "results-feed, server-sent events",
            Self::Floor => "bare floor: prepared bytes to sockets",
            Self::Nats => "NATS core",
            Self::JetStream => "NATS JetStream",
            Self::Mosquitto => "Mosquitto, QoS 0",
            Self::Pushpin => "Pushpin, server-sent events",
            Self::Sockudo => "Sockudo, WebSocket",
        }
    }
}

enum Server {
    Ours(Box<Feed>, Publisher),
    Floor(Floor),
    Nats(Nats),
    Mosquitto(Mosquitto),
    Pushpin(Pushpin),
    Sockudo(Sockudo),
}

/// One that runs.
pub struct Contestant {
    kind: Kind,
    server: Server,
}

impl Contestant {
    /// Nothing where it is not installed.
    pub async fn start(kind: Kind, surroundings: &Surroundings) -> Result<Option<Self>> {
        let server = match kind {
            Kind::Socket | Kind::Events => {
                let feed = Feed::install(surroundings).await?;
                let publisher = Publisher::new(feed.http, feed.key().await?);
                Some(Server::Ours(Box::new(feed), publisher))
            }
            Kind::Floor => Some(Server::Floor(Floor::start().await?)),
            Kind::Nats => Nats::start(false).await?.map(Server::Nats),
            Kind::JetStream => Nats::start(true).await?.map(Server::Nats),
            Kind::Mosquitto => Mosquitto::start().await?.map(Server::Mosquitto),
            Kind::Pushpin => Pushpin::start().await?.map(Server::Pushpin),
            Kind::Sockudo => Sockudo::start().await?.map(Server::Sockudo),
        };
        Ok(server.map(|server| Self { kind, server }))
    }

    pub const fn process(&self) -> &Process {
        match &self.server {
            Server::Ours(feed, _) => &feed.process,
            Server::Floor(floor) => &floor.process,
            Server::Nats(nats) => &nats.process,
            Server::Mosquitto(mosquitto) => &mosquitto.process,
            Server::Pushpin(pushpin) => &pushpin.process,
            Server::Sockudo(sockudo) => &sockudo.process,
        }
    }

    /// So many readers, of what the query asks for where it is ours.
    pub fn hails(&self, count: usize, query: &str) -> Vec<Hail> {
        let hail = |number| match &self.server {
            Server::Ours(feed, _) if self.kind == Kind::Socket => feed.by_socket(query, None),
            Server::Ours(feed, _) => feed.by_events(query, None),
            Server::Floor(floor) => floor.reader(),
            Server::Nats(nats) => nats.reader(number),
            Server::Mosquitto(mosquitto) => mosquitto.reader(number),
            Server::Pushpin(pushpin) => pushpin.reader(),
            Server::Sockudo(sockudo) => sockudo.reader(),
        };
        (0..count).map(hail).collect()
    }

    /// Sends a document; peers get a frame of this many bytes with its marker instead.
    pub async fn send(
        &mut self,
        number: u32,
        document: &str,
        frame: usize,
        clock: &Arc<Clock>,
    ) -> Result<()> {
        let mut bytes = marker(number).into_bytes();
        bytes.resize(frame.max(bytes.len()), b'x');
        clock.send(number);
        match &mut self.server {
            Server::Ours(_, publisher) => publisher.post(document).await,
            Server::Floor(floor) => floor.send(&bytes).await,
            Server::Nats(nats) => nats.send(&bytes).await,
            Server::Mosquitto(mosquitto) => mosquitto.send(&bytes).await,
            Server::Pushpin(pushpin) => pushpin.send(&bytes).await,
            Server::Sockudo(sockudo) => sockudo.send(&bytes).await,
        }
    }
}

/// A connection to one that has just been started.
pub async fn connect(process: &mut Process, address: SocketAddr) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        process.check()?;
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(_) if begin.elapsed() < Duration::from_secs(10) => sleep(Duration::from_millis(10)).await,
            Err(error) => return Err(error).context("it does not listen"),
        }
    }
}
