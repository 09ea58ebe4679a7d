//! A running simulator: its state, its two listeners, its end.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{ConnectedApp, Sessions},
    budget::Budget,
    bulk::Jobs,
    calls::Calls,
    clock::Clock,
    config::Config,
    fault::Faults,
    http,
    query::Cursors,
    rows::Table,
};

/// Time that open connections get at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that changes. One lock guards it: a simulator owes its tests a single order of events.
#[derive(Debug)]
pub struct World {
    pub clock: Clock,
    pub tables: Vec<Table>,
    pub sessions: Sessions,
    pub jobs: Jobs,
    pub cursors: Cursors,
    pub budget: Budget,
    pub faults: Faults,
    pub calls: Calls,
}

/// What every call can see.
pub(crate) struct Shared {
    pub config: Config,
    pub app: ConnectedApp,
    /// `instance_url`, without a slash at the end.
    pub base_url: String,
    pub user_id: Arc<str>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    world: Mutex<World>,
}

impl Shared {
    /// Never held over an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts simulators.
#[derive(Debug, Clone, Copy)]
pub struct Simulator;

/// A simulator that listens. Dropping it stops it at once; `shutdown` stops it in order.
pub struct Running {
    /// Where the org listens.
    pub addr: SocketAddr,
    /// Where `/_sim` listens.
    pub control_addr: SocketAddr,
    /// `instance_url` of its tokens, and an accepted `aud`.
    pub base_url: String,
    shared: Arc<Shared>,
}

impl Simulator {
    /// Binds both addresses and serves.
    ///
    /// # Errors
    /// An address in use, or a certificate that is not RSA.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let org = TcpListener::bind(config.addr).await.with_context(|| format!("bind {}", config.addr))?;
        let control = TcpListener::bind(config.control_addr).await;
        let control = control.with_context(|| format!("bind control {}", config.control_addr))?;
        let (addr, control_addr) = (org.local_addr()?, control.local_addr()?);
        let shared = Arc::new(shared(config, addr)?);
        let base_url = shared.base_url.clone();
        for serve in [http::serve_org(&shared, org), http::serve_control(&shared, control)] {
            shared.tasks.spawn(serve);
        }
        Ok(Running { addr, control_addr, base_url, shared })
    }
}

fn shared(config: Config, addr: SocketAddr) -> anyhow::Result<Shared> {
    let base_url = config.public_url.clone().unwrap_or_else(|| format!("http://{addr}"));
    let base_url = base_url.trim_end_matches('/').to_owned();
    let mut audience = config.audience.clone();
    audience.push(base_url.clone());
    let app = ConnectedApp::new(&config.certificate, &config.client_id, &config.username, audience)?;
    let clock = Clock::default();
    let budget = Budget::new(clock.now(), config.daily_requests, config.daily_batches);
    let world = World {
        clock,
        tables: config.org.objects.iter().cloned().map(Table::new).collect(),
        sessions: Sessions::default(),
        jobs: Jobs::default(),
        cursors: Cursors::default(),
        budget,
        faults: Faults::default(),
        calls: Calls::default(),
    };
    let user_id = Arc::from(config.org.user_id.as_str());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    Ok(Shared { config, app, base_url, user_id, tasks, stop, world: Mutex::new(world) })
}

impl Running {
    /// Base URL of the control port.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control_addr)
    }

    /// Stops taking calls, lets running ones end for up to five seconds, stops jobs between two chunks.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(GRACE, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.shared.tasks.len(), "connections did not end in time");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
