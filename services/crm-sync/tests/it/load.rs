use proto::{crmsync::v1 as crm, profile::v1::trait_value::Kind};
use serde_json::{Value, json};
use testkit::records_in_outbox;

use crate::{
    agreements::id,
    people::{Person, alice, bob},
    world::World,
};

/// A person who is known before the destination is started, so that the load sends them.
async fn loadable(person: Person) -> (World, Person) {
    let world = World::bare().await;
    world.person(&person).await;
    (world.activated().await, person)
}

#[tokio::test]
async fn the_first_load_sends_what_consents_allow_and_writes_down_who_stays() {
    let world = World::bare().await;
    let (alice, bob) = (alice(), bob());
    world.person(&alice).await;
    world.person(&bob).await;
    let world = world.activated().await;

    let plan = world.plan().await;
    let counts = plan.plan.clone().unwrap();
    assert_eq!((counts.people, counts.creates, counts.withheld), (2, 1, 1));
    assert_eq!(counts.withheld_by_reason[0].reason, "CONSENT_MISSING");
    assert!(world.contacts().await.is_empty(), "a plan sends nothing");

    world.apply(&plan).await;
    let run = world.ended(&plan.run_id).await;
    let counts = run.counts.unwrap();
    assert_eq!((run.state.as_str(), run.failure.as_str()), ("settled", ""));
    assert_eq!((counts.rows, counts.delivered, counts.withheld), (2, 1, 1));

    let contacts = world.contacts().await;
    assert_eq!(contacts.len(), 1);
    let contact = &contacts[0];
    assert_eq!(contact["Email"], "alice@example.org");
    assert_eq!(contact["Email_Language__c"], "ja");
    assert_eq!(contact["MailingCountryCode"], "JP");
    assert_eq!(contact["Birthdate"], "1990-04-01");
    assert_eq!(contact["Favourite_Olympic__c"], "ATH;JUD");
    assert_eq!(
        (&contact["Consent_Communication__c"], &contact["Direct_Marketing__c"]),
        (&json!(true), &json!(false))
    );
    // Names and addresses need a consent that she did not give.
    assert_eq!((&contact["FirstName"], &contact["LastName"]), (&Value::Null, &json!("-")));
    assert_eq!(contact["Prefecture__c"], Value::Null);
    assert_eq!(contact["Kotinos_Id__c"].as_str().unwrap().len(), 26);
    assert!(!world.dump().await.to_string().contains("bob@"), "no byte of him there");

    let of_alice = world.deliveries(alice.id).await;
    assert_eq!(of_alice.len(), 1);
    assert_eq!((of_alice[0].verdict.as_str(), of_alice[0].outcome.as_str()), ("deliver", "delivered"));
    assert!(of_alice[0].sent.contains(&"Birthdate".to_owned()));
    assert!(!of_alice[0].permitted.contains(&"FirstName".to_owned()));
    let of_bob = world.deliveries(bob.id).await;
    assert_eq!(of_bob.len(), 1);
    assert_eq!(
        (of_bob[0].verdict.as_str(), of_bob[0].reason.as_str(), of_bob[0].outcome.as_str()),
        ("withhold", "CONSENT_MISSING", "none")
    );
    let request = crm::GetDecisionRequest { decision_id: of_alice[0].decision_id.clone() };
    let found = world.ledger().get_decision(request).await.unwrap().into_inner().deliveries;
    assert_eq!(found[0].profile_id, alice.id.to_string());

    let facts = records_in_outbox(&world.app.pool, domain::Service::CrmSync).await;
    let types: Vec<&str> = facts.iter().map(|fact| fact.fact_type.as_str()).collect();
    assert_eq!(types, ["RunPlanned", "RunStarted", "ChunkSettled", "RunSettled"]);
}

#[tokio::test]
async fn a_second_load_sends_nothing_that_is_there_already() {
    let (world, _) = loadable(alice()).await;
    world.load().await;
    let jobs = world.dump().await["jobs"].as_array().unwrap().len();
    let again = world.load().await;
    let counts = again.counts.unwrap();
    assert_eq!((again.state.as_str(), counts.rows, counts.unchanged), ("settled", 1, 1));
    assert_eq!(world.dump().await["jobs"].as_array().unwrap().len(), jobs, "no job for nobody");
}

#[tokio::test]
async fn a_row_that_the_recipient_refuses_is_a_failure_without_its_text() {
    let (world, alice) = loadable(alice().with("country", Kind::Text("XX".to_owned()))).await;
    let run = world.load().await;
    let counts = run.counts.unwrap();
    assert_eq!((run.state.as_str(), counts.rows, counts.failed), ("settled", 1, 1));
    let request = crm::ListFailuresRequest { run_id: run.run_id, page_size: 0 };
    let failures = world.runs().list_failures(request).await.unwrap().into_inner().failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].code, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST");
    assert_eq!(failures[0].class, "data");
    assert_eq!(world.deliveries(alice.id).await[0].outcome, "failed");
}

#[tokio::test]
async fn a_value_that_does_not_fit_fails_its_row_alone() {
    let world = World::bare().await;
    world.person(&alice().with("country", Kind::Text("x".repeat(256)))).await;
    world.person(&alice()).await;
    let world = world.activated().await;
    let run = world.load().await;
    let counts = run.counts.unwrap();
    assert_eq!((counts.rows, counts.delivered, counts.failed), (2, 1, 1));
    let request = crm::ListFailuresRequest { run_id: run.run_id, page_size: 0 };
    let failures = world.runs().list_failures(request).await.unwrap().into_inner().failures;
    assert_eq!(
        (failures[0].code.as_str(), failures[0].fields[0].as_str()),
        ("TOO_LONG", "MailingCountryCode")
    );
}

#[tokio::test]
async fn only_the_plan_that_was_seen_is_applied_and_one_at_a_time() {
    let (world, _) = loadable(alice()).await;
    let plan = world.plan().await;
    let apply = |hash: String| {
        let request = crm::ApplyPlanRequest { run_id: plan.run_id.clone(), plan_hash: hash };
        let mut runs = world.runs();
        async move { runs.apply_plan(request).await }
    };
    let refused = apply("0".repeat(64)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    // A job that takes its time.
    world
        .fault(json!({ "method": "POST", "path": "/jobs/ingest", "times": 50, "action": { "status": 503 } }))
        .await;
    world.apply(&plan).await;
    let other = world.plan().await;
    let request =
        crm::ApplyPlanRequest { run_id: other.run_id.clone(), plan_hash: other.plan.unwrap().hash.clone() };
    let busy = world.runs().apply_plan(request).await.unwrap_err();
    assert_eq!(busy.code(), tonic::Code::FailedPrecondition, "{busy}");
    world.no_faults().await;
    assert_eq!(world.ended(&plan.run_id).await.state, "settled");
}

#[tokio::test]
async fn the_same_request_again_gives_the_first_plan_again() {
    let (world, _) = loadable(alice()).await;
    let request = crm::CreatePlanRequest { request_id: id(), destination_id: world.destination_id.clone() };
    let first = world.runs().create_plan(request.clone()).await.unwrap().into_inner().run.unwrap();
    let again = world.runs().create_plan(request).await.unwrap().into_inner().run.unwrap();
    assert_eq!(first.run_id, again.run_id);
}
