//! A person's token reaches that person's profile only. A stranger's profile looks like one that does not exist.

use proto::profile::v1::{
    BatchGetProfilesRequest, CheckConsentsRequest, ExternalId, FindProfileRequest, GetConsentsRequest,
    GetProfileRequest, ListConsentRecordsRequest, profile_service_client::ProfileServiceClient,
};
use tonic::{Code, Status};

use crate::world::{
    CONSENTS, PROFILES, User, World, alice, answering, bob, reason, says, text, unknown_profile, update,
};

/// What each RPC that takes a profile's id tells this user about it.
async fn refusals(world: &World, user: &User, id: &str) -> Vec<Status> {
    let (mut profiles, mut consents) = (world.profiles_as(user), world.consents_as(user));
    let profile_id = id.to_owned();
    let mut edit = update(id);
    edit.traits = vec![text("prefecture", "JP-27")];
    vec![
        profiles.get_profile(GetProfileRequest { profile_id: profile_id.clone() }).await.unwrap_err(),
        profiles.update_profile(edit).await.unwrap_err(),
        consents.get_consents(GetConsentsRequest { profile_id: profile_id.clone() }).await.unwrap_err(),
        consents.record_consents(answering(id, &[says("profiling", "withdrawn")])).await.unwrap_err(),
        consents
            .list_consent_records(ListConsentRecordsRequest { profile_id, page_size: 0 })
            .await
            .unwrap_err(),
    ]
}

#[tokio::test]
async fn a_person_s_token_reaches_only_its_own_profile() {
    let world = World::start().await;
    let (alice, bob) = (alice(), bob());
    let alices = world.follow(&alice).await;
    let bobs = world.follow(&bob).await;

    let foreign = refusals(&world, &bob, &alices.profile_id).await;
    let missing = refusals(&world, &bob, &unknown_profile()).await;
    for (foreign, missing) in foreign.iter().zip(&missing) {
        assert_eq!((foreign.code(), reason(foreign).as_str()), (Code::NotFound, "PROFILE_NOT_FOUND"));
        assert_eq!(
            (foreign.code(), foreign.message()),
            (missing.code(), missing.message()),
            "both look alike"
        );
    }
    for (kind, value) in [("user", alice.id.to_string()), ("email", alice.email.to_owned())] {
        let external_id = Some(ExternalId { r#type: kind.to_owned(), value });
        let refused =
            world.profiles_as(&bob).find_profile(FindProfileRequest { external_id }).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "PROFILE_NOT_FOUND"));
    }
    let profile_ids = vec![alices.profile_id.clone(), bobs.profile_id.clone()];
    let request = BatchGetProfilesRequest { profile_ids: profile_ids.clone() };
    let read = world.profiles_as(&bob).batch_get_profiles(request).await.unwrap().into_inner().profiles;
    assert_eq!(read, std::slice::from_ref(&bobs));
    let request = CheckConsentsRequest {
        profile_ids,
        purpose: "profiling".to_owned(),
        ..CheckConsentsRequest::default()
    };
    let refused = world.consents_as(&bob).check_consents(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "NOT_YOUR_PROFILE"));

    assert_eq!(world.profile(&alices.profile_id).await, alices, "nothing was written");
    assert_eq!(world.count("consent_record").await, 0);
    assert_eq!(world.count("request").await, 0, "no request id was used up");
    assert_eq!((world.told(PROFILES).await.len(), world.told(CONSENTS).await.len()), (2, 0));

    let own = GetProfileRequest { profile_id: bobs.profile_id.clone() };
    let own = world.profiles_as(&bob).get_profile(own).await.unwrap().into_inner();
    assert_eq!(own.profile, Some(bobs));
    world.app.stop().await;
}

#[tokio::test]
async fn staff_who_may_search_reach_everybody() {
    let world = World::start().await;
    let alices = world.follow(&alice()).await;
    let staff = bob();
    let request = GetProfileRequest { profile_id: alices.profile_id.clone() };
    let peer = world.app.grpc_as(staff.id, &["profile.read", "profile.search"]);
    let read = ProfileServiceClient::new(peer).get_profile(request).await.unwrap().into_inner();
    assert_eq!(read.profile, Some(alices));
    world.app.stop().await;
}
