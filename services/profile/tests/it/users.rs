//! What identity tells of users becomes profiles.

use domain::UserId;
use prost::Message;
use proto::{
    identity::v1::UserStatus,
    profile::v1::{ProfileState, trait_value::Kind},
};
use tonic::Code;

use crate::world::{DEADLINE, PROFILES, User, World, alice, bob, held, text, update};

#[tokio::test]
async fn a_verified_user_gets_one_profile_and_repeats_change_nothing() {
    let world = World::start().await;
    let mut registered = alice();
    registered.verified = false;
    let verified = User { verified: true, ..registered.next() };
    world.publish(&registered).await;
    world.publish(&verified).await;
    world.publish(&verified).await;
    world.publish(&registered).await;
    // The language of identity's pages is copied once: from then on profile's is the truth.
    let french = User { locale: "fr", ..verified.next() };
    let profile = world.follow(&french).await;

    assert_eq!((profile.version, profile.state.as_str(), profile.locale.as_str()), (1, "active", "ja"));
    let email = profile.email.unwrap();
    assert_eq!((email.address.as_slice(), email.class.as_str()), (&b"alice@example.org"[..], "conforming"));
    let keys: Vec<_> =
        profile.external_ids.iter().map(|key| (key.r#type.as_str(), key.value.as_str())).collect();
    assert_eq!(keys, [("email", "alice@example.org"), ("user", verified.id.to_string().as_str())]);

    let told = world.told(PROFILES).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].fact_type.as_str(), told[0].version), ("ProfileCreated", 1));
    assert_eq!(told[0].key, profile.profile_id);
    let state = ProfileState::decode(told[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((state.profile_id, state.version, state.locale), (profile.profile_id, 1, "ja".to_owned()));
    assert_eq!(state.email.unwrap().address, b"alice@example.org");
    world.app.stop().await;
}

#[tokio::test]
async fn a_changed_address_is_mirrored_and_found_and_an_older_state_does_not_bring_it_back() {
    let world = World::start().await;
    let alice = alice();
    let before = world.follow(&alice).await;
    let moved = User { email: "alice@example.net", ..alice.next() };
    world.follow(&moved).await;
    world.publish(&alice).await;
    let after = world.follow(&moved.next()).await;

    assert_eq!((&after.profile_id, after.version), (&before.profile_id, 2));
    assert_eq!(after.email.unwrap().address, b"alice@example.net");
    assert_eq!(world.find("email", "Alice@EXAMPLE.net").await.unwrap().profile_id, before.profile_id);
    assert_eq!(world.find("email", "alice@example.org").await.unwrap_err().code(), Code::NotFound);

    let told = world.told(PROFILES).await;
    let told: Vec<_> = told.iter().map(|row| (row.fact_type.as_str(), row.version)).collect();
    assert_eq!(told, [("ProfileCreated", 1), ("ProfileEmailChanged", 2)]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_user_with_the_address_of_a_profile_is_attached_to_it() {
    let world = World::start().await;
    let first = world.follow(&alice()).await;
    let second = alice();
    let attached = world.follow(&second).await;
    assert_eq!((&attached.profile_id, attached.version), (&first.profile_id, 2));
    assert_eq!(attached.external_ids.len(), 3);
    let told = world.told(PROFILES).await;
    let state = ProfileState::decode(told[1].payload.as_deref().unwrap()).unwrap();
    assert_eq!((state.version, state.changed_fields.as_slice()), (2, &["external_ids".to_owned()][..]));
    assert_eq!(told.len(), 2);
    world.app.stop().await;
}

#[tokio::test]
async fn an_address_that_breaks_the_rfc_is_kept_byte_by_byte() {
    let world = World::start().await;
    let chie = User { email: "a..b.@docomo.ne.jp", ..alice() };
    let profile = world.follow(&chie).await;
    let email = profile.email.unwrap();
    assert_eq!(
        (email.address.as_slice(), email.class.as_str()),
        (&b"a..b.@docomo.ne.jp"[..], "dot_violation")
    );
    assert_eq!(world.find("email", "a..b.@docomo.ne.jp").await.unwrap().profile_id, profile.profile_id);
    world.app.stop().await;
}

#[tokio::test]
async fn a_disabled_user_gets_no_profile_and_a_disabled_one_keeps_what_is_there() {
    let world = World::start().await;
    let mut never = bob();
    never.status = UserStatus::Disabled;
    world.publish(&never).await;
    let alice = alice();
    let profile = world.follow(&alice).await;
    let mut request = update(&profile.profile_id);
    request.traits = vec![text("prefecture", "JP-13")];
    world.profiles_as(&alice).update_profile(request).await.unwrap();
    let mut disabled = alice.next();
    disabled.status = UserStatus::Disabled;
    world.publish(&disabled).await;
    let mut enabled = disabled.next();
    enabled.status = UserStatus::Active;
    let after = world.follow(&enabled).await;
    assert_eq!((after.profile_id.as_str(), after.version), (profile.profile_id.as_str(), 2));
    assert_eq!(held(&after, "prefecture"), Some(Kind::Text("JP-13".to_owned())));
    // Bob's state is there to be followed as soon as he is enabled.
    let mut back = never.next();
    back.status = UserStatus::Active;
    assert_eq!(world.follow(&back).await.version, 1);
    assert_eq!(world.count("profile").await, 2);
    world.app.stop().await;
}

#[tokio::test]
async fn a_fact_that_cannot_be_read_stops_nobody_else_and_a_newer_one_heals_it() {
    let world = World::start().await;
    let (alice, bob) = (alice(), bob());
    world.publish_payload(&alice, b"\xff\xff no message at all".to_vec()).await;
    let hostile = User { email: "x\r\nBcc: eve@example.org", id: UserId::new(), ..alice.clone() };
    world.publish(&hostile).await;
    assert_eq!(world.follow(&bob).await.locale, "fr");
    assert_eq!(world.count("profile").await, 1);
    testkit::eventually(DEADLINE, || async { (world.count("parked_record").await == 2).then_some(()) }).await;
    assert_eq!(world.follow(&alice.next()).await.version, 1);
    assert_eq!(world.count("profile").await, 2);
    world.app.stop().await;
}
