//! Facts of other services, into the index. Every replica reads all partitions for itself.

use std::collections::BTreeMap;

use chassis::FieldViolation;
use domain::{AddressClass, DateTime, ProfileId, Utc};
use outbox::Record;
use prost::Message;
use proto::profile::v1::{self as profile, trait_value::Kind};

use crate::{
    index::{ConsentRecord, Index, ProfileRecord},
    person::{Consent, TraitValue},
};

/// The topics that feed the index.
pub const TOPICS: [&str; 2] = ["kotinos.profile.profile.v1", "kotinos.profile.consent.v1"];

/// A record that cannot be read. It is passed over, loudly: the index is rebuilt from the topic, and a newer record of the
/// same person heals it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the protobuf message that the topic holds.
    #[error("not the message of its topic")]
    Message(#[from] prost::DecodeError),
    /// A key or field that is no id.
    #[error("field {} of the record", .0.field)]
    Field(FieldViolation),
}

/// Takes a record into the index. Returns whose state changed, if anybody's did.
///
/// # Errors
/// A record that cannot be read.
pub fn apply(index: &Index, record: &Record) -> Result<Option<ProfileId>, Unreadable> {
    let profile_id: ProfileId = chassis::parse("key", &record.key).map_err(Unreadable::Field)?;
    let changed =
        match (record.topic.as_str(), &record.payload) {
            ("kotinos.profile.profile.v1", Some(payload)) => index
                .apply_profile(profile_record(profile_id, &profile::ProfileState::decode(payload.clone())?)),
            ("kotinos.profile.consent.v1", Some(payload)) => index
                .apply_consents(consent_record(profile_id, profile::ConsentState::decode(payload.clone())?)),
            (_, None) => index.remove(profile_id),
            (_, Some(_)) => false,
        };
    Ok(changed.then_some(profile_id))
}

fn profile_record(profile_id: ProfileId, state: &profile::ProfileState) -> ProfileRecord {
    let value = |held: &profile::Trait| match held.value.as_ref()?.kind.as_ref()? {
        Kind::Text(text) | Kind::Date(text) => Some(TraitValue::One(text.clone())),
        Kind::Flag(flag) => Some(TraitValue::One(flag.to_string())),
        Kind::Number(number) => Some(TraitValue::One(number.to_string())),
        Kind::Set(set) => Some(TraitValue::Many(set.values.clone())),
    };
    let unroutable = AddressClass::Unroutable.name();
    ProfileRecord {
        profile_id,
        version: state.version,
        alive: state.state == "active" && !state.restricted,
        reachable: state.email.as_ref().is_some_and(|email| email.class != unroutable),
        traits: state.traits.iter().filter_map(|held| Some((held.name.clone(), value(held)?))).collect(),
    }
}

fn consent_record(profile_id: ProfileId, state: profile::ConsentState) -> ConsentRecord {
    let heads: BTreeMap<_, _> = state
        .heads
        .into_iter()
        .map(|head| {
            let consent = Consent {
                status: head.status,
                valid_until: head.valid_until.and_then(time),
                record_id: head.record_id,
            };
            ((head.purpose, head.recipient), consent)
        })
        .collect();
    ConsentRecord { profile_id, version: state.version, heads }
}

fn time(at: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}
