//! Freezes: the immutable sets that campaigns are sent to.

use aws_lc_rs::digest::{SHA256, digest};
use domain::ProfileId;
use prost::Message;
use proto::segmentation::v1::{
    ArchiveSegmentRequest, CreateFreezeRequest, CreateSegmentRequest, Freeze, GetFreezeRequest,
    StreamFreezeRequest,
};
use tonic::Code;

use crate::{
    people::{Person, alice, bob},
    world::{DEADLINE, PROFILES, World, freeze, id, reason, tokyo_athletics, tokyo_service},
};

async fn frozen(world: &World, request: &CreateFreezeRequest) -> Freeze {
    world.freezes().create_freeze(request.clone()).await.unwrap().into_inner().freeze.unwrap()
}

/// Block numbers and ids, as the mailer reads them.
async fn streamed(world: &World, freeze_id: &str, from_block: u32) -> Vec<(u32, Vec<String>)> {
    let request = StreamFreezeRequest { freeze_id: freeze_id.to_owned(), from_block };
    let mut blocks = world.freezes().stream_freeze(request).await.unwrap().into_inner();
    let mut read = Vec::new();
    while let Some(block) = blocks.message().await.unwrap() {
        read.push((block.block, block.profile_ids));
    }
    read
}

fn content_hash(members: &[ProfileId]) -> String {
    let bytes: Vec<u8> = members.iter().flat_map(|member| member.0.into_bytes()).collect();
    digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_same_request_gives_the_same_freeze_whoever_leaves_meanwhile() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.publish_person(&bob()).await;
    world.changed(&segment, alice.id, 1).await;

    let request = freeze("tokyo-athletics");
    let first = frozen(&world, &request).await;
    assert_eq!((first.count, first.segment_version, first.purpose.as_str()), (1, 1, "committee_newsletter"));
    assert_eq!(first.segment_id, segment.segment_id);
    assert_eq!(first.content_hash, content_hash(&[alice.id]));
    assert_eq!(first.proof_hash.len(), 64);
    assert_eq!(streamed(&world, &first.freeze_id, 0).await, [(0, vec![alice.id.to_string()])]);
    assert_eq!(streamed(&world, &first.freeze_id, 1).await, [], "nothing behind the last block");

    world.publish_consents(&alice.clone().says("committee_newsletter", "withdrawn")).await;
    world.changed(&segment, alice.id, 2).await;
    assert_eq!(frozen(&world, &request).await, first);
    let get = GetFreezeRequest { freeze_id: first.freeze_id.clone() };
    assert_eq!(world.freezes().get_freeze(get).await.unwrap().into_inner().freeze, Some(first.clone()));
    assert_eq!(streamed(&world, &first.freeze_id, 0).await.len(), 1);

    let second = frozen(&world, &freeze("tokyo-athletics")).await;
    assert_eq!((second.count, second.content_hash), (0, content_hash(&[])));
    assert_ne!(second.freeze_id, first.freeze_id);
    world.app.stop().await;
}

#[tokio::test]
async fn two_calls_of_one_request_at_once_give_one_freeze() {
    let world = World::start().await;
    world.create(tokyo_athletics()).await;
    let request = freeze("tokyo-athletics");
    let (one, other) = tokio::join!(frozen(&world, &request), frozen(&world, &request));
    assert_eq!(one, other);
    assert_eq!(world.rows("freeze").await, 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_freeze_says_how_far_it_had_read() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let before = frozen(&world, &freeze("tokyo-athletics")).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&segment, alice.id, 1).await;
    let after = frozen(&world, &freeze("tokyo-athletics")).await;
    let read = |freeze: &Freeze, topic: &str| -> i64 {
        let offsets = &freeze.watermark.as_ref().unwrap().offsets;
        offsets.iter().filter(|offset| offset.topic == topic).map(|offset| offset.next_offset).sum()
    };
    for topic in ["kotinos.profile.profile.v1", "kotinos.profile.consent.v1"] {
        assert_eq!((read(&before, topic), read(&after, topic)), (0, 1), "{topic}");
    }
    assert_ne!(before.proof_hash, after.proof_hash);
    world.app.stop().await;
}

#[tokio::test]
async fn a_freeze_needs_a_living_segment_and_its_own_purpose() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let counted =
        CreateSegmentRequest { key: "to-count".to_owned(), purpose: String::new(), ..tokyo_athletics() };
    world.create(counted).await;
    let other = CreateFreezeRequest { purpose: "ioc_newsletter".to_owned(), ..freeze("tokyo-athletics") };
    for (request, code, why) in [
        (other, Code::PermissionDenied, "OTHER_PURPOSE"),
        (freeze("to-count"), Code::FailedPrecondition, "NO_PURPOSE"),
        (freeze("no-such-segment"), Code::NotFound, "NOT_FOUND"),
    ] {
        let refused = world.freezes().create_freeze(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, why));
    }
    let request = ArchiveSegmentRequest { segment_id: segment.segment_id.clone(), expected_version: 1 };
    world.segments().archive_segment(request).await.unwrap();
    let refused = world.freezes().create_freeze(freeze(&segment.segment_id)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "ARCHIVED"));
    let refused = world.freezes().get_freeze(GetFreezeRequest { freeze_id: id() }).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(world.rows("freeze").await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn many_members_come_in_blocks_by_rank() {
    const PEOPLE: usize = 1_030;
    let world = World::start().await;
    world.create(tokyo_service("tokyo")).await;
    let people: Vec<Person> = (0..PEOPLE).map(|_| alice()).collect();
    let facts: Vec<_> = people
        .iter()
        .map(|person| {
            let payload = Some(person.profile_state().encode_to_vec());
            person.fact(&PROFILES, 1, payload, world.app.clock.now())
        })
        .collect();
    world.publish(&facts).await;
    testkit::eventually(DEADLINE, || async {
        (world.count(crate::world::everyone()).await.unwrap() == PEOPLE as u64).then_some(())
    })
    .await;
    let request = CreateFreezeRequest { purpose: "service".to_owned(), ..freeze("tokyo") };
    let freeze = frozen(&world, &request).await;
    assert_eq!(freeze.count, PEOPLE as u64);
    let mut members: Vec<ProfileId> = people.iter().map(|person| person.id).collect();
    members.sort_unstable();
    assert_eq!(freeze.content_hash, content_hash(&members));
    let ids: Vec<String> = members.iter().map(ToString::to_string).collect();
    let blocks = streamed(&world, &freeze.freeze_id, 0).await;
    assert_eq!(blocks, [(0, ids[..1_024].to_vec()), (1, ids[1_024..].to_vec())]);
    assert_eq!(streamed(&world, &freeze.freeze_id, 1).await, blocks[1..]);
    world.app.stop().await;
}
