use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, records, refusal};

fn upsert(world: &World, key: &str) -> reqwest::RequestBuilder {
    let row = json!({ "Kotinos_Id__c": key, "LastName": "Y" });
    world.call(Method::PATCH, "/composite/sobjects/Contact/Kotinos_Id__c").json(&records(false, &[row]))
}

#[tokio::test]
async fn the_effect_is_done_but_the_reply_is_lost() {
    let world = World::new().await;
    world.fault(json!([{ "method": "PATCH", "path": "/composite/*", "action": "drop_after_effect" }])).await;
    let error =
        upsert(&world, "A").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let error = error.send().await.unwrap_err();
    assert!(error.status().is_none() && !error.is_timeout(), "{error}");
    let dump = world.dump().await;
    assert_eq!(dump["objects"]["Contact"][0]["Kotinos_Id__c"], "A");
    let call = dump["calls"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&call["replied"], &call["status"], &call["method"]),
        (&json!(false), &json!(200), &json!("PATCH"))
    );
    assert_eq!(call["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    // Sent again it is the same record.
    let again: Value = upsert(&world, "A").send().await.unwrap().json().await.unwrap();
    assert_eq!(again[0]["created"], false);
}

#[tokio::test]
async fn a_lost_reply_of_a_create_leaves_a_job_to_be_found() {
    let world = World::new().await;
    world.fault(json!({ "method": "POST", "path": "/jobs/ingest", "action": "drop_after_effect" })).await;
    let job = json!({ "object": "Contact", "operation": "insert", "contentType": "CSV" });
    world.call(Method::POST, "/jobs/ingest").json(&job).send().await.unwrap_err();
    let list = world.get("/jobs/ingest?jobType=V2Ingest").await;
    assert_eq!(
        (&list["records"][0]["state"], &list["records"][0]["object"]),
        (&json!("Open"), &json!("Contact"))
    );
}

#[tokio::test]
async fn the_connection_breaks_before_anything_is_done() {
    let world = World::new().await;
    world.fault(json!({ "path": "/composite/", "action": "drop_before_effect" })).await;
    upsert(&world, "A").send().await.unwrap_err();
    assert_eq!(world.dump().await["objects"]["Contact"], json!([]));
}

#[tokio::test]
async fn the_nth_call_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let full = json!({ "code": 429, "error_code": "TOO_MANY", "message": "slow down", "retry_after": 7 });
    world
        .fault(json!([{ "path": "/composite/", "nth": 2, "times": 2, "action": { "status": 503 } },
        { "path": "/composite/", "nth": 4, "action": { "status": full } }]))
        .await;
    assert_eq!(upsert(&world, "A").send().await.unwrap().status(), 200);
    assert_eq!(refusal(upsert(&world, "B").send().await.unwrap()).await, (503, "SERVER_UNAVAILABLE".into()));
    assert_eq!(refusal(upsert(&world, "C").send().await.unwrap()).await, (503, "SERVER_UNAVAILABLE".into()));
    let response = upsert(&world, "D").send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(refusal(response).await, (429, "TOO_MANY".into()));
    assert_eq!(upsert(&world, "E").send().await.unwrap().status(), 200);
    assert_eq!(world.query("SELECT COUNT() FROM Contact").await["totalSize"], 2);
    assert_eq!(world.dump().await["faults"], json!([]));
}

#[tokio::test]
async fn a_delayed_call_waits_and_then_works() {
    let world = World::new().await;
    world.fault(json!({ "path": "/limits", "action": { "delay_ms": 120 } })).await;
    let began = Instant::now();
    world.get("/limits").await;
    assert!(began.elapsed() >= Duration::from_millis(120));
    let calls = world.dump().await["calls"].clone();
    assert!(calls.as_array().unwrap().last().unwrap()["duration_us"].as_u64().unwrap() >= 120_000);
}

#[tokio::test]
async fn a_script_with_a_wrong_line_is_refused_whole() {
    let world = World::new().await;
    for (script, rule) in [
        (
            json!([{ "action": { "delay_ms": 1 } }, { "action": { "status": 302 } }]),
            "faults[1].action.status",
        ),
        (json!([{ "nth": 0, "action": "drop_after_effect" }]), "nth"),
        (json!([{ "action": "explode" }]), "explode"),
        (json!([{ "when": 1, "action": "drop_after_effect" }]), "when"),
        (json!("x"), "expected"),
        (json!(vec![json!({ "action": "drop_after_effect" }); 1_001]), "at most 1000"),
    ] {
        let (status, body) = world.control("faults", script).await;
        assert_eq!(status, 400);
        assert!(body["error"].as_str().unwrap().contains(rule), "{body}");
    }
    assert_eq!(world.dump().await["faults"], json!([]));
}
