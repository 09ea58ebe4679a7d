//! A contestant that is this program in another role, or another program.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use testkit::measure::{Contestant, free_address, kept, until};

use crate::{
    roles,
    surroundings::{Ground, Surroundings},
};

const START: Duration = Duration::from_secs(60);

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Spawned {
    contestant: Contestant,
    /// Of the operators' listener, where it has one.
    ops: SocketAddr,
    pub grpc: SocketAddr,
}

impl Spawned {
    /// This program in another role, with the settings that a service has.
    pub fn role(
        surroundings: &Surroundings,
        role: &str,
        ground: Option<&Ground>,
        more: &[(&str, String)],
    ) -> Result<Self> {
        let (http, grpc, ops) = (free_address()?, free_address()?, free_address()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.env_clear().envs(kept()).env(roles::ROLE, role);
        for (name, addr) in
            [("KOTINOS_HTTP_ADDR", http), ("KOTINOS_GRPC_ADDR", grpc), ("KOTINOS_OPS_ADDR", ops)]
        {
            command.env(name, addr.to_string());
        }
        if let Some(ground) = ground {
            command.env("MAILER_DATABASE_URL", &ground.db.url);
            command.env("KOTINOS_TOPIC_PREFIX", &ground.topics.prefix);
        }
        command
            .env("KOTINOS_KAFKA_BROKERS", &surroundings.brokers)
            .env("KOTINOS_AUTH_ISSUER", surroundings.issuer.url().as_str())
            .env("KOTINOS_AUTH_JWKS_URL", surroundings.issuer.keys_url().as_str())
            .env("KOTINOS_EGRESS_ALLOW", "127.0.0.1:*")
            .env("KOTINOS_DRAIN_DELAY", "0s")
            .envs(more.iter().map(|(name, value)| (*name, value)));
        Ok(Self { contestant: Contestant::start(command, role)?, ops, grpc })
    }

    /// Another program, without listeners of ours.
    pub fn program(mut command: Command, name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        command.env_clear().envs(kept()).envs(settings.iter().copied());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { contestant: Contestant::start(command, name)?, ops: any, grpc: any })
    }

    pub fn cpu(&self) -> f64 {
        self.contestant.cpu()
    }

    pub fn peak_mib(&self) -> f64 {
        self.contestant.peak_mib()
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.contestant.check()
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let (ops, what) = (self.ops, format!("ready, see {}", self.contestant.log().display()));
        until(&what, START, async || Ok(says_ready(ops))).await?;
        self.check()
    }

    /// Waits until somebody listens on its gRPC address.
    pub async fn listens(&mut self) -> Result<()> {
        let grpc = self.grpc;
        until("listening", START, async || Ok(TcpStream::connect(grpc).is_ok())).await?;
        self.check()
    }

    /// Asks it to end, and waits.
    pub async fn stop(self) -> Result<()> {
        self.contestant.stop().await
    }
}

fn says_ready(ops: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(ops)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
