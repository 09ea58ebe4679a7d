//! How identity is started, killed and started again beside itself.

use std::sync::Arc;

use chassis::{Component, Grpc, Process, StartError};
use domain::{Clock, Service, TimeDelta};
use proto::{
    mailer::v1::transactional_service_server::TransactionalServiceServer,
    profile::v1::profile_service_server::ProfileServiceServer,
};
use testkit::TestApp;

use super::{ISSUER, KEK, Peers, RelyingParties, World};
use crate::{clients::BootstrapFile, tap::Tap};

impl World {
    pub async fn start() -> Self {
        Self::start_changed(KEK, false, |_| {}, |_| {}).await
    }

    /// With other settings than usual.
    pub async fn start_with(change: impl Fn(&mut identity::Config) + Send + Sync + 'static) -> Self {
        Self::start_changed(KEK, false, change, |_| {}).await
    }

    /// With other settings of the process than a test's usual ones.
    pub async fn start_set(set: impl FnOnce(&mut chassis::Settings) + Send + 'static) -> Self {
        Self::start_changed(KEK, false, |_| {}, set).await
    }

    /// With policies under which clients register themselves.
    pub async fn start_registering() -> Self {
        Self::start_changed(KEK, true, |_| {}, |_| {}).await
    }

    /// With a tap on the line to the database.
    pub async fn start_through(tap: &Tap) -> Self {
        let tap = tap.clone();
        Self::start_with(move |config| {
            config.database_url = tap.lead(&config.database_url.expose()).parse().unwrap();
        })
        .await
    }

    /// Under these key encryption keys: lines, or `file:` and the path of a file.
    pub async fn start_under(kek: &str) -> Self {
        Self::start_changed(kek, false, |_| {}, |_| {}).await
    }

    async fn start_changed(
        kek: &str,
        registers: bool,
        change: impl Fn(&mut identity::Config) + Send + Sync + 'static,
        set: impl FnOnce(&mut chassis::Settings) + Send + 'static,
    ) -> Self {
        let (peers, relying_parties) = (Peers::default(), RelyingParties::start().await);
        let (file, kek) = (BootstrapFile::write(&relying_parties.url, registers), kek.to_owned());
        let config = Config { file: file.0.clone(), kek: kek.clone(), change: Arc::new(change) };
        let fakes = peers.clone();
        let app = TestApp::start_with(Service::Identity, set, move |process, database_url| async move {
            config.components(&database_url, fakes, process).await
        })
        .await;
        Self { app, peers, relying_parties, file, kek }
    }

    /// A second process beside the first, on its database and by its clock.
    pub async fn beside(&self) -> TestApp {
        let (url, clock) = (self.app.database_url().to_owned(), self.app.clock.clone());
        self.config().start_at(url, clock, self.peers.clone()).await
    }

    /// The same by a clock that is off by so much.
    pub async fn beside_with_clock_off(&self, by: TimeDelta) -> TestApp {
        let (url, clock) = (self.app.database_url().to_owned(), Clock::fixed(self.app.clock.now() + by));
        self.config().start_at(url, clock, self.peers.clone()).await
    }

    /// Another process on the same database, after the first one was killed between two instructions.
    pub async fn killed_and_restarted(self) -> Self {
        let kek = self.kek.clone();
        self.killed_and_restarted_under(&kek).await
    }

    /// The same under other key encryption keys.
    pub async fn killed_and_restarted_under(self, kek: &str) -> Self {
        let Self { app, peers, relying_parties, file, .. } = self;
        let ((url, clock), kek) = (app.kill(), kek.to_owned());
        let config = Config { file: file.0.clone(), kek: kek.clone(), change: Arc::new(|_| {}) };
        let app = config.start_at(url, clock, peers.clone()).await;
        Self { app, peers, relying_parties, file, kek }
    }

    pub fn bootstrap_file(&self) -> &std::path::Path {
        &self.file.0
    }

    pub fn config(&self) -> Config {
        Config { file: self.file.0.clone(), kek: self.kek.clone(), change: Arc::new(|_| {}) }
    }

    /// A verb of the command line, beside the process that runs: what it answers and how it ends.
    pub async fn operate(&self, arguments: &[&str]) -> (String, Result<(), chassis::Stop>) {
        self.operate_in(Service::Identity, arguments).await
    }

    /// The same by the program of a service: all-in-one has another one beside identity.
    pub async fn operate_in(
        &self,
        program: Service,
        arguments: &[&str],
    ) -> (String, Result<(), chassis::Stop>) {
        let config = self.config();
        let (url, fakes) = (self.app.database_url().to_owned(), self.peers.clone());
        let with = (chassis::Settings::default(), self.app.clock.clone());
        chassis::operate(&identity::VERBS, arguments, program, with, move |process| async move {
            let mut components = config.components(&url, fakes, process).await?;
            components.truncate(1);
            if program == Service::AllInOne {
                components.push(Component::new(Service::Profile).attach("what the outbox works on"));
            }
            Ok(components)
        })
        .await
    }
}

/// What a service of the test is made of.
#[derive(Clone)]
pub struct Config {
    file: std::path::PathBuf,
    change: Arc<dyn Fn(&mut identity::Config) + Send + Sync>,
    kek: String,
}

impl Config {
    pub fn identity(&self, database_url: &str) -> identity::Config {
        let mut config = identity::Config {
            database_url: database_url.parse().unwrap(),
            kek: Some(self.kek.parse().unwrap()),
            issuer: ISSUER.to_owned(),
            bootstrap_file: Some(self.file.clone()),
            breached_file: None,
            hash_threads: 2,
            access_token_seconds: 300,
        };
        (self.change)(&mut config);
        config
    }

    // A process on a database that is there.
    async fn start_at(self, url: String, clock: Clock, peers: Peers) -> TestApp {
        TestApp::start_at(Service::Identity, url, clock, move |process, database_url| async move {
            self.components(&database_url, peers, process).await
        })
        .await
    }

    async fn components(
        &self,
        database_url: &str,
        peers: Peers,
        process: Process,
    ) -> Result<Vec<Component>, StartError> {
        let identity = identity::component(self.identity(database_url), process).await?;
        let mailer = Component::new(Service::Mailer)
            .grpc(Grpc::new().add(TransactionalServiceServer::new(peers.clone())));
        let profile =
            Component::new(Service::Profile).grpc(Grpc::new().add(ProfileServiceServer::new(peers)));
        Ok(vec![identity, mailer, profile])
    }
}
