//! The feed on all its carriers, for readers that are quick, slow, late, many, or not allowed to be there.

use std::time::{Duration, Instant};

use proto::results::v1::{
    FeedFrame, SubscribeMode, SubscribeRequest, feed_frame::Frame, feed_service_client::FeedServiceClient,
};
use serde_json::Value;
use testkit::races::{FINAL_100M, hundred_metres_final};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    events_over_http::Browser,
    socket::{Said, Socket, payload},
    world::{DEADLINE, Partner, World, originals},
};

const QUERY: &str = "?prefix=ATHM100M&mode=every";

fn token(world: &World, scopes: &[&str], minutes: i64) -> String {
    let issuer = world.app.issuer();
    let mut claims = issuer.claims("partner", "partner", scopes);
    claims.expires_at = world.app.clock.now() + domain::TimeDelta::minutes(minutes);
    issuer.token(&claims)
}

async fn ticket(world: &World, token: &str) -> (u16, String) {
    let request = world.app.http().post(world.app.http_url("/results/v1/tickets"));
    let answer = request.header("authorization", format!("Bearer {token}")).send().await.unwrap();
    let status = answer.status().as_u16();
    let json: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, json["ticket"].as_str().unwrap_or_default().to_owned())
}

async fn subscribe(world: &World, cursor: &str) -> tonic::Streaming<FeedFrame> {
    let request = SubscribeRequest {
        prefixes: vec!["ATHM100M".to_owned()],
        mode: SubscribeMode::Every.into(),
        cursor: cursor.to_owned(),
        ..SubscribeRequest::default()
    };
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    feed.subscribe(request).await.unwrap().into_inner()
}

// The document or patch of a frame of JSON, byte for byte: it is the last member.
fn content(json: &str, member: &str) -> String {
    let name = format!(r#","{member}":"#);
    let at = json.find(&name).unwrap_or_else(|| panic!("{member} in {json}"));
    json[at + name.len()..json.len() - 1].to_owned()
}

/// The same feed by each carrier.
struct Carriers {
    browser: Browser,
    socket: Socket,
    grpc: tonic::Streaming<FeedFrame>,
    /// From which each would go on.
    cursors: [String; 3],
}

impl Carriers {
    async fn open(world: &World, cursors: [String; 3]) -> Self {
        let [id, c, cursor] = &cursors;
        let of_socket = if c.is_empty() { QUERY.to_owned() } else { format!("{QUERY}&cursor={c}") };
        Self {
            browser: Browser::open(world, QUERY, Some(id.as_str()).filter(|id| !id.is_empty())).await,
            socket: Socket::open(world, &of_socket, &[]).await.unwrap(),
            grpc: subscribe(world, cursor).await,
            cursors,
        }
    }

    /// The next frame, which is the same by all.
    async fn next(&mut self) -> Value {
        let (id, event) = self.browser.next_text().await;
        let message = self.socket.text().await;
        assert_eq!(payload(&message), event);
        let frame = loop {
            let frame = tokio::time::timeout(DEADLINE, self.grpc.message()).await.unwrap().unwrap().unwrap();
            if !matches!(frame.frame, Some(Frame::Heartbeat(_))) {
                break frame;
            }
        };
        let json: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(json["c"].as_str().unwrap_or_default(), frame.cursor);
        assert_eq!(id.clone().unwrap_or_default(), frame.cursor);
        if !frame.cursor.is_empty() {
            self.cursors = [id.unwrap(), json["c"].as_str().unwrap().to_owned(), frame.cursor];
        }
        match frame.frame.unwrap() {
            Frame::Snap(snap) => assert_eq!(content(&event, "b").as_bytes(), &snap.body[..]),
            Frame::Full(full) => {
                assert_eq!(content(&event, "b").as_bytes(), &full.body[..]);
                assert_eq!(json["s"], full.seq);
            }
            Frame::Delta(delta) => {
                assert_eq!(content(&event, "d").as_bytes(), &delta.patch[..]);
                assert_eq!((json["p"].as_i64(), json["s"].as_i64()), (Some(delta.previous), Some(delta.seq)));
            }
            Frame::Hello(_) | Frame::Live(_) => {}
            other => panic!("{other:?}"),
        }
        json
    }
}

#[tokio::test]
async fn every_carrier_gives_the_same_bytes_and_each_goes_on_from_its_cursor() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..5]).await;
    let mut carriers = Carriers::open(&world, Default::default()).await;
    // Each has its snapshot before anything changes: what came in between would be in one's and not in another's.
    while carriers.next().await["t"] != "live" {}
    for part in [&race[5..9], &race[9..]] {
        let mut last = 0;
        for document in part {
            let seq = world.send(&key, std::slice::from_ref(document)).await;
            last = if document.document_code.starts_with("ATHM100M") { seq } else { last };
        }
        while carriers.next().await["s"] != last {}
        // Each is lost and comes back.
        carriers = Carriers::open(&world, carriers.cursors).await;
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_partner_may_have_documents_as_they_were_sent() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..3]).await;
    world.entitle("public", vec![originals()]).await;
    let query = format!("?prefix={FINAL_100M}&mode=every&rep=odf");
    let mut socket = Socket::open(&world, &query, &[]).await.unwrap();
    let mut frame = socket.frame().await;
    while frame["t"] != "live" {
        if frame["t"] == "snap" {
            assert_eq!(frame["x"].as_str(), Some(race[2].xml.as_str()));
        }
        frame = socket.frame().await;
    }
    for document in &race[3..5] {
        let told = world.post(&key, document.xml.clone()).await;
        if document.document_code == FINAL_100M {
            let frame = socket.read_to(told.seq).await.pop().unwrap();
            assert_eq!(
                (frame["t"].as_str(), frame["x"].as_str()),
                (Some("full"), Some(document.xml.as_str()))
            );
            let path = format!("/results/v1/documents/{}/{}?rep=odf", frame["k"], frame["s"]);
            let answer = world.app.http().get(world.app.http_url(&path)).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), document.xml);
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_ticket_opens_one_connection_at_any_replica() {
    let world = World::start().await;
    let beside = world.beside().await;
    let issued = token(&world, &["results.subscribe"], 5);
    assert_eq!(ticket(&world, &token(&world, &["results.read"], 5)).await.0, 403);
    assert_eq!(
        world.app.http().post(world.app.http_url("/results/v1/tickets")).send().await.unwrap().status(),
        401
    );

    let (_, first) = ticket(&world, &issued).await;
    let mut socket = Socket::open(&beside, &format!("?ticket={first}"), &[("origin", "https://cis.example")])
        .await
        .unwrap();
    assert_eq!(socket.frame().await["t"], "hello");
    assert_eq!(Socket::open(&world, &format!("?ticket={first}"), &[]).await.err(), Some(401));
    let (_, second) = ticket(&world, &issued).await;
    Browser::open(&world, &format!("?ticket={second}"), None).await;

    let (_, third) = ticket(&world, &issued).await;
    world.app.clock.advance(domain::TimeDelta::seconds(61));
    assert_eq!(Socket::open(&world, &format!("?ticket={third}"), &[]).await.err(), Some(401));
    beside.app.stop().await;
    world.app.stop().await;
}

#[tokio::test]
async fn a_socket_is_for_our_pages_and_for_listening() {
    let world = World::start().await;
    for origin in ["https://elsewhere.example", "null", "x"] {
        assert_eq!(Socket::open(&world, "", &[("origin", origin)]).await.err(), Some(403), "{origin}");
    }
    let url = world.app.http_url("");
    let mut socket = Socket::open(&world, "", &[("origin", url.as_str())]).await.unwrap();
    assert_eq!(Socket::open(&world, "?mode=some", &[]).await.err(), Some(400));
    while socket.frame().await["t"] != "live" {}
    socket.say(9, b"are you there").await;
    assert_eq!(socket.next().await, Said::Pong(b"are you there".to_vec()));
    socket.say(1, b"{}").await;
    assert_eq!(socket.next().await, Said::Closed(1008));
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_no_frame_closes_the_socket() {
    let world = World::start().await;
    let (not_masked, reserved_bit, unknown_opcode, long_ping) =
        ([0x81, 0x00], [0xC1, 0x80, 0, 0, 0, 0], [0x83, 0x80, 0, 0, 0, 0], [0x89, 0xFE, 0, 126, 0, 0, 0, 0]);
    for bytes in [&not_masked[..], &reserved_bit, &unknown_opcode, &long_ping] {
        let mut socket = Socket::open(&world, "", &[]).await.unwrap();
        while socket.frame().await["t"] != "live" {}
        socket.say_bytes(bytes).await;
        assert_eq!(socket.next().await, Said::Closed(1002), "{bytes:x?}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_token_that_ends_ends_the_stream() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let (_, ticket) = ticket(&world, &token(&world, &["results.subscribe"], 5)).await;
    let mut socket = Socket::open(&world, &format!("?ticket={ticket}"), &[]).await.unwrap();
    while socket.frame().await["t"] != "live" {}
    world.app.clock.advance(domain::TimeDelta::minutes(6));
    world.send(&key, &hundred_metres_final(1)[..1]).await;
    let bye = socket.frame().await;
    assert_eq!((bye["t"].as_str(), bye["why"].as_str()), (Some("bye"), Some("TOKEN_EXPIRED")));
    assert_eq!(socket.next().await, Said::Closed(1000));
    world.app.stop().await;
}

#[tokio::test]
async fn who_finds_no_place_is_told_when_to_come_back() {
    let world = World::start_with(|_| {}, |config| config.max_connections = 1).await;
    let held = Browser::open(&world, "", None).await;
    let refused = world.app.http().get(world.app.http_url("/results/v1/feed")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(Socket::open(&world, "", &[]).await.err(), Some(503));
    drop(held);
    testkit::eventually(DEADLINE, || async { Socket::open(&world, "", &[]).await.ok() }).await;
    world.app.stop().await;
}

// A document of about 100 KB that no patch makes smaller.
fn large(version: u32) -> String {
    let noise: String = (0..12_000_u64)
        .map(|at| format!("{:08x}", (at * 2_654_435_761 + u64::from(version) * 40_503) & 0xffff_ffff))
        .collect();
    hundred_metres_final(1)[2].xml.replace("Version=\"1\"", &format!("Version=\"{version}\"")).replace(
        "</Competition>",
        &format!("<ExtendedInfos><ExtendedInfo Code=\"{noise}\"/></ExtendedInfos></Competition>"),
    )
}

async fn raw_connection(world: &World, query: &str) -> TcpStream {
    let url = world.app.http_url("");
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let request = format!("GET /results/v1/feed{query} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_slow_reader_is_not_cut_off_and_ends_with_the_newest() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let mut slow = raw_connection(&world, &format!("?prefix={FINAL_100M}")).await;
    let mut text = Vec::new();
    // It takes a kilobyte now and then, while 40 times 100 KB come.
    for version in 1..=40 {
        assert_eq!(world.post(&key, large(version)).await.outcome, "accepted");
        let mut some = [0; 1_024];
        let read = slow.read(&mut some).await.unwrap();
        text.extend_from_slice(&some[..read]);
    }
    let newest = br#""v":40"#;
    let until = Instant::now() + DEADLINE;
    while !text.windows(newest.len()).any(|part| part == newest) {
        assert!(Instant::now() < until, "{} bytes", text.len());
        let mut some = vec![0; 65_536];
        let read = tokio::time::timeout(DEADLINE, slow.read(&mut some)).await.unwrap().unwrap();
        assert!(read > 0, "it was cut off");
        text.extend_from_slice(&some[..read]);
    }
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(r#""t":"skip""#), "nothing was left out in {} bytes", text.len());
    assert!(
        world.app.http().get(world.app.http_url("/results/v1/state")).send().await.unwrap().status() == 200
    );
    world.app.stop().await;
}

#[tokio::test]
async fn a_thousand_readers_share_what_they_read() {
    const MANY: usize = 1_000;
    let world = World::start_with(|_| {}, |config| config.max_connections = 2_000).await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..3]).await;
    let before = world.figure("process_resident_memory_bytes").await;
    let mut readers = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        readers.push(raw_connection(&world, &format!("?prefix={FINAL_100M}")).await);
    }
    let mut pending = Vec::new();
    for mut reader in readers {
        pending.push(tokio::spawn(async move {
            let mut text = read_until(&mut reader, br#""t":"live""#).await;
            text.extend(read_until(&mut reader, br#""st":"OFFICIAL""#).await);
            reader
        }));
    }
    let open = r#"results_feed_connections{carrier="sse"}"#;
    testkit::eventually(DEADLINE, || async { (world.figure(open).await >= 1_000.0).then_some(()) }).await;
    let begun = Instant::now();
    world.send(&key, &race[3..]).await;
    let mut readers = Vec::new();
    for reader in pending {
        readers.push(tokio::time::timeout(Duration::from_secs(60), reader).await.expect("in time").unwrap());
    }
    let after = world.figure("process_resident_memory_bytes").await;
    println!(
        "{MANY} readers had the whole race after {:?}, and cost {:.1} KB each with their clients",
        begun.elapsed(),
        (after - before) / 1_024.0 / 1_000.0
    );
    assert!(after - before < 100e6, "{} bytes", after - before);
    drop(readers);
    world.app.stop().await;
}

async fn read_until(reader: &mut TcpStream, mark: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while !text.windows(mark.len()).any(|part| part == mark) {
        let mut some = [0; 4_096];
        let read = reader.read(&mut some).await.unwrap();
        assert!(read > 0, "it was cut off");
        text.extend_from_slice(&some[..read]);
    }
    text
}

#[tokio::test]
async fn many_who_begin_together_read_one_snapshot() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(1)).await;
    let mut first = Partner::default();
    first.connect(&world, SubscribeMode::State, &[]).await;
    first.read_snapshot().await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let mut other = Partner::default();
        other.connect(&world, SubscribeMode::State, &[]).await;
        others.push(other);
    }
    for mut other in others {
        other.read_snapshot().await;
        assert_eq!(other.documents, first.documents);
    }
    world.app.stop().await;
}
