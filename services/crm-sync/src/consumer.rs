//! Facts of profile, into the projection.

use std::collections::BTreeMap;

use chassis::FieldViolation;
use domain::{ConsentKey, DateTime, EmailAddress, ProfileId, Utc};
use outbox::{Batch, Failure, Record};
use prost::Message;
use proto::profile::v1::{self as profile, trait_value::Kind};
use tracing::Instrument;

use crate::{
    Error,
    app::{self, App},
    store::{ConsentsSeen, ProfileSeen},
    subject::{Head, Heads, Standing, Status, TraitValue},
};

/// The topics that are followed.
pub const TOPICS: [&str; 2] = [PROFILES, CONSENTS];
const PROFILES: &str = "kotinos.profile.profile.v1";
const CONSENTS: &str = "kotinos.profile.consent.v1";

/// Follows a batch of profiles or consents. Each record has its own trace, which the row that waits for the runner carries
/// on.
pub async fn apply(app: App, batch: Batch) -> Result<(), Failure> {
    for record in &batch.records {
        let span = record.span();
        follow(&app, record).instrument(span).await.map_err(Failure::of)?;
    }
    Ok(())
}

async fn follow(app: &App, record: &Record) -> Result<(), Error> {
    let profile_id: ProfileId = chassis::parse("key", &record.key)?;
    match (record.topic.as_str(), &record.payload) {
        (PROFILES, Some(payload)) => {
            let state = profile::ProfileState::decode(payload.clone()).map_err(|_| unreadable())?;
            app.follow_profile(profile_seen(profile_id, record.version, &state)?).await
        }
        // Erased: whatever a recipient holds of the person is ceased.
        (PROFILES, None) => app.follow_profile(erased(profile_id, record.version)).await,
        (CONSENTS, Some(payload)) => {
            let state = profile::ConsentState::decode(payload.clone()).map_err(|_| unreadable())?;
            let says_no = state.changed.iter().any(|changed| app::says_no(Status::of(&changed.status)));
            app.follow_consents(consents_seen(profile_id, record.version, &state)?, says_no).await
        }
        (CONSENTS, None) => {
            let nothing = ConsentsSeen { profile_id, version: record.version, heads: Heads::new() };
            app.follow_consents(nothing, true).await
        }
        _ => Ok(()),
    }
}

fn unreadable() -> Error {
    FieldViolation::new("payload", "must be the state that the topic promises").into()
}

fn erased(profile_id: ProfileId, version: i64) -> ProfileSeen {
    ProfileSeen {
        profile_id,
        version,
        state: Standing::Erased,
        restricted: false,
        locale: None,
        email: None,
        traits: BTreeMap::new(),
    }
}

fn profile_seen(
    profile_id: ProfileId,
    version: i64,
    state: &profile::ProfileState,
) -> Result<ProfileSeen, Error> {
    let email = match &state.email {
        None => None,
        Some(email) => Some(
            EmailAddress::classify(&email.address)
                .map_err(|error| FieldViolation::new("email.address", error.rule))?,
        ),
    };
    let mut traits = BTreeMap::new();
    for one in &state.traits {
        if let Some(value) = one.value.as_ref().and_then(trait_value) {
            traits.insert(one.name.clone(), value);
        }
    }
    Ok(ProfileSeen {
        profile_id,
        version,
        state: Standing::of(&state.state),
        restricted: state.restricted,
        locale: state.locale.parse().ok(),
        email,
        traits,
    })
}

fn trait_value(value: &profile::TraitValue) -> Option<TraitValue> {
    Some(match value.kind.clone()? {
        Kind::Text(text) => TraitValue::Text(text),
        Kind::Date(day) => TraitValue::Date(day),
        Kind::Flag(flag) => TraitValue::Flag(flag),
        Kind::Number(number) => TraitValue::Number(number),
        Kind::Set(set) => TraitValue::Set(set.values),
    })
}

fn consents_seen(
    profile_id: ProfileId,
    version: i64,
    state: &profile::ConsentState,
) -> Result<ConsentsSeen, Error> {
    let mut heads = Heads::new();
    for head in &state.heads {
        // A purpose of a newer profile is nothing that an agreement of ours can name.
        let Some(key) =
            head.purpose.parse().ok().and_then(|purpose| ConsentKey::new(purpose, &head.recipient).ok())
        else {
            continue;
        };
        let status = Status::of(&head.status);
        let valid_until = match head.valid_until {
            None => None,
            // A limit that cannot be read would turn into no limit.
            Some(until) => {
                Some(time(until).ok_or(FieldViolation::new("heads.valid_until", "must be a time"))?)
            }
        };
        heads.insert(key, Head { status, valid_until, notice_sha256: head.notice_sha256.clone() });
    }
    Ok(ConsentsSeen { profile_id, version, heads })
}

fn time(at: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    let sane = (0..=253_402_300_799).contains(&at.seconds);
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?).filter(|_| sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_permits_nothing() {
        let head = |purpose: &str, status: &str| profile::ConsentHead {
            purpose: purpose.to_owned(),
            status: status.to_owned(),
            ..profile::ConsentHead::default()
        };
        let heads =
            vec![head("ioc_newsletter", "stale"), head("moon_landing", "given"), head("profiling", "given")];
        let state = profile::ConsentState { heads, ..profile::ConsentState::default() };
        let seen = consents_seen(ProfileId::new(), 1, &state).unwrap();
        let statuses: Vec<Status> = seen.heads.values().map(|head| head.status).collect();
        assert_eq!(statuses, [Status::Unknown, Status::Given]);
    }

    #[test]
    fn a_limit_that_cannot_be_read_fails_the_record() {
        let wrong = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        let head = profile::ConsentHead {
            purpose: "profiling".into(),
            status: "given".into(),
            valid_until: Some(wrong),
            ..Default::default()
        };
        let state = profile::ConsentState { heads: vec![head], ..Default::default() };
        assert!(consents_seen(ProfileId::new(), 1, &state).is_err());
    }

    #[test]
    fn an_address_beyond_the_rules_fails_the_record() {
        let email = Some(profile::ProfileEmail { address: vec![b'a'; 300], class: String::new() });
        let state = profile::ProfileState { email, ..Default::default() };
        assert!(profile_seen(ProfileId::new(), 1, &state).is_err());
    }
}
