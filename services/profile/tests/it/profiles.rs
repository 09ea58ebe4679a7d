//! Edits of a profile.

use prost::Message;
use proto::profile::v1::{
    GetTraitSchemaRequest, ProfileState, schema_service_client::SchemaServiceClient, trait_value::Kind,
};
use tonic::Code;

use crate::world::{
    PROFILES, World, alice, answering, bob, date, fields, gives, held, id, one, reason, set, text, update,
};

#[tokio::test]
async fn an_edit_is_kept_and_told_with_who_said_so() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut request = update(&profile_id);
    request.expected_version = 1;
    request.traits = vec![
        text("prefecture", "JP-13"),
        date("birth_date", "1990-04-01"),
        set("favourite_olympic_sports", &["JUD", "ATH", "JUD"]),
    ];
    request.locale = "en".to_owned();
    request.time_zone = "Asia/Tokyo".to_owned();
    let updated =
        world.profiles_as(&alice).update_profile(request).await.unwrap().into_inner().profile.unwrap();

    assert_eq!(
        (updated.version, updated.locale.as_str(), updated.time_zone.as_str()),
        (2, "en", "Asia/Tokyo")
    );
    assert_eq!(held(&updated, "prefecture"), Some(Kind::Text("JP-13".to_owned())));
    assert_eq!(held(&updated, "birth_date"), Some(Kind::Date("1990-04-01".to_owned())));
    let Some(Kind::Set(sports)) = held(&updated, "favourite_olympic_sports") else { panic!("{updated:?}") };
    assert_eq!(sports.values, ["ATH", "JUD"]);
    assert!(updated.traits.iter().all(|held| held.source == "fan" && !held.client_id.is_empty()));
    assert_eq!(world.profile(&profile_id).await, updated);

    let told = world.told(PROFILES).await;
    let last = told.last().unwrap();
    assert_eq!(
        (last.fact_type.as_str(), last.version, last.key.as_str()),
        ("ProfileUpdated", 2, profile_id.as_str())
    );
    let state = ProfileState::decode(last.payload.as_deref().unwrap()).unwrap();
    assert_eq!(state.traits, updated.traits);
    let changed = ["birth_date", "prefecture", "favourite_olympic_sports", "locale", "time_zone"];
    assert_eq!(state.changed_fields, changed);
    world.app.stop().await;
}

#[tokio::test]
async fn a_removed_trait_is_gone_and_an_edit_without_a_change_tells_nothing() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut request = update(&profile_id);
    request.traits = vec![text("given_name", "  Alice "), text("gender", "female")];
    world.profiles_as(&alice).update_profile(request).await.unwrap();
    let mut request = update(&profile_id);
    request.traits = vec![text("given_name", "Alice")];
    request.remove_traits = vec!["phone".to_owned()];
    world.profiles_as(&alice).update_profile(request).await.unwrap();
    assert_eq!(world.told(PROFILES).await.len(), 2, "the second edit changed nothing");
    let mut request = update(&profile_id);
    request.remove_traits = vec!["gender".to_owned()];
    let removed =
        world.profiles_as(&alice).update_profile(request).await.unwrap().into_inner().profile.unwrap();
    assert_eq!((removed.version, held(&removed, "gender")), (3, None));
    assert_eq!(held(&removed, "given_name"), Some(Kind::Text("Alice".to_owned())));
    world.app.stop().await;
}

#[tokio::test]
async fn the_same_request_again_has_one_effect_and_another_body_under_its_id_is_refused() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut request = update(&profile_id);
    request.expected_version = 1;
    request.traits = vec![text("prefecture", "JP-13")];
    let mut profiles = world.profiles_as(&alice);
    let first = profiles.update_profile(request.clone()).await.unwrap().into_inner().profile.unwrap();
    // Its expected version is not the present one any more: a repeat is an answer, not a conflict.
    let again = profiles.update_profile(request.clone()).await.unwrap().into_inner().profile.unwrap();
    assert_eq!(first, again);
    request.traits = vec![text("prefecture", "JP-27")];
    let refused = profiles.update_profile(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "REQUEST_ID_REUSED"));
    assert_eq!(world.profile(&profile_id).await, first);
    assert_eq!(world.told(PROFILES).await.len(), 2);
    world.app.stop().await;
}

#[tokio::test]
async fn a_stale_edit_is_refused_and_leaves_its_request_id_free() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut profiles = world.profiles_as(&alice);
    let mut request = update(&profile_id);
    request.expected_version = 7;
    request.traits = vec![text("prefecture", "JP-13")];
    let refused = profiles.update_profile(request.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STALE_VERSION"));
    assert_eq!(world.profile(&profile_id).await.version, 1);
    request.expected_version = 1;
    let updated = profiles.update_profile(request).await.unwrap().into_inner().profile.unwrap();
    assert_eq!(updated.version, 2);
    world.app.stop().await;
}

#[tokio::test]
async fn of_two_writers_on_one_version_one_wins() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let edit = |prefecture: &str| {
        let mut request = update(&profile_id);
        request.expected_version = 1;
        request.traits = vec![text("prefecture", prefecture)];
        let mut profiles = world.profiles_as(&alice);
        async move { profiles.update_profile(request).await }
    };
    let (one, other) = tokio::join!(edit("JP-13"), edit("JP-27"));
    let (won, lost): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    for refused in lost {
        assert_eq!(reason(&refused.unwrap_err()), "STALE_VERSION");
    }
    assert_eq!(world.profile(&profile_id).await.version, 2);
    assert_eq!(world.told(PROFILES).await.len(), 2);
    world.app.stop().await;
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_and_nothing_is_written() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut request = update("not an id");
    request.request_id = "42".to_owned();
    request.traits = vec![
        text("prefecture", "Tokyo"),
        text("shoe_size", "27"),
        text("given_name", "Alice"),
        date("birth_date", "2990-01-01"),
        set("favourite_olympic_sports", &["judo"]),
        one("phone", Kind::Number(312_345_678)),
        text("favourite_paralympic_sports", "ATH"),
    ];
    request.remove_traits = vec!["gender".to_owned(), "shoe_size".to_owned()];
    request.locale = "tlh".to_owned();
    request.time_zone = "Asia/Tokyo; drop".to_owned();
    let refused = world.profiles_as(&alice).update_profile(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let expected = [
        "profile_id",
        "request_id",
        "traits[0].value (prefecture)",
        "traits[1].name",
        "traits[3].value (birth_date)",
        "traits[4].value (favourite_olympic_sports)",
        "traits[5].value (phone)",
        "traits[6].value (favourite_paralympic_sports)",
        "remove_traits[1]",
        "locale",
        "time_zone",
    ];
    assert_eq!(fields(&refused), expected);
    assert!(chassis::fields_of(&refused).iter().all(|violation| violation.rule.starts_with("must ")));

    // One wrong trait keeps the right one out as well.
    request.profile_id.clone_from(&profile_id);
    request.request_id = id();
    assert_eq!(
        world.profiles_as(&alice).update_profile(request).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    assert_eq!(world.profile(&profile_id).await.version, 1);
    assert_eq!(world.told(PROFILES).await.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_partner_does_not_overwrite_what_the_fan_said() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let mut request = update(&profile_id);
    request.traits = vec![text("prefecture", "JP-13")];
    world.profiles_as(&alice).update_profile(request).await.unwrap();
    let mut request = update(&profile_id);
    request.traits = vec![text("prefecture", "JP-27"), text("gender", "female")];
    let updated = world.profiles().update_profile(request).await.unwrap().into_inner().profile.unwrap();
    assert_eq!(held(&updated, "prefecture"), Some(Kind::Text("JP-13".to_owned())));
    let gender = updated.traits.iter().find(|held| held.name == "gender").unwrap();
    assert_eq!(gender.source, "rp");
    world.app.stop().await;
}

#[tokio::test]
async fn a_profile_that_is_being_erased_takes_no_writes() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    sqlx::query("update profile.profile set state = 'erasing'").execute(&world.app.pool).await.unwrap();
    let mut request = update(&profile_id);
    request.traits = vec![text("prefecture", "JP-13")];
    let refused = world.profiles_as(&alice).update_profile(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "NOT_ACTIVE"));
    let request = answering(&profile_id, &[gives("profiling")]);
    let refused = world.consents_as(&alice).record_consents(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "NOT_ACTIVE"));
    assert_eq!(world.count("consent_record").await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn many_profiles_are_read_at_once_and_unknown_ones_are_left_out() {
    let world = World::start().await;
    let (alice, bob) = (world.follow(&alice()).await, world.follow(&bob()).await);
    let profile_ids = vec![alice.profile_id.clone(), crate::world::unknown_profile(), bob.profile_id.clone()];
    let request = proto::profile::v1::BatchGetProfilesRequest { profile_ids };
    let mut read = world.profiles().batch_get_profiles(request).await.unwrap().into_inner().profiles;
    read.sort_by(|one, other| one.profile_id.cmp(&other.profile_id));
    let mut expected = vec![alice, bob];
    expected.sort_by(|one, other| one.profile_id.cmp(&other.profile_id));
    assert_eq!(read, expected);
    world.app.stop().await;
}

#[tokio::test]
async fn the_published_schema_is_what_edits_are_checked_by() {
    let world = World::start().await;
    let profile_id = world.follow(&alice()).await.profile_id;
    let mut schemas = SchemaServiceClient::new(world.app.grpc(&["profile.schema"]));
    let schema = schemas.get_trait_schema(GetTraitSchemaRequest { version: 0 }).await.unwrap().into_inner();
    let schema = schema.schema.unwrap();
    assert_eq!(schema.version, 1);
    let gender = schema.traits.iter().find(|found| found.name == "gender").unwrap();
    let values: Vec<&str> = gender.allowed_values.iter().map(String::as_str).collect();
    let traits = values.into_iter().map(|value| text("gender", value));
    for one in traits {
        let mut request = update(&profile_id);
        request.traits = vec![one];
        world.profiles().update_profile(request).await.unwrap();
    }
    let unknown = schemas.get_trait_schema(GetTraitSchemaRequest { version: 2 }).await.unwrap_err();
    assert_eq!((unknown.code(), fields(&unknown)), (Code::InvalidArgument, vec!["version".to_owned()]));
    world.app.stop().await;
}
