//! My Page and results: favourites choose, the snapshot stands in the page, the feed is handed on byte for byte.

use bytes::Bytes;
use futures::StreamExt;
use proto::profile::v1::{StringSet, trait_value::Kind};
use testkit::{eventually, races::FINAL_100M};

use crate::{
    outside::Feed,
    world::{DEADLINE, World},
};

#[tokio::test]
async fn favourites_choose_what_my_page_shows() {
    let world = World::start().await;
    world.final_100m();
    let mut browser = world.alice().await;
    let all = browser.get("/my/results").await;
    assert_eq!(all.texts(".cards a"), ["Men's 100m Final", "Judo -66 kg"], "without favourites every sport");
    let page = browser.get("/my/favourites").await;
    let saved = browser.submit(&page, "/my/favourites", &[("favourite_olympic_sports", &["JUD"])]).await;
    assert_eq!((saved.status, saved.location()), (303, "/my/favourites?saved=1"));
    let sports = Kind::Set(StringSet { values: vec!["JUD".to_owned()] });
    assert_eq!(world.peers.held().traits["favourite_olympic_sports"], sports);
    assert_eq!(world.peers.held().updates[0].traits.len(), 1, "nothing but the favourites is written");
    for path in ["/my", "/my/results"] {
        assert_eq!(browser.get(path).await.texts(".cards a"), ["Judo -66 kg"], "{path}");
    }
    assert_eq!(browser.get("/my/results?sports=all").await.texts(".cards a").len(), 2);
    world.peers.held().results_are_away = true;
    let mine = browser.get("/my").await;
    assert_eq!(mine.status, 200, "My Page is more than results");
    assert!(mine.body.contains("not available right now"));
    assert_eq!(browser.get("/my/results").await.status, 503);
    world.app.stop().await;
}

#[tokio::test]
async fn a_result_stands_in_the_page_without_a_script() {
    let world = World::start().await;
    world.final_100m();
    let mut browser = world.alice().await;
    let page = browser.get(&format!("/my/results/{FINAL_100M}")).await;
    assert_eq!(page.texts("h1"), ["Men's 100m Final"]);
    assert_eq!(page.texts("#result-status"), ["Live"]);
    assert_eq!(
        page.texts("tbody tr"),
        ["1 4 101 Hayato KITAMORI JPN 9.79", "2 4 101 Théo <D'ARVILLE> JPN 9.81"]
    );
    assert_eq!(page.attributes("tbody tr", "data-key"), ["1930101", "1930138"]);
    assert_eq!(page.texts("[data-key='1930138/mark']"), ["9.81"]);
    assert_eq!(page.attributes("#live", "data-feed"), [format!("/my/results/feed?unit={FINAL_100M}")]);
    let words: serde_json::Value = serde_json::from_str(&page.attributes("#live", "data-words")[0]).unwrap();
    assert_eq!(words["OFFICIAL"], "Official");
    assert_eq!(page.attributes("main a[href*='/my/results/ATH']", "href").len(), 1, "a link to refresh");
    assert!(page.body.contains("2030-08-04 21:51 JST"), "how old the page is");
    let judo = browser.get("/my/results/JUDM66KG--------------FNL-000100--").await;
    assert_eq!((judo.status, judo.texts("#no-result").len()), (200, 1));
    for unit in [
        "x",
        &FINAL_100M[..33],
        &FINAL_100M.to_lowercase(),
        "..%2F..%2Fetc%2Fpasswd",
        "%FF%00",
        "'%20or%201=1",
    ] {
        assert_eq!(browser.get(&format!("/my/results/{unit}")).await.status, 404, "{unit}");
    }
    let unknown = "SWMM100MFR------------FNL-000100--";
    assert_eq!(browser.get(&format!("/my/results/{unknown}")).await.status, 404);
    world.app.stop().await;
}

#[tokio::test]
async fn the_list_of_favourites_follows_its_sports_and_what_is_on() {
    let world = World::start().await;
    world.final_100m();
    let browser = &mut world.alice().await;
    let judo = "JUDM66KG--------------FNL-000100--";
    let page = browser.get("/my/results").await;
    let named = &page.attributes("#live", "data-feed")[0];
    assert_eq!(named, &format!("/my/results/feed?sport=ATH&sport=JUD&unit={FINAL_100M}&unit={judo}"));
    assert_eq!(page.attributes(".cards li", "data-unit"), [FINAL_100M, judo]);
    assert_eq!(page.texts("[data-key=status]"), ["Running", "Running"]);
    let session = browser.session().unwrap();
    let answer = open(&world, session, named.strip_prefix("/my/results/feed").unwrap(), None).await;
    assert_eq!(answer.status(), 200);
    let asked = feed(&world, 0).await;
    let prefixes: Vec<&str> = asked.prefixes.iter().map(String::as_str).collect();
    let schedules = [format!("{:-<34}", "ATH"), format!("{:-<34}", "JUD")];
    assert_eq!(prefixes, [&schedules[0], &schedules[1], FINAL_100M, judo]);
    let wrong = ["?sport=", "?sport=ATHM", "?sport=ATH&unit=x", "?sport=a%26b"].map(str::to_owned);
    let many = format!("?{}", "sport=ATH&".repeat(52));
    for wrong in wrong.iter().chain([&many]) {
        assert_eq!(open(&world, session, wrong, None).await.status(), 404, "{wrong}");
    }
    world.app.stop().await;
}

struct Opened {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Bytes>> + Send>>,
    text: String,
}

impl Opened {
    async fn read(&mut self, expected: &str) {
        while self.text.len() < expected.len() {
            let chunk = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("bytes in time");
            self.text.push_str(std::str::from_utf8(&chunk.expect("an open feed").unwrap()).unwrap());
        }
        assert_eq!(self.text, expected);
    }

    async fn ends(&mut self) {
        let end = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("an end in time");
        assert!(end.is_none_or(|chunk| chunk.is_err()));
    }
}

async fn open(world: &World, session: &str, query: &str, last_event_id: Option<&str>) -> reqwest::Response {
    let mut request = world.app.http().get(world.app.http_url(&format!("/my/results/feed{query}")));
    request = request.header("cookie", format!("__Host-portal={session}"));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    request.send().await.unwrap()
}

async fn feed(world: &World, at: usize) -> Feed {
    eventually(DEADLINE, || async { world.outside.feeds().get(at).cloned() }).await
}

#[tokio::test]
async fn the_feed_is_handed_on_byte_for_byte() {
    let world = World::start().await;
    let browser = world.alice().await;
    let session = browser.session().unwrap();
    let query = format!("?unit={FINAL_100M}");
    let answer = open(&world, session, &query, Some("7f3a.117231")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let asked = feed(&world, 0).await;
    assert_eq!(asked.query["prefix"], FINAL_100M);
    assert_eq!(asked.headers["last-event-id"], "7f3a.117231");
    let token = asked.headers["authorization"].to_str().unwrap();
    assert!(token.starts_with("Bearer ey"), "under the portal's own token");
    assert!(!asked.headers.contains_key("cookie"));
    let mut opened = Opened { body: Box::pin(answer.bytes_stream()), text: String::new() };
    let events = [
        "retry: 2000\n\n",
        "id: 7f3a.117232\ndata: {\"t\":\"delta\",\"d\":{\"x\":\"\u{e9}\"}}\n\n",
        "data: {\"t\":\"hb\"}\n\n",
    ];
    let mut expected = String::new();
    for event in events {
        asked.events.send(Bytes::from_static(event.as_bytes())).await.unwrap();
        expected.push_str(event);
        opened.read(&expected).await;
    }
    drop(opened);
    tokio::time::timeout(DEADLINE, asked.events.closed())
        .await
        .expect("a reader that leaves closes the feed behind it");

    let answer = open(&world, session, &query, None).await;
    let asked = feed(&world, 1).await;
    assert!(!asked.headers.contains_key("last-event-id"));
    let mut opened = Opened { body: Box::pin(answer.bytes_stream()), text: String::new() };
    let (stopped, ()) = tokio::join!(world.app.stop(), opened.ends());
    let () = stopped;
}

#[tokio::test]
async fn a_feed_is_refused_by_a_status_that_the_script_understands() {
    let world = World::start().await;
    let browser = world.alice().await;
    let session = browser.session().unwrap();
    let query = format!("?unit={FINAL_100M}");
    assert_eq!(open(&world, "", &query, None).await.status(), 401, "no redirect: a script cannot sign in");
    for wrong in ["", "?unit=", "?unit=ATH", "?unit=../v1/state", "?unit=ATH%26prefix%3DJUD"] {
        assert_eq!(open(&world, session, wrong, None).await.status(), 404, "{wrong}");
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        let answer = open(&world, session, &query, None).await;
        assert_eq!(answer.status(), 200);
        held.push(answer);
    }
    let full = open(&world, session, &query, None).await;
    assert_eq!((full.status().as_u16(), full.headers()["retry-after"].to_str().unwrap()), (503, "10"));
    drop(held);
    eventually(DEADLINE, || async {
        (open(&world, session, &query, None).await.status() == 200).then_some(())
    })
    .await;
    world.outside.refuse_feeds(503);
    eventually(DEADLINE, || async {
        (open(&world, session, &query, None).await.status() == 503).then_some(())
    })
    .await;
    world.app.stop().await;
}
