use std::{
    collections::BTreeMap, future::Future, io::Write as _, net::SocketAddr, process::ExitCode, time::Duration,
};

use clap::Args;
use domain::{Clock, Service};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    Component, Metrics, Process, Settings, StartError, Stop, Verb,
    code::chain,
    command::{self, Asked, Invocation},
    lifecycle::{Lifecycle, State},
    migrate, serve,
    telemetry::Telemetry,
    verb,
};

/// Between the hard shutdown and the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long `health` waits for an answer.
const HEALTH: Duration = Duration::from_secs(2);

/// Runs a service: the whole of its `main`. `verbs` are what operators can do beside running it.
pub fn run<C, F, Fut>(service: Service, component: F, verbs: &'static [Verb]) -> ExitCode
where
    C: Args,
    F: FnOnce(C, Process) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Component, StartError>> + Send + 'static,
{
    let components = |config: C, process| {
        let component = component(config, process);
        async { Ok(vec![component.await?]) }
    };
    run_all(service, components, verbs)
}

/// Runs several services in one process.
pub fn run_all<C, F, Fut>(service: Service, components: F, verbs: &'static [Verb]) -> ExitCode
where
    C: Args,
    F: FnOnce(C, Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let Invocation { asked, settings, config } =
        match command::read::<C>(service, std::env::args_os(), &environment, verbs) {
            Ok(invocation) => invocation,
            Err(refused) => {
                // Help and versions go to standard output with code 0, faults to standard error with code 2.
                let _ = refused.print();
                return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2));
            }
        };
    if let Asked::Config { json } = asked {
        let written = std::io::stdout().write_all(command::listing::<C>(service, json).as_bytes());
        return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    install_crypto();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(cpus) = settings.cpus {
        builder.worker_threads(cpus.into());
    }
    let ended = builder.enable_all().build().map_err(Stop::from).and_then(|runtime| {
        let ended = runtime.block_on(invoke(asked, service, settings, |process| components(config, process)));
        // A thread that hangs in a driver does not hold the process up.
        runtime.shutdown_timeout(LAST_WORDS);
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            // Telemetry may not have begun, or be over.
            let _ = writeln!(std::io::stderr(), "{service}: {stop}");
            ExitCode::from(stop.exit_code())
        }
    }
}

async fn invoke<F, Fut>(asked: Asked, service: Service, settings: Settings, build: F) -> Result<(), Stop>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let (verb, matches) = match asked {
        Asked::Health => return ask_health(service, &settings).await.map_err(Stop::Failed),
        Asked::Migrate { check } => {
            return migrate_all(check, service, settings, build).await.map_err(Stop::Failed);
        }
        Asked::Operate(verb, matches) => (verb, matches),
        Asked::Serve | Asked::Config { .. } => {
            return serve_with_telemetry(service, settings, build).await.map_err(Stop::Failed);
        }
    };
    // What a verb does to data is told in the log, as everything else.
    let telemetry = Telemetry::start(service, &settings).map_err(Stop::Failed)?;
    let ended = verb::invoke(verb, matches, service, settings, build).await;
    telemetry.stop().await;
    ended
}

async fn serve_with_telemetry<F, Fut>(
    service: Service,
    settings: Settings,
    build: F,
) -> Result<(), StartError>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let telemetry = Telemetry::start(service, &settings)?;
    let ended = serve_until_signal(service, settings, build).await;
    if let Err(error) = &ended {
        tracing::error!(error = chain(error.as_ref()), "the process ends");
    }
    telemetry.stop().await;
    ended
}

async fn serve_until_signal<F, Fut>(service: Service, settings: Settings, build: F) -> Result<(), StartError>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = Running::begin(service, settings, Clock::system(), build).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        why = running.lifecycle.failed() => {
            running.lifecycle.end_hard();
            return Err(why.into());
        }
    }
    tracing::info!("a signal asks the process to end");
    tokio::select! {
        ended = running.end() => ended,
        // A second signal means now.
        _ = terminate.recv() => running.abort().await,
        _ = interrupt.recv() => running.abort().await,
    }
}

/// A running process: what [`run`] drives by signals, and a test by hand.
pub struct Running {
    lifecycle: Lifecycle,
    settings: Settings,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    ops_addr: SocketAddr,
}

impl Running {
    /// Starts the components and waits until they are ready.
    ///
    /// # Errors
    /// A taken port, a component that cannot be put together, a schema that cannot be made.
    pub async fn start<F, Fut>(
        service: Service,
        settings: Settings,
        clock: Clock,
        build: F,
    ) -> Result<Self, StartError>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        install_crypto();
        let running = Self::begin(service, settings, clock, build).await?;
        let mut state = running.lifecycle.watch();
        tokio::select! {
            ready = state.wait_for(|state| *state == State::Ready) => {
                ready?;
            }
            why = running.lifecycle.failed() => {
                running.lifecycle.end_hard();
                return Err(why.into());
            }
        }
        Ok(running)
    }

    // Binds, answers operators, and lets the rest follow.
    async fn begin<F, Fut>(
        service: Service,
        settings: Settings,
        clock: Clock,
        build: F,
    ) -> Result<Self, StartError>
    where
        F: FnOnce(Process) -> Fut,
        Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
    {
        let own =
            |given: Option<SocketAddr>, port: u16| given.unwrap_or_else(|| ([127, 0, 0, 1], port).into());
        let http = bind(own(settings.http_addr, service.http_port()), "KOTINOS_HTTP_ADDR").await?;
        let grpc = bind(own(settings.grpc_addr, service.grpc_port()), "KOTINOS_GRPC_ADDR").await?;
        let ops = bind(own(settings.ops_addr, service.ops_port()), "KOTINOS_OPS_ADDR").await?;
        let lifecycle = Lifecycle::new();
        let running = Self {
            http_addr: http.local_addr()?,
            grpc_addr: grpc.local_addr()?,
            ops_addr: ops.local_addr()?,
            lifecycle: lifecycle.clone(),
            settings: settings.clone(),
        };
        let metrics = Metrics::new();
        let process = Process::new(service, settings, clock, metrics, running.grpc_addr)?;
        let components = build(process.clone());
        let listeners = serve::Listeners { http, grpc, ops };
        tracing::info!(http = %running.http_addr, grpc = %running.grpc_addr, ops = %running.ops_addr, "listening");
        lifecycle.tracker.spawn(serve::start(process, components, listeners, lifecycle.clone()));
        Ok(running)
    }

    /// Where public HTTP answers.
    #[must_use]
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where gRPC answers.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where operators are answered.
    #[must_use]
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Ends politely: unready, then nothing new, then what is under way finishes.
    ///
    /// # Errors
    /// What failed while it ran, or a task that did not end in its time.
    pub async fn stop(self) -> Result<(), StartError> {
        self.end().await
    }

    async fn end(&self) -> Result<(), StartError> {
        self.lifecycle.draining();
        let delay = self.settings.drain_delay;
        sleep(delay).await;
        self.lifecycle.end_softly();
        self.lifecycle.tracker.close();
        let rest = self.settings.drain_hard.saturating_sub(delay);
        if timeout(rest, self.lifecycle.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        tracing::warn!("what was under way did not finish in time");
        self.abort().await
    }

    async fn abort(&self) -> Result<(), StartError> {
        self.lifecycle.end_hard();
        self.lifecycle.tracker.close();
        match timeout(LAST_WORDS, self.lifecycle.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err("tasks did not end in their time and were dropped".into()),
        }
    }
}

async fn bind(addr: SocketAddr, setting: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|error| {
        StartError::from(format!("{addr} cannot be listened on ({error}); {setting} chooses another address"))
    })
}

async fn migrate_all<F, Fut>(
    check: bool,
    service: Service,
    settings: Settings,
    build: F,
) -> Result<(), StartError>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let process =
        Process::new(service, settings, Clock::system(), Metrics::new(), ([127, 0, 0, 1], 0).into())?;
    for component in build(process).await? {
        let Some((pool, migrator)) = &component.database else { continue };
        if !check {
            migrate::run(pool, migrator, component.service).await?;
        }
        if let Some(why) = migrate::unfit(pool, migrator, component.service).await? {
            return Err(format!("{}: {why}", component.service).into());
        }
        let _ = writeln!(std::io::stdout(), "{}: the schema is up to date", component.service);
    }
    Ok(())
}

async fn ask_health(service: Service, settings: &Settings) -> Result<(), StartError> {
    let mut addr = settings.ops_addr.unwrap_or_else(|| ([127, 0, 0, 1], service.ops_port()).into());
    if addr.ip().is_unspecified() {
        addr.set_ip([127, 0, 0, 1].into());
    }
    let client = crate::http_client::short()?;
    let answer = client.get(format!("http://{addr}/readyz")).timeout(HEALTH).send().await?;
    let status = answer.status();
    let body = crate::read_bounded(answer, 4_096).await?;
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    if !status.is_success() {
        return Err(text.into());
    }
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

// One TLS stack for everything but Kafka. Whoever comes first installs it.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests;
