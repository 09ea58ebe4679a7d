//! Domain changes as facts: the only place that names topics.

use domain::{CampaignId, DateTime, EventId, ProfileId, UserId, Utc};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::mailer::v1::{CampaignChanged, MessageOutcome, MessageOutcomes, SuppressionState};

use crate::{
    campaign::{Campaign, Happened},
    engagement::{Engagement, Kind},
    message::{Outcome, State},
    suppression::{Scope, Suppression},
};

static MESSAGE: Topic = Topic::unordered("kotinos.mailer.message.v1", Partitions::DEFINITION);
static CAMPAIGN: Topic = Topic::ordered("kotinos.mailer.campaign.v1", Partitions::DEFINITION);
/// Suppressions, whole.
pub static SUPPRESSION: Topic = Topic::state("kotinos.mailer.suppression.v1", Partitions::PERSON);

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&MESSAGE, &CAMPAIGN, &SUPPRESSION];

/// Facts of people that this service reads.
pub const PROFILES: &str = "kotinos.profile.profile.v1";
/// Facts of consents that this service reads.
pub const CONSENTS: &str = "kotinos.profile.consent.v1";
/// What mailer follows.
pub const FOLLOWED: [&str; 2] = [PROFILES, CONSENTS];

/// Outcomes in one record; an outcome takes some 80 bytes, and a record holds 900 KB.
pub const MOST_OUTCOMES: usize = 5_000;

/// A batch of outcomes of one campaign.
#[must_use]
pub fn messages_changed(
    campaign_id: CampaignId,
    outcomes: &[(ProfileId, &Outcome)],
    now: DateTime<Utc>,
) -> Fact {
    let outcomes = outcomes.iter().map(|(profile_id, outcome)| MessageOutcome {
        profile_id: profile_id.to_string(),
        outcome: outcome.state.name().to_owned(),
        code: code(outcome),
        at: Some(timestamp(now)),
    });
    batch(campaign_id, outcomes.collect(), now)
}

/// A batch of opens and clicks of one campaign.
#[must_use]
pub fn messages_engaged(campaign_id: CampaignId, engagements: &[&Engagement], now: DateTime<Utc>) -> Fact {
    let outcomes = engagements.iter().map(|engagement| MessageOutcome {
        profile_id: engagement.profile_id.to_string(),
        outcome: match engagement.kind {
            Kind::Open => "opened",
            Kind::Click(_) => "clicked",
        }
        .to_owned(),
        code: engagement.class.name().to_owned(),
        at: Some(timestamp(engagement.at)),
    });
    batch(campaign_id, outcomes.collect(), now)
}

fn batch(campaign_id: CampaignId, outcomes: Vec<MessageOutcome>, now: DateTime<Utc>) -> Fact {
    let batch = MessageOutcomes { campaign_id: campaign_id.to_string(), outcomes };
    Fact {
        topic: &MESSAGE,
        key: campaign_id.to_string(),
        fact_type: "MessagesChanged",
        payload: Some(batch.encode_to_vec()),
        version: 0,
        occurred_at: now,
        event_id: EventId::new(),
    }
}

// Ids and codes only: a relay's words may repeat the address.
fn code(outcome: &Outcome) -> String {
    match (outcome.state, outcome.relay_code) {
        (State::Skipped | State::Failed | State::Expired, _) => outcome.reason.clone(),
        (_, Some(code)) if outcome.reason.is_empty() => code.to_string(),
        _ => outcome.reason.clone(),
    }
}

/// A campaign after a change.
#[must_use]
pub fn campaign_changed(campaign: &Campaign, happened: Happened, now: DateTime<Utc>) -> Fact {
    let changed = CampaignChanged {
        campaign_id: campaign.campaign_id.to_string(),
        version: campaign.version,
        state: campaign.state.name().to_owned(),
        sender_key: campaign.plan.sender_key.clone(),
        at: Some(timestamp(now)),
    };
    Fact {
        topic: &CAMPAIGN,
        key: campaign.campaign_id.to_string(),
        fact_type: match happened {
            Happened::Scheduled => "CampaignScheduled",
            Happened::Started => "CampaignStarted",
            Happened::Paused => "CampaignPaused",
            Happened::Resumed => "CampaignResumed",
            Happened::Finished => "CampaignFinished",
            Happened::Cancelled => "CampaignCancelled",
        },
        payload: Some(changed.encode_to_vec()),
        version: campaign.version,
        occurred_at: now,
        event_id: EventId::new(),
    }
}

/// A suppression after a change.
#[must_use]
pub fn suppression_changed(suppression: &Suppression, user_id: Option<UserId>, now: DateTime<Utc>) -> Fact {
    let sender_key = match &suppression.scope {
        Scope::All => String::new(),
        Scope::Sender { key, .. } => key.clone(),
    };
    let state = SuppressionState {
        suppression_id: suppression.suppression_id.to_string(),
        version: suppression.version,
        profile_id: suppression.profile_id.to_string(),
        user_id: user_id.map(|id| id.to_string()).unwrap_or_default(),
        address_hash: suppression.address_hash.as_deref().map(hex).unwrap_or_default(),
        scope: suppression.scope.name().to_owned(),
        sender_key,
        reason: suppression.reason.name().to_owned(),
        ended: suppression.ended_at.is_some(),
    };
    Fact {
        topic: &SUPPRESSION,
        key: suppression.suppression_id.to_string(),
        fact_type: if suppression.ended_at.is_some() { "SuppressionEnded" } else { "SuppressionAdded" },
        payload: Some(state.encode_to_vec()),
        version: suppression.version,
        occurred_at: now,
        event_id: EventId::new(),
    }
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
