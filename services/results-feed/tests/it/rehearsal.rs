//! Replays: a range of the feed sent again into a stream of its own.

use std::time::Duration;

use domain::{Service, TimeDelta};
use proto::results::v1::{
    EntitlementRule, GetReplayRequest, GetSnapshotRequest, Replay, Snap, StartReplayRequest,
    StopReplayRequest, SubscribeMode, SubscribeRequest, UpdateEntitlementsRequest,
    access_service_client::AccessServiceClient, feed_frame::Frame, feed_service_client::FeedServiceClient,
    rehearsal_service_client::RehearsalServiceClient,
};
use results_feed::generator::{self, Choice, Generated, Options, SYNTHETIC_DAY};
use testkit::eventually;
use tonic::{Code, Status};

use crate::world::{DEADLINE, World};

/// How long a replay may take whose driver was killed: the lease of 10 s, and what is left.
const TAKE_OVER: Duration = Duration::from_secs(40);

pub fn small_day(faults: bool) -> Vec<Generated> {
    let choice = Choice { units: Some(2), ..Choice::default() };
    let competition = "SYN2030".to_owned();
    let options = Options { seed: 11, competition, test: false, faults, keep_alive: 0 };
    generator::generate(generator::synthetic(11, SYNTHETIC_DAY, &choice), &options).collect()
}

// As they come, with their pauses divided by 20 so that the replay of a day takes seconds.
pub async fn send(world: &World, documents: &[Generated]) {
    let (_, key) = world.key("P", &[]).await;
    let mut before = 0;
    for generated in documents {
        let pause = (generated.offset_ms - before) / 20;
        before = generated.offset_ms;
        world.app.clock.advance(TimeDelta::milliseconds(i64::try_from(pause).unwrap()));
        let told = world.post(&key, generated.document.clone()).await;
        assert_eq!((told.status, told.outcome.as_str()), (200, generated.expected.outcome()), "{told:?}");
    }
}

pub async fn may_read_tests(world: &World) {
    let rule =
        |feed_flag: &str| EntitlementRule { feed_flag: feed_flag.to_owned(), ..EntitlementRule::default() };
    world.entitle(&world.client_id(), vec![rule("P"), rule("T")]).await;
}

pub async fn start(world: &World, request: StartReplayRequest) -> Result<Replay, Status> {
    let mut rehearsals = RehearsalServiceClient::new(world.app.grpc(&["results.admin"]));
    Ok(rehearsals.start_replay(request).await?.into_inner().replay.unwrap())
}

pub async fn get(world: &World, replay_id: &str) -> Replay {
    let mut rehearsals = RehearsalServiceClient::new(world.app.grpc(&["results.admin"]));
    let request = GetReplayRequest { replay_id: replay_id.to_owned() };
    rehearsals.get_replay(request).await.unwrap().into_inner().replay.unwrap()
}

pub async fn done(world: &World, replay: &Replay, deadline: Duration) -> Replay {
    eventually(deadline, || async {
        let now = get(world, &replay.replay_id).await;
        (now.stage == "done").then_some(now)
    })
    .await
}

pub fn of_day(speed: u32) -> StartReplayRequest {
    StartReplayRequest { logical_date: SYNTHETIC_DAY.to_string(), speed, ..StartReplayRequest::default() }
}

/// What an entry says but for its place and time: kind, version, status, source, hash, and the document without its flag.
type Said = (String, Option<i32>, Option<String>, Option<String>, Option<Vec<u8>>, Vec<u8>);

async fn said(world: &World, stream: &str) -> Vec<Said> {
    let rows: Vec<Said> = sqlx::query_as(
        "select kind, version, result_status, source, sha256, raw from results.log
         where stream_id = $1 and raw is not null order by seq",
    )
    .bind(stream)
    .fetch_all(&world.app.pool)
    .await
    .unwrap();
    let unflagged = |raw: &[u8], flag: &str| {
        // Most lie packed there.
        let is_packed = raw.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let raw = if is_packed { zstd::stream::decode_all(raw).unwrap() } else { raw.to_vec() };
        let text = std::str::from_utf8(&raw).unwrap();
        assert!(text.contains(flag), "{text}");
        text.replacen(flag, "", 1).into_bytes()
    };
    let flag = if stream == "SYN2030-P" { " FeedFlag=\"P\"" } else { " FeedFlag=\"T\"" };
    rows.into_iter()
        .map(|(kind, version, status, source, sha256, raw)| {
            (kind, version, status, source, sha256, unflagged(&raw, flag))
        })
        .collect()
}

async fn snapshot(world: &World, feed_flag: &str) -> Vec<Snap> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = GetSnapshotRequest {
            feed_flag: feed_flag.to_owned(),
            page_size: 500,
            page_token,
            ..GetSnapshotRequest::default()
        };
        let page = feed.get_snapshot(request).await.unwrap().into_inner();
        all.extend(page.documents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn content(snaps: Vec<Snap>) -> Vec<(String, i32, String, Vec<u8>)> {
    let mut all: Vec<_> = snaps
        .into_iter()
        .map(|snap| {
            (format!("{:?}", snap.key.unwrap()), snap.version, snap.result_status, snap.body.to_vec())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_day_sent_again_ends_with_equal_documents_and_tells_nobody() {
    let world = World::start().await;
    may_read_tests(&world).await;
    send(&world, &small_day(true)).await;
    let facts = |rows: Vec<testkit::OutboxRow>| {
        rows.into_iter().filter(|row| !row.topic.ends_with(".rehearsal.v1")).count()
    };
    let before = facts(testkit::records_in_outbox(&world.app.pool, Service::ResultsFeed).await);

    let replay = start(&world, of_day(100)).await.unwrap();
    assert_eq!((replay.stream.as_str(), replay.source_stream.as_str()), ("SYN2030-R1", "SYN2030-P"));
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = SubscribeRequest {
        feed_flag: "R1".to_owned(),
        mode: SubscribeMode::Every.into(),
        ..SubscribeRequest::default()
    };
    let mut frames = feed.subscribe(request).await.unwrap().into_inner();
    let (mut streams, mut is_over) = (Vec::new(), false);
    while !is_over {
        let frame = tokio::time::timeout(DEADLINE, frames.message())
            .await
            .expect("a frame in time")
            .unwrap()
            .unwrap();
        match frame.frame.unwrap() {
            Frame::Hello(hello) => streams.push(hello.stream),
            Frame::Full(full) => is_over = full.key.unwrap().document_type == "DT_GLOBAL_GN",
            Frame::Snap(snap) => is_over = snap.key.unwrap().document_type == "DT_GLOBAL_GN",
            _ => {}
        }
    }
    assert_eq!(streams, ["SYN2030-R1"]);
    let ended = done(&world, &replay, DEADLINE).await;
    assert_eq!((ended.replayed, ended.documents), (replay.documents, replay.documents));
    assert!(ended.ended_at.is_some());

    assert_eq!(said(&world, "SYN2030-R1").await, said(&world, "SYN2030-P").await);
    let (again, first) = (content(snapshot(&world, "R1").await), content(snapshot(&world, "P").await));
    assert!(first.len() > 10);
    assert_eq!(again, first);
    let rows = testkit::records_in_outbox(&world.app.pool, Service::ResultsFeed).await;
    assert_eq!(facts(rows), before, "a rehearsal tells no facts");
    world.app.stop().await;
}

#[tokio::test]
async fn a_rehearsal_is_as_long_as_the_day_divided_by_the_speed() {
    let world = World::start().await;
    let documents: Vec<Generated> = small_day(false).into_iter().take(3).collect();
    let (_, key) = world.key("P", &[]).await;
    for generated in &documents {
        world.app.clock.advance(TimeDelta::seconds(60));
        world.post(&key, generated.document.clone()).await;
    }
    let begun = std::time::Instant::now();
    let replay =
        start(&world, StartReplayRequest { from_seq: 1, speed: 60, ..StartReplayRequest::default() })
            .await
            .unwrap();
    done(&world, &replay, DEADLINE).await;
    // Two minutes at 60 times real time.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    world.app.stop().await;
}

#[tokio::test]
async fn a_replay_goes_on_at_another_replica_when_its_driver_is_killed() {
    let first = World::start().await;
    let documents = small_day(false);
    let (_, key) = first.key("P", &[]).await;
    for generated in &documents {
        // A minute for all, at real time.
        let pause = 60_000 / i64::try_from(documents.len()).unwrap();
        first.app.clock.advance(TimeDelta::milliseconds(pause));
        first.post(&key, generated.document.clone()).await;
    }
    let request = StartReplayRequest { speed: 3, ..of_day(3) };
    let replay = start(&first, request).await.unwrap();
    eventually(DEADLINE, || async { (get(&first, &replay.replay_id).await.replayed >= 3).then_some(()) })
        .await;
    let second = first.beside().await;
    let before = get(&second, &replay.replay_id).await;
    assert_eq!(before.stage, "running");
    assert!(before.replayed < replay.documents);
    let _ = first.app.kill();
    let ended = done(&second, &replay, TAKE_OVER).await;
    assert_eq!(ended.replayed, replay.documents);
    // Nothing twice, nothing missing, in the same order.
    assert_eq!(said(&second, "SYN2030-R1").await, said(&second, "SYN2030-P").await);
    second.app.stop().await;
}

#[tokio::test]
async fn a_stopped_replay_sends_no_more_and_its_stream_can_be_used_again() {
    let world = World::start().await;
    may_read_tests(&world).await;
    send(&world, &small_day(false)).await;
    // Real time: it would last minutes.
    let first = start(&world, StartReplayRequest { number: 4, ..of_day(1) }).await.unwrap();
    assert_eq!(first.stream, "SYN2030-R4");
    eventually(DEADLINE, || async { (get(&world, &first.replay_id).await.replayed > 0).then_some(()) }).await;
    let taken = start(&world, StartReplayRequest { number: 4, ..of_day(100) }).await.unwrap_err();
    assert_eq!(taken.code(), Code::FailedPrecondition);

    let mut rehearsals = RehearsalServiceClient::new(world.app.grpc(&["results.admin"]));
    let stop = StopReplayRequest { replay_id: first.replay_id.clone() };
    let stopped = rehearsals.stop_replay(stop.clone()).await.unwrap().into_inner().replay.unwrap();
    assert_eq!(stopped.stage, "stopped");
    let again = rehearsals.stop_replay(stop).await.unwrap().into_inner().replay.unwrap();
    assert_eq!((again.stage, again.replayed), (stopped.stage, stopped.replayed));

    // The epoch tells readers of the first one that what they hold is void.
    let epoch = || async {
        let found: String =
            sqlx::query_scalar("select epoch from results.stream where stream_id = 'SYN2030-R4'")
                .fetch_one(&world.app.pool)
                .await
                .unwrap();
        found
    };
    let before = epoch().await;
    let second = start(&world, StartReplayRequest { number: 4, ..of_day(100) }).await.unwrap();
    done(&world, &second, DEADLINE).await;
    assert_ne!(epoch().await, before);
    assert_eq!(said(&world, "SYN2030-R4").await, said(&world, "SYN2030-P").await);
    assert_eq!(content(snapshot(&world, "R4").await), content(snapshot(&world, "P").await));
    world.app.stop().await;
}

#[tokio::test]
async fn who_may_not_see_tests_sees_no_rehearsal_and_loses_it_with_the_right() {
    let world = World::start().await;
    send(&world, &small_day(false)[..4]).await;
    let replay = start(&world, of_day(100)).await.unwrap();
    done(&world, &replay, DEADLINE).await;
    assert!(snapshot(&world, "R1").await.is_empty());
    may_read_tests(&world).await;
    assert_eq!(snapshot(&world, "R1").await.len(), 4);

    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = SubscribeRequest { feed_flag: "R1".to_owned(), ..SubscribeRequest::default() };
    let mut frames = feed.subscribe(request).await.unwrap().into_inner();
    let mut access = AccessServiceClient::new(world.app.grpc(&["results.admin"]));
    let mut gone = 0;
    while gone < 4 {
        let frame = tokio::time::timeout(DEADLINE, frames.message())
            .await
            .expect("a frame in time")
            .unwrap()
            .unwrap();
        match frame.frame.unwrap() {
            Frame::Live(_) => {
                let request = UpdateEntitlementsRequest {
                    client_id: world.client_id(),
                    expected_version: 1,
                    rules: vec![],
                };
                access.update_entitlements(request).await.unwrap();
            }
            Frame::Gone(told) => {
                assert_eq!(told.why, "REVOKED");
                gone += 1;
            }
            _ => {}
        }
    }
    assert!(snapshot(&world, "R1").await.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_told_by_field() {
    let world = World::start().await;
    let wrong = [
        StartReplayRequest::default(),
        StartReplayRequest { logical_date: "4 August".to_owned(), ..StartReplayRequest::default() },
        StartReplayRequest { speed: 101, ..of_day(1) },
        StartReplayRequest { number: 10, ..of_day(1) },
        StartReplayRequest { from_seq: -1, ..of_day(1) },
        StartReplayRequest { from_seq: 5, to_seq: 4, ..of_day(1) },
        StartReplayRequest { feed_flag: "R1".to_owned(), ..of_day(1) },
    ];
    for request in wrong {
        assert_eq!(
            start(&world, request.clone()).await.unwrap_err().code(),
            Code::InvalidArgument,
            "{request:?}"
        );
    }
    assert_eq!(start(&world, of_day(1)).await.unwrap_err().code(), Code::NotFound, "nothing came that day");
    let mut rehearsals = RehearsalServiceClient::new(world.app.grpc(&["results.admin"]));
    let unknown = GetReplayRequest { replay_id: domain::new_id().to_string() };
    assert_eq!(rehearsals.get_replay(unknown).await.unwrap_err().code(), Code::NotFound);
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    for feed_flag in ["R0", "R10", "X"] {
        let request = SubscribeRequest { feed_flag: feed_flag.to_owned(), ..SubscribeRequest::default() };
        assert_eq!(feed.subscribe(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    world.app.stop().await;
}
