//! The nine steps of the journey, each by public interfaces only, each with the evidence of what it saw.

pub(crate) mod campaign;
pub(crate) mod crm;
pub(crate) mod notices;
pub(crate) mod profile;
pub(crate) mod results;
pub(crate) mod segment;
pub(crate) mod sign_out;
pub(crate) mod sign_up;
pub(crate) mod trace;
pub(crate) mod withdrawal;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use prost::Message;
use proto::segmentation::v1::MembershipChanged;
use testkit::CaughtRecord;

use crate::{Walk, facts::MEMBERSHIPS};

/// What must hold after step 6, whatever was killed on the way: one Message-ID, one row at the CRM, one membership. That
/// all results came in order was seen by the partner in step 6.
///
/// # Errors
/// What does not hold.
pub async fn final_state(walk: &Walk<'_>) -> Result<()> {
    let mails = campaign::mails_to_alice(walk);
    let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.message_id.as_str()).collect();
    ensure!(ids.len() == 1, "the campaign reached Alice under {} Message-IDs: {ids:?}", ids.len());
    let most = if walk.is_interrupted() { 2 } else { 1 };
    ensure!(mails.len() <= most, "{} mails of one campaign reached Alice", mails.len());
    let contacts = walk.suite.crm().contacts().await?;
    ensure!(contacts.len() == 1, "the CRM holds {} rows", contacts.len());
    let entered = memberships_of(walk, &walk.ids.alice).await?;
    // A record may come twice; a fact has one id.
    let facts: BTreeSet<&String> =
        entered.iter().filter_map(|(record, _)| record.headers.get("ce_id")).collect();
    ensure!(facts.len() == 1, "Alice's membership is told by {} facts", facts.len());
    ensure!(entered.iter().all(|(_, change)| change.entered), "Alice left the segment");
    let members = segment::members(walk).await?;
    ensure!(members == [walk.ids.alice.clone()], "the segment's members are {members:?}");
    Ok(())
}

/// The facts about one person's membership in the journey's segment, in order.
pub(crate) async fn memberships_of(
    walk: &Walk<'_>,
    profile_id: &str,
) -> Result<Vec<(CaughtRecord, MembershipChanged)>> {
    let mut found = Vec::new();
    for record in walk.suite.facts.on(MEMBERSHIPS).await {
        let change = MembershipChanged::decode(record.payload.as_deref().unwrap_or_default())?;
        if change.profile_id == profile_id && change.segment_id == walk.ids.segment {
            found.push((record, change));
        }
    }
    Ok(found)
}

/// A new id of a write.
fn request_id() -> String {
    domain::new_id().to_string()
}

/// A time of the wire for people.
fn time(at: Option<&prost_types::Timestamp>) -> String {
    at.and_then(|at| domain::DateTime::from_timestamp(at.seconds, 0))
        .map_or_else(|| "at no time".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
