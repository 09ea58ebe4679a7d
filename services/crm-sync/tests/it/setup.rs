use proto::crmsync::v1 as crm;
use serde_json::json;
use tonic::Code;

use crate::{
    agreements::{agreement, id, sign},
    world::World,
};

#[tokio::test]
async fn whoever_proposes_an_agreement_cannot_activate_it() {
    let mut world = World::bare().await;
    world.create_destination().await;
    let agreement_id = world.propose(&agreement(), world.chie).await;
    let request = crm::ActivateAgreementRequest { agreement_id: agreement_id.clone() };
    let refused = world.agreements_as(world.chie).activate_agreement(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let active = world.agreements_as(world.daniel).activate_agreement(request).await.unwrap().into_inner();
    let active = active.agreement.unwrap();
    assert_eq!((active.state.as_str(), active.activated_by), ("active", world.daniel.to_string()));
    let request = crm::SuspendAgreementRequest { agreement_id };
    let held = world.agreements_as(world.chie).suspend_agreement(request).await.unwrap().into_inner();
    assert_eq!(held.agreement.unwrap().state, "suspended");
}

#[tokio::test]
async fn a_new_agreement_ends_the_one_before() {
    let world = World::sending().await;
    let next = world.propose(&agreement(), world.chie).await;
    let before: String =
        world.sql("select agreement_id::text from crmsync.agreement where state = 'active'").await;
    let request = crm::ActivateAgreementRequest { agreement_id: next };
    world.agreements_as(world.daniel).activate_agreement(request).await.unwrap();
    let request = crm::GetAgreementRequest { agreement_id: before };
    let ended = world.agreements_as(world.chie).get_agreement(request).await.unwrap().into_inner();
    assert_eq!(ended.agreement.unwrap().state, "ended");
}

#[tokio::test]
async fn a_forged_or_foreign_agreement_is_refused() {
    let mut world = World::bare().await;
    world.create_destination().await;
    let good = sign(&agreement());
    let mut other = agreement();
    other["recipient"] = json!("other");
    other["purposes"] = json!(["ioc_newsletter"]);
    other["fields"] = json!({ "Email": [] });
    for token in
        [String::new(), "a.b.c".to_owned(), good.replacen('.', ".e", 1), sign(&other), "x".repeat(70_000)]
    {
        let destination_id = world.destination_id.clone();
        let request = crm::ProposeAgreementRequest { request_id: id(), destination_id, token };
        let refused = world.agreements_as(world.chie).propose_agreement(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test]
async fn nothing_starts_without_an_agreement_and_a_mapping() {
    let mut world = World::bare().await;
    world.create_destination().await;
    let resume = || crm::ResumeDestinationRequest { destination_id: world.destination_id.clone() };
    let refused = world.destinations().resume_destination(resume()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    world.publish_mapping().await;
    let refused = world.destinations().resume_destination(resume()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = crm::CreatePlanRequest { request_id: id(), destination_id: world.destination_id.clone() };
    assert_eq!(world.runs().create_plan(request).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_name_is_taken_once_and_the_same_request_gives_the_first_answer() {
    let world = World::bare().await;
    let request = world.destination();
    let first = world.destinations().create_destination(request.clone()).await.unwrap().into_inner();
    let again = world.destinations().create_destination(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.destination.unwrap().destination_id, again.destination.unwrap().destination_id);
    let taken = world.destinations().create_destination(world.destination()).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    let mut other = request;
    other.recipient = "other".to_owned();
    let reused = world.destinations().create_destination(other).await.unwrap_err();
    assert_eq!(reused.code(), Code::FailedPrecondition);
    let listed =
        world.destinations().list_destinations(crm::ListDestinationsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.destinations.len(), 1);
}

#[tokio::test]
async fn a_destination_is_tested_against_the_recipient() {
    let mut world = World::bare().await;
    world.create_destination().await;
    world.publish_mapping().await;
    let request = crm::TestDestinationRequest { destination_id: world.destination_id.clone() };
    let fits = world.destinations().test_destination(request.clone()).await.unwrap().into_inner();
    assert_eq!(fits.findings, []);
    world.end_sessions().await;
    world.fault(json!({ "path": "/oauth2/token", "times": 10, "action": { "status": 503 } })).await;
    let away = world.destinations().test_destination(request).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_mapping_keeps_to_the_agreement_and_drops_nothing() {
    let world = World::sending().await;
    let field = |target: &str, computed: Option<&str>| crm::FieldMapping {
        target: target.to_owned(),
        source: Some(match computed {
            Some(name) => crm::field_mapping::Source::Computed(name.to_owned()),
            None => crm::field_mapping::Source::Trait("gender".to_owned()),
        }),
        null_policy: "clear".to_owned(),
        ..Default::default()
    };
    for (fields, why) in [
        (vec![field("Kotinos_Id__c", Some("match_key")), field("Salary__c", None)], "not agreed"),
        (vec![field("Kotinos_Id__c", Some("match_key"))], "drops fields"),
    ] {
        let destination_id = world.destination_id.clone();
        let request =
            crm::SaveMappingVersionRequest { request_id: id(), destination_id, fields, ..Default::default() };
        let saved = world.mappings().save_mapping_version(request).await.unwrap().into_inner();
        let mapping_version_id = saved.mapping_version.unwrap().mapping_version_id;
        let request = crm::PublishMappingVersionRequest { mapping_version_id };
        let refused = world.mappings().publish_mapping_version(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{why}");
    }
    let destination_id = world.destination_id.clone();
    let fields = vec![field("Email", Some("match_key"))];
    let request =
        crm::SaveMappingVersionRequest { request_id: id(), destination_id, fields, ..Default::default() };
    let refused = world.mappings().save_mapping_version(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
