//! What was, page by page; what happened since; who starts, and when.

use std::collections::BTreeMap;

use domain::TimeDelta;
use proto::results::v1::{
    DocumentRepresentation, EntitlementRule, GetDocumentRequest, GetEventUnitRequest, GetSnapshotRequest,
    GetStartListRequest, ListChangesRequest, ListScheduleRequest, SubscribeMode, feed_frame::Frame,
    feed_service_client::FeedServiceClient, result_service_client::ResultServiceClient,
};
use serde_json::Value;
use testkit::{
    eventually,
    races::{FINAL_100M, hundred_metres_final},
};
use tonic::Code;

use crate::{
    control::{ALL_SPORTS, Control, DAY},
    world::{DEADLINE, Partner, World, lowest},
};

type State = BTreeMap<i64, (i32, Value)>;

/// The whole past state in pages of one document.
async fn state(world: &World, as_of: &str) -> State {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let (mut documents, mut page_token) = (State::new(), String::new());
    loop {
        let request = GetSnapshotRequest {
            page_size: 1,
            page_token,
            as_of: as_of.to_owned(),
            ..GetSnapshotRequest::default()
        };
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

async fn refusal(world: &World, as_of: &str, page_token: &str) -> Code {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = GetSnapshotRequest {
        as_of: as_of.to_owned(),
        page_token: page_token.to_owned(),
        ..GetSnapshotRequest::default()
    };
    feed.get_snapshot(request).await.unwrap_err().code()
}

fn result_versions(state: &State) -> Vec<i32> {
    state.values().map(|(version, _)| *version).collect()
}

#[tokio::test]
async fn every_past_state_is_what_a_reader_held_at_the_time() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    let mut held = vec![(0, State::new(), world.app.clock.now())];
    for document in hundred_metres_final(1) {
        world.app.clock.advance(TimeDelta::seconds(1));
        let seq = world.send(&key, std::slice::from_ref(&document)).await;
        partner.read_to(seq).await;
        held.push((seq, partner.documents.clone(), world.app.clock.now()));
    }
    for (seq, documents, at) in &held {
        assert_eq!(state(&world, &seq.to_string()).await, *documents, "entry {seq}");
        assert_eq!(state(&world, &at.to_rfc3339()).await, *documents, "at {at}");
    }
    for wrong in ["999", "tomorrow", "2030-13-01", "2999-01-01T00:00:00Z"] {
        assert_eq!(refusal(&world, wrong, "").await, Code::InvalidArgument, "{wrong}");
    }
    assert_eq!(refusal(&world, "3", "7").await, Code::InvalidArgument);
    assert_eq!(refusal(&world, DAY, "").await, Code::NotFound, "nothing was heard of the day");
    world.app.stop().await;
}

#[tokio::test]
async fn a_day_stands_as_it_was_closed_and_an_invalidated_document_is_gone_from_then_on() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(2);
    let official = race.iter().position(|document| document.result_status == "OFFICIAL").unwrap();
    world.control(&key, &Control::new("DT_GLOBAL_GM", ALL_SPORTS, 1)).await;
    world.send(&key, &race[..=official]).await;
    assert_eq!(result_versions(&state(&world, DAY).await), [1, 4, 9], "open: as it is now");
    world.control(&key, &Control::new("DT_GLOBAL_GN", ALL_SPORTS, 1).at("230000000")).await;
    let closed = state(&world, DAY).await;
    let xml = &race[official].xml;
    let invalidation = format!("{}</OdfBody>", &xml[..xml.find("<Competition ").unwrap()]);
    let gone = world.post(&key, invalidation).await.seq;
    assert_eq!(state(&world, DAY).await, closed);
    assert_eq!(state(&world, &gone.to_string()).await.len(), closed.len() - 1);
    assert_eq!(state(&world, &(gone - 1).to_string()).await, closed);
    world.app.stop().await;
}

#[tokio::test]
async fn the_past_is_read_by_the_rules_of_today() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(3);
    let client = world.client_id();
    // Then: the schedule alone. Afterwards: results too, and at last nothing but results.
    world.allow("public", 0, &["DT_GLOBAL_GM"]).await;
    world.allow(&client, 0, &["DT_SCHEDULE_UPDATE"]).await;
    let then = world.send(&key, &race[..3]).await;
    assert_eq!(state(&world, &then.to_string()).await.len(), 1);
    world.allow(&client, 1, &["DT_SCHEDULE_UPDATE", "DT_RESULT"]).await;
    assert_eq!(state(&world, &then.to_string()).await.len(), 2, "as a search finds it");
    let later = world.send(&key, &race[3..5]).await;
    assert_eq!(state(&world, &later.to_string()).await.len(), 2);
    world.allow(&client, 2, &["DT_RESULT"]).await;
    for place in [then, later] {
        let seen = state(&world, &place.to_string()).await;
        assert_eq!(seen.len(), 1, "what is forbidden now was never readable");
        assert!(seen.values().all(|(_, document)| document["Competition"].get("Result").is_some()));
    }

    // Pages of the log are of then and now both, and without a history of the rights they show nothing.
    let (frames, _) = changes(&world, "", 0).await;
    assert_eq!(
        kinds(&frames),
        ["FILTER_CHANGED", "FILTER_CHANGED", "FILTER_CHANGED", "delta 2", "FILTER_CHANGED"]
    );
    sqlx::query("delete from results.entitlement_version").execute(&world.app.pool).await.unwrap();
    let (frames, _) = changes(&world, "", 0).await;
    assert_eq!(kinds(&frames), ["FILTER_CHANGED"; 4]);
    world.app.stop().await;
}

fn held_for(minutes: u32) -> Vec<EntitlementRule> {
    let statuses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    vec![
        EntitlementRule {
            statuses: statuses(&["START_LIST", "LIVE", "UNOFFICIAL", "NONE"]),
            ..EntitlementRule::default()
        },
        EntitlementRule {
            statuses: statuses(&["OFFICIAL"]),
            embargo_minutes: minutes,
            ..EntitlementRule::default()
        },
    ]
}

async fn result_at(world: &World, as_of: &str) -> Option<i32> {
    let held = state(world, as_of).await;
    let result = held.into_values().find(|(_, document)| document["Competition"].get("Result").is_some());
    result.map(|(version, _)| version)
}

/// Version and status of a document as it was.
async fn document_at(world: &World, handle: i64, as_of: &str) -> Result<(i32, String), Code> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = GetDocumentRequest {
        handle,
        as_of: as_of.to_owned(),
        representation: DocumentRepresentation::Canonical.into(),
        ..GetDocumentRequest::default()
    };
    let mut pieces = feed.get_document(request).await.map_err(|status| status.code())?.into_inner();
    let document = pieces.message().await.unwrap().unwrap().document.unwrap();
    Ok((document.version, document.result_status))
}

#[tokio::test]
async fn what_an_embargo_holds_back_is_not_in_the_past_either() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let client = world.client_id();
    world.entitle("public", vec![]).await;
    world.entitle(&client, held_for(30)).await;
    let race = hundred_metres_final(8);
    let official = race.iter().position(|document| document.result_status == "OFFICIAL").unwrap();
    let before = world.send(&key, &race[..official]).await;
    let held = world.send(&key, &race[official..=official]).await;
    let handle: i64 =
        sqlx::query_scalar("select handle from results.document where document_type = 'DT_RESULT'")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
    let unofficial = result_at(&world, &before.to_string()).await.unwrap();
    assert_eq!(result_at(&world, &held.to_string()).await, None, "neither now nor then");
    assert_eq!(document_at(&world, handle, &held.to_string()).await, Err(Code::NotFound));

    world.app.clock.advance(TimeDelta::minutes(31));
    let now = world.app.clock.now().to_rfc3339();
    assert_eq!(result_at(&world, &held.to_string()).await, None, "held back then");
    assert_eq!(result_at(&world, &before.to_string()).await, Some(unofficial));
    assert_eq!(result_at(&world, &now).await, Some(unofficial + 1));
    assert_eq!(
        document_at(&world, handle, &before.to_string()).await,
        Ok((unofficial, "UNOFFICIAL".to_owned()))
    );
    assert_eq!(document_at(&world, handle, &now).await, Ok((unofficial + 1, "OFFICIAL".to_owned())));
    for wrong in ["tomorrow", "2999-01-01T00:00:00Z", "9999"] {
        assert_eq!(document_at(&world, handle, wrong).await, Err(Code::InvalidArgument), "{wrong}");
    }
    let told = format!("DT_RESULT {}", unofficial + 1);
    let released = eventually(DEADLINE, async || {
        let (frames, _) = changes(&world, "", 0).await;
        frames.into_iter().find(|frame| kind(frame) == told)
    })
    .await;
    let Frame::Full(full) = released else { panic!("a whole document") };
    assert!(full.seq > held, "told where its embargo ended");

    // An embargo that is longer now reaches back.
    world.entitle(&client, held_for(600)).await;
    assert_eq!(result_at(&world, &now).await, None);
    assert_eq!(document_at(&world, handle, &now).await, Err(Code::NotFound));
    let (frames, _) = changes(&world, "", 0).await;
    assert!(!kinds(&frames).contains(&told), "{:?}", kinds(&frames));
    world.app.stop().await;
}

fn kind(frame: &Frame) -> String {
    match frame {
        Frame::Full(full) => format!("{} {}", full.key.as_ref().unwrap().document_type, full.version),
        Frame::Delta(delta) => format!("delta {}", delta.version),
        Frame::Gone(gone) => format!("gone {}", gone.why),
        Frame::Superseded(superseded) => format!("superseded {}", superseded.version),
        Frame::Reset(reset) => reset.why.clone(),
        other => panic!("{other:?}"),
    }
}

fn kinds(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(kind).collect()
}

/// The number of a change, its lane, and the number before, which is taken out of it.
fn unlinked(frame: &mut Frame) -> (i64, u32, i64) {
    match frame {
        Frame::Full(full) => (full.seq, full.lane, std::mem::take(&mut full.previous)),
        Frame::Delta(delta) => (delta.seq, delta.lane, std::mem::take(&mut delta.previous)),
        other => panic!("{other:?}"),
    }
}

/// Every frame of the log behind a cursor, in pages.
async fn changes(world: &World, cursor: &str, page_size: u32) -> (Vec<Frame>, String) {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let (mut frames, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let request = ListChangesRequest { cursor, page_size, ..ListChangesRequest::default() };
        let page = feed.list_changes(request).await.unwrap().into_inner();
        frames.extend(page.frames.into_iter().map(|frame| frame.frame.unwrap()));
        cursor = page.cursor;
        if !page.more {
            return (frames, cursor);
        }
    }
}

#[tokio::test]
async fn pages_of_the_log_are_the_frames_of_a_subscription() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    let start = partner.cursor.clone();
    let race = hundred_metres_final(4);
    let last = world.send(&key, &race).await;
    let mut sent = Vec::new();
    while sent.len() < race.len() {
        sent.push(partner.next().await);
    }
    partner.read_to(last).await;
    // A page is in the order of the log, whatever the lane.
    let mut sent: Vec<_> = sent.iter_mut().map(|frame| (unlinked(frame).0, frame.clone())).collect();
    sent.sort_by_key(|(seq, _)| *seq);
    for page_size in [1, 5, 0] {
        let (mut frames, cursor) = changes(&world, &start, page_size).await;
        let mut newest = [lowest(&start); 3];
        for (frame, (_, expected)) in frames.iter_mut().zip(&sent) {
            let (seq, lane, previous) = unlinked(frame);
            let newest = &mut newest[usize::try_from(lane).unwrap()];
            // Where a page begins, the frame before is not above the page's cursor, as for a reader that comes back.
            assert!(if page_size == 0 { previous == *newest } else { (*newest..seq).contains(&previous) });
            *newest = seq;
            assert_eq!(frame, expected, "{seq}");
        }
        assert_eq!(frames.len(), sent.len());
        assert_eq!(cursor, partner.cursor);
        assert!(cursor.ends_with(&format!(".{last}")));
    }
    let (whole, _) = changes(&world, "", 0).await;
    assert_eq!(whole.len(), sent.len());

    let url = world.app.http_url(&format!("/results/v1/changes?cursor={start}&limit=2&prefix={FINAL_100M}"));
    let page: Value =
        serde_json::from_slice(&world.app.http().get(url).send().await.unwrap().bytes().await.unwrap())
            .unwrap();
    assert_eq!((page["more"].as_bool(), page["frames"].as_array().unwrap().len()), (Some(true), 0));
    let next = page["cursor"].as_str().unwrap();
    let url = world.app.http_url(&format!("/results/v1/changes?cursor={next}&limit=1&prefix={FINAL_100M}"));
    let page: Value =
        serde_json::from_slice(&world.app.http().get(url).send().await.unwrap().bytes().await.unwrap())
            .unwrap();
    assert_eq!(page["frames"][0]["t"], "full");
    world.app.stop().await;
}

#[tokio::test]
async fn a_cursor_of_changes_that_cannot_be_served_is_a_reset_and_a_change_of_rights_ends_a_page() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(5);
    world.send(&key, &race[..3]).await;
    for (cursor, why) in [("nonsense", "CURSOR_INVALID"), ("0.1", "EPOCH_CHANGED")] {
        let (frames, _) = changes(&world, cursor, 0).await;
        let [Frame::Reset(reset)] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!(reset.why, why);
    }
    let (_, cursor) = changes(&world, "", 0).await;
    let ahead = format!("{}.99", cursor.split_once('.').unwrap().0);
    let (frames, _) = changes(&world, &ahead, 0).await;
    assert!(matches!(frames.as_slice(), [Frame::Reset(reset)] if reset.why == "CURSOR_AHEAD"));

    world.allow("public", 0, &["DT_RESULT"]).await;
    world.send(&key, &race[3..5]).await;
    let (frames, _) = changes(&world, "", 0).await;
    // The schedule was visible then and is not now.
    assert_eq!(kinds(&frames), ["DT_RESULT 1", "FILTER_CHANGED", "delta 2"]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_past_state_is_read_over_http_too() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(6)).await;
    let get = |query: &str| {
        let url = world.app.http_url(&format!("/results/v1/state?{query}"));
        let http = world.app.http();
        async move {
            let answer = http.get(url).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
        }
    };
    let (status, first) = get("as_of=5&limit=1").await;
    assert_eq!((status, first["documents"].as_array().unwrap().len()), (200, 1));
    assert!(first["cursor"].as_str().unwrap().ends_with(".5"));
    let next = first["next"].as_str().unwrap();
    let (_, second) = get(&format!("as_of=5&limit=1&after={next}")).await;
    assert_eq!(second["documents"][0]["st"], "LIVE");
    for wrong in ["as_of=x", "as_of=99", "as_of=5&after=1", "after=x"] {
        assert_eq!(get(wrong).await.0, 400, "{wrong}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_start_list_stays_when_the_race_goes_on() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(7);
    let mut results = ResultServiceClient::new(world.app.grpc(&["results.read"]));
    let asked = || GetStartListRequest { unit: FINAL_100M.to_owned() };
    assert_eq!(results.get_start_list(asked()).await.unwrap_err().code(), Code::NotFound);
    world.send(&key, &race[..3]).await;
    let before = results.get_start_list(asked()).await.unwrap().into_inner().start_list.unwrap();
    let lanes: Vec<&str> = before.rows.iter().map(|row| row.start_order.as_str()).collect();
    assert_eq!(lanes, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(before.result_status, "START_LIST");
    world.send(&key, &race[3..]).await;
    let after = results.get_start_list(asked()).await.unwrap().into_inner().start_list.unwrap();
    assert_eq!(after, before);

    let wrong = FINAL_100M.replace("FNL-", "F-L-");
    let refused = results.get_start_list(GetStartListRequest { unit: wrong }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    world.allow("public", 0, &["DT_SCHEDULE_UPDATE"]).await;
    assert_eq!(results.get_start_list(asked()).await.unwrap_err().code(), Code::NotFound);
    world.app.stop().await;
}

#[tokio::test]
async fn a_malformed_code_is_refused_with_its_position() {
    let world = World::start().await;
    let mut results = ResultServiceClient::new(world.app.grpc(&["results.read"]));
    let unit = FINAL_100M.replace("FNL-", "F-L-");
    let start_list = results.get_start_list(GetStartListRequest { unit: unit.clone() }).await.unwrap_err();
    let event_unit = results.get_event_unit(GetEventUnitRequest { unit }).await.unwrap_err();
    for refused in [start_list, event_unit] {
        assert_eq!(refused.code(), Code::InvalidArgument);
        let told = String::from_utf8_lossy(refused.details()).into_owned() + refused.message();
        assert!(told.contains("position 25"), "{told}");
    }
    world.app.stop().await;
}

fn unit(code: &str, start: &str, venue: &str) -> String {
    format!(
        "<Unit Code=\"{code}\" ScheduleStatus=\"SCHEDULED\" StartDate=\"{start}\" Venue=\"{venue}\"><ItemName Value=\"x\"/></Unit>"
    )
}

#[tokio::test]
async fn the_schedule_is_asked_by_day_discipline_and_venue() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let code = |discipline: &str, unit: &str| format!("{discipline}M100M--------------FNL-{unit}--");
    let units = [
        unit(&code("ATH", "000100"), "2030-08-04T21:50:00+09:00", "STA"),
        // After midnight, and still of the evening before.
        unit(&code("ATH", "000200"), "2030-08-05T01:30:00+09:00", "STA"),
        unit(&code("ATH", "000300"), "2030-08-05T03:00:00+09:00", "STA"),
        unit(&code("JUD", "000100"), "2030-08-04T03:00:00+09:00", "BUD"),
    ];
    let body = format!("<Competition>{}</Competition>", units.concat());
    world.control(&key, &Control::new("DT_SCHEDULE", ALL_SPORTS, 1).body(&body)).await;
    let mut results = ResultServiceClient::new(world.app.grpc(&["results.read"]));
    let cases = [
        ("", "", "", vec!["JUD1", "ATH1", "ATH2", "ATH3"]),
        (DAY, "", "", vec!["JUD1", "ATH1", "ATH2"]),
        ("2030-08-05", "", "", vec!["ATH3"]),
        (DAY, "ATH", "", vec!["ATH1", "ATH2"]),
        ("", "", "BUD", vec!["JUD1"]),
        (DAY, "JUD", "STA", vec![]),
    ];
    for (day, discipline, venue, expected) in cases {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListScheduleRequest {
                logical_date: day.to_owned(),
                discipline: discipline.to_owned(),
                venue: venue.to_owned(),
                page_size: 1,
                page_token,
            };
            let page = results.list_schedule(request).await.unwrap().into_inner();
            seen.extend(
                page.event_units.iter().map(|unit| format!("{}{}", unit.discipline, &unit.unit[29..30])),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, expected, "{day} {discipline} {venue}");
    }
    for wrong in [
        ListScheduleRequest { logical_date: "today".to_owned(), ..ListScheduleRequest::default() },
        ListScheduleRequest { discipline: "AT".to_owned(), ..ListScheduleRequest::default() },
        ListScheduleRequest { discipline: "A%_".to_owned(), ..ListScheduleRequest::default() },
        ListScheduleRequest { venue: "S'A".to_owned(), ..ListScheduleRequest::default() },
        ListScheduleRequest { page_token: "x".to_owned(), ..ListScheduleRequest::default() },
    ] {
        assert_eq!(results.list_schedule(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
    world.allow("public", 0, &["DT_RESULT"]).await;
    let hidden = results.list_schedule(ListScheduleRequest::default()).await.unwrap().into_inner();
    assert_eq!(hidden.event_units, []);
    world.app.stop().await;
}
