//! results-feed as a process of its own.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use testkit::Issuer;

use crate::world::{DEADLINE, World};

/// What a process needs around it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub database_url: String,
    pub brokers: String,
    pub topic_prefix: String,
    pub issuer: Issuer,
}

/// A process of its own, as an installation starts it; what it prints is lost, but for its errors.
pub struct Process {
    child: Child,
    /// Its public HTTP interface.
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    ops: SocketAddr,
}

impl Surroundings {
    /// Those of a world: the process is another replica of its service.
    pub fn of(world: &World) -> Self {
        let topics = world.app.topics();
        Self {
            database_url: world.database_url().to_owned(),
            brokers: topics.brokers.clone(),
            topic_prefix: topics.prefix.clone(),
            issuer: world.app.issuer().clone(),
        }
    }

    fn settings(&self) -> [(&'static str, String); 9] {
        [
            ("KOTINOS_KAFKA_BROKERS", self.brokers.clone()),
            ("KOTINOS_TOPIC_PREFIX", self.topic_prefix.clone()),
            ("KOTINOS_AUTH_ISSUER", self.issuer.url().to_string()),
            ("KOTINOS_AUTH_JWKS_URL", self.issuer.keys_url().to_string()),
            // A test is one client, and may be in a hurry.
            ("KOTINOS_CLIENT_RATE", "0".to_owned()),
            ("KOTINOS_ADDRESS_RATE", "0".to_owned()),
            ("KOTINOS_LOG", "error".to_owned()),
            ("RESULTS_DATABASE_URL", self.database_url.clone()),
            ("RESULTS_PEPPER", "pepper of a test".to_owned()),
        ]
    }
}

impl Process {
    /// Starts one, and waits until it is ready.
    pub async fn start(around: &Surroundings) -> Self {
        let process = Self::begin(around);
        process.wait_until_ready().await;
        process
    }

    /// Starts one, which may have to wait for what it needs.
    pub fn begin(around: &Surroundings) -> Self {
        let ports = testkit::free_ports(3).unwrap();
        let address = |at: usize| SocketAddr::from(([127, 0, 0, 1], ports[at]));
        let (http, grpc, ops) = (address(0), address(1), address(2));
        let child = Command::new(env!("CARGO_BIN_EXE_results-feed"))
            .env_clear()
            .envs(around.settings())
            .env("KOTINOS_HTTP_ADDR", http.to_string())
            .env("KOTINOS_GRPC_ADDR", grpc.to_string())
            .env("KOTINOS_OPS_ADDR", ops.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, http, grpc, ops }
    }

    pub async fn wait_until_ready(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/readyz", self.ops);
        testkit::eventually(3 * DEADLINE, || async {
            let answer = client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// SIGKILL: it finishes nothing and tells nobody.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().unwrap().map(|status| status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
