//! The feed as server-sent events, as a browser reads it.

use futures::StreamExt;
use serde_json::Value;
use testkit::races::{FINAL_100M, hundred_metres_final};

use crate::world::{DEADLINE, World};

/// One event: its id, if it has one, and its frame.
type Event = (Option<String>, Value);

pub struct Browser {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Browser {
    pub async fn open(world: &World, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = world.app.http().get(world.app.http_url(&format!("/results/v1/feed{query}")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: Box::pin(answer.bytes_stream()), text: String::new() }
    }

    async fn next(&mut self) -> Event {
        let (id, text) = self.next_text().await;
        (id, serde_json::from_str(&text).unwrap())
    }

    /// The next event but heartbeats: its id and its data as it came.
    pub async fn next_text(&mut self) -> (Option<String>, String) {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                if let Some(data) = field("data: ")
                    && !data.starts_with(r#"{"t":"hb""#)
                {
                    return (field("id: "), data);
                }
            }
            let chunk = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("an event in time");
            self.text.push_str(std::str::from_utf8(&chunk.expect("an open stream").unwrap()).unwrap());
        }
    }

    async fn read_to(&mut self, seq: i64) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            let is_last = event.1["s"] == seq && event.1["t"] != "snap";
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
}

#[tokio::test]
async fn a_browser_goes_on_from_its_last_event_id() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..5]).await;
    let query = format!("?prefix={FINAL_100M}&mode=every");
    let mut browser = Browser::open(&world, &query, None).await;
    let mut names = Vec::new();
    let id = loop {
        let (id, frame) = browser.next().await;
        names.push(frame["t"].as_str().unwrap().to_owned());
        if let Some(id) = id {
            break id;
        }
    };
    assert_eq!(names, ["hello", "snap", "live"], "no id until the snapshot is complete");
    drop(browser);

    let last_result = 13;
    world.send(&key, &race[5..]).await;
    let mut browser = Browser::open(&world, &query, Some(&id)).await;
    let events = browser.read_to(last_result).await;
    let seqs: Vec<i64> = events.iter().filter_map(|(_, frame)| frame["s"].as_i64()).collect();
    assert_eq!(seqs, [6, 7, 8, 9, 10, 12, 13], "the schedule is of another code");
    let previous: Vec<i64> = events.iter().filter_map(|(_, frame)| frame["p"].as_i64()).collect();
    assert_eq!(previous, [5, 6, 7, 8, 9, 10, 12]);
    assert!(events.iter().skip(1).all(|(id, _)| id.is_some()));
    world.app.stop().await;
}

#[tokio::test]
async fn a_wrong_query_names_its_parameter_and_a_wrong_token_is_refused() {
    let world = World::start().await;
    let get = |path: &str| world.app.http().get(world.app.http_url(path));
    for path in [
        "/results/v1/feed?prefix=a%27b",
        "/results/v1/feed?mode=some",
        "/results/v1/state?limit=0",
        "/results/v1/state?flag=X",
    ] {
        let answer = get(path).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
        let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let field = problem["fields"][0]["field"].as_str().unwrap();
        assert!(path.contains(field), "{problem}");
    }
    let prefixes = "prefix=ATH&".repeat(65);
    assert_eq!(get(&format!("/results/v1/feed?{prefixes}")).send().await.unwrap().status(), 400);
    for token in ["", "x", "Bearer x.y.z"] {
        assert_eq!(
            get("/results/v1/feed").header("authorization", token).send().await.unwrap().status(),
            401,
            "{token}"
        );
    }
    assert_eq!(get("/results/v1/documents/1/1").send().await.unwrap().status(), 404);
    assert_eq!(get("/results/v1/documents/x/1").send().await.unwrap().status(), 400);
    world.app.stop().await;
}

#[tokio::test]
async fn a_process_that_goes_down_says_goodbye() {
    let world = World::start().await;
    let mut browser = Browser::open(&world, "", None).await;
    while browser.next().await.1["t"] != "live" {}
    let (stopped, (_, bye)) = tokio::join!(world.app.stop(), browser.next());
    let () = stopped;
    assert_eq!((bye["t"].as_str(), bye["why"].as_str()), (Some("bye"), Some("DRAIN")));
}
