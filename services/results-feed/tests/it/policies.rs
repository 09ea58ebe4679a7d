//! Every RPC with an empty request, and with one that is too large.

use proto::results::v1::{
    CreateDeliveryTargetRequest, CreatePublisherKeyRequest, DeleteDeliveryTargetRequest,
    DiscardQuarantinedRequest, ExplainAccessRequest, GetDeliveryTargetRequest, GetDocumentRequest,
    GetEntitlementsRequest, GetEventUnitRequest, GetManifestRequest, GetReplayRequest, GetResultRequest,
    GetSnapshotRequest, GetStartListRequest, ListChangesRequest, ListDecisionsRequest,
    ListDeliveryTargetsRequest, ListEntitlementsRequest, ListEventUnitsRequest, ListGapsRequest,
    ListMedalStandingsRequest, ListPublisherKeysRequest, ListQuarantinedRequest, ListScheduleRequest,
    ListVenueClocksRequest, PauseDeliveryRequest, PublishRequest, RequeueQuarantinedRequest,
    ResendDocumentsRequest, ResumeDeliveryRequest, RevokePublisherKeyRequest, SearchDocumentsRequest,
    StartReplayRequest, StopReplayRequest, SubscribeRequest, UpdateDeliveryTargetRequest,
    UpdateEntitlementsRequest, access_service_client::AccessServiceClient,
    delivery_service_client::DeliveryServiceClient, feed_service_client::FeedServiceClient,
    ingest_service_client::IngestServiceClient, rehearsal_service_client::RehearsalServiceClient,
    result_service_client::ResultServiceClient,
};
use tonic::Code;

use crate::world::World;

macro_rules! codes {
    ($peer:expr) => {{
        let mut ingest = IngestServiceClient::new($peer);
        let mut feed = FeedServiceClient::new($peer);
        let mut results = ResultServiceClient::new($peer);
        let mut access = AccessServiceClient::new($peer);
        let mut delivery = DeliveryServiceClient::new($peer);
        let mut rehearsals = RehearsalServiceClient::new($peer);
        vec![
            ingest.publish(PublishRequest::default()).await.err(),
            ingest.list_quarantined(ListQuarantinedRequest::default()).await.err(),
            ingest.requeue_quarantined(RequeueQuarantinedRequest::default()).await.err(),
            ingest.discard_quarantined(DiscardQuarantinedRequest::default()).await.err(),
            feed.subscribe(SubscribeRequest::default()).await.err(),
            feed.get_snapshot(GetSnapshotRequest::default()).await.err(),
            feed.list_changes(ListChangesRequest::default()).await.err(),
            feed.list_venue_clocks(ListVenueClocksRequest::default()).await.err(),
            feed.get_manifest(GetManifestRequest::default()).await.err(),
            feed.list_gaps(ListGapsRequest::default()).await.err(),
            results.get_event_unit(GetEventUnitRequest::default()).await.err(),
            results.list_event_units(ListEventUnitsRequest::default()).await.err(),
            results.get_result(GetResultRequest::default()).await.err(),
            results.get_start_list(GetStartListRequest::default()).await.err(),
            results.list_schedule(ListScheduleRequest::default()).await.err(),
            results.list_medal_standings(ListMedalStandingsRequest::default()).await.err(),
            access.create_publisher_key(CreatePublisherKeyRequest::default()).await.err(),
            access.revoke_publisher_key(RevokePublisherKeyRequest::default()).await.err(),
            access.list_publisher_keys(ListPublisherKeysRequest::default()).await.err(),
            access.update_entitlements(UpdateEntitlementsRequest::default()).await.err(),
            access.get_entitlements(GetEntitlementsRequest::default()).await.err(),
            feed.get_document(GetDocumentRequest::default()).await.err(),
            feed.search_documents(SearchDocumentsRequest::default()).await.err(),
            delivery.create_delivery_target(CreateDeliveryTargetRequest::default()).await.err(),
            delivery.get_delivery_target(GetDeliveryTargetRequest::default()).await.err(),
            delivery.list_delivery_targets(ListDeliveryTargetsRequest::default()).await.err(),
            delivery.update_delivery_target(UpdateDeliveryTargetRequest::default()).await.err(),
            delivery.delete_delivery_target(DeleteDeliveryTargetRequest::default()).await.err(),
            delivery.pause_delivery(PauseDeliveryRequest::default()).await.err(),
            delivery.resume_delivery(ResumeDeliveryRequest::default()).await.err(),
            delivery.resend_documents(ResendDocumentsRequest::default()).await.err(),
            access.list_entitlements(ListEntitlementsRequest::default()).await.err(),
            access.explain_access(ExplainAccessRequest::default()).await.err(),
            access.list_decisions(ListDecisionsRequest::default()).await.err(),
            rehearsals.start_replay(StartReplayRequest::default()).await.err(),
            rehearsals.stop_replay(StopReplayRequest::default()).await.err(),
            rehearsals.get_replay(GetReplayRequest::default()).await.err(),
        ]
        .into_iter()
        .map(|status| status.map(|status| status.code()))
        .collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn an_empty_or_oversized_request_names_its_field() {
    let world = World::start().await;
    let all = ["results.publish", "results.subscribe", "results.read", "results.admin", "results.deliver"];
    let wrong = Some(Code::InvalidArgument);
    let expected = [
        wrong, None, wrong, wrong, None, None, None, None, wrong, None, wrong, None, wrong, wrong, None,
        None, wrong, wrong, None, wrong, wrong, wrong, None, wrong, wrong, None, wrong, wrong, wrong, wrong,
        wrong, None, wrong, None, wrong, wrong, wrong,
    ];
    assert_eq!(codes!(world.app.grpc(&all)), expected);

    let mut feed = FeedServiceClient::new(world.app.grpc(&all));
    let many = vec!["ATH".to_owned(); 65];
    for prefixes in [many, vec!["a'b".to_owned()], vec!["A".repeat(35)]] {
        let request = GetSnapshotRequest { prefixes, ..GetSnapshotRequest::default() };
        assert_eq!(feed.get_snapshot(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let request = GetSnapshotRequest { page_size: 501, ..GetSnapshotRequest::default() };
    assert_eq!(feed.get_snapshot(request).await.unwrap_err().code(), Code::InvalidArgument);
    world.app.stop().await;
}
