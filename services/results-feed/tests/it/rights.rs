//! Embargoes, revocations and organisations, as readers meet them.

use std::time::{Duration, Instant};

use domain::TimeDelta;
use proto::results::v1::{
    AccessDecision, EntitlementRule, ExplainAccessRequest, ExplainAccessResponse, GetSnapshotRequest,
    ListDecisionsRequest, ListEntitlementsRequest, SubscribeMode, SubscribeRequest,
    UpdateEntitlementsRequest, access_service_client::AccessServiceClient, feed_frame::Frame,
    feed_service_client::FeedServiceClient,
};
use serde_json::Value;
use testkit::{
    TestApp,
    races::{FINAL_100M, OdfDocument, hundred_metres_final},
};
use tonic::Status;

use crate::world::{DEADLINE, Partner, World};

/// How long a change of rights may take to reach an open connection.
const PROMPT: Duration = Duration::from_secs(1);

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn admin(world: &World) -> AccessServiceClient<chassis::Peer> {
    AccessServiceClient::new(world.app.grpc(&["results.admin"]))
}

async fn entitle(
    world: &World,
    client_id: &str,
    expected_version: i64,
    rules: Vec<EntitlementRule>,
) -> Result<(), Status> {
    let request = UpdateEntitlementsRequest { client_id: client_id.to_owned(), expected_version, rules };
    admin(world).update_entitlements(request).await.map(drop)
}

/// A world in which the public may see nothing, and the client of the tests what these rules say.
async fn world_with(rules: Vec<EntitlementRule>) -> (World, String) {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    entitle(&world, "public", 0, vec![]).await.unwrap();
    entitle(&world, TestApp::CLIENT, 0, rules).await.unwrap();
    (world, key)
}

async fn explain(world: &World, handle: i64, version: i32, minutes: i64) -> ExplainAccessResponse {
    let at = world.app.clock.now() + TimeDelta::minutes(minutes);
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap();
    let request = ExplainAccessRequest {
        client_id: TestApp::CLIENT.to_owned(),
        handle,
        version,
        at: Some(prost_types::Timestamp { seconds: at.timestamp(), nanos }),
        ..ExplainAccessRequest::default()
    };
    admin(world).explain_access(request).await.unwrap().into_inner()
}

async fn decisions(world: &World, cause: &str) -> Vec<AccessDecision> {
    let request =
        ListDecisionsRequest { client_id: TestApp::CLIENT.to_owned(), ..ListDecisionsRequest::default() };
    let page = admin(world).list_decisions(request).await.unwrap().into_inner();
    page.decisions.into_iter().filter(|decision| decision.cause == cause).collect()
}

async fn held_by_pages(world: &World) -> Vec<(String, i32)> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let page = feed.get_snapshot(GetSnapshotRequest::default()).await.unwrap().into_inner();
    page.documents.into_iter().map(|snap| (snap.key.unwrap().document_type, snap.version)).collect()
}

async fn get_document(world: &World, handle: i64, seq: i64) -> (u16, Value) {
    let issuer = world.app.issuer();
    let token = issuer.token(&issuer.claims(TestApp::CLIENT, TestApp::CLIENT, &["results.subscribe"]));
    let path = format!("/results/v1/documents/{handle}/{seq}");
    let request = world.app.http().get(world.app.http_url(&path)).bearer_auth(token);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

/// The next change, which must come promptly.
async fn prompt(partner: &mut Partner) -> Frame {
    let asked_at = Instant::now();
    let frame = partner.next().await;
    assert!(asked_at.elapsed() < PROMPT, "{:?} for {frame:?}", asked_at.elapsed());
    frame
}

fn official_of(race: &[OdfDocument]) -> usize {
    race.iter().position(|document| document.result_status == "OFFICIAL").unwrap()
}

fn embargo_on_official() -> Vec<EntitlementRule> {
    let others = ["START_LIST", "LIVE", "UNOFFICIAL", "NONE"];
    vec![
        EntitlementRule { statuses: strings(&others), ..EntitlementRule::default() },
        EntitlementRule {
            statuses: strings(&["OFFICIAL"]),
            embargo_minutes: 30,
            ..EntitlementRule::default()
        },
    ]
}

#[tokio::test]
async fn an_embargo_hides_a_version_until_its_minute_and_not_longer() {
    let (world, key) = world_with(embargo_on_official()).await;
    let race = hundred_metres_final(1);
    let official = official_of(&race);
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[FINAL_100M]).await;
    partner.read_snapshot().await;
    let unofficial = world.send(&key, &race[..official]).await;
    partner.read_to(unofficial).await;
    let before = partner.cursor.clone();
    let handle = *partner.documents.keys().next().unwrap();

    let seq = world.send(&key, &race[official..=official]).await;
    let Frame::Gone(gone) = prompt(&mut partner).await else { panic!("gone") };
    assert_eq!((gone.handle, gone.seq, gone.why.as_str()), (handle, seq, "EMBARGOED"));
    assert!(partner.documents.is_empty());
    assert!(!held_by_pages(&world).await.iter().any(|(name, _)| name == "DT_RESULT"));
    assert_eq!(get_document(&world, handle, seq).await.0, 404);
    let asked = explain(&world, handle, 9, 0).await;
    assert_eq!((asked.permitted, asked.reason.as_str()), (false, "EMBARGO"), "{asked:?}");
    assert_eq!(asked.rule.unwrap().number, 2);
    assert!(explain(&world, handle, 9, 30).await.permitted);
    assert!(explain(&world, handle, 8, 0).await.permitted);

    world.app.clock.advance(TimeDelta::minutes(29));
    assert_eq!(get_document(&world, handle, seq).await.0, 404);
    world.app.clock.advance(TimeDelta::minutes(1));
    let Frame::Full(full) = prompt(&mut partner).await else { panic!("full") };
    assert_eq!((full.handle, full.version, full.result_status.as_str()), (handle, 9, "OFFICIAL"));
    assert!(full.seq > seq);
    assert_eq!(get_document(&world, handle, full.seq).await.0, 200);
    assert!(held_by_pages(&world).await.contains(&("DT_RESULT".to_owned(), 9)));

    // Who was away hears the same, in each mode and at another replica too.
    let other = world.beside().await;
    for mode in [SubscribeMode::Every, SubscribeMode::State] {
        let mut late = Partner::with_cursor(&before);
        late.connect(&other, mode, &[FINAL_100M]).await;
        late.read_to(full.seq).await;
        assert_eq!(late.documents.values().map(|(version, _)| *version).collect::<Vec<_>>(), [9], "{mode:?}");
        assert_eq!(late.seen.last().unwrap(), "full DT_RESULT 9 OFFICIAL");
    }
    other.app.stop().await;
    let released = decisions(&world, "release").await;
    assert_eq!(released.len(), 1);
    assert_eq!((released[0].permitted, released[0].seq, released[0].entry_seq), (true, seq, full.seq));
    let refused = testkit::eventually(DEADLINE, || async {
        Some(decisions(&world, "read").await).filter(|refused| !refused.is_empty())
    })
    .await;
    assert_eq!((refused.len(), refused[0].reason.as_str(), refused[0].version), (1, "EMBARGO", 9));
    world.app.stop().await;
}

#[tokio::test]
async fn an_embargo_ends_while_nobody_listens_and_what_was_replaced_meanwhile_stays_hidden() {
    let (world, key) = world_with(embargo_on_official()).await;
    let race = hundred_metres_final(1);
    let official = official_of(&race);
    let first = world.send(&key, &race[..official]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::State, &[FINAL_100M]).await;
    partner.read_snapshot().await;
    partner.drop_connection();
    let cursor = partner.cursor.clone();
    world.send(&key, &race[official..=official]).await;
    world.app.clock.advance(TimeDelta::minutes(10));
    // A correction keeps the time of the status.
    let correction = race[official].xml.replace("Version=\"9\"", "Version=\"10\"");
    let corrected = world.post(&key, correction).await;
    world.app.clock.advance(TimeDelta::minutes(20));
    let mut late = Partner::with_cursor(&cursor);
    late.documents.clone_from(&partner.documents);
    late.connect(&world, SubscribeMode::Every, &[FINAL_100M]).await;
    late.read_to(corrected.seq + 1).await;
    assert_eq!(late.seen, ["gone", "full DT_RESULT 10 OFFICIAL"]);
    assert!(first < corrected.seq);

    // From now on the status is free.
    let third = race[official].xml.replace("Version=\"9\"", "Version=\"11\"");
    world.post(&key, third).await;
    let Frame::Delta(delta) = prompt(&mut late).await else { panic!("a delta") };
    assert_eq!((delta.base_version, delta.version), (10, 11));
    world.app.stop().await;
}

#[tokio::test]
async fn lost_and_gained_documents_are_told_at_once_and_across_a_reconnect() {
    let (world, key) = world_with(vec![EntitlementRule::default()]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..6]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    assert_eq!(partner.documents.len(), 2);
    let (before, held) = (partner.cursor.clone(), partner.documents.clone());

    let schedule = EntitlementRule { types: strings(&["DT_SCHEDULE_UPDATE"]), ..EntitlementRule::default() };
    entitle(&world, TestApp::CLIENT, 1, vec![schedule]).await.unwrap();
    let Frame::Gone(gone) = prompt(&mut partner).await else { panic!("gone") };
    assert_eq!(gone.why, "REVOKED");
    assert_eq!(partner.documents.len(), 1, "the schedule alone");
    // What it lost goes on without it.
    let last = world.send(&key, &race[6..7]).await;
    let results = EntitlementRule { types: strings(&["DT_RESULT"]), ..EntitlementRule::default() };
    let other = world.beside().await;
    for mode in [SubscribeMode::Every, SubscribeMode::State] {
        let mut late = Partner::with_cursor(&before);
        late.documents.clone_from(&held);
        late.connect(&other, mode, &[]).await;
        late.read_to(last).await;
        assert_eq!(late.documents, partner.documents, "{mode:?}");
        assert!(
            late.seen.contains(&"gone".to_owned())
                && late.seen.iter().all(|seen| !seen.contains("DT_RESULT"))
        );
    }
    entitle(&world, TestApp::CLIENT, 2, vec![results]).await.unwrap();
    let mut told = [prompt(&mut partner).await, prompt(&mut partner).await];
    told.sort_by_key(|frame| matches!(frame, Frame::Full(_)));
    let [Frame::Gone(gone), Frame::Full(full)] = told else { panic!("{told:?}") };
    assert_eq!((gone.why.as_str(), gone.seq), ("REVOKED", full.seq));
    let held: Vec<i32> = partner.documents.values().map(|(version, _)| *version).collect();
    assert_eq!(held, [full.version]);
    // And on with changes of what it gained.
    let last = world.send(&key, &race[7..8]).await;
    partner.read_to(last).await;
    // Twice away: both changes are told, one after the other.
    let mut late = Partner::with_cursor(&before);
    late.connect(&other, SubscribeMode::Every, &[]).await;
    late.read_to(last).await;
    assert_eq!(late.documents, partner.documents);
    other.app.stop().await;

    let flips = decisions(&world, "entitlement").await;
    let told: Vec<(bool, &str)> =
        flips.iter().map(|flip| (flip.permitted, flip.document_type.as_str())).collect();
    assert!(told.contains(&(false, "DT_SCHEDULE_UPDATE")) && told.contains(&(true, "DT_RESULT")), "{told:?}");
    assert!(told.contains(&(false, "DT_RESULT")), "{told:?}");
    world.app.stop().await;
}

const PARTICIPANTS: &str = "ATH-------------------------------";

fn participants(version: u32, rows: &[(u32, &str)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(code, noc)| {
            format!(r#"<Participant Code="{code}" FamilyName="Name {code}" Organisation="{noc}"/>"#)
        })
        .collect();
    format!(
        r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="{PARTICIPANTS}" DocumentType="DT_PARTIC" Version="{version}" FeedFlag="P" Date="2030-08-04" Time="120000000" LogicalDate="2030-08-04" Source="SYN1"><Competition Gen="1">{rows}</Competition></OdfBody>"#
    )
}

fn names(document: &Value) -> Vec<&str> {
    let rows = document["Competition"]["Participant"].as_object();
    rows.into_iter().flatten().map(|(code, _)| code.as_str()).collect()
}

#[tokio::test]
async fn an_organisation_gets_its_documents_whole_and_its_participants_alone() {
    let japan = EntitlementRule { nocs: strings(&["JPN"]), ..EntitlementRule::default() };
    let (world, key) = world_with(vec![japan]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    let race = hundred_metres_final(1);
    // The schedule and the standings name no competitor.
    world.send(&key, &race[..3]).await;
    let Frame::Full(full) = prompt(&mut partner).await else { panic!("the start list") };
    let body: Value = serde_json::from_slice(&full.body).unwrap();
    assert_eq!(body["Competition"]["Result"].as_object().unwrap().len(), 8, "rows are never cut");
    let without = race[2].xml.replace("JPN", "GER").replace("Version=\"1\"", "Version=\"2\"");
    world.post(&key, without).await;
    assert!(matches!(prompt(&mut partner).await, Frame::Superseded(_)));

    world.post(&key, participants(1, &[(1, "JPN"), (2, "FRA"), (3, "JPN")])).await;
    let Frame::Full(full) = prompt(&mut partner).await else { panic!("participants") };
    assert_eq!(names(&serde_json::from_slice(&full.body).unwrap()), ["1", "3"]);
    let (status, document) = get_document(&world, full.handle, full.seq).await;
    assert_eq!((status, names(&document)), (200, vec!["1", "3"]));
    let seq = world.post(&key, participants(2, &[(1, "FRA"), (2, "FRA"), (3, "JPN")])).await.seq;
    let Frame::Full(full) = prompt(&mut partner).await else { panic!("whole again") };
    assert_eq!(names(&serde_json::from_slice(&full.body).unwrap()), ["3"]);
    assert_eq!(held_by_pages(&world).await, [("DT_PARTIC".to_owned(), 2)]);
    assert_eq!(explain(&world, full.handle, 2, 0).await.participant_nocs, ["JPN"]);

    // The original is never cut, so it is not given.
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = SubscribeRequest { representation: "odf".to_owned(), ..SubscribeRequest::default() };
    let mut originals = feed.subscribe(request).await.unwrap().into_inner();
    loop {
        match originals.message().await.unwrap().unwrap().frame.unwrap() {
            Frame::Snap(snap) => panic!("{snap:?}"),
            Frame::Live(live) => break assert!(live.cursor.ends_with(&seq.to_string())),
            _ => {}
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn rules_are_validated_listed_and_kept() {
    let world = World::start().await;
    let wrong = [
        EntitlementRule { nocs: strings(&["japan"]), ..EntitlementRule::default() },
        EntitlementRule { nocs: vec!["JPN".to_owned(); 251], ..EntitlementRule::default() },
        EntitlementRule { embargo_minutes: 600_000, ..EntitlementRule::default() },
        EntitlementRule { representations: strings(&["xml"]), ..EntitlementRule::default() },
        EntitlementRule {
            embargo_until: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
            ..EntitlementRule::default()
        },
        EntitlementRule {
            embargo_minutes: 1,
            embargo_until: Some(prost_types::Timestamp { seconds: 1_900_000_000, nanos: 0 }),
            ..EntitlementRule::default()
        },
    ];
    for rule in wrong {
        let refused = entitle(&world, "noc", 0, vec![rule.clone()]).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{rule:?}");
    }
    let prefixes =
        (0..65).map(|at| EntitlementRule { prefix: format!("A{at:02}"), ..EntitlementRule::default() });
    let refused = entitle(&world, "noc", 0, prefixes.collect()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);

    for name in ["noc-a", "noc-b", "noc-c"] {
        entitle(&world, name, 0, embargo_on_official()).await.unwrap();
    }
    let stale = entitle(&world, "noc-a", 0, vec![]).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::FailedPrecondition);
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEntitlementsRequest { page_size: 2, page_token };
        let page = admin(&world).list_entitlements(request).await.unwrap().into_inner();
        listed.extend(page.entitlements);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let names: Vec<&str> = listed.iter().map(|one| one.client_id.as_str()).collect();
    assert_eq!(names, ["noc-a", "noc-b", "noc-c", "public", "results.cis"]);
    assert_eq!(listed[0].rules, embargo_on_official());
    assert_eq!(listed[3].rules[0].representations, ["json"], "what fans may see is written down");
    for request in [
        ListEntitlementsRequest { page_token: "a b".to_owned(), ..ListEntitlementsRequest::default() },
        ListEntitlementsRequest { page_size: 501, ..ListEntitlementsRequest::default() },
    ] {
        assert_eq!(
            admin(&world).list_entitlements(request).await.unwrap_err().code(),
            tonic::Code::InvalidArgument
        );
    }
    let request = ListDecisionsRequest { page_token: "x".to_owned(), ..ListDecisionsRequest::default() };
    assert_eq!(admin(&world).list_decisions(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let request =
        ExplainAccessRequest { client_id: "noc-a".to_owned(), handle: 77, ..ExplainAccessRequest::default() };
    assert_eq!(admin(&world).explain_access(request).await.unwrap_err().code(), tonic::Code::NotFound);
    world.app.stop().await;
}
