use serde_json::{Value, json};

use crate::{
    people::{alice, bob},
    world::{DEADLINE, World},
};

/// Alice, who consented, and Bob, who did not, are known before the destination is started: the load is to send them.
async fn with_two_people() -> World {
    let world = World::bare().await;
    world.person(&alice()).await;
    world.person(&bob()).await;
    world.activated().await
}

async fn loads_in_the_end(world: &World, run_id: &str) {
    let run = world.ended(run_id).await;
    let counts = run.counts.unwrap();
    assert_eq!((run.state.as_str(), counts.rows, counts.delivered, counts.withheld), ("settled", 2, 1, 1));
    assert_eq!(world.contacts().await.len(), 1, "one record a person");
    let dump = world.dump().await;
    let open = |job: &&Value| job["state"] == "Open";
    assert_eq!(dump["jobs"].as_array().unwrap().iter().filter(open).count(), 0, "no job is left open");
    let settled: i64 =
        world.sql("select count(*) from crmsync.chunk where lane = 'load' and state = 'settled'").await;
    assert_eq!(settled, 1);
    let open: i64 = world.sql("select count(*) from crmsync.delivery where outcome = 'open'").await;
    assert_eq!(open, 0, "every line of the ledger has its outcome");
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_once() {
    let world = with_two_people().await;
    world.load().await;
    world.end_sessions().await;
    let someone = alice();
    world.person(&someone).await;
    world.contact(|_| true).await;
    world.waits_for("select count(*) = 2 from crmsync.shadow").await;
    let dump = world.dump().await;
    let calls = dump["calls"].as_array().unwrap();
    assert!(calls.iter().any(|call| call["status"] == 401));
    assert_eq!(world.contacts().await.len(), 2);
}

/// Each step of a load, with the reply lost after the effect.
#[tokio::test]
async fn a_lost_reply_at_any_step_of_a_load_doubles_nothing() {
    for (method, path) in
        [("POST", "/jobs/ingest"), ("PUT", "/batches"), ("PATCH", "/jobs/ingest"), ("GET", "/failedResults")]
    {
        let world = with_two_people().await;
        world.fault(json!({ "method": method, "path": path, "action": "drop_after_effect" })).await;
        let run = world.plan().await;
        world.apply(&run).await;
        loads_in_the_end(&world, &run.run_id).await;
    }
}

#[tokio::test]
async fn a_lost_reply_of_a_change_doubles_nothing() {
    let world = World::sending().await;
    world.fault(json!({ "method": "PATCH", "path": "/composite/", "action": "drop_after_effect" })).await;
    let alice = alice();
    world.person(&alice).await;
    world.waits_for("select count(*) = 1 from crmsync.delivery where outcome = 'delivered'").await;
    assert_eq!(world.contacts().await.len(), 1);
    let lost: i64 = world.sql("select count(*) from crmsync.delivery where outcome = 'unanswered'").await;
    assert_eq!(lost, 1, "the ledger says that a reply was lost");
}

#[tokio::test]
async fn whoever_withdraws_after_a_lost_reply_is_ceased_all_the_same() {
    let world = World::sending().await;
    let fault = json!({ "method": "PATCH", "path": "/composite/", "action": "drop_after_effect" });
    world.fault(fault).await;
    world.fault(json!({ "method": "PATCH", "path": "/composite/", "nth": 2, "times": 20, "action": { "status": 503 } })).await;
    let alice = alice();
    world.person(&alice).await;
    world.waits_for("select exists (select from crmsync.delivery where outcome = 'unanswered')").await;
    world.consents(&alice.next().says("ioc_newsletter", "withdrawn")).await;
    world.no_faults().await;
    let contact = world.contact(|contact| contact["Consent_Communication__c"] == json!(false)).await;
    assert_eq!(contact["Email"], Value::Null);
}

/// The service is stopped while a load stands in each state, and started again.
#[tokio::test]
async fn a_load_goes_on_from_any_state_after_a_restart() {
    for (state, faults) in [
        (
            "intent",
            vec![
                json!({ "method": "POST", "path": "/jobs/ingest", "action": "drop_after_effect" }),
                json!({ "method": "GET", "path": "/jobs/ingest", "times": 100, "action": { "status": 503 } }),
            ],
        ),
        (
            "open",
            vec![
                json!({ "method": "PUT", "path": "/batches", "action": "drop_before_effect" }),
                json!({ "method": "GET", "path": "/jobs/ingest/", "times": 100, "action": { "status": 503 } }),
            ],
        ),
        (
            "loaded",
            vec![
                json!({ "method": "GET", "path": "/jobs/ingest/", "times": 100, "action": { "status": 503 } }),
            ],
        ),
        (
            "closing",
            vec![
                json!({ "method": "PATCH", "path": "/jobs/ingest/", "action": "drop_after_effect" }),
                json!({ "method": "GET", "path": "/jobs/ingest/", "nth": 2, "times": 100, "action": { "status": 503 } }),
            ],
        ),
        (
            "finished",
            vec![
                json!({ "method": "GET", "path": "/failedResults", "times": 100, "action": { "status": 503 } }),
            ],
        ),
    ] {
        let world = with_two_people().await;
        for fault in faults {
            world.fault(fault).await;
        }
        let run = world.plan().await;
        world.apply(&run).await;
        testkit::eventually(DEADLINE, || async {
            let now: Option<String> =
                sqlx::query_scalar("select max(state) from crmsync.chunk where lane = 'load'")
                    .fetch_one(&world.app.pool)
                    .await
                    .unwrap();
            (now.as_deref() == Some(state)).then_some(())
        })
        .await;
        let world = world.restart().await;
        world.no_faults().await;
        loads_in_the_end(&world, &run.run_id).await;
    }
}

#[tokio::test]
async fn a_busy_recipient_is_waited_for() {
    let world = World::sending().await;
    let busy = json!({ "status": { "code": 429, "error_code": "REQUEST_LIMIT_EXCEEDED", "retry_after": 1 } });
    world.fault(json!({ "method": "PATCH", "path": "/composite/", "times": 2, "action": busy })).await;
    world.person(&alice()).await;
    world.waits_for("select exists (select from crmsync.delivery where outcome = 'delivered')").await;
    let never: i64 =
        world.sql("select count(*) from crmsync.delivery where outcome = 'never_processed'").await;
    assert!(never >= 1, "what was refused as a whole was never processed");
}
