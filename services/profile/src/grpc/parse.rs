//! Wire messages into commands: every wrong field is named, all at once.

use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use chassis::FieldViolation;
use domain::{ConsentKey, DateTime, EmailAddress, Locale, NaiveDate, ProfileId, Purpose, Utc};
use prost::Message;
use proto::profile::v1::{self as wire, trait_value::Kind};

use crate::{
    Error,
    app::{AnswerCommand, NoticeCommand, RecordConsents, UpdateProfile},
    consent::{Notice, Status},
    profile::{Edit, ExternalId, ExternalIdKind},
    schema::{self, Value},
};

const MOST_TRAITS: usize = 50;
const MOST_ANSWERS: usize = 50;
const LONGEST_NOTICE: usize = 20_000;
const LONGEST_METHOD: usize = 200;

/// Gathers what is wrong while the fields are read.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    fn add(&mut self, field: impl Into<String>, rule: &str) {
        self.0.push(FieldViolation::new(field, rule));
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match chassis::parse(field, text) {
            Ok(value) => Some(value),
            Err(violation) => {
                self.0.push(violation);
                None
            }
        }
    }

    fn into_error(self) -> Error {
        Error::Invalid(self.0)
    }
}

/// Ids of a batch.
pub fn profile_ids(field: &str, ids: &[String], most: usize) -> Result<Vec<ProfileId>, Error> {
    let mut wrong = Violations::default();
    if ids.is_empty() || ids.len() > most {
        wrong.add(field, &format!("must hold 1 to {most} ids"));
        return Err(wrong.into_error());
    }
    let mut parsed = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        match id.parse() {
            Ok(id) => parsed.push(id),
            // One is enough to tell: a batch may hold thousands.
            Err(_) => {
                wrong.add(format!("{field}[{at}]"), "must be a UUID");
                return Err(wrong.into_error());
            }
        }
    }
    Ok(parsed)
}

/// A key by which another system knows a person.
pub fn external_id(id: Option<wire::ExternalId>) -> Result<ExternalId, Error> {
    let mut wrong = Violations::default();
    let id = id.unwrap_or_default();
    let Some(kind) = ExternalIdKind::find(&id.r#type) else {
        wrong.add("external_id.type", "must be user or email");
        return Err(wrong.into_error());
    };
    match kind {
        ExternalIdKind::User => match wrong.parse("external_id.value", &id.value) {
            Some(user_id) => Ok(ExternalId::user(user_id)),
            None => Err(wrong.into_error()),
        },
        ExternalIdKind::Email => match EmailAddress::classify(id.value.as_bytes()) {
            Ok(email) => Ok(ExternalId::email(&email)),
            Err(error) => {
                wrong.add("external_id.value", error.rule);
                Err(wrong.into_error())
            }
        },
    }
}

/// An edit of a profile.
pub fn update_profile(
    request: &wire::UpdateProfileRequest,
    today: NaiveDate,
) -> Result<UpdateProfile, Error> {
    let mut wrong = Violations::default();
    let profile_id = wrong.parse("profile_id", &request.profile_id);
    let request_id = wrong.parse("request_id", &request.request_id);
    if request.traits.len() + request.remove_traits.len() > MOST_TRAITS {
        wrong.add("traits", "must hold at most 50 traits");
        return Err(wrong.into_error());
    }
    let mut edit = Edit::default();
    for (at, update) in request.traits.iter().enumerate() {
        if let Some((id, value)) = trait_update(&mut wrong, &format!("traits[{at}]"), update, today) {
            edit.set.insert(id, value);
        }
    }
    for (at, name) in request.remove_traits.iter().enumerate() {
        match schema::find(name) {
            Some(definition) => edit.remove.push(definition.id),
            None => wrong.add(format!("remove_traits[{at}]"), "must be the name of a trait"),
        }
    }
    if !request.locale.is_empty() {
        edit.locale = wrong.parse::<Locale>("locale", &request.locale);
    }
    if !request.time_zone.is_empty() {
        if is_zone(&request.time_zone) {
            edit.time_zone = Some(request.time_zone.clone());
        } else {
            wrong.add("time_zone", "must be an IANA name such as Asia/Tokyo");
        }
    }
    let expected_version = (request.expected_version != 0).then_some(request.expected_version);
    match (profile_id, request_id) {
        (Some(profile_id), Some(request_id)) if wrong.0.is_empty() => Ok(UpdateProfile {
            profile_id,
            request_id,
            body_sha256: body_sha256(request),
            expected_version,
            edit,
        }),
        _ => Err(wrong.into_error()),
    }
}

fn trait_update(
    wrong: &mut Violations,
    path: &str,
    update: &wire::TraitUpdate,
    today: NaiveDate,
) -> Option<(u16, Value)> {
    let Some(definition) = schema::find(&update.name) else {
        wrong.add(format!("{path}.name"), "must be the name of a trait");
        return None;
    };
    let value = match update.value.as_ref().and_then(|value| value.kind.as_ref()) {
        Some(Kind::Text(text)) => definition.text(text),
        Some(Kind::Date(text)) => definition.date(text, today),
        Some(Kind::Set(set)) => definition.set(&set.values),
        Some(Kind::Flag(_) | Kind::Number(_)) | None => Err(domain::InvalidValue { rule: definition.rule() }),
    };
    match value {
        Ok(value) => Some((definition.id, value)),
        Err(error) => {
            wrong.add(format!("{path}.value ({})", definition.name), error.rule);
            None
        }
    }
}

/// Answers of one person.
pub fn record_consents(request: &wire::RecordConsentsRequest) -> Result<RecordConsents, Error> {
    let mut wrong = Violations::default();
    let profile_id = wrong.parse("profile_id", &request.profile_id);
    let request_id = wrong.parse("request_id", &request.request_id);
    if request.answers.is_empty() || request.answers.len() > MOST_ANSWERS {
        wrong.add("answers", "must hold 1 to 50 answers");
        return Err(wrong.into_error());
    }
    if request.method.chars().count() > LONGEST_METHOD || request.method.chars().any(char::is_control) {
        wrong.add("method", "must be at most 200 characters without control characters");
    }
    let mut answers = Vec::with_capacity(request.answers.len());
    for (at, answer) in request.answers.iter().enumerate() {
        answers.extend(consent_answer(&mut wrong, &format!("answers[{at}]"), answer));
    }
    match (profile_id, request_id) {
        (Some(profile_id), Some(request_id)) if wrong.0.is_empty() => Ok(RecordConsents {
            profile_id,
            request_id,
            body_sha256: body_sha256(request),
            answers,
            method: request.method.clone(),
        }),
        _ => Err(wrong.into_error()),
    }
}

fn consent_answer(wrong: &mut Violations, path: &str, answer: &wire::ConsentAnswer) -> Option<AnswerCommand> {
    let key = key(wrong, path, &answer.purpose, &answer.recipient);
    let status = Status::find(&answer.status);
    if status.is_none() {
        wrong.add(format!("{path}.status"), "must be given, refused or withdrawn");
    }
    let notice =
        (answer.notice_version != 0).then(|| (answer.notice_version, answer.notice_language.clone()));
    if status == Some(Status::Given) && notice.is_none() {
        wrong.add(format!("{path}.notice_version"), "must name the notice that was shown");
    }
    Some(AnswerCommand { key: key?, status: status?, notice })
}

/// A purpose with its recipient.
pub fn consent_key(purpose: &str, recipient: &str) -> Result<ConsentKey, Error> {
    let mut wrong = Violations::default();
    key(&mut wrong, "", purpose, recipient).ok_or_else(|| wrong.into_error())
}

fn key(wrong: &mut Violations, path: &str, purpose: &str, recipient: &str) -> Option<ConsentKey> {
    let field = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let purpose: Purpose = wrong.parse(&field("purpose"), purpose)?;
    ConsentKey::new(purpose, recipient).map_err(|error| wrong.add(field("recipient"), error.rule)).ok()
}

/// A notice to publish.
pub fn notice(request: &wire::PublishNoticeRequest) -> Result<NoticeCommand, Error> {
    let mut wrong = Violations::default();
    let key = key(&mut wrong, "", &request.purpose, &request.recipient);
    if !Locale::ALL.iter().any(|locale| locale.tag() == request.language) {
        wrong.add("language", "must be ja, en or fr");
    }
    if request.version == 0 || i32::try_from(request.version).is_err() {
        wrong.add("version", "must be 1 or more");
    }
    let length = request.text.chars().count();
    if length == 0 || length > LONGEST_NOTICE || request.text.contains('\0') {
        wrong.add("text", "must be 1 to 20,000 characters");
    }
    match key {
        Some(key) if wrong.0.is_empty() => {
            let sha256 = sha256(request.text.as_bytes());
            let notice = Notice { version: request.version, language: request.language.clone(), sha256 };
            Ok(NoticeCommand { key, notice, text: request.text.clone() })
        }
        _ => Err(wrong.into_error()),
    }
}

/// A time on the wire.
pub fn time(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>, Error> {
    let Some(at) = at else { return Ok(None) };
    let nanos = u32::try_from(at.nanos).ok();
    match nanos.and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos)) {
        // PostgreSQL's own range is smaller than protobuf's.
        Some(time) if (0..=253_402_300_799).contains(&at.seconds) => Ok(Some(time)),
        _ => Err(FieldViolation::new(field, "must be a time between 1970 and 9999").into()),
    }
}

fn is_zone(name: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(right)
}

fn body_sha256(request: &impl Message) -> [u8; 32] {
    sha256(&request.encode_to_vec())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
