//! Documents by a stream, more than a publisher's share, messages with the header of ODF1, and what never came.

use std::{fs, path::Path};

use futures::StreamExt as _;
use proto::results::v1::{
    EntitlementRule, ListGapsRequest, ListGapsResponse, PublishStreamRequest, PublishStreamResponse,
    feed_service_client::FeedServiceClient, ingest_service_client::IngestServiceClient,
};
use testkit::races::hundred_metres_final;
use tonic::Code;

use crate::world::{DEADLINE, World};

fn request(odf: impl Into<Vec<u8>>) -> PublishStreamRequest {
    PublishStreamRequest { odf: odf.into() }
}

async fn gaps(world: &World, request: ListGapsRequest) -> ListGapsResponse {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    feed.list_gaps(request).await.unwrap().into_inner()
}

/// Rules for the client that tests call as: everything of this flag.
async fn entitle(world: &World, feed_flag: &str) {
    let rule = EntitlementRule { feed_flag: feed_flag.to_owned(), ..EntitlementRule::default() };
    world.entitle(&world.client_id(), vec![rule]).await;
}

#[tokio::test]
async fn a_stream_of_documents_is_answered_one_by_one_in_its_order() {
    let world = World::start().await;
    let documents = hundred_metres_final(1);
    let mut requests: Vec<PublishStreamRequest> =
        documents.iter().map(|document| request(document.xml.clone())).collect();
    requests.insert(1, request("no xml"));
    requests.push(request(documents.last().unwrap().xml.clone()));
    let mut ingest = IngestServiceClient::new(world.app.grpc(&["results.publish"]));
    let sent = futures::stream::iter(requests);
    let mut answers = ingest.publish_stream(sent).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(answer) = tokio::time::timeout(DEADLINE, answers.message()).await.unwrap().unwrap() {
        let PublishStreamResponse { outcome } = answer;
        let outcome = outcome.unwrap();
        told.push((outcome.outcome, outcome.seq));
    }
    let count = i64::try_from(documents.len()).unwrap();
    let mut expected: Vec<(String, i64)> = (1..=count).map(|seq| ("accepted".to_owned(), seq)).collect();
    expected.insert(1, ("quarantined".to_owned(), 0));
    expected.push(("duplicate".to_owned(), count));
    assert_eq!(told, expected);

    // What is no document at all is an error of the caller, and ends the stream.
    let sent = futures::stream::iter([request(documents[2].xml.clone()), request(""), request("never read")]);
    let mut answers = ingest.publish_stream(sent).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().outcome.unwrap().outcome, "late");
    assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    world.app.stop().await;
}

#[tokio::test]
async fn an_idle_stream_holds_up_no_shutdown() {
    let world = World::start().await;
    let mut ingest = IngestServiceClient::new(world.app.grpc(&["results.publish"]));
    let first = request(hundred_metres_final(1)[0].xml.clone());
    let documents = futures::stream::once(async { first }).chain(futures::stream::pending());
    let mut answers = ingest.publish_stream(documents).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().outcome.unwrap().outcome, "accepted");
    let (stopped, ended) = tokio::join!(world.app.stop(), answers.message());
    let () = stopped;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn odd_content_is_counted_and_taken() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let odd = hundred_metres_final(1)[2].xml.replace(" SortOrder=\"2\"", " SortOrder=\"1\" Odd=\"\"");
    assert_eq!(world.post(&key, odd).await.outcome, "accepted");
    let metrics = world.app.http().get(world.app.ops_url("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "results_content_defects_total{defect=\"EMPTY_ATTRIBUTE\"} 1",
        "results_content_defects_total{defect=\"SORT_ORDER_DOUBLED\"} 1",
        "results_parsed_documents_total{} 1",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_publisher_that_sends_too_much_is_told_when_to_come_again() {
    let world = World::start_with(|_| {}, |config| config.publisher_rate = 2).await;
    let (_, key) = world.key("P", &[]).await;
    let (_, other) = world.key("P", &[]).await;
    let document = hundred_metres_final(1)[0].xml.clone();
    let mut refused = None;
    for _ in 0..20 {
        let answer = world
            .app
            .http()
            .post(world.app.http_url("/results/v1/odf"))
            .header("x-api-key", &key)
            .body(document.clone())
            .send()
            .await
            .unwrap();
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refused = refused.expect("twenty documents at once are more than four");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait} s");
    // The others keep their share.
    assert_eq!(world.post(&other, document.clone()).await.outcome, "duplicate");

    let mut ingest = IngestServiceClient::new(world.app.grpc(&["results.publish"]));
    let sent = futures::stream::iter((0..20).map(move |_| request(document.clone())));
    let mut answers = ingest.publish_stream(sent).await.unwrap().into_inner();
    let code = loop {
        match answers.message().await {
            Ok(Some(answer)) => assert_eq!(answer.outcome.unwrap().outcome, "duplicate"),
            Ok(None) => panic!("all twenty were taken"),
            Err(status) => break status.code(),
        }
    };
    assert_eq!(code, Code::ResourceExhausted);
    world.app.stop().await;
}

#[tokio::test]
async fn versions_that_never_came_are_told_to_those_who_may_see_the_document() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    for version in [2, 3, 7] {
        let document = start_list.replace("Version=\"1\"", &format!("Version=\"{version}\""));
        assert_eq!(world.post(&key, document).await.outcome, "accepted");
    }
    let told = gaps(&world, ListGapsRequest::default()).await;
    let holes: Vec<(i32, i32)> = told.versions.iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(holes, [(1, 1), (4, 6)]);
    assert_eq!(told.versions[0].key.as_ref().unwrap().document_type, "DT_RESULT");
    let elsewhere = ListGapsRequest { prefixes: vec!["JUD".to_owned()], ..ListGapsRequest::default() };
    assert!(gaps(&world, elsewhere).await.versions.is_empty());
    // A late version fills its hole.
    assert_eq!(world.post(&key, start_list.replace("Version=\"1\"", "Version=\"5\"")).await.outcome, "late");
    let told = gaps(&world, ListGapsRequest::default()).await;
    let holes: Vec<(i32, i32)> = told.versions.iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(holes, [(1, 1), (4, 4), (6, 6)]);
    world.app.stop().await;
}

fn odf1(serial: u32) -> String {
    format!(
        r#"<OdfBody DocumentCode="GL0000000" FeedFlag="T" Source="SYNIDS" Serial="{serial}" Time="061248103" CompetitionCode="SYN2030" Date="2030-01-19" LogicalDate="2030-01-19" DocumentType="DT_OLD" Version="1"><Competition Code="SYN2030"><CodeSet Code="{serial}"/></Competition></OdfBody>"#
    )
}

#[tokio::test]
async fn a_serial_that_never_came_is_told() {
    let world = World::start().await;
    let (_, key) = world.key("T", &[]).await;
    for serial in [3, 4, 9, 7, 4] {
        let expected = if serial == 4 { &["accepted", "duplicate"][..] } else { &["accepted"][..] };
        let told = world.post(&key, odf1(serial)).await;
        assert!(expected.contains(&told.outcome.as_str()), "{told:?}");
    }
    let asked = ListGapsRequest { feed_flag: "T".to_owned(), ..ListGapsRequest::default() };
    assert!(gaps(&world, asked.clone()).await.serials.is_empty(), "it may not see tables of codes yet");
    entitle(&world, "T").await;
    let holes: Vec<(String, i64, i64)> = gaps(&world, asked)
        .await
        .serials
        .into_iter()
        .map(|gap| (format!("{} {}", gap.source, gap.logical_date), gap.first, gap.last))
        .collect();
    let hole = |first, last| ("SYNIDS 2030-01-19".to_owned(), first, last);
    assert_eq!(holes, [hole(5, 6), hole(8, 8)]);
    assert_eq!(
        world.post(&key, odf1(1).replace("Serial=\"1\"", "Serial=\"-1\"")).await.reason,
        "HEADER_INVALID(Serial)"
    );
    world.app.stop().await;
}

#[tokio::test]
async fn the_messages_of_rio_go_in_and_the_hole_at_45_is_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/odf/rio2016-codes");
    let Ok(files) = fs::read_dir(folder) else {
        return println!("skipped: there is no ../shared/data beside the project");
    };
    let world = World::start_with(|_| {}, |config| "OG2016".clone_into(&mut config.competition)).await;
    let (_, key) = world.key("T", &[]).await;
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    assert_eq!(paths.len(), 18);
    for path in paths {
        let told = world.post(&key, fs::read(&path).unwrap()).await;
        assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{path:?}: {told:?}");
    }
    entitle(&world, "T").await;
    let told =
        gaps(&world, ListGapsRequest { feed_flag: "T".to_owned(), ..ListGapsRequest::default() }).await;
    let holes: Vec<(i64, i64)> = told.serials.iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(holes, [(45, 45)]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_refused_and_holds_nobody_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start_with(|_| {}, |config| config.body_seconds = 1).await;
    let (_, key) = world.key("P", &[]).await;
    let address = world.app.http_url("").replace("http://", "");
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /results/v1/odf HTTP/1.1\r\nHost: x\r\nX-API-KEY: {key}\r\nContent-Length: 1000\r\n\r\n<Odf"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let document = hundred_metres_final(1)[0].xml.clone();
    assert_eq!(world.post(&key, document).await.outcome, "accepted", "while the other one waits");
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE, slow.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    world.app.stop().await;
}
