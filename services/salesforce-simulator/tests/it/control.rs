use reqwest::Method;
use serde_json::json;

use crate::world::{World, config, refusal};

#[tokio::test]
async fn a_spent_day_refuses_calls_until_the_clock_moves_on() {
    let mut tight = config();
    tight.daily_requests = 2;
    let mut world = World::with(tight).await;
    world.get("/limits").await;
    world.control("budget", json!({ "api_requests": 1 })).await;
    let response = world.call(Method::GET, "/limits").send().await.unwrap();
    assert_eq!(response.headers()["sforce-limit-info"], "api-usage=2/2");
    assert_eq!(refusal(response).await, (403, "REQUEST_LIMIT_EXCEEDED".into()));
    let before = world.dump().await["now"].as_str().unwrap().to_owned();
    let (_, after) = world.control("clock", json!({ "advance_seconds": 86_400 })).await;
    assert!(after["now"].as_str().unwrap() > before.as_str());
    world.sign_in().await;
    world.get("/limits").await;
}

#[tokio::test]
async fn replies_carry_the_orgs_date() {
    let mut world = World::new().await;
    world.control("clock", json!({ "advance_seconds": 86_400 * 365 })).await;
    world.org.base_url.push('/');
    let response = world.client.get(format!("{}services/data", world.org.base_url)).send().await.unwrap();
    let date = chrono::DateTime::parse_from_rfc2822(response.headers()["date"].to_str().unwrap()).unwrap();
    let ahead = date.timestamp() - i64::try_from(crate::world::unix_now()).unwrap();
    assert!((86_400 * 364..86_400 * 366).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn a_seed_is_all_or_none_and_names_its_record() {
    let world = World::new().await;
    let seed =
        json!({ "object": "Contact", "records": [{ "LastName": "Y" }, { "FirstName": "no last name" }] });
    let (status, body) = world.control("seed", seed).await;
    assert_eq!(status, 400);
    assert!(body["error"].as_str().unwrap().starts_with("records[1]: REQUIRED_FIELD_MISSING"), "{body}");
    for (seed, field) in [
        (json!({ "object": "Lead", "records": [] }), "object"),
        (json!({ "object": "Contact", "match": "Email", "records": [] }), "match"),
        (json!({ "object": "Contact", "user_id": "me", "records": [] }), "user_id"),
        (json!({ "object": "Contact" }), "records"),
    ] {
        let (status, body) = world.control("seed", seed).await;
        assert_eq!((status.as_u16(), body["error"].as_str().unwrap().contains(field)), (400, true), "{body}");
    }
    assert_eq!(world.dump().await["objects"]["Contact"], json!([]));
}

#[tokio::test]
async fn revoked_sessions_end_at_once() {
    let world = World::new().await;
    let url = format!("{}/_sim/sessions", world.org.control_url());
    assert_eq!(world.client.delete(url).send().await.unwrap().status(), 204);
    let response = world.call(Method::GET, "/limits").send().await.unwrap();
    assert_eq!(refusal(response).await, (401, "INVALID_SESSION_ID".into()));
}

#[tokio::test]
async fn the_control_surface_is_not_on_the_orgs_port() {
    let world = World::new().await;
    let response = world.client.get(format!("{}/_sim/dump", world.org.base_url)).send().await.unwrap();
    assert_eq!(refusal(response).await, (404, "NOT_FOUND".into()));
}

#[tokio::test]
async fn a_shutdown_frees_the_ports_with_a_job_in_the_queue() {
    let mut slow = config();
    slow.bulk_delay = std::time::Duration::from_secs(600);
    let world = World::with(slow).await;
    let job = world.create_job(json!({})).await;
    world.upload(&job, "Kotinos_Id__c\nA\n").await;
    world.set_state(&job, "UploadComplete").await;
    let (addr, control_addr) = (world.org.addr, world.org.control_addr);
    drop(world.client);
    world.org.shutdown().await;
    for addr in [addr, control_addr] {
        tokio::net::TcpListener::bind(addr).await.unwrap();
    }
}
