//! Domain changes as facts: the only place that names topics.

use domain::{ConsentKey, DateTime, EmailAddress, EventId, Utc};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::profile::v1::{
    self as wire, ConsentState, ProfileEmail, ProfileState, StringSet, TraitValue, trait_value::Kind,
};

use crate::{
    consent::{ConsentLedger, ConsentRecord, Head, Status, terms},
    profile::{Change, Happened, Profile},
    schema::{self, Value},
};

/// The whole state of a profile.
pub static PROFILE: Topic = Topic::state("kotinos.profile.profile.v1", Partitions::PERSON);
/// All answers of a person, the newest of each purpose.
pub static CONSENT: Topic = Topic::state("kotinos.profile.consent.v1", Partitions::PERSON);

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&PROFILE, &CONSENT];

/// The state of a profile after a change.
#[must_use]
pub fn profile_changed(profile: &Profile, change: &Change) -> Fact {
    let state = ProfileState {
        profile_id: profile.profile_id.to_string(),
        version: profile.version,
        state: profile.state.name().to_owned(),
        merged_into: String::new(),
        traits: traits(profile),
        external_ids: external_ids(profile),
        email: profile.email.as_ref().map(email),
        locale: profile.locale.tag().to_owned(),
        time_zone: profile.time_zone.clone().unwrap_or_default(),
        restricted: profile.restricted,
        changed_at: Some(timestamp(profile.changed_at)),
        changed_fields: change.fields.clone(),
        schema_version: schema::VERSION,
    };
    Fact {
        topic: &PROFILE,
        key: profile.profile_id.to_string(),
        fact_type: match change.happened {
            Happened::Created => "ProfileCreated",
            Happened::Updated => "ProfileUpdated",
            Happened::EmailChanged => "ProfileEmailChanged",
        },
        payload: Some(state.encode_to_vec()),
        version: profile.version,
        occurred_at: profile.changed_at,
        event_id: EventId::new(),
    }
}

/// The state of a person's consents after an answer, or told again after none.
#[must_use]
pub fn consents_changed(ledger: &ConsentLedger, records: &[ConsentRecord], at: DateTime<Utc>) -> Fact {
    let state = ConsentState {
        profile_id: ledger.profile_id.to_string(),
        version: ledger.version,
        heads: ledger.heads.iter().map(|(key, head)| consent_head(key, head)).collect(),
        changed: records.iter().map(consent_record).collect(),
    };
    Fact {
        topic: &CONSENT,
        key: ledger.profile_id.to_string(),
        // One form may hold several answers: the fact is named after the one that matters most to readers.
        fact_type: match statuses(ledger, records).into_iter().min_by_key(|status| weight(*status)) {
            Some(Status::Withdrawn) => "ConsentWithdrawn",
            Some(Status::Refused) => "ConsentRefused",
            Some(Status::Given) | None => "ConsentGiven",
        },
        payload: Some(state.encode_to_vec()),
        version: ledger.version,
        occurred_at: at,
        event_id: EventId::new(),
    }
}

// Of what was answered; of what stands, where it is told again.
fn statuses(ledger: &ConsentLedger, records: &[ConsentRecord]) -> Vec<Status> {
    if records.is_empty() {
        return ledger.heads.values().map(|head| head.status).collect();
    }
    records.iter().map(|record| record.status).collect()
}

const fn weight(status: Status) -> u8 {
    match status {
        Status::Withdrawn => 0,
        Status::Given => 1,
        Status::Refused => 2,
    }
}

pub(crate) fn traits(profile: &Profile) -> Vec<wire::Trait> {
    let wire = |(id, held): (&u16, &crate::profile::Trait)| {
        let definition = schema::by_id(*id)?;
        Some(wire::Trait {
            name: definition.name.to_owned(),
            value: Some(trait_value(&held.value)),
            source: held.source.name().to_owned(),
            client_id: held.client_id.clone(),
            at: Some(timestamp(held.at)),
        })
    };
    profile.traits.iter().filter_map(wire).collect()
}

pub(crate) fn external_ids(profile: &Profile) -> Vec<wire::ExternalId> {
    profile
        .external_ids
        .iter()
        .map(|id| wire::ExternalId {
            r#type: id.kind.name().to_owned(),
            value: String::from_utf8_lossy(&id.value).into_owned(),
        })
        .collect()
}

pub(crate) fn email(email: &EmailAddress) -> ProfileEmail {
    ProfileEmail { address: email.as_bytes().to_vec(), class: email.class().name().to_owned() }
}

pub(crate) fn consent_head(key: &ConsentKey, head: &Head) -> wire::ConsentHead {
    wire::ConsentHead {
        purpose: key.purpose().name().to_owned(),
        recipient: key.recipient().to_owned(),
        status: head.status.name().to_owned(),
        valid_until: head.valid_until.map(timestamp),
        record_id: head.record_id.to_string(),
        notice_sha256: head.notice_sha256.map(|digest| hex(&digest)).unwrap_or_default(),
        at: Some(timestamp(head.at)),
    }
}

pub(crate) fn consent_record(record: &ConsentRecord) -> wire::ConsentRecord {
    let terms = terms(record.key.purpose());
    wire::ConsentRecord {
        record_id: record.record_id.to_string(),
        purpose: record.key.purpose().name().to_owned(),
        recipient: record.key.recipient().to_owned(),
        status: record.status.name().to_owned(),
        controller: terms.controller.to_owned(),
        lawful_basis: terms.lawful_basis.to_owned(),
        notice: record.notice.as_ref().map(|notice| wire::Notice {
            version: notice.version,
            language: notice.language.clone(),
            sha256: hex(&notice.sha256),
        }),
        method: record.evidence.method.clone(),
        client_id: record.evidence.client_id.clone(),
        at: Some(timestamp(record.at)),
        valid_until: record.valid_until.map(timestamp),
    }
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trait_value(value: &Value) -> TraitValue {
    let kind = match value {
        Value::Text(text) => Kind::Text(text.clone()),
        Value::Date(day) => Kind::Date(day.to_string()),
        Value::Set(members) => Kind::Set(StringSet { values: members.clone() }),
    };
    TraitValue { kind: Some(kind) }
}
