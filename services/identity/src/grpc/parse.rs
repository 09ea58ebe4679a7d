//! Wire messages into arguments of use cases: every wrong field is named, all at once.

use std::str::FromStr;

use chassis::FieldViolation;
use domain::{DateTime, EmailAddress, Utc};
use prost_types::Timestamp;

use crate::{client, error::Error, scope};

const LONGEST_REASON: usize = 200;
const LONGEST_SCOPE: usize = 64;

/// Gathers what is wrong while the fields are read.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    pub fn add(&mut self, field: &str, rule: &str) {
        self.0.push(FieldViolation::new(field, rule));
    }

    pub fn parse<T: FromStr<Err: std::fmt::Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        chassis::parse(field, text).map_err(|violation| self.0.push(violation)).ok()
    }

    /// 0 means whatever version is there.
    pub fn version(&mut self, number: i64) -> Option<i64> {
        if number < 0 {
            self.add("expected_version", "must be 0 or more");
        }
        (number != 0).then_some(number)
    }

    /// A scope that staff may hold.
    pub fn staff_scope(&mut self, text: &str) -> Option<String> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_' || byte == b'-';
        let right = (1..=LONGEST_SCOPE).contains(&text.len())
            && text.bytes().all(letters)
            && text.contains('.')
            && scope::is_staff(text, true);
        if !right {
            self.add("scope", "must be a scope of staff such as identity.support");
        }
        right.then(|| text.to_owned())
    }

    /// A reason for the audit.
    pub fn reason(&mut self, text: &str) {
        if text.chars().count() > LONGEST_REASON || text.chars().any(char::is_control) {
            self.add(
                "reason",
                "must be at most 200 characters without a line break or another control character",
            );
        }
    }

    /// An id that a client may have.
    pub fn client_id<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let right = client::is_client_id(text);
        if !right {
            self.add("client_id", "must be 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        right.then_some(text)
    }

    /// A time, if one is given.
    pub fn time(&mut self, field: &str, at: Option<Timestamp>) -> Option<DateTime<Utc>> {
        let at = at?;
        let nanos = u32::try_from(at.nanos).unwrap_or(u32::MAX);
        let time = DateTime::from_timestamp(at.seconds, nanos);
        if time.is_none() {
            self.add(field, "must be a time between the years 1 and 9999");
        }
        time
    }

    pub fn done<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid(self.0)),
        }
    }
}

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 200;

/// How many rows a page has: 50 when nothing is asked for, 200 at most.
pub fn page_size(asked: u32) -> u32 {
    if asked == 0 { DEFAULT_PAGE } else { asked.min(LARGEST_PAGE) }
}

/// The token of the page behind this one; empty when it is not full.
pub fn next_page<T>(rows: &[T], size: u32, token: impl Fn(&T) -> String) -> String {
    let is_full = rows.len() >= size as usize;
    rows.last().filter(|_| is_full).map(token).unwrap_or_default()
}

/// One id.
pub fn id<T: FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Error> {
    Ok(chassis::parse(field, text)?)
}

/// An address in its exact bytes.
pub fn address(bytes: &[u8]) -> Result<EmailAddress, Error> {
    EmailAddress::classify(bytes).map_err(|error| FieldViolation::new("address", error.rule).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scope_of_staff_is_granted() {
        for right in ["identity.support", "segmentation.read", "crmsync.activate"] {
            assert!(Violations::default().staff_scope(right).is_some(), "{right}");
        }
        let long = format!("a.{}", "x".repeat(80));
        for wrong in [
            "",
            "openid",
            "offline_access",
            "identity.self",
            "profile.write",
            "identity",
            "a b.c",
            "A.B",
            &long,
        ] {
            assert!(Violations::default().staff_scope(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut wrong = Violations::default();
        assert_eq!(wrong.parse::<domain::UserId>("user_id", "'; --"), None);
        assert_eq!(wrong.version(-1), Some(-1));
        wrong.reason("a\r\nb");
        let Err(Error::Invalid(fields)) = wrong.done(Some(())) else { panic!() };
        let fields: Vec<_> = fields.into_iter().map(|field| field.field).collect();
        assert_eq!(fields, ["user_id", "expected_version", "reason"]);
    }
}
