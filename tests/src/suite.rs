//! The suite as real processes, with a database, topics, ports, a mail server and a span receiver of its own.

mod address;
mod database;
mod keys;
mod process;
mod replica;
mod settings;
mod verb;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use domain::Service;
use futures::future::try_join_all;
use serde_json::Value;
use testkit::{SmtpSink, SpanCatcher};
use tokio::sync::Mutex;

pub use address::{Addresses, Listeners};
use database::Database;
pub use keys::{AGREEMENT_KEY_ID, CRM_CLIENT_ID, CRM_USERNAME, Keys};
use process::Process;
pub use process::Readiness;
pub use replica::Replica;

use crate::{Crm, NocServer, Provider, facts::Facts, second_rp::SecondRp};

/// How the services are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All in one process, as on a laptop.
    AllInOne,
    /// A process for each of the seven, as in production.
    Services,
}

impl Shape {
    /// The processes of this shape.
    #[must_use]
    pub fn services(self) -> Vec<Service> {
        match self {
            Self::AllInOne => vec![Service::AllInOne],
            Self::Services => Service::ALL.to_vec(),
        }
    }
}

/// A running suite. It ends with [`Suite::stop`]; dropped before that, its processes are killed.
#[derive(Debug)]
pub struct Suite {
    /// Its name, which is also its folder's.
    pub name: String,
    /// How it is spread over processes.
    pub shape: Shape,
    /// Where everything listens.
    pub addresses: Addresses,
    /// Keys of clients, of agreements, of the CRM.
    pub keys: Keys,
    /// Every mail that left.
    pub sink: SmtpSink,
    /// Every span that was told.
    pub spans: SpanCatcher,
    /// Every record on its topics.
    pub facts: Facts,
    /// The second relying party.
    pub second_rp: SecondRp,
    /// A NOC that has documents sent to it.
    pub noc: NocServer,
    /// Where logs and screenshots lie.
    pub folder: PathBuf,
    programs: PathBuf,
    environment: BTreeMap<String, String>,
    database: Database,
    running: Mutex<BTreeMap<&'static str, Process>>,
}

/// Program and name of the simulated CRM.
const SIMULATOR: &str = "salesforce-simulator";

impl Suite {
    /// Starts everything and waits until it is ready. `name` is the folder below the target directory where logs and
    /// screenshots are found afterwards; suites that run at the same time need names of their own.
    ///
    /// # Errors
    /// A program that was not built, a server that is not there, a process that does not get ready; then the end of
    /// every log is in the error.
    pub async fn start(name: &str, shape: Shape) -> Result<Self> {
        Self::start_some(name, shape, &shape.services(), &[]).await
    }

    /// The same with some of the processes alone, and with settings of one's own. Identity is always among them: nobody is
    /// ready without its keys.
    ///
    /// # Errors
    /// As those of [`Suite::start`].
    pub async fn start_some(
        name: &str,
        shape: Shape,
        services: &[Service],
        given: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_with(name, shape, services, given, &Value::Null).await
    }

    /// The same with more entries in identity's bootstrap file: `more` has lists as the file has.
    ///
    /// # Errors
    /// As those of [`Suite::start`].
    pub async fn start_with(
        name: &str,
        shape: Shape,
        services: &[Service],
        given: &[(&str, &str)],
        more: &Value,
    ) -> Result<Self> {
        let (programs, target) = folders()?;
        let folder = target.join("journey").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)?;
        let addresses = Addresses::choose(shape)?;
        let (second_rp, noc) = (SecondRp::listen().await?, NocServer::start().await?);
        let keys = Keys::prepare(&folder, &addresses, &second_rp.logout_uri(), more).await?;
        let (sink, spans) = (SmtpSink::start().await, SpanCatcher::start().await);
        let database = Database::create().await?;
        let prefix = format!("j{}.", &domain::new_id().simple().to_string()[20..]);
        let facts = Facts::new(&settings::kafka_brokers()?, &prefix);
        let mut environment = settings::common(&settings::Surroundings {
            shape,
            addresses: &addresses,
            keys: &keys,
            database_url: database.url(),
            topic_prefix: &prefix,
            relay_url: &sink.url(),
            otlp_endpoint: &spans.endpoint(),
            partners: [second_rp.address(), noc.address()],
        })?;
        environment.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let suite = Self {
            name: name.to_owned(),
            shape,
            addresses,
            keys,
            sink,
            spans,
            facts,
            second_rp,
            noc,
            folder,
            programs,
            environment,
            database,
            running: Mutex::default(),
        };
        let begun = suite.begin(services).await;
        suite.explain(begun).await
    }

    async fn begin(&self, services: &[Service]) -> Result<()> {
        self.spawn(SIMULATOR, self.simulator_environment(), self.addresses.simulator_readiness()).await?;
        for service in services {
            self.spawn_service(*service).await?;
        }
        self.wait_until_ready(&[]).await?;
        self.second_rp.serve(self.provider().await?, &self.keys)
    }

    /// Adds the ends of the logs to an error.
    ///
    /// # Errors
    /// The same one.
    async fn explain(self, result: Result<()>) -> Result<Self> {
        match result {
            Ok(()) => Ok(self),
            Err(error) => Err(self.with_logs(error).await),
        }
    }

    /// An error with the end of every process's log below it.
    pub async fn with_logs(&self, error: anyhow::Error) -> anyhow::Error {
        let running = self.running.lock().await;
        let tails: Vec<String> = running.values().map(Process::tail).collect();
        anyhow::anyhow!("{error:?}\n\nlogs, whole in {}:\n{}", self.folder.display(), tails.join("\n"))
    }

    /// Ends a process as a power cut would.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&self, service: Service) -> Result<()> {
        let mut running = self.running.lock().await;
        let process = running.get_mut(service.name());
        process.with_context(|| format!("{service} does not run"))?.kill().await
    }

    /// Starts a killed process again and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn restart(&self, service: Service) -> Result<()> {
        self.spawn_service(service).await?;
        self.wait_until_ready(&[service.name()]).await
    }

    /// Asks every process to end, waits for it, and removes the database.
    ///
    /// # Errors
    /// A process that does not end by itself, or ends with a failure.
    pub async fn stop(self) -> Result<()> {
        let mut running = std::mem::take(&mut *self.running.lock().await);
        let ended = try_join_all(running.values_mut().map(Process::stop)).await;
        self.keys.forget();
        let dropped = self.database.drop().await;
        ended.map(|_| ()).and(dropped)
    }

    /// Identity, as a relying party sees it.
    ///
    /// # Errors
    /// Its metadata is not there.
    pub async fn provider(&self) -> Result<Provider> {
        Provider::discover(&self.addresses.url(Service::Identity)).await
    }

    /// The simulated CRM.
    #[must_use]
    pub fn crm(&self) -> Crm {
        Crm::new(&self.addresses)
    }

    /// The logs of every process so far, by its name.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn logs(&self) -> Result<BTreeMap<&'static str, String>> {
        let running = self.running.lock().await;
        running.iter().map(|(name, process)| Ok((*name, process.log()?))).collect()
    }

    async fn spawn_service(&self, service: Service) -> Result<()> {
        let listeners = self.addresses.listeners(service);
        self.spawn(service.name(), self.environment_at(listeners), listeners.readiness()).await
    }

    fn environment_at(&self, listeners: Listeners) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        environment.extend(listeners.environment());
        environment
    }

    async fn spawn(
        &self,
        name: &'static str,
        environment: BTreeMap<String, String>,
        readiness: Readiness,
    ) -> Result<()> {
        let process = self.process(name, name, &environment, readiness)?;
        self.running.lock().await.insert(name, process);
        Ok(())
    }

    /// A process of a program, whose log is called `log`.
    fn process(
        &self,
        name: &'static str,
        log: &str,
        environment: &BTreeMap<String, String>,
        readiness: Readiness,
    ) -> Result<Process> {
        let program = self.programs.join(name);
        ensure!(
            program.exists(),
            "program {name} is not beside this one; build it: cargo build --workspace --bins"
        );
        Process::spawn(name, &program, environment, self.folder.join(format!("{log}.log")), readiness)
    }

    async fn wait_until_ready(&self, names: &[&str]) -> Result<()> {
        let mut running = self.running.lock().await;
        let asked =
            running.values_mut().filter(|process| names.is_empty() || names.contains(&process.name()));
        try_join_all(asked.map(Process::ready)).await.map(|_| ())
    }

    fn simulator_environment(&self) -> BTreeMap<String, String> {
        let mut environment = settings::inherited();
        environment.extend(self.addresses.simulator_listeners());
        environment.extend(self.keys.simulator_settings());
        environment
    }
}

/// Where the programs lie, and the target directory: a test's program is in `target/debug/deps`.
fn folders() -> Result<(PathBuf, PathBuf)> {
    let own = std::env::current_exe().context("the path of this program is unknown")?;
    let mut programs = own.parent().context("this program lies in no folder")?;
    if programs.ends_with("deps") {
        programs = programs.parent().context("the folder deps lies in no folder")?;
    }
    let target = programs.parent().unwrap_or(programs);
    Ok((programs.to_owned(), target.to_owned()))
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
