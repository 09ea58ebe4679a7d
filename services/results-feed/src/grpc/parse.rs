use chassis::FieldViolation;
use tonic::Status;

use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::{MOST_RULES, Rule, RuleText},
    rsc::{Prefix, Rsc},
};

/// Most prefixes of a filter.
const MOST_PREFIXES: usize = 64;
/// Longest cursor, page token and client id in bytes.
const LONGEST: usize = 200;

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
        if text.types.len() > 68 || text.statuses.len() > 10 {
            wrong.push(FieldViolation::new(format!("{field}[{at}]"), "must name each type and status once"));
            continue;
        }
        match Rule::parse(text) {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                wrong.push(FieldViolation::new(format!("{field}[{at}].{}", error.field), error.rule));
            }
        }
    }
    if wrong.is_empty() { Ok(rules) } else { Err(Error::Invalid(wrong)) }
}

/// The actor's client, whose rights hold.
pub fn reader<T>(request: &tonic::Request<T>) -> Result<String, Status> {
    Ok(chassis::actor(request)?.client_id)
}
