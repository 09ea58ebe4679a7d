use std::collections::BTreeMap;

use chassis::{FieldViolation, Peer, PeerError};
use domain::{DateTime, Locale, UserId, Utc, Uuid};
use proto::profile::v1::{
    self as wire, ConsentAnswer, ExternalId, FindProfileRequest, GetConsentsRequest,
    ListConsentRecordsRequest, ListNoticesRequest, RecordConsentsRequest, StringSet, TraitUpdate, TraitValue,
    UpdateProfileRequest, consent_service_client::ConsentServiceClient,
    profile_service_client::ProfileServiceClient, trait_value::Kind,
};
use tonic::Code;

use crate::Error;

/// What the portal shows of a person.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its id.
    pub profile_id: String,
    /// Language of the pages.
    pub locale: Locale,
    /// The verified address.
    pub email: String,
    /// Single values, by trait.
    pub values: BTreeMap<String, String>,
    /// Sets, by trait.
    pub sets: BTreeMap<String, Vec<String>>,
}

/// An edit of the fan's own data.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Text by trait; an empty one removes the trait.
    pub texts: BTreeMap<&'static str, String>,
    /// Days by trait; an empty one removes the trait.
    pub dates: BTreeMap<&'static str, String>,
    /// Sets by trait.
    pub sets: BTreeMap<&'static str, Vec<String>>,
    /// Language.
    pub locale: Option<Locale>,
}

/// A published notice.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about.
    pub purpose: String,
    /// Its version.
    pub version: u32,
    /// Its language.
    pub language: String,
    /// The words.
    pub text: String,
}

/// The newest answer about one purpose.
#[derive(Debug, Clone)]
pub struct Head {
    /// given, refused or withdrawn.
    pub status: String,
    /// Until when a given consent holds, in seconds since 1970.
    pub valid_until: Option<i64>,
}

/// One line of the fan's history.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Line {
    /// What it is about.
    pub purpose: String,
    /// given, refused or withdrawn.
    pub status: String,
    /// Version of the notice; 0 where none was shown.
    pub notice_version: u32,
    /// How it was given: channel, page and form.
    pub method: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// One answer to record.
#[derive(Debug, Clone)]
pub struct Answer {
    /// About what.
    pub purpose: String,
    /// given or withdrawn.
    pub status: &'static str,
    /// The notice that was shown.
    pub notice: Option<(u32, String)>,
}

impl Head {
    /// Whether the purpose is permitted now: only a given consent that has not run out permits.
    #[must_use]
    pub fn permits(&self, now: DateTime<Utc>) -> bool {
        self.status == "given" && self.valid_until.is_none_or(|until| now.timestamp() < until)
    }
}

/// The fan's profile. A new user's fact is on its way for a moment: then there is none yet.
pub async fn find(peer: Peer, user_id: UserId) -> Result<Option<Profile>, Error> {
    let external_id = ExternalId { r#type: "user".to_owned(), value: user_id.to_string() };
    let request = FindProfileRequest { external_id: Some(external_id) };
    match ProfileServiceClient::new(peer).find_profile(request).await {
        Ok(answer) => Ok(answer.into_inner().profile.map(from_wire)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// Edits the fan's profile.
///
/// # Errors
/// Every field that breaks a rule, by the name of its trait.
pub async fn update(peer: Peer, profile: &Profile, request_id: Uuid, edit: Edit) -> Result<(), Error> {
    let mut traits = Vec::new();
    let mut remove_traits = Vec::new();
    let mut single = |name: &str, text: String, kind: fn(String) -> Kind| {
        if text.is_empty() {
            if profile.values.contains_key(name) {
                remove_traits.push(name.to_owned());
            }
        } else {
            traits.push(update_of(name, kind(text)));
        }
    };
    for (name, text) in edit.texts {
        single(name, text, Kind::Text);
    }
    for (name, day) in edit.dates {
        single(name, day, Kind::Date);
    }
    for (name, values) in edit.sets {
        if values.is_empty() && !profile.sets.contains_key(name) {
            continue;
        }
        traits.push(update_of(name, Kind::Set(StringSet { values })));
    }
    let names: Vec<String> = traits.iter().map(|update| update.name.clone()).collect();
    let request = UpdateProfileRequest {
        profile_id: profile.profile_id.clone(),
        request_id: request_id.to_string(),
        expected_version: 0,
        traits,
        remove_traits,
        locale: edit.locale.map(|locale| locale.tag().to_owned()).unwrap_or_default(),
        time_zone: String::new(),
    };
    match ProfileServiceClient::new(peer).update_profile(request).await {
        Ok(_) => Ok(()),
        Err(status) => Err(named(&status, &names).unwrap_or_else(|| status.into())),
    }
}

/// The newest answers, by purpose.
pub async fn consents(peer: Peer, profile_id: &str) -> Result<BTreeMap<String, Head>, Error> {
    let request = GetConsentsRequest { profile_id: profile_id.to_owned() };
    let answer = ConsentServiceClient::new(peer).get_consents(request).await?;
    let head = |head: wire::ConsentHead| {
        let valid_until = head.valid_until.map(|until| until.seconds);
        (head.purpose, Head { status: head.status, valid_until })
    };
    Ok(answer.into_inner().heads.into_iter().map(head).collect())
}

/// The fan's history, newest first.
pub async fn history(peer: Peer, profile_id: &str) -> Result<Vec<Line>, Error> {
    let request = ListConsentRecordsRequest { profile_id: profile_id.to_owned(), page_size: 100 };
    let answer = ConsentServiceClient::new(peer).list_consent_records(request).await?;
    let line = |record: wire::ConsentRecord| Line {
        purpose: record.purpose,
        status: record.status,
        notice_version: record.notice.map_or(0, |notice| notice.version),
        method: record.method,
        at: record.at.map_or(0, |at| at.seconds),
    };
    Ok(answer.into_inner().records.into_iter().map(line).collect())
}

/// Published notices in a language.
pub async fn notices(peer: Peer, locale: Locale) -> Result<Vec<Notice>, Error> {
    let request = ListNoticesRequest { language: locale.tag().to_owned() };
    let answer = ConsentServiceClient::new(peer).list_notices(request).await?;
    let notice = |notice: wire::PublishedNotice| Notice {
        purpose: notice.purpose,
        version: notice.version,
        language: notice.language,
        text: notice.text,
    };
    Ok(answer.into_inner().notices.into_iter().map(notice).collect())
}

/// Records answers of the fan.
pub async fn record(
    peer: Peer,
    profile_id: &str,
    request_id: Uuid,
    answers: Vec<Answer>,
) -> Result<(), Error> {
    let answer = |answer: Answer| {
        let (notice_version, notice_language) = answer.notice.unwrap_or_default();
        ConsentAnswer {
            purpose: answer.purpose,
            recipient: String::new(),
            status: answer.status.to_owned(),
            notice_version,
            notice_language,
        }
    };
    let request = RecordConsentsRequest {
        profile_id: profile_id.to_owned(),
        request_id: request_id.to_string(),
        answers: answers.into_iter().map(answer).collect(),
        method: "portal /account/consents".to_owned(),
    };
    match ConsentServiceClient::new(peer).record_consents(request).await {
        Ok(_) => Ok(()),
        // A version that was never published is a field of the form that somebody changed.
        Err(status) if status.code() == Code::InvalidArgument => Err(Error::NoticeOutOfDate),
        Err(status) => {
            let error = PeerError::from(status);
            match error.reason_of_peer() {
                Some("NOTICE_NOT_PUBLISHED") => Err(Error::NoticeOutOfDate),
                _ => Err(error.into()),
            }
        }
    }
}

fn update_of(name: &str, kind: Kind) -> TraitUpdate {
    TraitUpdate { name: name.to_owned(), value: Some(TraitValue { kind: Some(kind) }) }
}

// `traits[2].value (postal_code)` becomes `postal_code`, the name of our own form's field.
fn named(status: &tonic::Status, names: &[String]) -> Option<Error> {
    let fields = chassis::fields_of(status);
    if fields.is_empty() {
        return None;
    }
    let own = |violation: FieldViolation| {
        let at = violation
            .field
            .strip_prefix("traits[")
            .and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        let name = at.and_then(|at| names.get(at)).cloned().unwrap_or(violation.field);
        FieldViolation::new(name, violation.rule)
    };
    Some(Error::Invalid(fields.into_iter().map(own).collect()))
}

fn from_wire(profile: wire::Profile) -> Profile {
    let mut values = BTreeMap::new();
    let mut sets = BTreeMap::new();
    for held in profile.traits {
        match held.value.and_then(|value| value.kind) {
            Some(Kind::Text(text) | Kind::Date(text)) => {
                values.insert(held.name, text);
            }
            Some(Kind::Set(set)) => {
                sets.insert(held.name, set.values);
            }
            Some(Kind::Flag(_) | Kind::Number(_)) | None => {}
        }
    }
    let email = profile.email.map(|email| String::from_utf8_lossy(&email.address).into_owned());
    Profile {
        profile_id: profile.profile_id,
        locale: profile.locale.parse().unwrap_or_default(),
        email: email.unwrap_or_default(),
        values,
        sets,
    }
}
