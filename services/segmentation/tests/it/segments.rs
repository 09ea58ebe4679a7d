//! Segments and their rules.

use prost::Message;
use proto::segmentation::v1::{
    ArchiveSegmentRequest, CreateSegmentRequest, GetSegmentRequest, ListMembersRequest, ListSegmentsRequest,
    RangeLeaf, RuleList, Segment, SegmentRule, SegmentState, SetLeaf, UpdateSegmentRuleRequest,
    segment_rule::Node,
};
use tonic::{Code, Status};

use crate::{
    people::alice,
    world::{
        SEGMENTS, World, all, everyone, fields, has, is, likes_athletics, lives_in_tokyo, reason, rule,
        tokyo_athletics, tokyo_service,
    },
};

async fn update(
    world: &World,
    segment_id: &str,
    expected_version: u32,
    rule: SegmentRule,
) -> Result<Segment, Status> {
    let request =
        UpdateSegmentRuleRequest { segment_id: segment_id.to_owned(), expected_version, rule: Some(rule) };
    Ok(world.segments().update_segment_rule(request).await?.into_inner().segment.unwrap())
}

async fn refused(world: &World, rule: Option<SegmentRule>) -> Status {
    let request = CreateSegmentRequest { rule, ..tokyo_athletics() };
    let refused = world.segments().create_segment(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    refused
}

#[tokio::test]
async fn a_rule_has_versions_and_a_stale_edit_is_refused() {
    let world = World::start().await;
    let created = world.create(tokyo_athletics()).await;
    assert_eq!((created.version, created.state.as_str(), created.mode.as_str()), (1, "active", "live"));
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&created, alice.id, 1).await;

    let stale = update(&world, &created.segment_id, 2, everyone()).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::FailedPrecondition, "STALE_VERSION"));
    let elsewhere = all(vec![is("prefecture", &["JP-27"]), likes_athletics()]);
    let edited = update(&world, &created.segment_id, 1, elsewhere).await.unwrap();
    assert_eq!(edited.version, 2);
    assert_ne!(edited.rule_hash, created.rule_hash);
    let exited = world.changed(&created, alice.id, 2).await;
    assert_eq!((exited.entered, exited.segment_version, exited.cause.as_str()), (false, 2, "rule"));
    // The same rule in another order is the same rule.
    let back = all(vec![likes_athletics(), lives_in_tokyo(), likes_athletics()]);
    let back = update(&world, &created.segment_id, 2, back).await.unwrap();
    assert_eq!(back.rule_hash, created.rule_hash);
    assert!(world.changed(&created, alice.id, 3).await.entered);

    let get = GetSegmentRequest { segment: "tokyo-athletics".to_owned() };
    let by_key = world.segments().get_segment(get).await.unwrap().into_inner().segment.unwrap();
    let get = GetSegmentRequest { segment: created.segment_id.clone() };
    let by_id = world.segments().get_segment(get).await.unwrap().into_inner().segment.unwrap();
    assert_eq!((&by_key, &by_id), (&back, &back));
    world.app.stop().await;
}

#[tokio::test]
async fn an_archived_segment_has_nobody_and_takes_no_edit() {
    let world = World::start().await;
    let segment = world.create(tokyo_athletics()).await;
    let alice = alice();
    world.publish_person(&alice).await;
    world.changed(&segment, alice.id, 1).await;
    let archive =
        |expected_version| ArchiveSegmentRequest { segment_id: segment.segment_id.clone(), expected_version };
    let stale = world.segments().archive_segment(archive(9)).await.unwrap_err();
    assert_eq!(reason(&stale), "STALE_VERSION");
    world.segments().archive_segment(archive(1)).await.unwrap();
    assert!(!world.changed(&segment, alice.id, 2).await.entered);
    assert!(world.check(alice.id, &["tokyo-athletics"]).await.segments.is_empty());
    for refused in [
        world.segments().archive_segment(archive(1)).await.unwrap_err(),
        update(&world, &segment.segment_id, 1, everyone()).await.unwrap_err(),
    ] {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "ARCHIVED"));
    }
    assert_eq!(world.rows("membership").await, 0);

    let told = world.told(SEGMENTS).await;
    let names: Vec<_> = told.iter().map(|row| row.fact_type.as_str()).collect();
    assert_eq!(names, ["SegmentCreated", "SegmentArchived"]);
    assert!(told[0].version < told[1].version && told.iter().all(|row| row.key == segment.segment_id));
    let state = SegmentState::decode(told[1].payload.as_deref().unwrap()).unwrap();
    assert_eq!((state.state.as_str(), state.purpose.as_str()), ("archived", "committee_newsletter"));
    assert_eq!(state.rule_hash, segment.rule_hash);
    world.app.stop().await;
}

#[tokio::test]
async fn a_key_is_taken_once() {
    let world = World::start().await;
    world.create(tokyo_athletics()).await;
    let refused = world.segments().create_segment(tokyo_athletics()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "KEY_TAKEN"));
    assert_eq!((world.rows("segment").await, world.told(SEGMENTS).await.len()), (1, 1));
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_named_by_its_path_all_at_once() {
    let world = World::start().await;
    let range = |name: &str, min, max| {
        rule(Node::Range(RangeLeaf { r#trait: name.to_owned(), min: Some(min), max: Some(max) }))
    };
    let wrong = all(vec![
        lives_in_tokyo(),
        is("prefectur", &["JP-13"]),
        has("prefecture", &["JP-13"]),
        is("favourite_olympic_sports", &["ATH"]),
        rule(Node::Not(Box::new(is("gender", &["female", "' or 1=1"])))),
        rule(Node::Any(RuleList::default())),
        rule(Node::Set(SetLeaf { r#trait: "favourite_olympic_sports".to_owned(), ..SetLeaf::default() })),
        range("shoe_size", 1, 2),
        range("age", 30, 20),
        has("favourite_olympic_sports", &[""]),
    ]);
    let status = refused(&world, Some(wrong)).await;
    let expected = [
        "rule.all[1].attribute.trait",
        "rule.all[2].set",
        "rule.all[3].attribute",
        "rule.all[4].not.attribute.values[1]",
        "rule.all[5].any",
        "rule.all[6].set",
        "rule.all[7].range.trait",
        "rule.all[8].range",
        "rule.all[9].set.values[0]",
    ];
    assert_eq!(fields(&status), expected);
    let violations = chassis::fields_of(&status);
    assert_eq!(violations[0].rule, "must be a trait of the schema; the nearest is prefecture");

    // A tree that is no tree is refused where it breaks.
    assert_eq!(fields(&refused(&world, None).await), ["rule"]);
    let hollow = all(vec![lives_in_tokyo(), SegmentRule { node: None }]);
    assert_eq!(fields(&refused(&world, Some(hollow)).await), ["rule.all[1]"]);
    let deep = (0..16).fold(lives_in_tokyo(), |inner, _| rule(Node::Not(Box::new(inner))));
    assert_eq!(fields(&refused(&world, Some(deep)).await), [format!("rule{}", ".not".repeat(16))]);
    let wide = all(vec![lives_in_tokyo(); 257]);
    assert_eq!(fields(&refused(&world, Some(wide)).await), ["rule"]);
    assert_eq!(world.rows("segment").await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn the_largest_rules_are_taken() {
    let world = World::start().await;
    let deep = (0..15).fold(lives_in_tokyo(), |inner, _| rule(Node::Not(Box::new(inner))));
    let wide: Vec<_> = (0..256).map(|n| is("given_name", &[format!("name {n}").as_str()])).collect();
    for (key, rule) in [("deep", deep), ("wide", all(wide))] {
        let request = CreateSegmentRequest { rule: Some(rule), ..tokyo_service(key) };
        assert_eq!(world.create(request).await.version, 1, "{key}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn segments_and_members_come_in_pages() {
    let world = World::start().await;
    let mut segments = Vec::new();
    for key in ["one", "two", "three"] {
        segments.push(world.create(tokyo_service(key)).await);
    }
    let list = |page_size, page_token: &str| {
        let request = ListSegmentsRequest { page_size, page_token: page_token.to_owned() };
        let mut client = world.segments();
        async move { client.list_segments(request).await.unwrap().into_inner() }
    };
    let first = list(2, "").await;
    assert_eq!(first.segments, segments[..2]);
    let second = list(2, &first.next_page_token).await;
    assert_eq!((second.segments.as_slice(), second.next_page_token.as_str()), (&segments[2..], ""));
    assert_eq!(list(u32::MAX, "").await.segments.len(), 3);

    let people = [alice(), alice(), alice()];
    for person in &people {
        world.publish_profile(person).await;
    }
    for person in &people {
        world.changed(&segments[0], person.id, 1).await;
    }
    let mut expected: Vec<String> = people.iter().map(|person| person.id.to_string()).collect();
    expected.sort();
    let mut read = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMembersRequest { segment_id: "one".to_owned(), page_size: 2, page_token };
        let page = world.queries().list_members(request).await.unwrap().into_inner();
        assert!(page.profile_ids.len() <= 2);
        read.extend(page.profile_ids);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(read, expected);
    world.app.stop().await;
}

#[tokio::test]
async fn members_of_a_segment_without_a_purpose_are_not_listed() {
    let world = World::start().await;
    let request = CreateSegmentRequest { purpose: String::new(), ..tokyo_athletics() };
    world.create(request).await;
    let request =
        ListMembersRequest { segment_id: "tokyo-athletics".to_owned(), ..ListMembersRequest::default() };
    let refused = world.queries().list_members(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "NO_PURPOSE"));
    world.app.stop().await;
}
