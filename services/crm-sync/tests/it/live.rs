use std::time::Duration;

use proto::{crmsync::v1 as crm, profile::v1::trait_value::Kind};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    people::{Person, alice, bob},
    world::{DEADLINE, World},
};

async fn loaded() -> (World, Person) {
    let (world, alice) = (World::bare().await, alice());
    world.person(&alice).await;
    let world = world.activated().await;
    world.load().await;
    (world, alice)
}

#[tokio::test]
async fn a_change_reaches_the_recipient_and_a_withdrawal_empties_the_record() {
    let (world, alice) = loaded().await;

    let moved = alice.next().with("country", Kind::Text("FR".to_owned()));
    world.profile(&moved).await;
    let contact = world.contact(|contact| contact["MailingCountryCode"] == "FR").await;
    assert_eq!(contact["Email"], "alice@example.org");

    let withdrawn = moved.next().says("ioc_newsletter", "withdrawn");
    world.consents(&withdrawn).await;
    let contact = world.contact(|contact| contact["Consent_Communication__c"] == json!(false)).await;
    for (field, value) in contact.as_object().unwrap() {
        let kept = ["Kotinos_Id__c", "LastName", "Consent_Communication__c", "Direct_Marketing__c"];
        let system = [
            "Id",
            "IsDeleted",
            "CreatedDate",
            "CreatedById",
            "LastModifiedDate",
            "LastModifiedById",
            "SystemModstamp",
        ];
        if !kept.contains(&field.as_str()) && !system.contains(&field.as_str()) {
            assert_eq!(value, &Value::Null, "{field}");
        }
    }
    assert_eq!((&contact["LastName"], &contact["Direct_Marketing__c"]), (&json!("-"), &json!(false)));
    assert_eq!(world.contacts().await.len(), 1);

    let last = eventually(DEADLINE, || async {
        let line = world.deliveries(withdrawn.id).await.into_iter().next()?;
        (line.outcome == "delivered" && line.verdict == "cease").then_some(line)
    })
    .await;
    assert_eq!((last.lane.as_str(), last.reason.as_str()), ("cease", "CONSENT_WITHDRAWN"));
    assert!(last.cleared.contains(&"Email".to_owned()));
    world.waits_for("select not exists (select from crmsync.pending)").await;
}

#[tokio::test]
async fn somebody_who_consents_after_the_load_is_created_and_only_then() {
    let world = World::sending().await;
    let bob = bob();
    world.person(&bob).await;
    world.waits_for("select not exists (select from crmsync.pending)").await;
    assert_eq!(world.contacts().await.len(), 0);
    let lines = world.deliveries(bob.id).await;
    assert_eq!(lines.len(), 1, "withheld once, though profile and consents came apart");
    assert_eq!(lines[0].reason, "CONSENT_MISSING");
    let willing = bob.next().says("ioc_newsletter", "given");
    world.consents(&willing).await;
    let contact = world.contact(|contact| contact["Email"] == "bob@example.org").await;
    assert_eq!(contact["MailingCountryCode"], "FR");
}

#[tokio::test]
async fn a_field_whose_consent_is_withdrawn_is_cleared_and_the_rest_stays() {
    let (world, alice) = loaded().await;
    world.consents(&alice.next().says("profiling", "withdrawn")).await;
    let contact = world.contact(|contact| contact["Birthdate"] == Value::Null).await;
    assert_eq!(contact["Favourite_Olympic__c"], Value::Null);
    assert_eq!(
        (&contact["Email"], &contact["Consent_Communication__c"]),
        (&json!("alice@example.org"), &json!(true))
    );
}

#[tokio::test]
async fn while_paused_only_ceases_go() {
    let world = World::bare().await;
    let (alice, other) = (alice(), alice());
    world.person(&alice).await;
    world.person(&other).await;
    let world = world.activated().await;
    world.load().await;
    let destination_id = world.destination_id.clone();
    world.destinations().pause_destination(crm::PauseDestinationRequest { destination_id }).await.unwrap();
    world.profile(&other.next().with("country", Kind::Text("FR".to_owned()))).await;
    world.consents(&alice.next().says("ioc_newsletter", "withdrawn")).await;
    world.contact(|contact| contact["Consent_Communication__c"] == json!(false)).await;
    assert!(world.contacts().await.iter().all(|contact| contact["MailingCountryCode"] != "FR"));
    let destination_id = world.destination_id.clone();
    world.destinations().resume_destination(crm::ResumeDestinationRequest { destination_id }).await.unwrap();
    world.contact(|contact| contact["MailingCountryCode"] == "FR").await;
}

#[tokio::test]
async fn a_withdrawal_during_a_job_goes_out_again_when_the_job_has_ended() {
    let world = World::with(|config| config.bulk_delay = Duration::from_secs(2)).await;
    let alice = alice();
    world.person(&alice).await;
    let world = world.activated().await;
    let run = world.plan().await;
    world.apply(&run).await;
    world
        .waits_for("select exists (select from crmsync.chunk where lane = 'load' and state = 'closed')")
        .await;
    world.consents(&alice.next().says("ioc_newsletter", "withdrawn")).await;
    world.ended(&run.run_id).await;
    world.waits_for("select not exists (select from crmsync.pending)").await;
    let contacts = world.contacts().await;
    assert_eq!(contacts.len(), 1);
    assert_eq!(
        (&contacts[0]["Consent_Communication__c"], &contacts[0]["Email"]),
        (&json!(false), &Value::Null)
    );
    let last = &world.deliveries(alice.id).await[0];
    assert_eq!((last.verdict.as_str(), last.outcome.as_str()), ("cease", "delivered"));
}
