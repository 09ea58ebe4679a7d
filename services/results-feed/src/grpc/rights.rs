use chassis::FieldViolation;
use domain::{DateTime, Utc};
use proto::results::v1::{
    self as wire, DecidingRule, ExplainAccessRequest, ExplainAccessResponse, ListDecisionsRequest,
    ListDecisionsResponse, ListEntitlementsRequest, ListEntitlementsResponse,
};

use super::parse;
use crate::{
    Error,
    app::{App, Explanation, Question},
    entitlement::{Entitlement, Participants, Representation, Rule, RulePlace, RuleText},
    events::{document_key, status, timestamp},
    header::DocumentKey,
    store::{Asked, StoredDecision},
};

/// An entitlement on the wire.
pub fn entitlement(entitlement: &Entitlement) -> wire::Entitlement {
    wire::Entitlement {
        client_id: entitlement.client_id.clone(),
        version: entitlement.version,
        rules: entitlement.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &Rule) -> wire::EntitlementRule {
    let text = rule.text();
    wire::EntitlementRule {
        prefix: text.prefix.clone(),
        types: text.types.clone(),
        statuses: text.statuses.clone(),
        feed_flag: text.feed_flag.clone(),
        nocs: text.nocs.clone(),
        embargo_minutes: text.embargo_minutes,
        embargo_until: text.embargo_until.map(timestamp),
        representations: text.representations.clone(),
    }
}

/// Rules as they were given.
pub fn texts(field: &str, rules: Vec<wire::EntitlementRule>) -> Result<Vec<RuleText>, Error> {
    let mut texts = Vec::with_capacity(rules.len());
    for (at, rule) in rules.into_iter().enumerate() {
        texts.push(RuleText {
            prefix: rule.prefix,
            types: rule.types,
            statuses: rule.statuses,
            feed_flag: rule.feed_flag,
            nocs: rule.nocs,
            embargo_minutes: rule.embargo_minutes,
            embargo_until: rule
                .embargo_until
                .map(|until| parse::instant(&format!("{field}[{at}].embargo_until"), &until))
                .transpose()?,
            representations: rule.representations,
        });
    }
    Ok(texts)
}

/// A page of entitlements.
pub async fn list(app: &App, request: &ListEntitlementsRequest) -> Result<ListEntitlementsResponse, Error> {
    let limit = parse::page_size("page_size", request.page_size)?;
    let after = match request.page_token.as_str() {
        "" => String::new(),
        token => parse::client_id("page_token", token)?,
    };
    let page = app.list_entitlements(&after, limit).await?;
    let is_full = i64::try_from(page.len()).is_ok_and(|count| count == limit);
    let next = page.last().filter(|_| is_full).map(|last| last.client_id.clone());
    Ok(ListEntitlementsResponse {
        entitlements: page.iter().map(entitlement).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// Why a client might read a version, or might not.
pub async fn explain(app: &App, request: ExplainAccessRequest) -> Result<ExplainAccessResponse, Error> {
    let representation = match request.representation.as_str() {
        "" => Representation::Json,
        name => Representation::named(name)
            .ok_or_else(|| FieldViolation::new("representation", "must be json or odf"))?,
    };
    let at: Option<DateTime<Utc>> = request.at.map(|at| parse::instant("at", &at)).transpose()?;
    let asked = Asked {
        handle: positive("handle", request.handle)?,
        key: request.key.map(|key| key_of(app, key)).transpose()?,
        version: positive("version", i64::from(request.version))?
            .and_then(|version| i32::try_from(version).ok()),
        seq: positive("seq", request.seq)?,
        at: None,
    };
    if asked.handle.is_none() && asked.key.is_none() {
        return Err(FieldViolation::new("key", "must be given where there is no handle").into());
    }
    let question = Question {
        client_id: parse::client_id("client_id", &request.client_id)?,
        stream: parse::stream("feed_flag", &request.feed_flag)?,
        asked,
        at,
        representation,
    };
    Ok(explanation(&app.explain_access(question).await?))
}

fn explanation(explained: &Explanation) -> ExplainAccessResponse {
    let (about, decision) = (&explained.about, &explained.decision);
    let participants = match &explained.participants {
        Participants::Of(nocs) if decision.permitted => nocs.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    ExplainAccessResponse {
        permitted: decision.permitted,
        reason: decision.reason.code().to_owned(),
        explanation: decision.to_string(),
        rule: decision.rule.as_ref().map(|place| deciding_rule(place, explained.rule.as_ref())),
        opens_at: decision.opens_at.map(timestamp),
        participant_nocs: participants,
        handle: about.handle,
        key: Some(document_key(&about.key)),
        version: about.version,
        result_status: status(about.status),
        seq: about.seq,
        nocs: about.facts.nocs.iter().map(ToString::to_string).collect(),
        status_since: Some(timestamp(about.facts.status_since)),
        received_at: Some(timestamp(about.facts.received_at)),
        at: Some(timestamp(explained.at)),
    }
}

fn deciding_rule(place: &RulePlace, found: Option<&Rule>) -> DecidingRule {
    DecidingRule {
        client_id: place.client_id.clone(),
        version: place.version,
        number: u32::try_from(place.index + 1).unwrap_or(u32::MAX),
        rule: found.map(rule),
    }
}

fn key_of(app: &App, key: wire::DocumentKey) -> Result<DocumentKey, Error> {
    let bounded = |field: &str, text: String| parse::bounded(field, &text).map(str::to_owned);
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let key = DocumentKey {
        competition_code: or(bounded("key.competition_code", key.competition_code)?, app.competition()),
        document_code: bounded("key.document_code", key.document_code)?,
        document_subcode: bounded("key.document_subcode", key.document_subcode)?,
        document_type: bounded("key.document_type", key.document_type)?,
        document_subtype: bounded("key.document_subtype", key.document_subtype)?,
        language: or(bounded("key.language", key.language)?, "ENG"),
    };
    if key.document_code.is_empty() || key.document_type.is_empty() {
        return Err(FieldViolation::new("key", "must have a document_code and a document_type").into());
    }
    Ok(key)
}

fn positive(field: &str, number: i64) -> Result<Option<i64>, Error> {
    match number {
        0 => Ok(None),
        1.. => Ok(Some(number)),
        _ => Err(FieldViolation::new(field, "must not be negative").into()),
    }
}

/// A page of the decision log.
pub async fn decisions(app: &App, request: &ListDecisionsRequest) -> Result<ListDecisionsResponse, Error> {
    let limit = parse::page_size("page_size", request.page_size)?;
    let client_id = match request.client_id.as_str() {
        "" => None,
        client_id => Some(parse::client_id("client_id", client_id)?),
    };
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(chassis::parse("page_token", parse::bounded("page_token", token)?)?),
    };
    let page = app.list_decisions(client_id.as_deref(), before, limit).await?;
    let is_full = i64::try_from(page.len()).is_ok_and(|count| count == limit);
    let next = page.last().filter(|_| is_full).map(|last| last.decision_id.to_string());
    Ok(ListDecisionsResponse {
        decisions: page.into_iter().map(decision).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

fn decision(kept: StoredDecision) -> wire::AccessDecision {
    wire::AccessDecision {
        decided_at: Some(timestamp(kept.decided_at)),
        cause: kept.cause,
        client_id: kept.client_id,
        stream: kept.stream_id,
        document_code: kept.document_code,
        document_type: kept.document_type,
        version: kept.version.unwrap_or_default(),
        seq: kept.seq,
        entry_seq: kept.entry_seq.unwrap_or_default(),
        permitted: kept.permitted,
        reason: kept.reason,
        rule: kept.rule.as_ref().map(|place| deciding_rule(place, None)),
    }
}
