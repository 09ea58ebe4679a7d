//! A process with a service that `/proto` does not have.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::Request;
use sqlx::{
    AssertSqlSafe, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use tonic::{body::Body, server::NamedService};

use super::*;
use crate::{
    Grpc,
    policy::planted::{Options, SERVICE, Said, set},
    token_verifier::test_issuer::TestIssuer,
};

#[derive(Clone)]
struct Garden;

impl NamedService for Garden {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<Request<Body>> for Garden {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(tonic::Status::ok("").into_http()))
    }
}

fn settings(issuer: &TestIssuer) -> Settings {
    let any_port = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Settings {
        http_addr: any_port,
        grpc_addr: any_port,
        ops_addr: any_port,
        auth: issuer.settings(),
        drain_delay: Duration::ZERO,
        ..Settings::default()
    }
}

async fn start(issuer: &TestIssuer, options: Option<Options>) -> Result<Running, StartError> {
    start_with(settings(issuer), issuer, options).await
}

async fn start_with(
    settings: Settings,
    issuer: &TestIssuer,
    options: Option<Options>,
) -> Result<Running, StartError> {
    Running::start(Service::Portal, settings, issuer.clock.clone(), |_| async {
        let grpc = Grpc::new().add(Garden).described_by(set(options));
        Ok(vec![Component::new(Service::Portal).grpc(grpc)])
    })
    .await
}

#[tokio::test]
async fn a_process_with_a_method_that_has_no_policy_does_not_start() {
    let issuer = TestIssuer::start().await;
    let refused = |policy: Option<Said>| Some(Options { idempotency_level: 1, policy });
    let table = [
        (None, "/garden.v2.GardenService/Plant has no policy"),
        (refused(None), "/garden.v2.GardenService/Plant has no policy"),
        (refused(Some(Said::default())), "/garden.v2.GardenService/Plant is neither public nor has a scope"),
    ];
    for (options, why) in table {
        match start(&issuer, options).await {
            Ok(running) => {
                running.stop().await.unwrap();
                panic!("it started, though {why}");
            }
            Err(error) => assert_eq!(error.to_string(), why),
        }
    }
}

#[tokio::test]
async fn the_same_process_starts_when_the_method_says_who_may_call_it() {
    let issuer = TestIssuer::start().await;
    for (policy, code) in [
        (Said { public: true, ..Said::default() }, tonic::Code::Ok),
        (Said { scope: vec!["garden.plant".to_owned()], ..Said::default() }, tonic::Code::Unauthenticated),
    ] {
        let options = Options { idempotency_level: 1, policy: Some(policy) };
        let running = start(&issuer, Some(options)).await.unwrap();
        assert_eq!(plant(&running, None).await, code);
        running.stop().await.unwrap();
    }
}

async fn plant(running: &Running, token: Option<String>) -> tonic::Code {
    let peer = crate::Peer::fixed(format!("http://{}", running.grpc_addr()).parse().unwrap(), token);
    let request = Request::post(format!("/{SERVICE}/Plant")).body(Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(peer, request).await.unwrap();
    tonic::Status::from_header_map(answer.headers()).unwrap().code()
}

#[tokio::test]
async fn a_process_counts_the_calls_of_each_client_and_of_each_address() {
    let issuer = TestIssuer::start().await;
    let settings = Settings { client_rate: 1, address_rate: 1, ..settings(&issuer) };
    let scope = vec!["garden.plant".to_owned()];
    for (policy, client_id) in [
        (Said { scope, ..Said::default() }, Some("partner")),
        (Said { public: true, ..Said::default() }, None),
    ] {
        let options = Options { idempotency_level: 0, policy: Some(policy) };
        let running = start_with(settings.clone(), &issuer, Some(options)).await.unwrap();
        let token = client_id.map(|client_id| {
            let mut claims = issuer.claims("garden");
            claims["client_id"] = client_id.into();
            claims["scope"] = "garden.plant".into();
            issuer.sign(&claims)
        });
        let mut codes = Vec::new();
        for _ in 0..3 {
            codes.push(plant(&running, token.clone()).await);
        }
        let ok = tonic::Code::Ok;
        assert_eq!(codes, [ok, ok, tonic::Code::ResourceExhausted], "{client_id:?}");
        running.stop().await.unwrap();
    }
}

/// A database that goes with its test.
struct Database {
    server: PgPool,
    name: String,
    url: String,
}

impl Database {
    async fn create() -> Self {
        let url = std::env::var("KOTINOS_TEST_DATABASE_URL");
        let url =
            url.expect("KOTINOS_TEST_DATABASE_URL: `make test` sets it, or `deploy/local/stack run test`");
        let server = PgPool::connect(&url).await.unwrap();
        let name = format!("floor_{}", &domain::new_id().simple().to_string()[20..]);
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&server).await.unwrap();
        let mut own: url::Url = url.parse().unwrap();
        own.set_path(&name);
        Self { server, name, url: own.into() }
    }

    async fn drop(self) {
        let sql = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.server).await.unwrap();
    }

    /// A process whose binary knows these migrations; what it says of itself is its state.
    async fn begin(&self, issuer: &TestIssuer, migrations: &[&'static str]) -> Running {
        let migrations = (1_i64..).zip(migrations).map(|(version, sql)| {
            Migration::new(version, "step".into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        let url = self.url.parse().unwrap();
        Running::begin(Service::Portal, settings(issuer), issuer.clock.clone(), |process| async move {
            let pool = process.database(&url);
            Ok(vec![Component::new(Service::Portal).database(pool, migrator)])
        })
        .await
        .unwrap()
    }
}

async fn says(running: &Running, state: &State) {
    let mut states = running.lifecycle.watch();
    let seen = timeout(Duration::from_secs(20), states.wait_for(|now| now == state)).await;
    assert!(seen.is_ok(), "{state:?}: {:?}", *running.lifecycle.watch().borrow());
}

#[tokio::test]
async fn a_binary_below_the_floor_of_the_schema_stays_unready_with_the_reason() {
    const EXPAND: &str = "create table portal.fan (old int, new int)";
    const CONTRACT: &str =
        "alter table portal.fan drop column old; update portal.schema_floor set version = 2";
    const LATER: &str = "create table portal.later (i int)";
    let (issuer, database) = (TestIssuer::start().await, Database::create().await);

    let first = database.begin(&issuer, &[EXPAND]).await;
    says(&first, &State::Ready).await;
    first.stop().await.unwrap();
    // It contracts, and goes on after: what it has after the contraction raises nothing.
    let newest = database.begin(&issuer, &[EXPAND, CONTRACT, LATER]).await;
    says(&newest, &State::Ready).await;
    newest.stop().await.unwrap();

    let old = database.begin(&issuer, &[EXPAND]).await;
    let why = "portal: this version knows migrations up to 1, and the schema needs one that knows 2";
    says(&old, &State::Starting(why.to_owned())).await;
    let ready = reqwest::get(format!("http://{}/readyz", old.ops_addr())).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains(why));
    old.stop().await.unwrap();

    let at_the_floor = database.begin(&issuer, &[EXPAND, CONTRACT]).await;
    says(&at_the_floor, &State::Ready).await;
    at_the_floor.stop().await.unwrap();
    database.drop().await;
}
