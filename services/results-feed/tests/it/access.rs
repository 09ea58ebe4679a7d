//! Rights: what a reader may see, and what happens when that changes.

use proto::results::v1::{
    EntitlementRule, GetEntitlementsRequest, SubscribeMode, UpdateEntitlementsRequest,
    UpdateEntitlementsResponse, access_service_client::AccessServiceClient, feed_frame::Frame,
};
use testkit::races::{FINAL_100M, hundred_metres_final};
use tonic::Status;

use crate::world::{Partner, World};

fn rule(types: &[&str], statuses: &[&str]) -> EntitlementRule {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    EntitlementRule { types: owned(types), statuses: owned(statuses), ..EntitlementRule::default() }
}

async fn set_public(
    world: &World,
    expected_version: i64,
    rules: Vec<EntitlementRule>,
) -> Result<UpdateEntitlementsResponse, Status> {
    let mut access = AccessServiceClient::new(world.app.grpc(&["results.admin"]));
    let request = UpdateEntitlementsRequest { client_id: "public".to_owned(), expected_version, rules };
    access.update_entitlements(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_change_of_rights_reaches_an_open_connection() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..5]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[]).await;
    partner.read_snapshot().await;
    assert_eq!(partner.documents.len(), 2);

    set_public(&world, 0, vec![rule(&["DT_SCHEDULE_UPDATE"], &[])]).await.unwrap();
    let Frame::Gone(gone) = partner.next().await else { panic!("gone") };
    assert_eq!(gone.why, "REVOKED");
    assert_eq!(partner.documents.len(), 1, "the schedule alone");
    world.app.stop().await;
}

#[tokio::test]
async fn who_may_see_official_results_only_is_told_when_they_stand_no_longer() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    set_public(&world, 0, vec![rule(&["DT_RESULT"], &["OFFICIAL"])]).await.unwrap();
    let race = hundred_metres_final(1);
    let official = race.iter().position(|document| document.result_status == "OFFICIAL").unwrap();
    world.send(&key, &race[..official]).await;
    let mut partner = Partner::default();
    partner.connect(&world, SubscribeMode::Every, &[FINAL_100M]).await;
    partner.read_snapshot().await;
    assert!(partner.documents.is_empty());

    world.send(&key, &race[official..=official]).await;
    assert!(matches!(partner.next().await, Frame::Full(_)));
    let protest =
        race[official].xml.replace("Version=\"9\"", "Version=\"10\"").replace("OFFICIAL", "PROTESTED");
    assert_eq!(world.post(&key, protest).await.outcome, "accepted");
    let Frame::Superseded(superseded) = partner.next().await else { panic!("superseded") };
    assert_eq!(superseded.result_status, "PROTESTED");
    world.app.stop().await;
}

#[tokio::test]
async fn rules_have_versions_and_every_wrong_field_is_named() {
    let world = World::start().await;
    set_public(&world, 0, vec![rule(&[], &[])]).await.unwrap();
    let stale = set_public(&world, 0, vec![]).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::FailedPrecondition);
    let wrong = set_public(&world, 1, vec![rule(&["RESULT"], &[]), rule(&[], &["GOOD"])]).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument);
    let many = vec![rule(&[], &[]); 101];
    assert_eq!(set_public(&world, 1, many).await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let mut access = AccessServiceClient::new(world.app.grpc(&["results.admin"]));
    let request = GetEntitlementsRequest { client_id: "public".to_owned() };
    let held = access.get_entitlements(request).await.unwrap().into_inner().entitlement.unwrap();
    assert_eq!((held.version, held.rules.len()), (1, 1));
    for client_id in ["", "a b", "x'; drop table results.entitlement; --", &"x".repeat(101)] {
        let request = GetEntitlementsRequest { client_id: client_id.to_owned() };
        assert_eq!(access.get_entitlements(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    world.app.stop().await;
}

#[tokio::test]
async fn test_documents_stay_out_of_the_public_feed_and_tell_nobody() {
    let world = World::start().await;
    let (_, key) = world.key("T", &[]).await;
    for document in hundred_metres_final(1) {
        let told = world.post(&key, document.xml.replace("FeedFlag=\"P\"", "FeedFlag=\"T\"")).await;
        assert_eq!(told.outcome, "accepted");
    }
    let topics: Vec<String> = testkit::records_in_outbox(&world.app.pool, domain::Service::ResultsFeed)
        .await
        .into_iter()
        .map(|row| row.topic)
        .collect();
    assert!(
        !topics.is_empty() && topics.iter().all(|topic| topic == "kotinos.results.rehearsal.v1"),
        "{topics:?}"
    );
    let state = world.app.http().get(world.app.http_url("/results/v1/state?flag=T")).send().await.unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state.bytes().await.unwrap()).unwrap();
    assert_eq!(state["documents"].as_array().unwrap().len(), 0);
    world.app.stop().await;
}
