//! What happens between the first answer to operators and readiness, and the two stacks that calls go through.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use domain::Service;
use hyper::{Request, body::Incoming};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tonic::{body::Body, service::Routes};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    Backoff, Component, Grpc, Migrate, Process, StartError,
    auth_layer::AuthLayer,
    code::chain,
    component::Work,
    connections::{self, Speaks},
    health::Health,
    layers::{self, quota::Quota, shed::Crowd},
    lifecycle::{Lifecycle, State},
    migrate,
    policy::Policies,
};

pub(crate) struct Listeners {
    pub(crate) http: TcpListener,
    pub(crate) grpc: TcpListener,
    pub(crate) ops: TcpListener,
}

/// Brings the process to readiness; what fails for good is told to the lifecycle.
pub(crate) async fn start<Fut>(process: Process, components: Fut, listeners: Listeners, lifecycle: Lifecycle)
where
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let Listeners { http, grpc, ops } = listeners;
    let (pools, known_pools) = watch::channel(Vec::new());
    let health = Health::new(lifecycle.clone(), process.metrics(), known_pools);
    lifecycle.tracker.spawn(connections::serve(
        ops,
        (Speaks::Http, None),
        Arc::from([]),
        incoming(health.router()),
        lifecycle.clone(),
    ));
    let shutdown = lifecycle.shutdown();
    let ready = async {
        let components = components.await?;
        start_components(&process, components, (http, grpc), &pools, &lifecycle).await
    };
    tokio::select! {
        () = shutdown.soft() => {}
        ready = ready => {
            if let Err(error) = ready {
                lifecycle.fail(chain(error.as_ref()));
            }
        }
    }
}

async fn start_components(
    process: &Process,
    components: Vec<Component>,
    (http, grpc): (TcpListener, TcpListener),
    pools: &watch::Sender<Vec<PgPool>>,
    lifecycle: &Lifecycle,
) -> Result<(), StartError> {
    let hosted: BTreeSet<Service> = components.iter().map(|component| component.service).collect();
    if hosted.len() != components.len() {
        return Err("a service stands twice in this process".into());
    }
    process.hosts(hosted);
    let mut router = Router::new();
    let mut services = Vec::new();
    let mut crowds = HashMap::new();
    let mut tasks = Vec::new();
    let streams = components.iter().filter_map(|component| component.streams).max();
    let send_buffer = components.iter().filter_map(|component| component.send_buffer).min();
    let limits = layers::Limits::new(process.settings(), streams);
    for component in components {
        let service = component.service;
        let pool = component.database.as_ref().map(|(pool, _)| pool.clone());
        let crowd = Crowd::new(service.name(), pool, &process.metrics());
        crowds.extend(component.grpc.names.iter().map(|name| (*name, crowd.clone())));
        if let Some((pool, migrator)) = component.database {
            bring_up_to_date(process, &pool, &migrator, service, lifecycle).await?;
            pools.send_modify(|pools| pools.push(pool));
        }
        for (name, preparation) in component.preparations {
            lifecycle.starting(format!("{service}: {name}"));
            preparation.await.map_err(|error| format!("{service}: {name}: {}", chain(error.as_ref())))?;
        }
        router = router.merge(layers::of_service(service, component.http));
        services.push(component.grpc);
        tasks.extend(component.tasks.into_iter().map(|(name, work)| (service, name, work)));
    }
    let (routes, health) = grpc_routes(process, services, crowds, &limits, lifecycle)?;
    lifecycle.tracker.spawn(connections::serve(
        grpc,
        (Speaks::Grpc, None),
        Arc::from([]),
        routes,
        lifecycle.clone(),
    ));
    let trusted = process.settings().trusted_proxies.as_slice().into();
    let router = layers::http(router, &limits, &process.metrics());
    lifecycle.tracker.spawn(connections::serve(
        http,
        (Speaks::Http, send_buffer),
        trusted,
        incoming(router),
        lifecycle.clone(),
    ));
    for (service, name, work) in tasks {
        run_task(service, name, work, lifecycle);
    }
    lifecycle.tracker.spawn(health);
    wait_for_keys(process, lifecycle).await;
    lifecycle.ready();
    tracing::info!("ready");
    Ok(())
}

// Without the issuer's keys every call would be refused. Who hosts the issuer waits for nobody: its keys are its own.
async fn wait_for_keys(process: &Process, lifecycle: &Lifecycle) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    while !process.is_host_of(Service::Identity)
        && let Err(error) = process.verifier().ready().await
    {
        lifecycle.starting(format!("the issuer's keys are not to be had: {error}"));
        sleep(backoff.next()).await;
    }
}

// A database that is away is waited for: a crash loop would only add load when it comes back.
async fn bring_up_to_date(
    process: &Process,
    pool: &PgPool,
    migrator: &sqlx::migrate::Migrator,
    service: Service,
    lifecycle: &Lifecycle,
) -> Result<(), StartError> {
    lifecycle.starting(format!("{service}: waits for its schema"));
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let made = match process.settings().migrate {
            Migrate::Run => migrate::run(pool, migrator, service).await,
            Migrate::Check => Ok(()),
        };
        let unfit = match made {
            Ok(()) => migrate::unfit(pool, migrator, service).await,
            Err(error) => Err(error),
        };
        match unfit {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => lifecycle.starting(format!("{service}: {why}")),
            Err(error) if migrate::may_pass(&error) => {
                let error = chain(error.as_ref());
                tracing::warn!(service = service.name(), error, "the database is away");
                lifecycle.starting(format!("{service}: the database is away"));
            }
            Err(error) => return Err(format!("{service}: migrations: {}", chain(error.as_ref())).into()),
        }
        sleep(backoff.next()).await;
    }
}

fn run_task(service: Service, name: &'static str, work: Work, lifecycle: &Lifecycle) {
    let running = lifecycle.tracker.spawn(work(lifecycle.shutdown()));
    let watched = lifecycle.clone();
    lifecycle.tracker.spawn(async move {
        let shutdown = watched.shutdown();
        let ended = tokio::select! {
            ended = running => ended,
            () = shutdown.hard() => return,
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => watched.fail(format!("{service}: {name}: {}", chain(error.as_ref()))),
            Err(panic) => watched.fail(format!("{service}: {name}: {panic}")),
        }
    });
}

type GrpcStack =
    tower::util::BoxCloneSyncService<Request<Incoming>, http::Response<Body>, std::convert::Infallible>;

/// The stack of a call, and what keeps `grpc.health.v1` true.
fn grpc_routes(
    process: &Process,
    services: Vec<Grpc>,
    crowds: HashMap<&'static str, Crowd>,
    limits: &layers::Limits,
    lifecycle: &Lifecycle,
) -> Result<(GrpcStack, impl Future<Output = ()> + Send + 'static), StartError> {
    let names: Vec<&'static str> = services.iter().flat_map(|grpc| grpc.names.iter().copied()).collect();
    let sets: Vec<Vec<u8>> = services.iter().flat_map(|grpc| grpc.descriptors.iter().cloned()).collect();
    let policies = Arc::new(Policies::read(&names, &sets)?);
    let mut routes = Routes::default();
    for grpc in services.into_iter().filter(|grpc| !grpc.names.is_empty()) {
        let router = std::mem::take(routes.axum_router_mut());
        // Two fallbacks do not merge; the default's answers for all.
        *routes.axum_router_mut() = router.merge(grpc.routes.routes().into_axum_router().reset_fallback());
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .with_service_name("grpc.health.v1.Health");
    let reflection =
        sets.iter().fold(reflection, |reflection, set| reflection.register_encoded_file_descriptor_set(set));
    let reflection = names.iter().fold(reflection, |reflection, name| reflection.with_service_name(*name));
    let (reporter, health) = tonic_health::server::health_reporter();
    routes = routes.add_service(health).add_service(reflection.build_v1()?);
    let counted = Quota::grpc(limits, &process.metrics()).layer(routes.prepare());
    let stack = layers::grpc(
        AuthLayer::new(process.verifier(), Arc::clone(&policies)).layer(counted),
        policies,
        crowds,
        limits,
        &process.metrics(),
    );
    let stack = stack.map_request(|request: Request<Incoming>| request.map(Body::new));
    let mut state = lifecycle.watch();
    let shutdown = lifecycle.shutdown();
    let keep = async move {
        loop {
            let ready = *state.borrow_and_update() == State::Ready;
            let status = if ready {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for name in names.iter().copied().chain([""]) {
                reporter.set_service_status(name, status).await;
            }
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                () = shutdown.soft() => return,
            }
        }
    };
    Ok((tower::util::BoxCloneSyncService::new(stack), keep))
}

type HttpStack =
    tower::util::BoxCloneSyncService<Request<Incoming>, axum::response::Response, std::convert::Infallible>;

fn incoming(router: Router) -> HttpStack {
    let router = router.map_request(|request: Request<Incoming>| request.map(axum::body::Body::new));
    tower::util::BoxCloneSyncService::new(router)
}
