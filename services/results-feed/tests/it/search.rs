//! Search over all versions, documents in pieces, archives, and what is sent again.

use std::io::{Cursor, Read as _};

use proto::results::v1::{
    DocumentRepresentation, DocumentSearch, FoundDocument, GetDocumentRequest, ResendDocumentsRequest,
    SearchDocumentsRequest, feed_service_client::FeedServiceClient,
};
use testkit::races::{FINAL_100M, hundred_metres_final};
use tonic::Code;

use crate::{
    receiver::{Receiver, deliveries, target, wish},
    world::{World, originals},
};

fn feed(world: &World) -> FeedServiceClient<chassis::Peer> {
    FeedServiceClient::new(world.app.grpc(&["results.subscribe"]))
}

async fn found(world: &World, search: DocumentSearch) -> Vec<FoundDocument> {
    let (mut documents, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = SearchDocumentsRequest { search: Some(search.clone()), page_size: 3, page_token };
        let page = feed(world).search_documents(request).await.unwrap().into_inner();
        documents.extend(page.documents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return documents;
        }
    }
}

async fn document(world: &World, request: GetDocumentRequest) -> Result<(FoundDocument, Vec<u8>), Code> {
    let mut pieces = feed(world).get_document(request).await.map_err(|status| status.code())?.into_inner();
    let (mut head, mut bytes) = (None, Vec::new());
    while let Some(piece) = pieces.message().await.map_err(|status| status.code())? {
        assert!(piece.piece.len() <= 64 << 10);
        head = head.or(piece.document);
        bytes.extend(piece.piece);
    }
    Ok((head.unwrap(), bytes))
}

#[tokio::test]
async fn a_search_finds_by_each_of_its_fields() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race).await;
    let french = race[2].xml.replace("Version=\"1\"", "Version=\"1\" Language=\"FRA\"");
    let later = race[2].xml.replace("Version=\"1\"", "Version=\"1\" Language=\"DEU\"");
    let day = race[2].xml.split("LogicalDate=\"").nth(1).unwrap()[..10].to_owned();
    let later = later.replace(&format!("LogicalDate=\"{day}\""), "LogicalDate=\"2031-01-01\"");
    assert_eq!(world.post(&key, french).await.outcome, "accepted");
    assert_eq!(world.post(&key, later).await.outcome, "accepted");

    let all = found(&world, DocumentSearch::default()).await;
    assert_eq!(all.len(), race.len() + 2);
    let seqs: Vec<i64> = all.iter().map(|one| one.seq).collect();
    assert!(seqs.is_sorted());
    let count = |search: DocumentSearch| {
        let world = &world;
        async move { found(world, search).await.len() }
    };
    let of = DocumentSearch::default;
    let results = race.iter().filter(|document| document.document_type == "DT_RESULT").count();
    assert_eq!(count(DocumentSearch { types: vec!["DT_RESULT".into()], ..of() }).await, results + 2);
    assert_eq!(count(DocumentSearch { languages: vec!["FRA".into()], ..of() }).await, 1);
    assert_eq!(count(DocumentSearch { prefixes: vec![FINAL_100M.into()], ..of() }).await, results + 2);
    assert_eq!(count(DocumentSearch { prefixes: vec!["JUD".into()], ..of() }).await, 0);
    assert_eq!(count(DocumentSearch { first_day: "2031-01-01".into(), ..of() }).await, 1);
    assert_eq!(count(DocumentSearch { last_day: day.clone(), ..of() }).await, race.len() + 1);
    assert_eq!(count(DocumentSearch { version: 3, types: vec!["DT_RESULT".into()], ..of() }).await, 1);
    // Schedule, result in three languages, medallists, standings.
    assert_eq!(count(DocumentSearch { newest_only: true, ..of() }).await, 6);
    let now = world.app.clock.now().timestamp();
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    assert_eq!(count(DocumentSearch { received_from: at(now + 10), ..of() }).await, 0);
    assert_eq!(count(DocumentSearch { received_before: at(now + 10), ..of() }).await, race.len() + 2);
    assert_eq!(count(DocumentSearch { feed_flag: "T".into(), ..of() }).await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn a_wrong_search_names_its_field() {
    let world = World::start().await;
    let of = DocumentSearch::default;
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    for search in [
        DocumentSearch { prefixes: vec!["x'; drop".into()], ..of() },
        DocumentSearch { prefixes: vec!["A".into(); 65], ..of() },
        DocumentSearch { types: vec!["RESULT".into()], ..of() },
        DocumentSearch { languages: vec!["english".into()], ..of() },
        DocumentSearch { languages: vec!["ENG".into(); 21], ..of() },
        DocumentSearch { first_day: "28.7.2030".into(), ..of() },
        DocumentSearch { last_day: "2030-02-30".into(), ..of() },
        DocumentSearch { received_from: at(i64::MAX, 0), ..of() },
        DocumentSearch { received_before: at(0, -1), ..of() },
        DocumentSearch { version: -1, ..of() },
        DocumentSearch { feed_flag: "X".into(), ..of() },
    ] {
        let request = SearchDocumentsRequest { search: Some(search.clone()), ..Default::default() };
        let refused = feed(&world).search_documents(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{search:?}");
    }
    for (page_size, page_token) in [(501, ""), (1, "x"), (1, "99999999999999999999")] {
        let request = SearchDocumentsRequest { search: None, page_size, page_token: page_token.to_owned() };
        let refused = feed(&world).search_documents(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_document_comes_in_pieces_and_what_is_forbidden_is_not_there() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    // Larger than a piece, and no round number of them.
    let large = race[2].xml.replace("Gen=\"SYN-1\"", &format!("Gen=\"{}\"", "é".repeat(100_000)));
    assert_eq!(world.post(&key, large.clone()).await.outcome, "accepted");
    let result = found(&world, DocumentSearch::default()).await.remove(0);
    world.entitle(&world.client_id(), vec![originals()]).await;
    let raw = DocumentRepresentation::Raw.into();
    let canonical = DocumentRepresentation::Canonical.into();
    let request = GetDocumentRequest {
        handle: result.handle,
        seq: 0,
        representation: raw,
        ..GetDocumentRequest::default()
    };
    let (head, bytes) = document(&world, request).await.unwrap();
    assert_eq!(bytes, large.as_bytes());
    assert_eq!(head.bytes, u64::try_from(large.len()).unwrap());
    let request = GetDocumentRequest {
        handle: result.handle,
        seq: result.seq,
        representation: canonical,
        ..GetDocumentRequest::default()
    };
    let (_, bytes) = document(&world, request).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["Competition"]["Gen"].as_str().unwrap().chars().count(), 100_000);

    let biography =
        race[2].xml.replace("DT_RESULT", "DT_BIO_PAR").replace(" ResultStatus=\"START_LIST\"", "");
    assert_eq!(world.post(&key, biography).await.outcome, "accepted");
    let hidden: i64 =
        sqlx::query_scalar("select handle from results.document where document_type = 'DT_BIO_PAR'")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
    for (handle, seq, code) in [
        (hidden, 0, Code::NotFound),
        (hidden, 2, Code::NotFound),
        (result.handle, 2, Code::NotFound),
        (987_654, 0, Code::NotFound),
        (0, 0, Code::InvalidArgument),
        (-1, 0, Code::InvalidArgument),
        (1, -1, Code::InvalidArgument),
    ] {
        let request =
            GetDocumentRequest { handle, seq, representation: raw, ..GetDocumentRequest::default() };
        assert_eq!(document(&world, request).await.unwrap_err(), code, "{handle} {seq}");
    }
    let request =
        GetDocumentRequest { handle: 1, seq: 0, representation: 9, ..GetDocumentRequest::default() };
    assert_eq!(document(&world, request).await.unwrap_err(), Code::InvalidArgument);
    world.app.stop().await;
}

#[tokio::test]
async fn an_archive_holds_the_original_bytes() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race).await;
    world.entitle("noc", vec![originals()]).await;
    let issuer = world.app.issuer();
    let token = issuer.token(&issuer.claims("noc", "noc", &["results.subscribe"]));
    let ask = |query: &str, token: Option<&str>| {
        let url = world.app.http_url(&format!("/results/v1/documents?{query}"));
        let request = world.app.http().get(url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
        .send()
    };
    let answer = ask("type=DT_RESULT&prefix=ATHM100M", Some(&token)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let expected: Vec<&str> = race
        .iter()
        .filter(|document| document.document_type == "DT_RESULT")
        .map(|document| document.xml.as_str())
        .collect();
    assert_eq!(archive.len(), expected.len());
    for (at, xml) in expected.iter().enumerate() {
        let mut file = archive.by_index(at).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, *xml);
    }
    assert_eq!(ask("", None).await.unwrap().status(), 401);
    assert_eq!(ask("", Some("x")).await.unwrap().status(), 401);
    for wrong in [
        "typ=DT_RESULT",
        "type=RESULT",
        "first_day=x",
        "version=x",
        "received_from=x",
        "flag=Q",
        "prefix=%27",
    ] {
        assert_eq!(ask(wrong, Some(&token)).await.unwrap().status(), 400, "{wrong}");
    }
    let many = vec!["prefix=ATH"; 66].join("&");
    assert_eq!(ask(&many, Some(&token)).await.unwrap().status(), 400);
    world.app.stop().await;
}

#[tokio::test]
async fn what_was_missed_is_sent_again() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race).await;
    // It was not there yet.
    let mut refusals = 3;
    let receiver = Receiver::start(move |_| {
        refusals -= 1;
        if refusals > 0 { 503 } else { 200 }
    })
    .await;
    let target = target(&world, wish(&receiver.url)).await;
    let search = DocumentSearch { types: vec!["DT_RESULT".into()], ..DocumentSearch::default() };
    let request = ResendDocumentsRequest { target_id: target.target_id.clone(), search: Some(search) };
    let results = race.iter().filter(|document| document.document_type == "DT_RESULT").count();
    let told = deliveries(&world).resend_documents(request.clone()).await.unwrap().into_inner();
    assert_eq!(usize::try_from(told.documents).unwrap(), results);
    let taken = receiver.wait_for(results).await;
    crate::receiver::assert_in_order(&taken);
    testkit::eventually(crate::world::DEADLINE, async || {
        let left: i64 = sqlx::query_scalar("select count(*) from results.delivery_resend")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(receiver.taken().len(), results);
    // Once more, as often as it is asked for.
    deliveries(&world).resend_documents(request).await.unwrap();
    receiver.wait_for(2 * results).await;

    let other = DocumentSearch { feed_flag: "T".into(), ..DocumentSearch::default() };
    let request = ResendDocumentsRequest { target_id: target.target_id, search: Some(other) };
    assert_eq!(deliveries(&world).resend_documents(request).await.unwrap_err().code(), Code::InvalidArgument);
    world.app.stop().await;
}
