//! What was kept aside is worked on: listed, tried again, discarded.

use proto::results::v1::{
    DiscardQuarantinedRequest, ListQuarantinedRequest, QuarantinedDocument, RequeueQuarantinedRequest,
    ingest_service_client::IngestServiceClient,
};
use testkit::races::hundred_metres_final;
use tonic::Code;

use crate::world::World;

async fn list(world: &World, request: ListQuarantinedRequest) -> (Vec<QuarantinedDocument>, String) {
    let mut ingest = IngestServiceClient::new(world.app.grpc(&["results.publish"]));
    let page = ingest.list_quarantined(request).await.unwrap().into_inner();
    (page.documents, page.next_page_token)
}

fn reasons(documents: &[QuarantinedDocument]) -> Vec<&str> {
    documents.iter().map(|document| document.reason.as_str()).collect()
}

#[tokio::test]
async fn it_is_listed_newest_first_by_reason_and_publisher() {
    let world = World::start().await;
    let (athletics, key) = world.key("P", &["ATH"]).await;
    let (judo, other) = world.key("P", &["JUD"]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    world.post(&key, start_list.replace("000100--", "000100-")).await;
    world.post(&key, start_list.replace("Version=\"1\"", "")).await;
    world.post(&other, start_list.clone()).await;

    let (all, next) = list(&world, ListQuarantinedRequest::default()).await;
    assert_eq!(reasons(&all), ["SOURCE_NOT_ALLOWED", "HEADER_MISSING(Version)", "RSC_INVALID(34)"]);
    assert_eq!(next, "");
    assert_eq!((all[0].publisher.as_str(), all[1].publisher.as_str()), (judo.as_str(), athletics.as_str()));
    assert_eq!(all[0].size, start_list.len() as u64);
    assert_eq!(all[0].head, &start_list.as_bytes()[..512]);

    let by_reason = ListQuarantinedRequest { reason: "RSC_INVALID".to_owned(), ..Default::default() };
    assert_eq!(reasons(&list(&world, by_reason).await.0), ["RSC_INVALID(34)"]);
    let by_publisher = ListQuarantinedRequest { publisher: judo, ..Default::default() };
    assert_eq!(reasons(&list(&world, by_publisher).await.0), ["SOURCE_NOT_ALLOWED"]);

    let first = ListQuarantinedRequest { page_size: 2, ..Default::default() };
    let (page, token) = list(&world, first.clone()).await;
    assert_eq!(page.len(), 2);
    let (rest, end) = list(&world, ListQuarantinedRequest { page_token: token, ..first }).await;
    assert_eq!((reasons(&rest), end.as_str()), (vec!["RSC_INVALID(34)"], ""));
    world.app.stop().await;
}

#[tokio::test]
async fn a_document_that_is_right_after_all_is_taken_and_the_others_stay() {
    let world = World::start().await;
    let (judo, key) = world.key("P", &["JUD"]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    world.post(&key, start_list[..200].to_owned()).await;
    world.post(&key, start_list.clone()).await;
    let (kept, _) = list(&world, ListQuarantinedRequest::default()).await;
    assert_eq!(reasons(&kept), ["SOURCE_NOT_ALLOWED", "NOT_XML"]);

    let mut ingest = IngestServiceClient::new(world.app.grpc(&["results.publish"]));
    let mut outcomes = Vec::new();
    for document in &kept {
        let request = RequeueQuarantinedRequest { quarantine_id: document.quarantine_id.clone() };
        let outcome = ingest.requeue_quarantined(request).await.unwrap().into_inner().outcome.unwrap();
        outcomes.push((outcome.outcome, outcome.seq, outcome.reason));
    }
    let expected = [("accepted", 1, ""), ("quarantined", 0, "NOT_XML")];
    assert_eq!(outcomes, expected.map(|(outcome, seq, reason)| (outcome.to_owned(), seq, reason.to_owned())));
    assert_eq!(reasons(&list(&world, ListQuarantinedRequest::default()).await.0), ["NOT_XML"]);

    // It is gone, so it is not taken twice; discarding twice is no error.
    let again = RequeueQuarantinedRequest { quarantine_id: kept[0].quarantine_id.clone() };
    assert_eq!(ingest.requeue_quarantined(again).await.unwrap_err().code(), Code::NotFound);
    for _ in 0..2 {
        let request = DiscardQuarantinedRequest { quarantine_id: kept[1].quarantine_id.clone() };
        ingest.discard_quarantined(request).await.unwrap();
    }
    assert!(
        list(&world, ListQuarantinedRequest { publisher: judo, ..Default::default() }).await.0.is_empty()
    );
    world.app.stop().await;
}
