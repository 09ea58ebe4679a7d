//! Domain changes as facts: the only place that names topics.

use domain::{DateTime, EventId, Utc};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::segmentation::v1::{MembershipChanged, SegmentState};

use crate::{membership::Transition, segment::Segment};

static MEMBERSHIP: Topic = Topic::unordered("kotinos.segmentation.membership.v1", Partitions::PERSON);
/// Segments, whole.
pub static SEGMENT: Topic = Topic::state("kotinos.segmentation.segment.v1", Partitions::DEFINITION);

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&MEMBERSHIP, &SEGMENT];

/// A transition as its message.
#[must_use]
pub fn membership(transition: &Transition) -> MembershipChanged {
    MembershipChanged {
        segment_id: transition.segment_id.to_string(),
        segment_key: transition.segment_key.clone(),
        segment_version: transition.version,
        profile_id: transition.profile_id.to_string(),
        entered: transition.entered,
        cause: transition.cause.to_owned(),
        backfill: transition.backfill,
        at: Some(timestamp(transition.at)),
    }
}

/// A transition as a fact.
#[must_use]
pub fn membership_changed(transition: &Transition) -> Fact {
    Fact {
        topic: &MEMBERSHIP,
        key: transition.profile_id.to_string(),
        fact_type: if transition.entered { "MembershipEntered" } else { "MembershipExited" },
        payload: Some(membership(transition).encode_to_vec()),
        version: 0,
        occurred_at: transition.at,
        event_id: EventId::new(),
    }
}

/// The state of a segment after a change.
#[must_use]
pub fn segment_changed(segment: &Segment, fact_type: &'static str, at: DateTime<Utc>) -> Fact {
    let purpose = segment.purpose.as_ref();
    let state = SegmentState {
        segment_id: segment.segment_id.to_string(),
        key: segment.key.as_str().to_owned(),
        name: segment.name.clone(),
        state: segment.state.name().to_owned(),
        version: segment.version,
        rule_hash: hex(&segment.rule_hash),
        purpose: purpose.map(|key| key.purpose().name().to_owned()).unwrap_or_default(),
        recipient: purpose.map(|key| key.recipient().to_owned()).unwrap_or_default(),
    };
    Fact {
        topic: &SEGMENT,
        key: segment.segment_id.to_string(),
        fact_type,
        payload: Some(state.encode_to_vec()),
        // An archived segment keeps its rule's version: the state topic's version must rise all the same.
        version: i64::from(segment.version) * 2 + i64::from(segment.state == crate::segment::State::Archived),
        occurred_at: at,
        event_id: EventId::new(),
    }
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
