//! identity as a process of its own.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use domain::Clock;

use crate::world::{Answer, DEADLINE, ISSUER, KEK, World, answer};

/// A process of its own, as an installation starts it; what it prints is lost, but for a failing start.
pub struct Process {
    child: Child,
    /// Where its public HTTP interface is, without a path.
    pub http: String,
}

impl Process {
    /// Beside the world's own instance, on this way to its database.
    pub async fn start(world: &World, database_url: &str) -> Self {
        let ports = testkit::free_ports(3).unwrap();
        let address = |at: usize| format!("127.0.0.1:{}", ports[at]);
        let (http, ops) = (format!("http://{}", address(0)), format!("http://{}/readyz", address(2)));
        let issuer = world.app.issuer();
        let settings = [
            ("KOTINOS_HTTP_ADDR", address(0)),
            ("KOTINOS_GRPC_ADDR", address(1)),
            ("KOTINOS_OPS_ADDR", address(2)),
            ("KOTINOS_KAFKA_BROKERS", world.app.topics().brokers.clone()),
            ("KOTINOS_TOPIC_PREFIX", world.app.topics().prefix.clone()),
            ("KOTINOS_AUTH_ISSUER", issuer.url().to_string()),
            ("KOTINOS_AUTH_JWKS_URL", issuer.keys_url().to_string()),
            ("KOTINOS_EGRESS_ALLOW", "127.0.0.1:*".to_owned()),
            ("KOTINOS_LOG", "error".to_owned()),
            // A test is one client, and may be in a hurry.
            ("KOTINOS_CLIENT_RATE", "0".to_owned()),
            ("IDENTITY_DATABASE_URL", database_url.to_owned()),
            ("IDENTITY_KEK", KEK.to_owned()),
            ("IDENTITY_ISSUER", ISSUER.to_owned()),
            ("IDENTITY_BOOTSTRAP_FILE", world.bootstrap_file().display().to_string()),
        ];
        let child = Command::new(env!("CARGO_BIN_EXE_identity"))
            .env_clear()
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, http };
        let client = world.app.http();
        testkit::eventually(DEADLINE, || async {
            let answer = client.get(&ops).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        this
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it finishes nothing and tells nobody.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it answers; nothing when it died of it.
    pub async fn ask(&self, request: reqwest::RequestBuilder) -> Option<Answer> {
        let response = request.timeout(Duration::from_secs(10)).send().await.ok()?;
        Some(answer(response).await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The clock of the world stands still; that of the process does not.
pub fn catch_up(world: &World) {
    let behind = Clock::system().now() - world.app.clock.now();
    if behind > domain::TimeDelta::zero() {
        world.advance(behind);
    }
}
