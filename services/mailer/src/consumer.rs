//! Facts of profile, into the projection of people that mails are checked by.

use domain::{DateTime, EmailAddress, ProfileId, Utc};
use outbox::{Batch, Failure, Record};
use prost::Message;
use proto::profile::v1::{ConsentHead, ConsentState, ProfileState, StringSet, trait_value::Kind};
use tracing::Instrument;

use crate::{
    app::{App, ProfileFact},
    events,
    recipient::{Fields, Head, Recipient},
};

/// Longest text of a field that a mail may show.
const LONGEST: usize = 300;

/// A fact that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{field} of a fact cannot be read")]
struct Unreadable {
    field: &'static str,
}

/// Applies a batch. The effects are versioned, so repeats are harmless.
pub async fn apply(app: App, batch: Batch) -> Result<(), Failure> {
    for record in &batch.records {
        apply_one(&app, record).instrument(record.span()).await?;
    }
    // After the effects: a freeze that has read further waits for this.
    if let Some(last) = batch.records.last() {
        app.note_consumed(&last.topic, last.partition, last.offset + 1).await.map_err(Failure::of)?;
    }
    Ok(())
}

async fn apply_one(app: &App, record: &Record) -> Result<(), Failure> {
    let profile_id: ProfileId = record.key.parse().map_err(Failure::record)?;
    match (record.topic.as_str(), &record.payload) {
        (events::PROFILES, None) => {
            app.follow_tombstone(profile_id, record.version).await.map_err(Failure::of)
        }
        (events::PROFILES, Some(payload)) => {
            let state = ProfileState::decode(payload.clone()).map_err(Failure::record)?;
            let fact = profile_fact(profile_id, &state, record.version).map_err(Failure::record)?;
            app.follow_profile(&fact).await.map_err(Failure::of)
        }
        (events::CONSENTS, payload) => {
            let state = payload.clone().map(ConsentState::decode).transpose().map_err(Failure::record)?;
            let heads: Vec<Head> = state.unwrap_or_default().heads.into_iter().map(head).collect();
            app.follow_consents(profile_id, &heads, record.version).await.map_err(Failure::of)
        }
        _ => Ok(()),
    }
}

fn profile_fact(
    profile_id: ProfileId,
    state: &ProfileState,
    version: i64,
) -> Result<ProfileFact, Unreadable> {
    let email = state.email.as_ref().filter(|email| !email.address.is_empty());
    let email = email.map(|email| EmailAddress::classify(&email.address)).transpose();
    let user = state.external_ids.iter().find(|id| id.r#type == "user");
    let recipient = Recipient {
        profile_id,
        state: state.state.clone(),
        restricted: state.restricted,
        email: email.map_err(|_| Unreadable { field: "email" })?,
        locale: state.locale.chars().take(40).collect(),
        fields: fields(state),
        heads: Vec::new(),
    };
    Ok(ProfileFact { recipient, user_id: user.and_then(|id| id.value.parse().ok()), version })
}

// Only what templates may use: the rest of a person's data has no business here.
fn fields(state: &ProfileState) -> Fields {
    let mut fields = Fields::default();
    for held in &state.traits {
        match (held.name.as_str(), held.value.as_ref().and_then(|value| value.kind.as_ref())) {
            ("family_name", Some(Kind::Text(text))) => fields.family_name = cut(text),
            ("given_name", Some(Kind::Text(text))) => fields.given_name = cut(text),
            ("prefecture", Some(Kind::Text(text))) => fields.prefecture = cut(text),
            (
                "favourite_olympic_sports" | "favourite_paralympic_sports",
                Some(Kind::Set(StringSet { values })),
            ) => {
                fields.favourite_sports.extend(values.iter().take(100).map(|sport| cut(sport)));
            }
            _ => {}
        }
    }
    fields.favourite_sports.sort_unstable();
    fields.favourite_sports.dedup();
    fields
}

fn cut(text: &str) -> String {
    text.chars().filter(|letter| *letter != '\0').take(LONGEST).collect()
}

fn head(head: ConsentHead) -> Head {
    Head {
        purpose: head.purpose,
        recipient: head.recipient,
        status: head.status,
        valid_until: head.valid_until.and_then(time),
        record_id: head.record_id.parse().ok(),
        at: head.at.and_then(time),
    }
}

fn time(at: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}
