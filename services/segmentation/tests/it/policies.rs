//! Every RPC with a token of each scope. Strangers are in `refusals.rs`.

use proto::segmentation::v1::{
    ArchiveSegmentRequest, CheckMembershipRequest, CountRuleRequest, CreateFreezeRequest,
    CreateSegmentRequest, ExplainRequest, GetFreezeRequest, GetSegmentRequest, ListMembersRequest,
    ListSegmentsRequest, StreamFreezeRequest, UpdateSegmentRuleRequest, WatchMembershipRequest,
    freeze_service_client::FreezeServiceClient, query_service_client::QueryServiceClient,
    segment_service_client::SegmentServiceClient, watch_service_client::WatchServiceClient,
};
use tonic::Code;

use crate::world::World;

/// The scope of each RPC, in the order of `codes!`.
const SCOPES: [&str; 13] = [
    "segmentation.write",
    "segmentation.write",
    "segmentation.write",
    "segmentation.read",
    "segmentation.read",
    "segmentation.read",
    "segmentation.members",
    "segmentation.check",
    "segmentation.members",
    "segmentation.freeze",
    "segmentation.freeze",
    "segmentation.freeze",
    "segmentation.members",
];

const ALL: [&str; 6] = [
    "segmentation.read",
    "segmentation.write",
    "segmentation.members",
    "segmentation.check",
    "segmentation.freeze",
    "segmentation.exact",
];

macro_rules! codes {
    ($peer:expr) => {{
        let mut segments = SegmentServiceClient::new($peer);
        let mut queries = QueryServiceClient::new($peer);
        let mut freezes = FreezeServiceClient::new($peer);
        let mut watch = WatchServiceClient::new($peer);
        vec![
            segments.create_segment(CreateSegmentRequest::default()).await.err(),
            segments.update_segment_rule(UpdateSegmentRuleRequest::default()).await.err(),
            segments.archive_segment(ArchiveSegmentRequest::default()).await.err(),
            segments.get_segment(GetSegmentRequest::default()).await.err(),
            segments.list_segments(ListSegmentsRequest::default()).await.err(),
            queries.count_rule(CountRuleRequest::default()).await.err(),
            queries.list_members(ListMembersRequest::default()).await.err(),
            queries.check_membership(CheckMembershipRequest::default()).await.err(),
            queries.explain(ExplainRequest::default()).await.err(),
            freezes.create_freeze(CreateFreezeRequest::default()).await.err(),
            freezes.get_freeze(GetFreezeRequest::default()).await.err(),
            freezes.stream_freeze(StreamFreezeRequest::default()).await.err(),
            watch.watch_membership(WatchMembershipRequest::default()).await.err(),
        ]
        .into_iter()
        .map(|status| status.map(|status| status.code()))
        .collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn each_scope_opens_its_own_rpcs_and_no_other() {
    let world = World::start().await;
    assert_eq!(codes!(world.app.grpc(&["profile.read"])), [Some(Code::PermissionDenied); 13]);
    for scope in ALL {
        let denied = codes!(world.app.grpc(&[scope]));
        for (place, (code, needed)) in denied.into_iter().zip(SCOPES).enumerate() {
            assert_eq!(
                code != Some(Code::PermissionDenied),
                needed == scope,
                "call {place} with {scope}: {code:?}"
            );
        }
    }
    world.app.stop().await;
}
