//! A contestant: a process of its own, whose time and memory are read.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use crate::{
    roles,
    surroundings::{Ground, Surroundings, until},
    system,
};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    log: PathBuf,
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
        Self::start(command, role, grpc, ops)
    }

    /// Another program, without listeners of ours.
    pub fn program(mut command: Command, name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        command.env_clear().envs(kept()).envs(settings.iter().copied());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start(command, name, any, any)
    }

    fn start(mut command: Command, name: &str, grpc: SocketAddr, ops: SocketAddr) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("kotinos-bench-{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, log, ops, grpc })
    }

    pub fn cpu(&self) -> f64 {
        system::cpu_seconds(self.child.id())
    }

    pub fn peak_mib(&self) -> f64 {
        system::peak_mib(self.child.id())
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(3).collect();
            bail!("{} ended with {status}: {}", self.log.display(), last.join(" | "));
        }
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let ops = self.ops;
        until(&format!("ready, see {}", self.log.display()), START, async || Ok(says_ready(ops))).await?;
        self.check()
    }

    /// Waits until somebody listens on its gRPC address.
    pub async fn listens(&mut self) -> Result<()> {
        let grpc = self.grpc;
        until("listening", START, async || Ok(TcpStream::connect(grpc).is_ok())).await?;
        self.check()
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let end = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kept() -> impl Iterator<Item = (&'static str, String)> {
    ["PATH", "HOME", "TMPDIR", "JAVA_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)))
}

// Free a moment ago, which is all that can be said.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
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
