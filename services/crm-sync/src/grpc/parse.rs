//! Wire messages into commands: every wrong field is named.

use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use chassis::FieldViolation;
use domain::{ConsentKey, Purpose, RequestId, Uuid};
use prost::Message;
use proto::crmsync::v1::{self as wire, field_mapping};

use crate::{
    Error,
    app::{CreateDestination, Request},
    destination::Salesforce,
    gate::DecisionId,
    mapping::{self, Computed, Conversion, FieldMapping, LONGEST_VALUE, Mapping, NullPolicy, Source, ioc},
};

const LONGEST_NAME: usize = 40;
const LONGEST_URL: usize = 200;
const LONGEST_CLIENT_ID: usize = 255;
const LARGEST_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;

/// Gathers what is wrong while the fields are read.
#[derive(Debug, Default)]
struct Violations(Vec<FieldViolation>);

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

    fn check(&mut self, right: bool, field: &str, rule: &str) {
        if !right {
            self.add(field, rule);
        }
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }
}

/// An id.
pub fn id(field: &str, text: &str) -> Result<Uuid, Error> {
    // As every id of the suite: only the hyphenated form.
    let id: RequestId = chassis::parse(field, text)?;
    Ok(id.0)
}

/// The id of a write with the hash of its body.
pub fn request(request_id: &str, message: &impl Message) -> Result<Request, Error> {
    let request_id = chassis::parse("request_id", request_id)?;
    let mut body_sha256 = [0; 32];
    body_sha256.copy_from_slice(digest(&SHA256, &message.encode_to_vec()).as_ref());
    Ok(Request { request_id, body_sha256 })
}

/// A destination to create.
pub fn create_destination(message: &wire::CreateDestinationRequest) -> Result<CreateDestination, Error> {
    let mut wrong = Violations::default();
    let request_id: Option<RequestId> = wrong.parse("request_id", &message.request_id);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = (1..=LONGEST_NAME).contains(&message.name.len()) && message.name.bytes().all(plain);
    wrong.check(named, "name", "must be 1 to 40 lower-case letters, digits or `-`");
    // Agreements and consents name a recipient alike.
    let recipient = ConsentKey::new(Purpose::PartnerOffers, &message.recipient).is_ok();
    wrong.check(recipient, "recipient", "must be 1 to 40 lower-case letters, digits or `-`");
    let object = or(&message.object, "Contact");
    let match_key_field = or(&message.match_key_field, "Kotinos_Id__c");
    let is_api_name = |name: &str| {
        (1..=80).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    wrong.check(is_api_name(&object), "object", "must be 1 to 80 letters, digits or `_`");
    wrong.check(is_api_name(&match_key_field), "match_key_field", "must be 1 to 80 letters, digits or `_`");
    let salesforce = salesforce(&mut wrong, message.salesforce.as_ref());
    let request = request(&message.request_id, message);
    let command = match (request_id, salesforce, request) {
        (Some(_), Some(salesforce), Ok(request)) => Some(CreateDestination {
            request,
            name: message.name.clone(),
            recipient: message.recipient.clone(),
            salesforce,
            object,
            match_key_field,
        }),
        _ => None,
    };
    wrong.finish(command)
}

fn salesforce(wrong: &mut Violations, settings: Option<&wire::Salesforce>) -> Option<Salesforce> {
    let Some(settings) = settings else {
        wrong.add("salesforce", "must be set");
        return None;
    };
    let login_url = origin(&settings.login_url);
    let rule = "must be a URL without path, such as https://login.salesforce.com";
    wrong.check(login_url.is_some(), "salesforce.login_url", rule);
    let is_text = |text: &str| {
        (1..=LONGEST_CLIENT_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let rule = "must be 1 to 255 visible ASCII characters";
    wrong.check(is_text(&settings.client_id), "salesforce.client_id", rule);
    wrong.check(is_text(&settings.username), "salesforce.username", rule);
    let audience = or(&settings.audience, login_url.as_deref().unwrap_or("-"));
    wrong.check(is_text(&audience), "salesforce.audience", rule);
    let (client_id, username) = (settings.client_id.clone(), settings.username.clone());
    Some(Salesforce { login_url: login_url?, client_id, username, audience })
}

// Which hosts may be called is the HTTP client's rule, which knows the listed ones.
fn origin(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|_| text.len() <= LONGEST_URL)?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    let right = plain && url.host_str().is_some() && matches!(url.scheme(), "https" | "http");
    right.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// A mapping: a shipped one by its name, or fields.
pub fn mapping(message: &wire::SaveMappingVersionRequest) -> Result<Mapping, Error> {
    let violation = |wrong: mapping::Wrong| Error::from(FieldViolation::new(wrong.field, wrong.rule));
    if !message.built_in.is_empty() {
        if message.built_in != ioc::NAME || !message.fields.is_empty() {
            return Err(
                FieldViolation::new("built_in", "must be ioc_contact, without fields beside it").into()
            );
        }
        return ioc::mapping().map_err(violation);
    }
    if message.fields.len() > mapping::MOST_FIELDS {
        return Err(FieldViolation::new("fields", "must hold 1 to 60 fields").into());
    }
    let mut wrong = Violations::default();
    let mut fields = Vec::with_capacity(message.fields.len());
    for (at, field) in message.fields.iter().enumerate() {
        fields.extend(field_mapping(&mut wrong, &format!("fields[{at}]"), field));
    }
    let fields = wrong.finish(Some(fields))?;
    Mapping::new(fields).map_err(violation)
}

fn field_mapping(wrong: &mut Violations, path: &str, field: &wire::FieldMapping) -> Option<FieldMapping> {
    let source = match &field.source {
        Some(field_mapping::Source::Trait(name)) => Some(Source::Trait(name.clone())),
        Some(field_mapping::Source::Constant(text)) => Some(Source::Constant(text.clone())),
        Some(field_mapping::Source::Computed(name)) => match Computed::try_from(name.clone()) {
            Ok(computed) => Some(Source::Computed(computed)),
            Err(error) => {
                wrong.add(format!("{path}.computed"), error.rule);
                None
            }
        },
        None => {
            wrong.add(format!("{path}.source"), "must be trait, computed or constant");
            None
        }
    };
    let conversion = Conversion::find(&or(&field.conversion, "none"));
    wrong.check(conversion.is_some(), &format!("{path}.conversion"), "must be none, date, join or flag");
    let null_policy = NullPolicy::find(&field.null_policy);
    wrong.check(null_policy.is_some(), &format!("{path}.null_policy"), "must be keep, clear or fill_empty");
    let max_length = match field.max_length {
        0 => LONGEST_VALUE,
        other => usize::try_from(other).unwrap_or(usize::MAX),
    };
    Some(FieldMapping {
        target: field.target.clone(),
        source: source?,
        conversion: conversion?,
        max_length,
        null_policy: null_policy?,
        placeholder: Some(field.placeholder.clone()).filter(|text| !text.is_empty()),
    })
}

/// Size of a page.
pub fn page_size(asked: u32) -> i64 {
    i64::from(if asked == 0 { DEFAULT_PAGE } else { asked.min(LARGEST_PAGE) })
}

/// The hash of a plan.
pub fn plan_hash(text: &str) -> Result<&str, Error> {
    if text.len() == 64 && text.bytes().all(is_hex) {
        return Ok(text);
    }
    Err(FieldViolation::new("plan_hash", "must be 64 lower-case hex digits").into())
}

/// The id of a decision.
pub fn decision_id(text: &str) -> Result<DecisionId, Error> {
    let wrong = || Error::from(FieldViolation::new("decision_id", "must be 32 lower-case hex digits"));
    if text.len() != 32 || !text.bytes().all(is_hex) {
        return Err(wrong());
    }
    u128::from_str_radix(text, 16).map(u128::to_be_bytes).map_err(|_| wrong())
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_is_a_login_url() {
        assert_eq!(origin("https://login.salesforce.com/").as_deref(), Some("https://login.salesforce.com"));
        assert_eq!(origin("http://127.0.0.1:8190").as_deref(), Some("http://127.0.0.1:8190"));
        for wrong in [
            "",
            "login.salesforce.com",
            "ftp://x.org",
            "https://a:b@x.org",
            "https://x.org/a",
            "https://x.org?a",
            "https://x.org#a",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_wrong_field_of_a_destination_is_named() {
        let Err(Error::Invalid(fields)) = create_destination(&wire::CreateDestinationRequest {
            name: "IOC; drop table".to_owned(),
            object: "Contact?x=1".to_owned(),
            salesforce: Some(wire::Salesforce::default()),
            ..Default::default()
        }) else {
            panic!("must be refused")
        };
        let names: Vec<&str> = fields.iter().map(|violation| violation.field.as_str()).collect();
        let expected = [
            "request_id",
            "name",
            "recipient",
            "object",
            "salesforce.login_url",
            "salesforce.client_id",
            "salesforce.username",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn ids_and_hashes_have_one_spelling() {
        assert_eq!(decision_id("000102030405060708090a0b0c0d0e0f").unwrap()[15], 15);
        for wrong in ["", "0", "000102030405060708090A0B0C0D0E0F", "+00102030405060708090a0b0c0d0e0f"] {
            assert!(decision_id(wrong).is_err(), "{wrong}");
        }
        assert!(plan_hash(&"a".repeat(64)).is_ok());
        assert!(plan_hash("a").is_err());
        assert_eq!((page_size(0), page_size(7), page_size(u32::MAX)), (100, 7, 500));
    }

    #[test]
    fn a_shipped_mapping_is_named() {
        let named = |name: &str| {
            mapping(&wire::SaveMappingVersionRequest { built_in: name.to_owned(), ..Default::default() })
        };
        assert_eq!(named("ioc_contact").unwrap().fields().len(), 19);
        assert!(named("other").is_err() && named("").is_err());
    }
}
