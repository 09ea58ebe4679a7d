//! Processes end and start again: what was told is told once, and what changed meanwhile is told.

use tonic::Code;

use crate::{
    people::{alice, bob},
    world::{DEADLINE, MEMBERSHIPS, World, reason, tokyo_athletics, tokyo_service},
};

#[tokio::test]
async fn a_restarted_emitter_tells_nothing_twice() {
    let world = World::start_to_end().await;
    let segment = world.create(tokyo_athletics()).await;
    let (alice, bob) = (alice(), bob());
    world.publish_person(&alice).await;
    world.publish_person(&bob).await;
    world.changed(&segment, alice.id, 1).await;

    let world = world.stop().await.start_again().await;
    world.ready().await;
    // Filled after the first segment was compared: when it is told, the comparison is done.
    let later = world.create(tokyo_service("later")).await;
    assert!(world.changed(&later, alice.id, 1).await.backfill);
    assert_eq!(world.changes(&segment, alice.id).await.len(), 1);
    assert_eq!(world.told(MEMBERSHIPS).await.len(), 2);

    let world = world.kill().start_again().await;
    world.ready().await;
    let last = world.create(tokyo_service("last")).await;
    world.changed(&last, alice.id, 1).await;
    assert_eq!(world.changes(&segment, alice.id).await.len(), 1);
    assert_eq!(world.told(MEMBERSHIPS).await.len(), 3);
    world.app.stop().await;
}

#[tokio::test]
async fn what_changed_while_nobody_ran_is_told_after_the_start() {
    let world = World::start_to_end().await;
    let segment = world.create(tokyo_athletics()).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&segment, alice.id, 1).await;
    // In the outbox when the process ends, sent or not.
    world.publish_consents(&alice.clone().says("profiling", "withdrawn")).await;
    let world = world.kill().start_again().await;
    world.changed(&segment, alice.id, 2).await;
    let changes = world.changes(&segment, alice.id).await;
    let changes: Vec<bool> = changes.iter().map(|change| change.entered).collect();
    assert_eq!(changes, [true, false]);
    world.app.stop().await;
}

#[tokio::test]
async fn of_two_replicas_one_tells_and_the_other_takes_over() {
    let world = World::start_to_end().await;
    let segment = world.create(tokyo_athletics()).await;
    let beside = world.beside().await;
    beside.ready().await;
    let (one, other) = (alice(), alice());
    world.publish_person(&one).await;
    beside.changed(&segment, one.id, 1).await;
    // Both answer from an index of their own.
    testkit::eventually(DEADLINE, || async {
        (beside.members("tokyo-athletics").await == [one.id.to_string()]).then_some(())
    })
    .await;
    world.app.stop().await;
    beside.publish_person(&other).await;
    beside.changed(&segment, other.id, 1).await;
    assert_eq!(beside.changes(&segment, one.id).await.len(), 1);
    assert_eq!(beside.told(MEMBERSHIPS).await.len(), 2);
    beside.app.stop().await;
}

#[tokio::test]
async fn an_index_that_has_not_read_everything_says_not_yet_and_never_no() {
    let world = World::start_without_topics().await;
    let request = proto::segmentation::v1::CheckMembershipRequest {
        profile_id: domain::ProfileId::new().to_string(),
        segments: Vec::new(),
    };
    let early = world.queries().check_membership(request).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::Unavailable, "INDEX_NOT_READY"));
    world.create(tokyo_athletics()).await;
    let early = world.freezes().create_freeze(crate::world::freeze("tokyo-athletics")).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::Unavailable, "INDEX_NOT_READY"));
    assert_eq!(world.rows("freeze").await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn a_profile_that_is_away_delays_and_loses_nothing() {
    let world = World::start_to_end().await;
    let segment = world.create(tokyo_athletics()).await;
    let stopped = world.stop().await;
    stopped.profile.set_away(true);
    let world = stopped.start_again().await;
    let alice = alice();
    world.publish_person(&alice).await;
    let refused = world.segments().create_segment(tokyo_service("later")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    testkit::eventually(DEADLINE, || async { world.check(alice.id, &[]).await.known.then_some(()) }).await;
    assert!(world.changes(&segment, alice.id).await.is_empty());
    world.profile.set_away(false);
    world.changed(&segment, alice.id, 1).await;
    assert_eq!(world.told(MEMBERSHIPS).await.len(), 1);
    world.app.stop().await;
}
