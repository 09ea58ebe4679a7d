//! Who enters a segment and who leaves it, by facts.

use domain::{EventId, TimeDelta};
use outbox::Fact;
use proto::segmentation::v1::{WatchMembershipRequest, watch_service_client::WatchServiceClient};

use crate::{
    people::{Person, alice, bob, chie},
    world::{
        CONSENTS, DEADLINE, MEMBERSHIPS, PROFILES, World, freeze, leaf, likes_athletics, lives_in_tokyo,
        tokyo_athletics, tokyo_service,
    },
};

#[tokio::test]
async fn alice_enters_by_facts_and_bob_does_not_and_explain_says_why() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let (alice, bob, chie) = (alice(), bob(), chie());
    world.publish_person(&chie).await;
    // Segments are first filled in the order of their creation: when this one is, the other one was.
    let in_tokyo = world.create(tokyo_service("in-tokyo")).await;
    world.changed(&in_tokyo, chie.id, 1).await;
    for person in [&bob, &alice] {
        world.publish_person(person).await;
    }
    let entered = world.changed(&segment, alice.id, 1).await;
    assert!(entered.entered && !entered.backfill);
    assert_eq!((entered.segment_key.as_str(), entered.segment_version), ("tokyo-athletics", 1));
    assert!(["profile", "consent"].contains(&entered.cause.as_str()), "{}", entered.cause);
    for person in [&bob, &chie] {
        world.knows(&segment.segment_id, person).await;
    }
    assert_eq!(world.members("tokyo-athletics").await, [alice.id.to_string()]);
    // Alice is in both, Chie in the other one.
    assert_eq!(world.told(MEMBERSHIPS).await.len(), 3);
    assert_eq!(world.rows("membership").await, 3);

    let checked = world.check(alice.id, &["tokyo-athletics", "no-such-segment"]).await;
    assert_eq!((checked.known, checked.segments), (true, vec!["tokyo-athletics".to_owned()]));
    let checked = world.check(bob.id, &["tokyo-athletics"]).await;
    assert_eq!((checked.known, checked.segments), (true, Vec::new()));
    let checked = world.check(domain::ProfileId::new(), &["tokyo-athletics"]).await;
    assert_eq!((checked.known, checked.segments), (false, Vec::new()), "an unknown person is in none");

    let why = world.explain("tokyo-athletics", bob.id).await;
    assert!(!why.member);
    for (text, value) in [
        ("prefecture is JP-13", "not known"),
        ("favourite_olympic_sports has any of ATH", "FEN"),
        ("consent committee_newsletter is given", "unknown"),
        ("consent profiling is given", "unknown"),
    ] {
        let leaf = leaf(&why, text);
        assert_eq!((leaf.holds, leaf.value.as_str()), (false, value), "{text}");
    }
    assert!(leaf(&why, "an address can be mailed").holds && leaf(&why, "the profile is in use").holds);

    let why = world.explain("tokyo-athletics", chie.id).await;
    assert!(!why.member && leaf(&why, "prefecture is JP-13").holds);
    assert!(leaf(&why, "favourite_olympic_sports has any of ATH").holds);
    assert!(!leaf(&why, "consent committee_newsletter is given").holds);

    let why = world.explain("tokyo-athletics", alice.id).await;
    assert!(why.member);
    let given = leaf(&why, "consent committee_newsletter is given");
    assert!(given.holds && given.value.starts_with("given, valid until "), "{}", given.value);
    assert_eq!(given.consent_record_id, alice.record_id);
    world.app.stop().await;
}

#[tokio::test]
async fn a_withdrawal_makes_her_exit_and_each_change_is_told_once() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&segment, alice.id, 1).await;

    let withdrawn = alice.clone().says("committee_newsletter", "withdrawn");
    world.publish_consents(&withdrawn).await;
    let exited = world.changed(&segment, alice.id, 2).await;
    assert_eq!((exited.entered, exited.cause.as_str()), (false, "consent"));
    assert!(world.members("tokyo-athletics").await.is_empty());
    let why = world.explain("tokyo-athletics", alice.id).await;
    let leaf = leaf(&why, "consent committee_newsletter is given");
    assert_eq!((leaf.holds, leaf.value.as_str()), (false, "withdrawn"));

    // Repeats and older states change nothing; what follows them in the same partition shows that they were read.
    world.publish_consents(&withdrawn).await;
    world.publish_consents(&alice).await;
    let again = withdrawn.says("committee_newsletter", "given");
    world.publish_consents(&again).await;
    let entered = world.changed(&segment, alice.id, 3).await;
    assert!(entered.entered);
    let changes = world.changes(&segment, alice.id).await;
    let changes: Vec<bool> = changes.iter().map(|change| change.entered).collect();
    assert_eq!(changes, [true, false, true]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_segment_is_filled_with_those_who_are_there() {
    let world = World::start().await;
    let (alice, bob) = (alice(), bob());
    world.publish_person(&alice).await;
    world.publish_person(&bob).await;
    testkit::eventually(DEADLINE, || async {
        (world.count(crate::world::everyone()).await.unwrap() == 2).then_some(())
    })
    .await;
    let segment = world.create(tokyo_athletics()).await;
    let entered = world.changed(&segment, alice.id, 1).await;
    assert!(entered.backfill, "no trigger acts on a first filling");
    assert_eq!(entered.cause, "rule");
    assert_eq!(world.told(MEMBERSHIPS).await.len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn whoever_moves_away_is_restricted_or_is_gone_exits() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let people = [alice(), alice(), alice()];
    for person in &people {
        world.publish_person(person).await;
    }
    for person in &people {
        world.changed(&segment, person.id, 1).await;
    }
    let [moved, restricted, gone] = people;
    world.publish_profile(&moved.clone().moves_to("JP-27")).await;
    world.publish_profile(&restricted.clone().restricted()).await;
    world.publish(&[gone.fact(&PROFILES, 2, None, world.app.clock.now())]).await;
    for person in [&moved, &restricted, &gone] {
        let exited = world.changed(&segment, person.id, 2).await;
        assert_eq!((exited.entered, exited.cause.as_str()), (false, "profile"));
    }
    assert!(!world.check(gone.id, &[]).await.known);
    assert!(world.members("tokyo-athletics").await.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn a_consent_that_ended_counts_no_more() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&segment, alice.id, 1).await;
    world.app.clock.advance(TimeDelta::days(731));
    assert!(world.members("tokyo-athletics").await.is_empty(), "nobody has to say a word");
    assert!(world.check(alice.id, &["tokyo-athletics"]).await.segments.is_empty());
    let frozen = world.freezes().create_freeze(freeze("tokyo-athletics")).await.unwrap().into_inner();
    assert_eq!(frozen.freeze.unwrap().count, 0);
    let why = world.explain("tokyo-athletics", alice.id).await;
    let leaf = leaf(&why, "consent committee_newsletter is given");
    assert!(!why.member && !leaf.holds && leaf.value.starts_with("given, valid until "), "{}", leaf.value);
    world.app.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_nobody_and_a_newer_one_heals_it() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let (alice, now) = (alice(), world.app.clock.now());
    let garbage = Some(b"\xff\xff no message at all".to_vec());
    let nobody = Fact {
        key: "'; drop table segmentation.segment; --".to_owned(),
        ..alice.fact(&PROFILES, 1, garbage.clone(), now)
    };
    let broken = alice.fact(&PROFILES, 1, garbage.clone(), now);
    let torn = Fact { event_id: EventId::new(), ..alice.fact(&CONSENTS, 1, garbage, now) };
    world.publish(&[nobody, broken, torn]).await;
    let healed = Person { profile_version: 2, consent_version: 2, ..alice };
    world.publish_person(&healed).await;
    assert!(world.changed(&segment, healed.id, 1).await.entered);
    world.app.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_the_changes_of_its_segment() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let other = world.create(tokyo_service("tokyo")).await;
    let mut watch = WatchServiceClient::new(world.app.grpc(&["segmentation.members"]));
    let request = WatchMembershipRequest { segment_id: "tokyo-athletics".to_owned() };
    let mut changes = watch.watch_membership(request).await.unwrap().into_inner();
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&other, alice.id, 1).await;
    world.changed(&segment, alice.id, 1).await;
    world.publish_consents(&alice.clone().says("profiling", "withdrawn")).await;
    for entered in [true, false] {
        let seen = tokio::time::timeout(DEADLINE, changes.message()).await.unwrap().unwrap().unwrap();
        let change = seen.change.unwrap();
        assert_eq!((change.segment_id.as_str(), change.entered), (segment.segment_id.as_str(), entered));
        assert_eq!(change.profile_id, alice.id.to_string());
    }
    drop(changes);
    world.app.stop().await;
}

#[tokio::test]
async fn small_counts_are_hidden_from_whoever_may_not_see_them() {
    use proto::segmentation::v1::{CountRuleRequest, query_service_client::QueryServiceClient};

    let world = World::start().await;
    let (alice, chie) = (alice(), chie());
    for person in [&alice, &chie] {
        world.publish_profile(person).await;
    }
    let both = || crate::world::all(vec![lives_in_tokyo(), likes_athletics()]);
    testkit::eventually(DEADLINE, || async { (world.count(both()).await.unwrap() == 2).then_some(()) }).await;
    let mut analyst = QueryServiceClient::new(world.app.grpc(&["segmentation.read"]));
    let counted = analyst.count_rule(CountRuleRequest { rule: Some(both()) }).await.unwrap().into_inner();
    assert_eq!((counted.count, counted.hidden), (0, true));
    world.app.stop().await;
}
