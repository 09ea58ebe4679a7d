//! Garbage, huge and hostile input at every RPC: the field is named, nothing is written, nothing panics.

use proto::segmentation::v1::{
    ArchiveSegmentRequest, AttributeLeaf, CheckMembershipRequest, CountRuleRequest, CreateFreezeRequest,
    CreateSegmentRequest, ExplainRequest, GetFreezeRequest, GetSegmentRequest, ListMembersRequest,
    ListSegmentsRequest, StreamFreezeRequest, UpdateSegmentRuleRequest, WatchMembershipRequest,
    segment_rule::Node, watch_service_client::WatchServiceClient,
};
use tonic::{Code, Status};

use crate::world::{
    World, all, everyone, fields, freeze, id, is, lives_in_tokyo, rule, tokyo_athletics, tokyo_service,
};

const HOSTILE: [&str; 7] = [
    "",
    "42",
    "'; drop table segmentation.segment; --",
    "../../etc/passwd",
    "\u{0}\u{feff}",
    "a\r\nBcc: eve@example.org",
    "00000000-0000-0000-0000-00000000000g",
];

#[track_caller]
fn assert_names<T>(answer: Result<T, Status>, field: &str) {
    let refused = answer.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
    let named = fields(&refused);
    assert!(named.iter().any(|named| named.starts_with(field)), "{field} is not among {named:?}");
}

/// A segment by an id or a key that is none: not found, or named as wrong; never an error of ours.
#[track_caller]
fn assert_no_segment<T>(answer: Result<T, Status>) {
    let refused = answer.err().unwrap();
    assert!(matches!(refused.code(), Code::NotFound | Code::InvalidArgument), "{refused}");
}

fn hostile() -> impl Iterator<Item = String> {
    HOSTILE.map(str::to_owned).into_iter().chain(["x".repeat(100_000)])
}

#[tokio::test]
async fn every_id_is_checked() {
    let world = World::start().await;
    let (mut segments, mut queries, mut freezes) = (world.segments(), world.queries(), world.freezes());
    for text in hostile() {
        let segment_id = || text.clone();
        let update = UpdateSegmentRuleRequest {
            segment_id: segment_id(),
            expected_version: 1,
            rule: Some(everyone()),
        };
        assert_names(segments.update_segment_rule(update).await, "segment_id");
        let archive = ArchiveSegmentRequest { segment_id: segment_id(), expected_version: 1 };
        assert_names(segments.archive_segment(archive).await, "segment_id");
        let check = CheckMembershipRequest { profile_id: text.clone(), segments: Vec::new() };
        assert_names(queries.check_membership(check).await, "profile_id");
        let explain = ExplainRequest { segment_id: id(), profile_id: text.clone() };
        assert_names(queries.explain(explain).await, "profile_id");
        let create = CreateFreezeRequest { request_id: text.clone(), ..freeze("tokyo") };
        assert_names(freezes.create_freeze(create).await, "request_id");
        let get = GetFreezeRequest { freeze_id: text.clone() };
        assert_names(freezes.get_freeze(get).await, "freeze_id");
        let stream = StreamFreezeRequest { freeze_id: text.clone(), from_block: u32::MAX };
        assert_names(freezes.stream_freeze(stream).await, "freeze_id");
        if !text.is_empty() {
            let list = ListSegmentsRequest { page_size: 1, page_token: text.clone() };
            assert_names(segments.list_segments(list).await, "page_token");
            let list = ListMembersRequest { segment_id: id(), page_size: 1, page_token: text.clone() };
            assert_names(queries.list_members(list).await, "page_token");
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_key_finds_nothing_and_is_no_error_of_ours() {
    let world = World::start().await;
    let mut watch = WatchServiceClient::new(world.app.grpc(&["segmentation.members"]));
    for text in hostile() {
        let get = GetSegmentRequest { segment: text.clone() };
        assert_no_segment(world.segments().get_segment(get).await);
        let list = ListMembersRequest { segment_id: text.clone(), ..ListMembersRequest::default() };
        assert_no_segment(world.queries().list_members(list).await);
        let explain = ExplainRequest { segment_id: text.clone(), profile_id: id() };
        assert_no_segment(world.queries().explain(explain).await);
        assert_no_segment(world.freezes().create_freeze(freeze(&text)).await);
        let segment_id = text.clone();
        assert_no_segment(watch.watch_membership(WatchMembershipRequest { segment_id }).await);
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_person_is_in_no_hostile_segment() {
    let world = World::start().await;
    let alice = crate::people::alice();
    world.publish_profile(&alice).await;
    testkit::eventually(crate::world::DEADLINE, || async {
        world.check(alice.id, &[]).await.known.then_some(())
    })
    .await;
    let profile_id = alice.id.to_string();
    for text in hostile() {
        let request = CheckMembershipRequest { profile_id: profile_id.clone(), segments: vec![text.clone()] };
        match world.queries().check_membership(request).await {
            Ok(checked) => assert!(checked.into_inner().segments.is_empty()),
            Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument, "{text:?}: {refused}"),
        }
    }
    let many = CheckMembershipRequest { profile_id, segments: vec!["tokyo".to_owned(); 501] };
    assert_names(world.queries().check_membership(many).await, "segments");
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_segment_is_refused_and_not_kept() {
    let world = World::start().await;
    for text in hostile() {
        // Keys like any other.
        if !["42", "00000000-0000-0000-0000-00000000000g"].contains(&text.as_str()) {
            let request = CreateSegmentRequest { key: text.clone(), ..tokyo_athletics() };
            assert_names(world.segments().create_segment(request).await, "key");
        }
        let request = CreateSegmentRequest { recipient: format!("{text}'"), ..tokyo_athletics() };
        assert_names(world.segments().create_segment(request).await, "recipient");
        if !text.is_empty() {
            let request = CreateSegmentRequest { purpose: text.clone(), ..tokyo_athletics() };
            assert_names(world.segments().create_segment(request).await, "purpose");
            let request = CreateFreezeRequest { purpose: text.clone(), ..freeze("tokyo") };
            assert_names(world.freezes().create_freeze(request).await, "purpose");
        }
    }
    for name in ["", "a\u{0}", "a\r\nb", &"あ".repeat(121)] {
        let request = CreateSegmentRequest { name: name.to_owned(), ..tokyo_athletics() };
        assert_names(world.segments().create_segment(request).await, "name");
    }
    let none = CreateFreezeRequest { purpose: String::new(), ..freeze("tokyo") };
    assert_names(world.freezes().create_freeze(none).await, "purpose");
    // Everything wrong is told at once.
    let refused = world.segments().create_segment(CreateSegmentRequest::default()).await.unwrap_err();
    assert_eq!(fields(&refused), ["key", "name", "rule"]);
    assert_eq!((world.rows("segment").await, world.rows("freeze").await), (0, 0));
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_rule_is_refused_and_an_odd_value_is_only_a_value() {
    let world = World::start().await;
    let refused = |rule| {
        let mut queries = world.queries();
        async move { queries.count_rule(CountRuleRequest { rule: Some(rule) }).await }
    };
    for text in hostile() {
        assert_names(refused(is(&text, &["x"])).await, "rule.attribute.trait");
    }
    assert_names(refused(is("given_name", &["x".repeat(256).as_str()])).await, "rule.attribute.values[0]");
    // Deeper than protocol buffers are read.
    let bomb = (0..200).fold(lives_in_tokyo(), |inner, _| rule(Node::Not(Box::new(inner))));
    let status = refused(bomb).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);

    let odd = "Robert'); drop table segmentation.segment; -- {{ 7 * 7 }} \u{0} \u{202e}";
    let leaf = AttributeLeaf { r#trait: "given_name".to_owned(), values: vec![odd.to_owned()] };
    let request =
        CreateSegmentRequest { rule: Some(rule(Node::Attribute(leaf.clone()))), ..tokyo_service("odd") };
    let created = world.create(request).await;
    let get = GetSegmentRequest { segment: "odd".to_owned() };
    let read = world.segments().get_segment(get).await.unwrap().into_inner().segment.unwrap();
    assert_eq!(read, created);
    assert_eq!(read.rule.unwrap().node, Some(Node::Attribute(leaf)));
    assert!(world.members("odd").await.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn a_rule_with_more_faults_than_an_answer_holds_is_answered_all_the_same() {
    let world = World::start().await;
    let many = [is("gender", &["wrong"; 50_000]), all(vec![is("shoe_size", &["27"]); 20_000])];
    for (rule, field) in many.into_iter().zip(["rule.attribute.values[0]", "rule"]) {
        let count = CountRuleRequest { rule: Some(rule.clone()) };
        assert_names(world.queries().count_rule(count).await, field);
        let create = CreateSegmentRequest { rule: Some(rule), ..tokyo_athletics() };
        assert_names(world.segments().create_segment(create).await, field);
    }
    world.app.stop().await;
}
