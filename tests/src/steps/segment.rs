//! Step 3: Chie makes a segment; Alice enters it by the facts on Kafka, and Bob does not, for reasons that are told.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::segmentation::v1::{
    AttributeLeaf, CreateSegmentRequest, ExplainRequest, ExplainedNode, ListMembersRequest, RuleList,
    SegmentRule, SetLeaf, query_service_client::QueryServiceClient, segment_rule::Node,
    segment_service_client::SegmentServiceClient,
};

use super::{memberships_of, profile::SPORTS};
use crate::{Moment, Walk, until};

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let mut segments = SegmentServiceClient::new(walk.chie.channel(walk.suite, Service::Segmentation)?);
    let request = CreateSegmentRequest {
        key: "tokyo-athletics".to_owned(),
        name: "Lives in Tokyo and likes Athletics".to_owned(),
        rule: Some(rule()),
        purpose: "committee_newsletter".to_owned(),
        recipient: String::new(),
    };
    let segment =
        segments.create_segment(request).await?.into_inner().segment.context("no segment in the answer")?;
    walk.ids.segment.clone_from(&segment.segment_id);
    walk.at(Moment::SegmentCreated).await?;

    let alice = [walk.ids.alice.clone()];
    until("Alice to be the segment's one member", async || Ok((members(walk).await? == alice).then_some(())))
        .await?;
    let (record, change) = until("the fact that Alice entered", async || {
        Ok(memberships_of(walk, &walk.ids.alice).await?.into_iter().next())
    })
    .await?;
    ensure!(change.entered, "the first fact says that she left");
    ensure!(memberships_of(walk, &walk.ids.bob).await?.is_empty(), "there is a fact about Bob");
    let mut evidence = vec![
        format!(
            "segment {} {} v{} for {}, rule {}",
            segment.segment_id, segment.key, segment.version, segment.purpose, segment.rule_hash
        ),
        format!(
            "{} {} offset {}: {} {} cause {} backfill {}",
            record.topic,
            record.partition,
            record.offset,
            record.ce_type,
            change.profile_id,
            change.cause,
            change.backfill
        ),
    ];
    evidence.extend(why_not_bob(walk).await?);
    Ok(evidence)
}

fn rule() -> SegmentRule {
    let of = |node| SegmentRule { node: Some(node) };
    let lives_in_tokyo = AttributeLeaf { r#trait: "prefecture".to_owned(), values: vec!["JP-13".to_owned()] };
    let likes_athletics =
        SetLeaf { r#trait: SPORTS.to_owned(), any_of: vec!["ATH".to_owned()], ..SetLeaf::default() };
    of(Node::All(RuleList {
        rules: vec![of(Node::Attribute(lives_in_tokyo)), of(Node::Set(likes_athletics))],
    }))
}

/// Who is in the journey's segment now.
pub async fn members(walk: &Walk<'_>) -> Result<Vec<String>> {
    let mut queries = QueryServiceClient::new(walk.chie.channel(walk.suite, Service::Segmentation)?);
    let request =
        ListMembersRequest { segment_id: walk.ids.segment.clone(), ..ListMembersRequest::default() };
    Ok(queries.list_members(request).await?.into_inner().profile_ids)
}

async fn why_not_bob(walk: &Walk<'_>) -> Result<Vec<String>> {
    let mut queries = QueryServiceClient::new(walk.chie.channel(walk.suite, Service::Segmentation)?);
    let request = ExplainRequest { segment_id: walk.ids.segment.clone(), profile_id: walk.ids.bob.clone() };
    let answer = queries.explain(request).await?.into_inner();
    ensure!(!answer.member, "Bob is said to be a member");
    let mut leaves = Vec::new();
    false_leaves(&answer.root.context("no explanation")?, &mut leaves);
    for wanted in ["prefecture", SPORTS, "consent committee_newsletter"] {
        ensure!(
            leaves.iter().any(|(text, _)| text.contains(wanted)),
            "nothing is said of {wanted}: {leaves:?}"
        );
    }
    Ok(leaves
        .into_iter()
        .map(|(text, value)| format!("not Bob: \"{text}\" does not hold, his is: {value}"))
        .collect())
}

fn false_leaves(node: &ExplainedNode, leaves: &mut Vec<(String, String)>) {
    if node.kind == "leaf" && !node.holds {
        leaves.push((node.text.clone(), node.value.clone()));
    }
    for child in &node.children {
        false_leaves(child, leaves);
    }
}
