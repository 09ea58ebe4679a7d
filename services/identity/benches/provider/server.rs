//! A contestant that answers over HTTP, and says whether it is ready.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use testkit::measure::Contestant;
use tokio::time::sleep;

use crate::web::Client;

const START: Duration = Duration::from_secs(180);

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    contestant: Contestant,
    ready: (SocketAddr, &'static str),
}

impl Server {
    /// `ready` answers 200 when it takes requests.
    pub fn start(command: Command, name: &str, ready: (SocketAddr, &'static str)) -> Result<Self> {
        Ok(Self { contestant: Contestant::start(command, name)?, ready })
    }

    /// Seconds of processor so far.
    pub fn cpu(&self) -> f64 {
        self.contestant.cpu()
    }

    pub fn resident_mib(&self) -> f64 {
        self.contestant.resident_mib()
    }

    /// Waits until it takes requests; how long that was since its start.
    pub async fn ready(&mut self) -> Result<Duration> {
        let (begin, (address, path)) = (Instant::now(), self.ready);
        loop {
            self.contestant.check()?;
            if is_ready(address, path).await {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > START {
                bail!("not ready within {} s, see {}", START.as_secs(), self.contestant.log().display());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to end, and waits.
    pub async fn stop(self) -> Result<()> {
        self.contestant.stop().await
    }
}

/// Whether this address says 200.
pub async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let mut client = Client::new(address, "localhost");
    let answer = tokio::time::timeout(Duration::from_secs(2), client.get(path, None)).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
}
