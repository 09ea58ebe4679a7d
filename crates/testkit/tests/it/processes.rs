//! A process with a little service of its own: who may call it, what it sends, how it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{Component, Grpc, Process, StartError};
use domain::{EventId, Service, UserId, new_id};
use outbox::{Fact, Partitions, Topic};
use proto::results::v1::{
    self as results, GetEventUnitRequest, GetEventUnitResponse, GetResultRequest, GetResultResponse,
    GetStartListRequest, GetStartListResponse, ListEventUnitsRequest, ListEventUnitsResponse,
    ListMedalStandingsRequest, ListMedalStandingsResponse, ListScheduleRequest, ListScheduleResponse,
    result_service_client::ResultServiceClient,
    result_service_server::{ResultService, ResultServiceServer},
};
use testkit::{TestApp, eventually};
use tonic::{Code, Request, Response, Status};

const DEADLINE: Duration = Duration::from_secs(20);

static CAMPAIGNS: Topic = Topic::state("kotinos.mailer.campaign.v1", Partitions::DEFINITION);
static TOPICS: &[&Topic] = &[&CAMPAIGNS];

/// Tells callers who they are, in the name of a unit.
struct Mirror(Process);

fn named(name: String) -> Option<results::EventUnit> {
    Some(results::EventUnit { name, ..Default::default() })
}

#[tonic::async_trait]
impl ResultService for Mirror {
    async fn get_event_unit(
        &self,
        request: Request<GetEventUnitRequest>,
    ) -> Result<Response<GetEventUnitResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let name = format!("{} by {}", actor.subject, actor.client_id);
        Ok(Response::new(GetEventUnitResponse { event_unit: named(name) }))
    }

    // Who the process itself is to its peers.
    async fn list_event_units(
        &self,
        _: Request<ListEventUnitsRequest>,
    ) -> Result<Response<ListEventUnitsResponse>, Status> {
        let mut peer = ResultServiceClient::new(self.0.peer(Service::ResultsFeed));
        let seen = peer.get_event_unit(GetEventUnitRequest::default()).await?.into_inner();
        let event_units = seen.event_unit.into_iter().collect();
        Ok(Response::new(ListEventUnitsResponse { event_units, ..Default::default() }))
    }

    async fn get_result(&self, _: Request<GetResultRequest>) -> Result<Response<GetResultResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_start_list(
        &self,
        _: Request<GetStartListRequest>,
    ) -> Result<Response<GetStartListResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_schedule(
        &self,
        _: Request<ListScheduleRequest>,
    ) -> Result<Response<ListScheduleResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_medal_standings(
        &self,
        _: Request<ListMedalStandingsRequest>,
    ) -> Result<Response<ListMedalStandingsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

async fn mirror() -> TestApp {
    TestApp::start(Service::ResultsFeed, |process, _| async move {
        let grpc = Grpc::new().add(ResultServiceServer::new(Mirror(process)));
        Ok(vec![Component::new(Service::ResultsFeed).grpc(grpc)])
    })
    .await
}

async fn who(peer: chassis::Peer) -> Result<String, Code> {
    let answer = ResultServiceClient::new(peer).get_event_unit(GetEventUnitRequest::default()).await;
    answer.map(|answer| answer.into_inner().event_unit.unwrap().name).map_err(|status| status.code())
}

#[tokio::test]
async fn callers_are_whom_the_test_says() {
    let app = mirror().await;
    assert_eq!(who(app.grpc(&["results.read"])).await.unwrap(), "test-client by test-client");
    let alice = UserId::new();
    assert_eq!(who(app.grpc_as(alice, &["results.read"])).await.unwrap(), format!("{alice} by portal"));
    assert_eq!(who(app.grpc(&["profile.read"])).await, Err(Code::PermissionDenied));
    assert_eq!(who(app.grpc_without_token()).await, Err(Code::Unauthenticated));
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_is_wrong_in_one_claim_is_refused() {
    let app = mirror().await;
    let right = app.issuer().claims("alice", "portal", &["results.read"]);
    let mut wrong = vec![right.clone(); 4];
    wrong[0].audiences = vec![Service::Mailer.audience().to_owned()];
    wrong[1].issuer = "https://elsewhere.example".to_owned();
    wrong[2].expires_at = app.clock.now() - domain::TimeDelta::minutes(5);
    wrong[3].typ = "JWT".to_owned();
    for claims in wrong {
        assert_eq!(
            who(app.grpc_with(&app.issuer().token(&claims))).await,
            Err(Code::Unauthenticated),
            "{claims:?}"
        );
    }
    assert_eq!(who(app.grpc_with(&app.issuer().token(&right))).await.unwrap(), "alice by portal");
    app.stop().await;
}

#[tokio::test]
async fn a_process_gets_tokens_of_its_own_also_after_its_clock_was_moved() {
    let app = mirror().await;
    for _ in 0..2 {
        let mut results = ResultServiceClient::new(app.grpc(&["results.read"]));
        let units = results.list_event_units(ListEventUnitsRequest::default()).await.unwrap().into_inner();
        assert_eq!(units.event_units[0].name, "results by results");
        app.clock.advance(domain::TimeDelta::days(4));
    }
    app.stop().await;
}

#[tokio::test]
async fn its_records_are_read_from_topics_of_its_own() {
    let db = testkit::Db::fresh(&crate::databases::migrator()).await;
    let clock = domain::Clock::fixed(domain::Clock::system().now());
    let app = TestApp::start_at(Service::Mailer, db.url.clone(), clock, |process, database_url| async move {
        let pool = process.database(&database_url.parse()?);
        Ok(vec![outbox::publish(Component::new(Service::Mailer), &process, &pool, TOPICS)])
    })
    .await;
    let keys = ["july", "august", "september"];
    for key in keys {
        let fact = Fact {
            topic: &CAMPAIGNS,
            key: key.to_owned(),
            fact_type: "CampaignScheduled",
            payload: (key != "august").then(|| key.as_bytes().to_vec()),
            version: 1,
            occurred_at: app.clock.now(),
            event_id: EventId::from(new_id()),
        };
        let mut tx = db.pool.begin().await.unwrap();
        outbox::append(&mut tx, Service::Mailer, &fact).await.unwrap();
        tx.commit().await.unwrap();
    }
    let names = [CAMPAIGNS.name(), "kotinos.mailer.never.v1"];
    let all = |records: &[testkit::CaughtRecord]| (records.len() >= keys.len()).then(|| records.to_vec());
    let records = app.records().wait_for(&names, DEADLINE, all).await;
    let mut seen: Vec<_> =
        records.iter().map(|record| (record.key.as_str(), record.payload.is_some())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("august", false), ("july", true), ("september", true)]);
    assert!(
        records
            .iter()
            .all(|record| record.ce_type == "CampaignScheduled" && record.topic == CAMPAIGNS.name())
    );
    assert_eq!(records[0].headers["content-type"], "application/protobuf");
    app.stop().await;
}

/// A task that counts, and says so when it is told to end.
#[derive(Clone, Default)]
struct Counter {
    turns: Arc<AtomicUsize>,
    told: Arc<AtomicUsize>,
}

impl Counter {
    async fn count(self, shutdown: chassis::Shutdown) -> Result<(), StartError> {
        while !shutdown.is_soft() {
            self.turns.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.told.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn component(self) -> Component {
        Component::new(Service::Mailer).task("counter", move |shutdown| self.count(shutdown))
    }

    fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    async fn turns_on(&self) {
        let before = self.turns();
        eventually(DEADLINE, || async { (self.turns() > before + 3).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_killed_process_does_nothing_more_and_its_successor_finds_its_place() {
    let counter = Counter::default();
    let counting = counter.clone();
    let app = TestApp::start(Service::Mailer, |_, _| async { Ok(vec![counting.component()]) }).await;
    counter.turns_on().await;
    sqlx::query("create table left_behind (i int)").execute(&app.pool).await.unwrap();
    app.clock.advance(domain::TimeDelta::hours(1));
    let (at, prefix) = (app.clock.now(), app.topics().prefix.clone());
    let (url, clock) = app.kill();
    let turns = counter.turns();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((counter.turns(), counter.told.load(Ordering::SeqCst)), (turns, 0));

    let counting = counter.clone();
    let app =
        TestApp::start_at(Service::Mailer, url, clock, |_, _| async { Ok(vec![counting.component()]) }).await;
    counter.turns_on().await;
    sqlx::query("select * from left_behind").execute(&app.pool).await.unwrap();
    assert_eq!((app.clock.now(), app.topics().prefix.as_str()), (at, prefix.as_str()));
    app.stop().await;
    assert_eq!(counter.told.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_that_is_dropped_is_killed() {
    let counter = Counter::default();
    let counting = counter.clone();
    let app = TestApp::start(Service::Mailer, |_, _| async { Ok(vec![counting.component()]) }).await;
    counter.turns_on().await;
    drop(app);
    let turns = counter.turns();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!((counter.turns(), counter.told.load(Ordering::SeqCst)), (turns, 0));
}

#[tokio::test]
#[should_panic(expected = "results-feed does not start: no luck")]
async fn one_that_does_not_start_fails_its_test_with_the_reason() {
    TestApp::start(Service::ResultsFeed, |_, _| async { Err("no luck".into()) }).await;
}
