//! The 100 m final from timing to a partner, to other services, and to questions.

use domain::Service;
use prost::Message;
use proto::results::v1::{
    GetEventUnitRequest, GetResultRequest, GetSnapshotRequest, ListEventUnitsRequest,
    ListMedalStandingsRequest, MedalAwarded, ResultBecameOfficial, SubscribeMode, UnitScheduleState,
    feed_frame::Frame, feed_service_client::FeedServiceClient, result_service_client::ResultServiceClient,
};
use serde_json::Value;
use testkit::races::{EVENT_100M, FINAL_100M, hundred_metres_final};

use crate::world::{Partner, World};

#[tokio::test]
async fn a_partner_that_drops_and_resumes_misses_nothing() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let (before, rest) = race.split_at(5);
    let (during, after) = rest.split_at(4);

    world.send(&key, before).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    assert!(matches!(partner.next().await, Frame::Hello(_)));
    assert!(partner.cursor.is_empty(), "there is no place to go on from before the snapshot is complete");
    partner.read_snapshot().await;
    assert_eq!(partner.documents.len(), 2, "the schedule and the result");

    let seen = world.send(&key, during).await;
    partner.read_to(seen).await;
    partner.drop_connection();

    let last = world.send(&key, after).await;
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_to(last).await;

    let all: Vec<i64> = (6..=i64::try_from(race.len()).unwrap()).collect();
    assert_eq!(partner.seqs, all, "every change once, in order");
    assert!(
        partner.seen.iter().any(|seen| seen.starts_with("delta")),
        "changes are small: {:?}",
        partner.seen
    );
    assert_eq!(partner.documents, snapshot(&world).await);
    world.app.stop().await;
}

#[tokio::test]
async fn a_late_reader_gets_the_newest_and_every_official_version() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(2);
    let (before, after) = race.split_at(2);
    world.send(&key, before).await;
    let mut fan = Partner::default();
    fan.connect(&world, SubscribeMode::State, &[FINAL_100M]).await;
    fan.read_snapshot().await;
    fan.drop_connection();

    world.send(&key, after).await;
    let official = &after[after.len() - 3];
    let protest = official.xml.replace("OFFICIAL", "PROTESTED");
    let mut last = 0;
    for version in ["10", "11"] {
        last =
            world.post(&key, protest.replace("Version=\"9\"", &format!("Version=\"{version}\""))).await.seq;
    }
    fan.connect(&world, SubscribeMode::State, &[FINAL_100M]).await;
    fan.read_to(last).await;
    // Version 9 became official and version 10 stopped being it: only these must be heard.
    assert_eq!(fan.seen, ["full DT_RESULT 9 OFFICIAL", "delta 10 PROTESTED", "delta 11 PROTESTED"]);
    world.app.stop().await;
}

#[tokio::test]
async fn other_services_learn_of_the_schedule_the_result_and_the_medals() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(3);
    world.send(&key, &race).await;
    let rows = testkit::records_in_outbox(&world.app.pool, Service::ResultsFeed).await;
    let of = |topic: &str| rows.iter().filter(|row| row.topic == topic).collect::<Vec<_>>();

    let documents = of("kotinos.results.document.v1");
    assert_eq!(documents.len(), race.len());
    let schedule = of("kotinos.results.schedule.v1");
    let statuses: Vec<String> = schedule
        .iter()
        .map(|row| UnitScheduleState::decode(row.payload.as_deref().unwrap()).unwrap().schedule_status)
        .collect();
    assert_eq!(statuses, ["SCHEDULED", "GETTING_READY", "RUNNING", "FINISHED"]);
    assert!(schedule.iter().all(|row| row.key == FINAL_100M));

    let results = of("kotinos.results.result.v1");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].fact_type, "ResultBecameOfficial");
    let official = ResultBecameOfficial::decode(results[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((official.unit.as_str(), official.correction, official.lines.len()), (FINAL_100M, false, 8));
    assert_eq!(official.lines[0].rank, "1");

    let medals: Vec<MedalAwarded> = of("kotinos.results.medal.v1")
        .iter()
        .map(|row| MedalAwarded::decode(row.payload.as_deref().unwrap()).unwrap())
        .collect();
    assert_eq!(medals.len(), 3);
    assert!(medals.iter().all(|medal| medal.event == EVENT_100M));
    let gold = medals.iter().find(|medal| medal.medal == "ME_GOLD").unwrap();
    assert_eq!(gold.competitor_code, official.lines[0].competitor_code);
    world.app.stop().await;
}

#[tokio::test]
async fn questions_are_answered_from_the_documents() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(4)).await;
    let mut results = ResultServiceClient::new(world.app.grpc(&["results.read"]));

    let unit = GetEventUnitRequest { unit: FINAL_100M.to_owned() };
    let unit = results.get_event_unit(unit).await.unwrap().into_inner().event_unit.unwrap();
    assert_eq!((unit.discipline.as_str(), unit.event.as_str(), unit.medal), ("ATH", EVENT_100M, true));
    assert_eq!((unit.schedule_status.as_str(), unit.result_status.as_str()), ("FINISHED", "OFFICIAL"));
    assert_eq!(unit.name, "Men's 100m Final");
    let units =
        ListEventUnitsRequest { prefixes: vec!["ATH".to_owned()], ..ListEventUnitsRequest::default() };
    assert_eq!(results.list_event_units(units).await.unwrap().into_inner().event_units, [unit]);

    let result = GetResultRequest { unit: FINAL_100M.to_owned() };
    let result = results.get_result(result).await.unwrap().into_inner().result.unwrap();
    assert_eq!((result.result_status.as_str(), result.rows.len()), ("OFFICIAL", 8));
    let ranks: Vec<&str> = result.rows.iter().map(|row| row.rank.as_str()).collect();
    assert_eq!(ranks, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    let standings =
        results.list_medal_standings(ListMedalStandingsRequest {}).await.unwrap().into_inner().standings;
    assert_eq!((standings[0].noc.as_str(), standings[0].gold), (result.rows[0].noc.as_str(), 1));

    let wrong = results.get_result(GetResultRequest { unit: FINAL_100M[..33].to_owned() }).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument);
    let unknown = GetResultRequest { unit: FINAL_100M.replace("000100", "000200") };
    assert_eq!(results.get_result(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    world.app.stop().await;
}

#[tokio::test]
async fn a_cursor_that_cannot_be_served_resets_and_a_snapshot_follows() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(5)[..3]).await;
    let mut known = Partner::default();
    known.connect(&world, SubscribeMode::Every, &[]).await;
    known.read_snapshot().await;
    let epoch = known.cursor.split_once('.').unwrap().0.to_owned();
    let ahead = format!("{epoch}.999999");
    for (cursor, why) in [("0.1", "EPOCH_CHANGED"), (ahead.as_str(), "CURSOR_AHEAD")] {
        let mut partner = Partner::with_cursor(cursor);
        partner.connect(&world, SubscribeMode::Every, &[]).await;
        assert!(matches!(partner.next().await, Frame::Hello(_)));
        let Frame::Reset(reset) = partner.next().await else { panic!("a reset") };
        assert_eq!(reset.why, why);
        partner.read_snapshot().await;
        assert_eq!(partner.documents, known.documents);
    }
    world.app.stop().await;
}

#[tokio::test]
async fn an_invalidated_document_is_gone_until_a_higher_version_comes() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(6);
    let official = race.iter().position(|document| document.result_status == "OFFICIAL").unwrap();
    world.send(&key, &race[..=official]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::State, &[FINAL_100M]).await;
    partner.read_snapshot().await;
    assert_eq!(partner.documents.len(), 1);

    let xml = &race[official].xml;
    let start = xml.find("<Competition").unwrap();
    let invalidation = format!("{}</OdfBody>", &xml[..start]);
    assert_eq!(world.post(&key, invalidation).await.outcome, "accepted");
    assert!(matches!(partner.next().await, Frame::Gone(_)));
    assert!(partner.documents.is_empty() && snapshot(&world).await.len() == 1);
    assert_eq!(world.post(&key, xml.clone()).await.outcome, "duplicate");
    let corrected = world.post(&key, xml.replace("Version=\"9\"", "Version=\"10\"")).await;
    assert_eq!(corrected.outcome, "accepted");
    assert!(matches!(partner.next().await, Frame::Full(_)));

    let rows = testkit::records_in_outbox(&world.app.pool, Service::ResultsFeed).await;
    let facts: Vec<&str> = rows
        .iter()
        .filter(|row| row.topic == "kotinos.results.result.v1")
        .map(|row| row.fact_type.as_str())
        .collect();
    assert_eq!(facts, ["ResultBecameOfficial", "ResultWithdrawn", "ResultBecameOfficial"]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_large_document_is_read_at_its_address() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = &hundred_metres_final(7)[2];
    let note = format!("<Note Value=\"{}\"/></Competition>", "x".repeat(300 << 10));
    let large = start_list.xml.replace("</Competition>", &note);
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    assert_eq!(world.post(&key, large).await.outcome, "accepted");
    let Frame::Reference(live) = partner.next().await else { panic!("a reference") };
    let answer = world.app.http().get(world.app.http_url(&live.href)).send().await.unwrap();
    assert_eq!(answer.headers()["etag"], format!("\"{}\"", live.sha256));
    let body = answer.bytes().await.unwrap();
    assert_eq!(u64::try_from(body.len()).unwrap(), live.bytes);
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["Competition"]["Result"].as_object().unwrap().len(), 8);

    let mut late = Partner::default();
    late.connect(&world, SubscribeMode::Every, &[]).await;
    assert!(matches!(late.next().await, Frame::Hello(_)));
    let Frame::Reference(held) = late.next().await else { panic!("a reference") };
    assert_eq!(held.href, live.href);
    world.app.stop().await;
}

async fn snapshot(world: &World) -> std::collections::BTreeMap<i64, (i32, Value)> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let mut documents = std::collections::BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = GetSnapshotRequest { page_size: 2, page_token, ..GetSnapshotRequest::default() };
        let page = feed.get_snapshot(request).await.unwrap().into_inner();
        for snap in page.documents {
            documents.insert(snap.handle, (snap.version, serde_json::from_slice(&snap.body).unwrap()));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return documents;
        }
    }
}
