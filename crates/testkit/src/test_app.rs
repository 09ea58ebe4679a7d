//! A service in this process, as its own process would run it.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::Duration,
};

use chassis::{AuthSettings, Component, Peer, Process, Running, Settings, StartError};
use domain::{Clock, Service, UserId};
use sqlx::PgPool;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::timeout,
};

use crate::{Db, Issuer, RecordCatcher, Topics, client_keys::ClientKeys};

const THREADS: usize = 2;
/// Start and stop run on the app's own thread, with unoptimised futures.
const STACK: usize = 8 << 20;
/// So long a torn down runtime is waited for: its tasks end at their next await, a blocking call may not.
const TEARDOWN: Duration = Duration::from_secs(1);
const DELETION: Duration = Duration::from_secs(10);

type Change = Box<dyn FnOnce(&mut Settings) + Send>;
type Ended = oneshot::Sender<Result<(), String>>;

/// A service, or several, on a database, topics and an issuer of their own, by a clock that stands still. It runs on a
/// runtime in a thread of its own, so that it can be killed between two instructions.
///
/// [`TestApp::stop`] ends it as a signal would. One that is dropped is killed.
pub struct TestApp {
    /// Of its database; for looking, and for what the test does itself.
    pub pool: PgPool,
    /// Its clock. It starts at the present time.
    pub clock: Clock,
    database_url: String,
    topics: Topics,
    client: reqwest::Client,
    started: Started,
    end: Option<oneshot::Sender<Ended>>,
    thread: Option<JoinHandle<()>>,
}

// What is known once it runs.
struct Started {
    http: SocketAddr,
    grpc: SocketAddr,
    ops: SocketAddr,
    issuer: Issuer,
}

// What the app's thread needs.
struct Plan {
    service: Service,
    database_url: String,
    topics: Topics,
    clock: Clock,
    /// Nobody will read the topics after a stop.
    owns_topics: bool,
    change: Change,
}

struct App {
    running: Running,
    process: Process,
    // Its files go when the app has ended.
    _keys: ClientKeys,
}

/// What the app logs, where somebody asks for it: `KOTINOS_TEST_LOG=debug`.
fn show_logs() {
    if let Ok(filter) = std::env::var("KOTINOS_TEST_LOG") {
        // Set by the first app of the process.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    }
}

impl TestApp {
    /// The OAuth client that calls in its own name.
    pub const CLIENT: &str = "test-client";

    /// Starts on an empty database: components migrate their schemas themselves, as everywhere.
    ///
    /// # Panics
    /// When the environment does not say where PostgreSQL and Kafka are, or the service does not start.
    pub async fn start<B, F>(service: Service, build: B) -> Self
    where
        B: FnOnce(Process, String) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        Self::start_with(service, |_| {}, build).await
    }

    /// Starts on an empty database with other settings than a test's usual ones.
    ///
    /// # Panics
    /// As [`TestApp::start`].
    pub async fn start_with<B, F>(
        service: Service,
        change: impl FnOnce(&mut Settings) + Send + 'static,
        build: B,
    ) -> Self
    where
        B: FnOnce(Process, String) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        let Db { pool, url } = Db::empty().await;
        let clock = Clock::fixed(Clock::system().now());
        Self::start_on(pool, Plan::new(service, url, clock, true, Box::new(change)), build).await
    }

    /// Starts on a database that another one left, with the same topics, as its successor.
    ///
    /// # Panics
    /// When the database does not exist, or the service does not start.
    pub async fn start_at<B, F>(service: Service, database_url: String, clock: Clock, build: B) -> Self
    where
        B: FnOnce(Process, String) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        Self::succeed(service, database_url, clock, |_| {}, build).await
    }

    /// As [`TestApp::start_at`], with other settings than a test's usual ones.
    ///
    /// # Panics
    /// As [`TestApp::start_at`].
    pub async fn succeed<B, F>(
        service: Service,
        database_url: String,
        clock: Clock,
        change: impl FnOnce(&mut Settings) + Send + 'static,
        build: B,
    ) -> Self
    where
        B: FnOnce(Process, String) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        let Db { pool, url } = Db::open(&database_url).await;
        Self::start_on(pool, Plan::new(service, url, clock, false, Box::new(change)), build).await
    }

    async fn start_on<B, F>(pool: PgPool, plan: Plan, build: B) -> Self
    where
        B: FnOnce(Process, String) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        show_logs();
        let (service, database_url) = (plan.service, plan.database_url.clone());
        let (topics, clock) = (plan.topics.clone(), plan.clock.clone());
        let (tell, told) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(format!("app-{}", service.name()))
            .stack_size(STACK)
            .spawn(move || run(plan, build, tell, ended))
            .expect("a thread for the app");
        let started = match told.await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => panic!("{service} does not start: {error}"),
            Err(_) => panic!("{service} panicked while it started; what it said stands above"),
        };
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let client = client.expect("an HTTP client");
        Self { pool, clock, database_url, topics, client, started, end: Some(end), thread: Some(thread) }
    }

    /// A caller by gRPC with these scopes: a client that acts for itself.
    #[must_use]
    pub fn grpc(&self, scopes: &[&str]) -> Peer {
        self.grpc_with(&self.token(Self::CLIENT, Self::CLIENT, scopes))
    }

    /// A caller by gRPC with these scopes: a person who is signed in at the portal.
    #[must_use]
    pub fn grpc_as(&self, user_id: UserId, scopes: &[&str]) -> Peer {
        self.grpc_with(&self.token(&user_id.to_string(), "portal", scopes))
    }

    /// A caller by gRPC with a token that the test made.
    #[must_use]
    pub fn grpc_with(&self, token: &str) -> Peer {
        self.peer(Some(token.to_owned()))
    }

    /// A caller by gRPC whom nobody knows.
    #[must_use]
    pub fn grpc_without_token(&self) -> Peer {
        self.peer(None)
    }

    fn peer(&self, token: Option<String>) -> Peer {
        let uri: http::Uri = format!("http://{}", self.started.grpc).parse().expect("an address");
        Peer::fixed(uri, token)
    }

    fn token(&self, subject: &str, client_id: &str, scopes: &[&str]) -> String {
        let issuer = self.issuer();
        issuer.token(&issuer.claims(subject, client_id, scopes))
    }

    /// A client without cookies that follows no redirect.
    #[must_use]
    pub fn http(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Where a path of the public HTTP interface is.
    #[must_use]
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.started.http)
    }

    /// Where a path of the operators' interface is.
    #[must_use]
    pub fn ops_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.started.ops)
    }

    /// Who issues the tokens that it takes.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.started.issuer
    }

    /// Where its database is.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Where its topics are.
    #[must_use]
    pub const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Reads its topics.
    #[must_use]
    pub fn records(&self) -> RecordCatcher {
        RecordCatcher::new(self.topics.clone())
    }

    /// Ends it as a signal would, and waits until it has ended. Its topics go when it was the first on its database.
    ///
    /// # Panics
    /// When it does not end as it should.
    pub async fn stop(mut self) {
        let (tell, told) = oneshot::channel();
        // One that is gone already does not answer.
        let _ = self.end.take().map(|end| end.send(tell));
        let ended = told.await;
        self.pool.close().await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the app does not end as it should: {error}"),
            Err(_) => panic!("the app's thread panicked; what it said stands above"),
        }
    }

    /// Tears it down between two instructions: nothing is finished, nobody is told. Gives what a successor starts on.
    #[must_use]
    pub fn kill(mut self) -> (String, Clock) {
        self.tear_down();
        (self.database_url.clone(), self.clock.clone())
    }

    // Waits, so that nothing of it goes on while the test does.
    fn tear_down(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.tear_down();
    }
}

impl Plan {
    fn new(service: Service, database_url: String, clock: Clock, owns_topics: bool, change: Change) -> Self {
        Self { service, topics: Topics::of_database(&database_url), database_url, clock, owns_topics, change }
    }
}

fn run<B, F>(
    plan: Plan,
    build: B,
    tell: oneshot::Sender<Result<Started, String>>,
    ended: oneshot::Receiver<Ended>,
) where
    B: FnOnce(Process, String) -> F + Send + 'static,
    F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().thread_name("app").build();
    let runtime = runtime.expect("a runtime for the app");
    let owns_topics = plan.owns_topics;
    let (app, started) = match runtime.block_on(start(plan, build)) {
        Ok(started) => started,
        Err(error) => {
            runtime.shutdown_timeout(TEARDOWN);
            let _ = tell.send(Err(chain(&*error)));
            return;
        }
    };
    // The test may have ended meanwhile, and then `ended` says so.
    let _ = tell.send(Ok(started));
    match runtime.block_on(ended) {
        Ok(tell) => {
            let stopped = runtime.block_on(stop(app, owns_topics));
            runtime.shutdown_timeout(TEARDOWN);
            let _ = tell.send(stopped.map_err(|error| chain(&*error)));
        }
        Err(_) => kill(runtime, app),
    }
}

async fn start<B, F>(plan: Plan, build: B) -> Result<(App, Started), StartError>
where
    B: FnOnce(Process, String) -> F + Send + 'static,
    F: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let Plan { service, database_url, topics, clock, change, .. } = plan;
    let (issuer, keys) = (Issuer::start(clock.clone()).await, ClientKeys::write());
    let mut settings = settings(&topics, &issuer, &keys);
    change(&mut settings);
    let (tell, told) = oneshot::channel();
    let running = Running::start(service, settings, clock, move |process: Process| {
        // Its receiver waits below.
        let _ = tell.send(process.clone());
        build(process, database_url)
    })
    .await?;
    let started =
        Started { http: running.http_addr(), grpc: running.grpc_addr(), ops: running.ops_addr(), issuer };
    Ok((App { running, process: told.await?, _keys: keys }, started))
}

fn settings(topics: &Topics, issuer: &Issuer, keys: &ClientKeys) -> Settings {
    let any_port = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Settings {
        http_addr: any_port,
        grpc_addr: any_port,
        ops_addr: any_port,
        kafka_brokers: topics.brokers.clone(),
        topic_prefix: topics.prefix.clone(),
        auth: AuthSettings {
            issuer: issuer.url().clone(),
            jwks_url: Some(issuer.keys_url()),
            client_key_dir: Some(keys.path().to_owned()),
        },
        // What a test listens on itself.
        egress_allow: vec!["127.0.0.1:*".to_owned()],
        // A test is one client, and may be in a hurry.
        client_rate: 0,
        // Nobody has to hear of an end first.
        drain_delay: Duration::ZERO,
        ..Settings::default()
    }
}

async fn stop(app: App, owns_topics: bool) -> Result<(), StartError> {
    app.running.stop().await?;
    if owns_topics {
        // A broker with thousands of topics is slow; one that does not answer now keeps them until its data goes.
        let _ = timeout(DELETION, outbox::delete_prefixed(&app.process)).await;
    }
    Ok(())
}

// First the runtime, so that what the app does when it is dropped is not done any more.
fn kill(runtime: Runtime, app: App) {
    runtime.shutdown_timeout(TEARDOWN);
    drop(app);
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
