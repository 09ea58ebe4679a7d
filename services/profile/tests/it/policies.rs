//! Every RPC with a token of each scope. Strangers are in `refusals.rs`.

use proto::profile::v1::{
    BatchGetProfilesRequest, CheckConsentsRequest, FindProfileRequest, GetConsentsRequest, GetProfileRequest,
    GetTraitSchemaRequest, ListConsentRecordsRequest, ListNoticesRequest, PublishNoticeRequest,
    RecordConsentsRequest, UpdateProfileRequest, consent_service_client::ConsentServiceClient,
    profile_service_client::ProfileServiceClient, schema_service_client::SchemaServiceClient,
};
use tonic::Code;

use crate::world::World;

/// The scope of each RPC, in the order of `codes!`.
const SCOPES: [&str; 11] = [
    "profile.read",
    "profile.read",
    "profile.read",
    "profile.write",
    "consent.read",
    "consent.write",
    "consent.read",
    "consent.read",
    "consent.admin",
    "consent.read",
    "profile.schema",
];

const ALL: [&str; 6] =
    ["profile.read", "profile.write", "profile.schema", "consent.read", "consent.write", "consent.admin"];

macro_rules! codes {
    ($peer:expr) => {{
        let mut profiles = ProfileServiceClient::new($peer);
        let mut consents = ConsentServiceClient::new($peer);
        let mut schemas = SchemaServiceClient::new($peer);
        vec![
            profiles.get_profile(GetProfileRequest::default()).await.err(),
            profiles.batch_get_profiles(BatchGetProfilesRequest::default()).await.err(),
            profiles.find_profile(FindProfileRequest::default()).await.err(),
            profiles.update_profile(UpdateProfileRequest::default()).await.err(),
            consents.get_consents(GetConsentsRequest::default()).await.err(),
            consents.record_consents(RecordConsentsRequest::default()).await.err(),
            consents.check_consents(CheckConsentsRequest::default()).await.err(),
            consents.list_consent_records(ListConsentRecordsRequest::default()).await.err(),
            consents.publish_notice(PublishNoticeRequest::default()).await.err(),
            consents.list_notices(ListNoticesRequest::default()).await.err(),
            schemas.get_trait_schema(GetTraitSchemaRequest::default()).await.err(),
        ]
        .into_iter()
        .map(|status| status.map(|status| status.code()))
        .collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn each_scope_opens_its_own_rpcs_and_no_other() {
    let world = World::start().await;
    assert_eq!(codes!(world.app.grpc(&["results.read"])), [Some(Code::PermissionDenied); 11]);
    for scope in
        ["profile.read", "profile.write", "profile.schema", "consent.read", "consent.write", "consent.admin"]
    {
        let denied = codes!(world.app.grpc(&[scope]));
        for (place, (code, needed)) in denied.into_iter().zip(SCOPES).enumerate() {
            let opens = needed == scope || (needed == "profile.schema" && scope == "profile.read");
            assert_eq!(code != Some(Code::PermissionDenied), opens, "call {place} with {scope}: {code:?}");
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn an_empty_request_names_its_field() {
    let world = World::start().await;
    let wrong = Some(Code::InvalidArgument);
    let expected = [wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong, None, None];
    assert_eq!(codes!(world.app.grpc(&ALL)), expected);
    world.app.stop().await;
}
