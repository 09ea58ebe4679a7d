//! Every RPC without a token, with a token of another scope, and with tokens that are not good.

use domain::TimeDelta;
use proto::segmentation::v1::{
    ArchiveSegmentRequest, CheckMembershipRequest, CountRuleRequest, CreateFreezeRequest,
    CreateSegmentRequest, ExplainRequest, GetFreezeRequest, GetSegmentRequest, ListMembersRequest,
    ListSegmentsRequest, StreamFreezeRequest, UpdateSegmentRuleRequest, WatchMembershipRequest,
    freeze_service_client::FreezeServiceClient, query_service_client::QueryServiceClient,
    segment_service_client::SegmentServiceClient, watch_service_client::WatchServiceClient,
};
use testkit::Claims;
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
async fn no_rpc_answers_without_a_token_of_its_scope() {
    let world = World::start().await;
    assert_eq!(codes!(world.app.grpc_without_token()), [Some(Code::Unauthenticated); 13]);
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

#[tokio::test]
async fn no_rpc_answers_with_a_token_that_is_not_good() {
    let world = World::start().await;
    let (issuer, now) = (world.app.issuer(), world.app.clock.now());
    let right = issuer.claims("test-client", "test-client", &ALL);
    let bound = serde_json::Map::from_iter([("cnf".to_owned(), serde_json::json!({ "jkt": "x" }))]);
    let foreign = Claims { issuer: "https://id.example.org".to_owned(), ..right.clone() };
    let elsewhere = Claims { audiences: vec!["kotinos.mailer".to_owned()], ..right.clone() };
    let expired = Claims { expires_at: now - TimeDelta::minutes(1), ..right.clone() };
    let later = Claims { issued_at: now + TimeDelta::hours(1), ..right.clone() };
    let id_token = Claims { typ: "JWT".to_owned(), ..right.clone() };
    let sender_bound = Claims { others: bound, ..right.clone() };
    for wrong in [foreign, elsewhere, expired, later, id_token, sender_bound] {
        assert_eq!(
            codes!(world.app.grpc_with(&issuer.token(&wrong))),
            [Some(Code::Unauthenticated); 13],
            "{wrong:?}"
        );
    }
    let (good, other) =
        (issuer.token(&right), issuer.token(&Claims { subject: "portal".to_owned(), ..right }));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    for wrong in
        [format!("{signed}.{signature}"), format!("{signed}."), "' or 1=1".to_owned(), "x".repeat(10_000)]
    {
        assert_eq!(codes!(world.app.grpc_with(&wrong)), [Some(Code::Unauthenticated); 13], "{wrong}");
    }
    world.app.stop().await;
}
