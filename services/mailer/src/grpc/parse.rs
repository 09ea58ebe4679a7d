//! Wire messages into commands: every wrong field is named, all at once.

use std::{collections::BTreeMap, str::FromStr};

use aws_lc_rs::digest::{SHA256, digest};
use chassis::FieldViolation;
use domain::{AddressClass, ConsentKey, DateTime, EmailAddress, Locale, Purpose, TimeDelta, Utc, Uuid};
use prost::Message;
use proto::mailer::v1 as wire;

use crate::{
    Error,
    app::{CreateCampaign, ScheduleCampaign, SendTransactional},
    campaign::{Class, Delivery, Plan},
    mailbox,
    sender::{Sender, is_key},
    template::{Block, Source},
    transactional::{self, Template},
};

const LONGEST_NAME: usize = 120;
const LONGEST_FOOTER: usize = 2_000;
const MOST_FOOTERS: usize = 20;
const KEY_RULE: &str = "must be 1 to 40 lower-case letters, digits or `-`";
/// Longest wait of a transactional mail.
const LONGEST_DEADLINE: TimeDelta = TimeDelta::days(7);
/// How far ahead a campaign may be scheduled.
const FURTHEST: TimeDelta = TimeDelta::days(730);
/// Clocks of callers may differ from ours by this.
const PAST: TimeDelta = TimeDelta::minutes(5);

/// Gathers what is wrong while the fields are read.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    fn add(&mut self, field: impl Into<String>, rule: &str) {
        self.0.push(FieldViolation::new(field, rule));
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        chassis::parse(field, text).map_err(|violation| self.0.push(violation)).ok()
    }

    fn id(&mut self, field: &str, text: &str) -> Option<Uuid> {
        self.parse::<domain::RequestId>(field, text).map(Uuid::from)
    }

    fn line(&mut self, field: &str, text: &str, is_needed: bool) {
        let length = text.trim().chars().count();
        if length > LONGEST_NAME || text.chars().any(char::is_control) || is_needed && length == 0 {
            self.add(field, "must be 1 to 120 characters without a line break or another control character");
        }
    }

    fn key(&mut self, field: &str, text: &str) {
        if !is_key(text) {
            self.add(field, KEY_RULE);
        }
    }

    fn known<T>(&mut self, field: &str, found: Option<T>, rule: &str) -> Option<T> {
        if found.is_none() {
            self.add(field, rule);
        }
        found
    }

    fn done<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }
}

/// One id.
pub fn id<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Error> {
    Ok(chassis::parse(field, text)?)
}

/// A UUID that has no type of its own.
pub fn uuid(field: &str, text: &str) -> Result<Uuid, Error> {
    id::<domain::RequestId>(field, text).map(Uuid::from)
}

/// A key of a sender.
pub fn key(field: &str, text: &str) -> Result<String, Error> {
    let mut wrong = Violations::default();
    wrong.key(field, text);
    wrong.done(Some(text.to_owned()))
}

/// A new template's key and name.
pub fn template(request: &wire::CreateTemplateRequest) -> Result<(String, String), Error> {
    let mut wrong = Violations::default();
    wrong.key("key", &request.key);
    wrong.line("name", &request.name, true);
    wrong.done(Some((request.key.clone(), request.name.clone())))
}

/// A version to save; its parts are checked when it is compiled.
pub fn source(request: &wire::SaveTemplateVersionRequest) -> Result<(Uuid, Source), Error> {
    let template_id = uuid("template_id", &request.template_id)?;
    let block = |block: &wire::TemplateBlock| Block {
        language: block.language.clone(),
        subject: block.subject.clone(),
        preheader: block.preheader.clone(),
        html: block.html.clone(),
        text: block.text.clone(),
    };
    let source = Source {
        blocks: request.blocks.iter().map(block).collect(),
        default_language: request.default_language.clone(),
        variables: request.variables.clone(),
    };
    Ok((template_id, source))
}

/// A new sender.
pub fn sender(sender: Option<wire::Sender>) -> Result<Sender, Error> {
    let mut wrong = Violations::default();
    let sender = sender.unwrap_or_default();
    wrong.key("sender.key", &sender.key);
    wrong.line("sender.controller", &sender.controller, true);
    wrong.line("sender.from_name", &sender.from_name, true);
    let from = EmailAddress::conforming(&sender.from_address);
    let from = from.map_err(|error| wrong.add("sender.from_address", error.rule)).ok();
    let purpose: Option<Purpose> = wrong.parse("sender.purpose", &sender.purpose);
    let purpose = purpose.and_then(|purpose| {
        ConsentKey::new(purpose, &sender.recipient)
            .map_err(|error| wrong.add("sender.recipient", error.rule))
            .ok()
    });
    if sender.footer.is_empty() || sender.footer.len() > MOST_FOOTERS {
        wrong.add("sender.footer", "must hold 1 to 20 languages");
    }
    let mut footer = BTreeMap::new();
    for (language, text) in sender.footer {
        let is_tag = (2..=20).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let has_control = text.chars().any(|letter| letter.is_control() && letter != '\n');
        if !is_tag || text.trim().is_empty() || text.chars().count() > LONGEST_FOOTER || has_control {
            wrong.add("sender.footer", "must hold language tags with 1 to 2,000 characters of plain text");
            break;
        }
        footer.insert(language, text);
    }
    let sender = from.zip(purpose).map(|(from, purpose)| Sender {
        key: sender.key,
        controller: sender.controller,
        from_name: sender.from_name,
        from,
        purpose,
        footer,
    });
    wrong.done(sender)
}

/// A new campaign.
pub fn create_campaign(request: &wire::CreateCampaignRequest) -> Result<CreateCampaign, Error> {
    let mut wrong = Violations::default();
    let request_id = wrong.parse("request_id", &request.request_id);
    wrong.line("name", &request.name, true);
    wrong.key("sender_key", &request.sender_key);
    let segment_id = wrong.parse("segment_id", &request.segment_id);
    let template_id = wrong.id("template_id", &request.template_id);
    if request.template_version == 0 || i32::try_from(request.template_version).is_err() {
        wrong.add("template_version", "must be 1 or more");
    }
    let rule = "must be sales, news, results, safety or service";
    let class = wrong.known("class", Class::find(&request.class), rule);
    let rule = "must be at_least_once or at_most_once";
    let delivery = wrong.known("delivery", Delivery::find(&request.delivery), rule);
    let ids = request_id.zip(segment_id).zip(template_id).zip(class.zip(delivery));
    let plan = ids.map(|(((request_id, segment_id), template_id), (class, delivery))| Plan {
        request_id,
        name: request.name.clone(),
        sender_key: request.sender_key.clone(),
        segment_id,
        template_id,
        template_version: request.template_version,
        class,
        delivery,
    });
    let body_sha256 = digest(&SHA256, &request.encode_to_vec()).as_ref().to_vec();
    wrong.done(plan.map(|plan| CreateCampaign { plan, body_sha256 }))
}

/// A campaign's time.
pub fn schedule(
    request: &wire::ScheduleCampaignRequest,
    now: DateTime<Utc>,
) -> Result<ScheduleCampaign, Error> {
    let mut wrong = Violations::default();
    let campaign_id = wrong.parse("campaign_id", &request.campaign_id);
    let send_at = time(&mut wrong, "send_at", request.send_at);
    if send_at.is_some_and(|at| at < now - PAST || at > now + FURTHEST) {
        wrong.add("send_at", "must not be in the past, nor more than two years ahead");
    }
    let expected_version = (request.expected_version != 0).then_some(request.expected_version);
    wrong.done(campaign_id.map(|campaign_id| ScheduleCampaign { campaign_id, expected_version, send_at }))
}

/// A transactional mail.
pub fn transactional(
    request: wire::SendTransactionalRequest,
    now: DateTime<Utc>,
) -> Result<SendTransactional, Error> {
    let mut wrong = Violations::default();
    let body = canonical(&request);
    let request_id = wrong.parse("request_id", &request.request_id);
    let rule = "must be identity.verify_email, identity.address_taken, identity.recover, identity.password_changed or \
                identity.sign_in_changed";
    let template = wrong.known("template", Template::find(&request.template), rule);
    let address = EmailAddress::classify(&request.address);
    let address = address.map_err(|error| wrong.add("address", error.rule)).ok();
    if address.as_ref().is_some_and(|address| mailbox::wire_form(address).is_none()) {
        wrong.add("address", "must be an address that can be mailed");
    }
    if !request.address_class.is_empty() {
        wrong.parse::<AddressClass>("address_class", &request.address_class);
    }
    let variables: BTreeMap<String, String> = request.variables.into_iter().collect();
    if let Err(error) = transactional::check_variables(&variables) {
        wrong.add(error.field, error.rule);
    }
    let deadline = time(&mut wrong, "deadline", request.deadline);
    if deadline.is_none_or(|at| at <= now || at > now + LONGEST_DEADLINE) {
        wrong.add("deadline", "must be within the next seven days");
    }
    let command = request_id.zip(template).zip(address.zip(deadline));
    wrong.done(command.map(|((request_id, template), (address, deadline))| SendTransactional {
        request_id,
        body,
        template,
        address,
        locale: request.language.parse::<Locale>().unwrap_or_default(),
        variables,
        deadline,
    }))
}

// A map has no order on the wire, so that equal requests may differ in their bytes.
fn canonical(request: &wire::SendTransactionalRequest) -> Vec<u8> {
    let mut rest = request.clone();
    let variables: BTreeMap<String, String> = std::mem::take(&mut rest.variables).into_iter().collect();
    let mut bytes = rest.encode_to_vec();
    for (name, value) in variables {
        bytes.extend_from_slice(format!("\0{}:{name}\0{}:{value}", name.len(), value.len()).as_bytes());
    }
    bytes
}

/// Whose mail is to stop: a person and a sender, or all senders.
pub fn suppression(
    request: &wire::AddSuppressionRequest,
) -> Result<(domain::ProfileId, Option<String>), Error> {
    let mut wrong = Violations::default();
    let profile_id = wrong.parse("profile_id", &request.profile_id);
    let sender_key = match request.scope.as_str() {
        "all" if request.sender_key.is_empty() => None,
        "all" => {
            wrong.add("sender_key", "must be empty: the scope is all");
            None
        }
        "sender" => {
            wrong.key("sender_key", &request.sender_key);
            Some(request.sender_key.clone())
        }
        _ => {
            wrong.add("scope", "must be all or sender");
            None
        }
    };
    wrong.done(profile_id.map(|profile_id| (profile_id, sender_key)))
}

fn time(wrong: &mut Violations, field: &str, at: Option<prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    let at = at?;
    let nanos = u32::try_from(at.nanos).ok();
    let time = nanos.and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos));
    // PostgreSQL's own range is smaller than protobuf's.
    let time = time.filter(|_| (0..=253_402_300_799).contains(&at.seconds));
    if time.is_none() {
        wrong.add(field, "must be a time between 1970 and 9999");
    }
    time
}
