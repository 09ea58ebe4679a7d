//! Domain changes as facts: the only place that names topics.

use domain::{DateTime, EventId, SessionId, UserId, Utc, Uuid};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::identity::v1::{
    SessionEnded, UserConsent, UserEmail, UserErased, UserSeen, UserState, UserStatus,
};

use crate::{
    session::Cause,
    user::{Event, Status, User},
};

/// Users, whole.
pub static USER: Topic = Topic::state("kotinos.identity.user.v1", Partitions::PERSON);
static ERASURE: Topic = Topic::unordered("kotinos.identity.erasure.v1", Partitions::PERSON);
static SESSION: Topic = Topic::unordered("kotinos.identity.session.v1", Partitions::PERSON);

/// Every topic that this service writes.
pub static TOPICS: &[&Topic] = &[&USER, &SESSION, &ERASURE];

/// A user after a change. At sign-up the address is proved before there is a user, so that `UserRegistered` carries a
/// verified address.
pub fn user_changed(user: &User, event: Event, now: DateTime<Utc>) -> Fact {
    let mut state = UserState {
        user_id: user.user_id.to_string(),
        version: user.version,
        status: status(user.status).into(),
        locale: user.locale.tag().to_owned(),
        email: Some(email(user)),
        origin: user.origin.clone(),
        created_at: Some(timestamp(user.created_at)),
        upstream_links: Vec::new(),
        client_id: user.client_id.clone(),
        ..UserState::default()
    };
    let fact_type = add_event(&mut state, event);
    Fact {
        topic: &USER,
        key: user.user_id.to_string(),
        fact_type,
        payload: Some(state.encode_to_vec()),
        version: user.version,
        occurred_at: now,
        event_id: EventId::new(),
    }
}

// What happened, beside the state that it led to; the fact's type.
fn add_event(state: &mut UserState, event: Event) -> &'static str {
    match event {
        Event::Registered => "UserRegistered",
        Event::Disabled => "UserDisabled",
        Event::Enabled => "UserEnabled",
        Event::EmailChanged => "UserEmailChanged",
        Event::PasswordChanged { cause } => {
            cause.clone_into(&mut state.cause);
            "UserPasswordChanged"
        }
        Event::CredentialAdded { kind } => {
            kind.name().clone_into(&mut state.credential_kind);
            "UserCredentialAdded"
        }
        Event::CredentialRemoved { kind } => {
            kind.name().clone_into(&mut state.credential_kind);
            "UserCredentialRemoved"
        }
        Event::ConsentGranted { client_id, scopes } => {
            state.consent = Some(UserConsent { client_id, scopes });
            "UserConsentGranted"
        }
        Event::ConsentWithdrawn { client_id, scopes } => {
            state.consent = Some(UserConsent { client_id, scopes });
            "UserConsentWithdrawn"
        }
    }
}

/// A user who is erased: the tombstone of the state, and the receipt of what was emptied and what stays.
pub fn user_erased(
    user: &User,
    request_id: Uuid,
    (stores, retained): (&[&str], &[&str]),
    now: DateTime<Utc>,
) -> [Fact; 2] {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let receipt = UserErased {
        user_id: user.user_id.to_string(),
        request_id: request_id.to_string(),
        stores: words(stores),
        retained: words(retained),
    };
    let fact = |topic, payload| Fact {
        topic,
        key: user.user_id.to_string(),
        fact_type: "UserErased",
        payload,
        version: user.version,
        occurred_at: now,
        event_id: EventId::new(),
    };
    [fact(&USER, None), fact(&ERASURE, Some(receipt.encode_to_vec()))]
}

/// A session that has ended.
pub fn session_ended(session_id: SessionId, user_id: UserId, cause: Cause, now: DateTime<Utc>) -> Fact {
    let ended = SessionEnded {
        session_id: session_id.to_string(),
        user_id: user_id.to_string(),
        cause: cause.name().to_owned(),
    };
    of_session("SessionEnded", user_id, &ended, now)
}

/// A user who was here, the first time on a day.
pub fn user_seen(user_id: UserId, now: DateTime<Utc>) -> Fact {
    let seen = UserSeen { user_id: user_id.to_string(), day: now.date_naive().to_string() };
    of_session("UserSeen", user_id, &seen, now)
}

fn of_session(fact_type: &'static str, user_id: UserId, message: &impl Message, now: DateTime<Utc>) -> Fact {
    Fact {
        topic: &SESSION,
        key: user_id.to_string(),
        fact_type,
        payload: Some(message.encode_to_vec()),
        version: 0,
        occurred_at: now,
        event_id: EventId::new(),
    }
}

/// Where a user stands, on the wire.
pub fn status(status: Status) -> UserStatus {
    match status {
        Status::Active => UserStatus::Active,
        Status::Disabled => UserStatus::Disabled,
        Status::Erased => UserStatus::Erased,
    }
}

/// A user's address on the wire.
pub fn email(user: &User) -> UserEmail {
    UserEmail {
        address: user.email.as_bytes().to_vec(),
        class: user.email.class().name().to_owned(),
        verified_at: Some(timestamp(user.verified_at)),
    }
}

/// A time on the wire.
pub fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() }
}

#[cfg(test)]
mod tests {
    use domain::{EmailAddress, Locale};

    use super::*;

    #[test]
    fn a_fact_carries_the_whole_user() {
        let now = "2026-07-24T10:00:00Z".parse().unwrap();
        let address = EmailAddress::conforming("alice@example.org").unwrap();
        let (user, event) = User::register(UserId::new(), address, Locale::Ja, "portal".into(), now);
        let fact = user_changed(&user, event, now);
        let state = UserState::decode(fact.payload.unwrap().as_slice()).unwrap();
        assert_eq!((fact.fact_type, fact.key, fact.version), ("UserRegistered", user.user_id.to_string(), 1));
        assert_eq!(state.status(), UserStatus::Active);
        let email = state.email.unwrap();
        assert_eq!(
            (email.address.as_slice(), email.class.as_str()),
            (b"alice@example.org".as_slice(), "conforming")
        );
        assert!(email.verified_at.is_some());
    }

    #[test]
    fn a_day_is_a_date_in_utc() {
        let fact = user_seen(UserId::new(), "2026-07-24T23:59:59Z".parse().unwrap());
        assert_eq!(UserSeen::decode(fact.payload.unwrap().as_slice()).unwrap().day, "2026-07-24");
    }
}
