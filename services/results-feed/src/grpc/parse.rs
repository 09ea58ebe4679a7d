use std::collections::BTreeSet;

use chassis::FieldViolation;
use domain::{DateTime, NaiveDate, Utc, Uuid};
use prost_types::Timestamp;
use proto::results::v1 as wire;
use tonic::Status;

use crate::{
    Error,
    delivery_target::Filter,
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{MOST_PREFIXES as MOST_RULE_PREFIXES, MOST_RULES, Rule, RuleText},
    fanout::{MOST_PREFIXES, Representation},
    rsc::{Prefix, Rsc},
    search::{self, MOST_LANGUAGES, Search},
    stream_name::StreamName,
};

/// Longest cursor, page token and client id in bytes.
const LONGEST: usize = 200;
/// Seconds since 1970 of the years 2000 to 2099.
const CENTURY: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// An RSC of a field.
pub fn rsc(field: &str, text: &str) -> Result<Rsc, Error> {
    Ok(chassis::parse(field, text)?)
}

/// Prefixes of a filter.
pub fn prefixes(field: &str, texts: &[String]) -> Result<Vec<Prefix>, Error> {
    if texts.len() > MOST_PREFIXES {
        return Err(FieldViolation::new(field, format!("must have at most {MOST_PREFIXES} prefixes")).into());
    }
    let mut prefixes = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        prefixes.push(chassis::parse(&format!("{field}[{at}]"), text)?);
    }
    Ok(prefixes)
}

/// P when empty.
pub fn feed_flag(field: &str, text: &str) -> Result<FeedFlag, Error> {
    if text.is_empty() { Ok(FeedFlag::Production) } else { Ok(chassis::parse(field, text)?) }
}

/// json when empty.
pub fn representation(field: &str, text: &str) -> Result<Representation, Error> {
    match text {
        "" | "json" => Ok(Representation::Json),
        "odf" => Ok(Representation::Odf),
        _ => Err(FieldViolation::new(field, "must be json or odf").into()),
    }
}

/// P when empty; T, and R1 to R9 for rehearsals.
pub fn stream(field: &str, text: &str) -> Result<StreamName, Error> {
    if text.is_empty() { Ok(StreamName::Production) } else { Ok(chassis::parse(field, text)?) }
}

/// A text that has a limit.
pub fn bounded<'a>(field: &str, text: &'a str) -> Result<&'a str, Error> {
    if text.len() > LONGEST {
        return Err(FieldViolation::new(field, format!("must be at most {LONGEST} bytes")).into());
    }
    Ok(text)
}

/// A handle behind which a page begins; 0 when empty.
pub fn handle(field: &str, token: &str) -> Result<i64, Error> {
    if token.is_empty() { Ok(0) } else { Ok(chassis::parse(field, bounded(field, token)?)?) }
}

/// 100 when 0, at most 500.
pub fn page_size(field: &str, asked: u32) -> Result<i64, Error> {
    match asked {
        0 => Ok(100),
        1..=500 => Ok(i64::from(asked)),
        _ => Err(FieldViolation::new(field, "must be at most 500").into()),
    }
}

/// 1 to 80 characters without control characters.
pub fn name(field: &str, text: &str) -> Result<String, Error> {
    let length = text.chars().count();
    if !(1..=80).contains(&length) || text.chars().any(char::is_control) {
        return Err(
            FieldViolation::new(field, "must be 1 to 80 characters without control characters").into()
        );
    }
    Ok(text.to_owned())
}

/// 1 to 100 of `A-Z a-z 0-9 . _ : -`.
pub fn client_id(field: &str, text: &str) -> Result<String, Error> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if text.is_empty() || text.len() > 100 || !text.bytes().all(right) {
        return Err(FieldViolation::new(
            field,
            "must be a client id of 1 to 100 letters, digits, `.`, `_`, `:` or `-`",
        )
        .into());
    }
    Ok(text.to_owned())
}

/// Rules of an entitlement; every wrong one is named at once.
pub fn rules(field: &str, texts: Vec<RuleText>) -> Result<Vec<Rule>, Error> {
    if texts.len() > MOST_RULES {
        return Err(FieldViolation::new(field, format!("must have at most {MOST_RULES} rules")).into());
    }
    let (mut rules, mut wrong) = (Vec::with_capacity(texts.len()), Vec::new());
    for (at, text) in texts.into_iter().enumerate() {
        if text.types.len() > 68 || text.statuses.len() > 10 || text.representations.len() > 2 {
            wrong.push(FieldViolation::new(
                format!("{field}[{at}]"),
                "must name each type, status and representation once",
            ));
            continue;
        }
        match Rule::parse(text) {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                wrong.push(FieldViolation::new(format!("{field}[{at}].{}", error.field), error.rule));
            }
        }
    }
    let prefixes: BTreeSet<&str> = rules.iter().map(|rule| rule.text().prefix.as_str()).collect();
    if prefixes.len() > MOST_RULE_PREFIXES {
        let rule = format!("must have at most {MOST_RULE_PREFIXES} different prefixes");
        wrong.push(FieldViolation::new(field, rule));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(Error::Invalid(wrong)) }
}

/// The actor's client, whose rights hold.
pub fn reader<T>(request: &tonic::Request<T>) -> Result<String, Status> {
    Ok(chassis::actor(request)?.client_id)
}

/// The id of a delivery target.
pub fn target_id(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| FieldViolation::new("target_id", "must be the id of a delivery target").into())
}

/// Document types, each once.
pub fn types(field: &str, names: &[String]) -> Result<Vec<DocumentType>, Error> {
    if names.len() > DocumentType::COUNT {
        return Err(FieldViolation::new(field, "must name each type once").into());
    }
    let parse = |(at, name): (usize, &String)| chassis::parse(&format!("{field}[{at}]"), name);
    Ok(names.iter().enumerate().map(parse).collect::<Result<_, FieldViolation>>()?)
}

/// Statuses of a filter, each once; `NONE` for documents without one.
pub fn statuses(field: &str, names: &[String]) -> Result<Vec<Option<ResultStatus>>, Error> {
    if names.len() > ResultStatus::ALL.len() + 1 {
        return Err(FieldViolation::new(field, "must name each status once").into());
    }
    let parse = |(at, name): (usize, &String)| {
        Filter::status_of(name)
            .map_err(|error| FieldViolation::new(format!("{field}[{at}]"), error.to_string()))
    };
    Ok(names.iter().enumerate().map(parse).collect::<Result<_, FieldViolation>>()?)
}

/// A search; `field` is where it stands in the request.
pub fn search(field: &str, asked: &wire::DocumentSearch) -> Result<Search, Error> {
    let within = |name: &str| format!("{field}.{name}");
    if asked.languages.len() > MOST_LANGUAGES {
        let rule = format!("must have at most {MOST_LANGUAGES} languages");
        return Err(FieldViolation::new(within("languages"), rule).into());
    }
    let mut languages = Vec::with_capacity(asked.languages.len());
    for (at, text) in asked.languages.iter().enumerate() {
        let language = search::language(text);
        languages.push(
            language.map_err(|error| {
                FieldViolation::new(within(&format!("languages[{at}]")), error.to_string())
            })?,
        );
    }
    if asked.version < 0 {
        return Err(FieldViolation::new(within("version"), "must be 0 or more").into());
    }
    Ok(Search {
        feed_flag: feed_flag(&within("feed_flag"), &asked.feed_flag)?,
        prefixes: prefixes(&within("prefixes"), &asked.prefixes)?,
        types: types(&within("types"), &asked.types)?,
        languages,
        first_day: day(&within("first_day"), &asked.first_day)?,
        last_day: day(&within("last_day"), &asked.last_day)?,
        received_from: asked.received_from.map(|at| instant(&within("received_from"), &at)).transpose()?,
        received_before: asked
            .received_before
            .map(|at| instant(&within("received_before"), &at))
            .transpose()?,
        version: Some(asked.version).filter(|version| *version > 0),
        newest_only: asked.newest_only,
    })
}

fn day(field: &str, text: &str) -> Result<Option<NaiveDate>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(day) if text.len() == 10 => Ok(Some(day)),
        _ => Err(FieldViolation::new(field, "must be a day such as 2030-07-28").into()),
    }
}

/// An instant of this century.
pub fn instant(field: &str, at: &Timestamp) -> Result<DateTime<Utc>, Error> {
    let nanoseconds = u32::try_from(at.nanos).ok();
    nanoseconds
        .and_then(|nanoseconds| DateTime::from_timestamp(at.seconds, nanoseconds))
        .filter(|at| CENTURY.contains(&at.timestamp()))
        .ok_or_else(|| FieldViolation::new(field, "must be an instant from 2000 to 2099").into())
}
