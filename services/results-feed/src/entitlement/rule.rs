use std::collections::BTreeSet;

use domain::{DateTime, Noc, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Reason, Subject};
use crate::{
    document_type::{DocumentType, ResultStatus},
    rsc::Prefix,
};

/// Most rules of a client.
pub const MOST_RULES: usize = 100;
/// Most different prefixes in the rules of a client: as many as a filter has.
pub const MOST_PREFIXES: usize = 64;
/// Most organisations of a rule, and of a document: the world has about 210, and some teams without a country.
pub const MOST_NOCS: usize = 250;
/// Longest embargo in minutes: a year.
pub const LONGEST_EMBARGO: u32 = 366 * 24 * 60;
/// How a rule names documents without a status.
const NO_STATUS: &str = "NONE";

/// Documents under a prefix, of these types, statuses and organisations, of one feed flag, in these representations, from
/// the end of an embargo on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    text: RuleText,
    prefix: Prefix,
    types: u128,
    statuses: u16,
    /// Sorted; none means whatever the document names, and nothing too.
    nocs: Vec<Noc>,
    embargo: Embargo,
    feed_flag: crate::document_type::FeedFlag,
    representations: u8,
}

/// A rule in words, as clients give it and the database keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleText {
    /// RSC prefix; empty means everything.
    pub prefix: String,
    /// `DT_` names; none means every type.
    #[serde(default)]
    pub types: Vec<String>,
    /// Status names, `NONE` for documents without one; none means all of them.
    #[serde(default)]
    pub statuses: Vec<String>,
    /// `P` when empty.
    #[serde(default)]
    pub feed_flag: String,
    /// Organisations, of which one must be a competitor's; none means all documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nocs: Vec<String>,
    /// Minutes after the document reached its status; 0 means none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embargo_minutes: u32,
    /// Nothing before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embargo_until: Option<DateTime<Utc>>,
    /// `json` and `odf`; none means both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub representations: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(minutes: &u32) -> bool {
    *minutes == 0
}

/// How long a rule holds back what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embargo {
    /// Not at all.
    None,
    /// So long after the document reached its status.
    AfterStatus(TimeDelta),
    /// Until an instant.
    Until(DateTime<Utc>),
}

/// In which form a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Representation {
    /// The canonical document.
    #[default]
    Json,
    /// The XML as its sender sent it.
    Odf,
}

impl Representation {
    /// The name in rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Odf => "odf",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::Odf].into_iter().find(|one| one.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A rule that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidRule {
    /// The field of [`RuleText`].
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

fn wrong(field: &'static str, rule: impl std::fmt::Display) -> InvalidRule {
    InvalidRule { field, rule: rule.to_string() }
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub fn parse(text: RuleText) -> Result<Self, InvalidRule> {
        let prefix = text.prefix.parse().map_err(|error| wrong("prefix", error))?;
        let mut types = 0;
        for name in &text.types {
            types |= name.parse::<DocumentType>().map_err(|error| wrong("types", error))?.bit();
        }
        let mut statuses = 0;
        for name in &text.statuses {
            statuses |= match name.as_str() {
                NO_STATUS => bit(None),
                name => bit(Some(name.parse().map_err(|error| wrong("statuses", error))?)),
            };
        }
        let feed_flag = match text.feed_flag.as_str() {
            "" => crate::document_type::FeedFlag::Production,
            flag => flag.parse().map_err(|error| wrong("feed_flag", error))?,
        };
        Ok(Self {
            prefix,
            types: if types == 0 { u128::MAX } else { types },
            statuses: if statuses == 0 { u16::MAX } else { statuses },
            nocs: nocs(&text.nocs)?,
            embargo: embargo(&text)?,
            feed_flag,
            representations: representations(&text.representations)?,
            text,
        })
    }

    /// The rule in words.
    #[must_use]
    pub const fn text(&self) -> &RuleText {
        &self.text
    }

    /// How long it holds back what it allows.
    #[must_use]
    pub const fn embargo(&self) -> Embargo {
        self.embargo
    }

    /// The organisations that it names, sorted; none means that it asks for none.
    #[must_use]
    pub fn nocs(&self) -> &[Noc] {
        &self.nocs
    }

    /// From when on it allows a version to be read; otherwise the first condition that the version does not meet.
    ///
    /// # Errors
    /// The reason why it says nothing about the version.
    pub fn opens_at(
        &self,
        document: &Subject<'_>,
        representation: Representation,
    ) -> Result<DateTime<Utc>, Reason> {
        if self.feed_flag != document.feed_flag {
            return Err(Reason::FeedFlag);
        }
        if self.representations & representation.bit() == 0 {
            return Err(Reason::Representation);
        }
        if !self.prefix.matches(document.code) {
            return Err(Reason::Prefix);
        }
        if self.types & document.document_type.bit() == 0 {
            return Err(Reason::Type);
        }
        if self.statuses & bit(document.status) == 0 {
            return Err(Reason::Status);
        }
        if !self.nocs.is_empty() && !self.names_one_of(&document.facts.nocs) {
            return Err(Reason::Noc);
        }
        Ok(match self.embargo {
            Embargo::None => DateTime::<Utc>::MIN_UTC,
            Embargo::Until(at) => at,
            Embargo::AfterStatus(wait) => {
                document.facts.status_since.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)
            }
        })
    }

    fn names_one_of(&self, nocs: &[Noc]) -> bool {
        nocs.iter().any(|noc| self.nocs.binary_search(noc).is_ok())
    }
}

const fn bit(status: Option<ResultStatus>) -> u16 {
    match status {
        None => 1,
        Some(status) => 2 << status as u16,
    }
}

fn nocs(names: &[String]) -> Result<Vec<Noc>, InvalidRule> {
    if names.len() > MOST_NOCS {
        return Err(wrong("nocs", format_args!("must have at most {MOST_NOCS} organisations")));
    }
    let mut nocs = BTreeSet::new();
    for name in names {
        nocs.insert(name.parse::<Noc>().map_err(|error| wrong("nocs", error))?);
    }
    Ok(nocs.into_iter().collect())
}

fn embargo(text: &RuleText) -> Result<Embargo, InvalidRule> {
    match (text.embargo_minutes, text.embargo_until) {
        (0, None) => Ok(Embargo::None),
        (0, Some(at)) => Ok(Embargo::Until(at)),
        (minutes @ 1..=LONGEST_EMBARGO, None) => {
            Ok(Embargo::AfterStatus(TimeDelta::minutes(i64::from(minutes))))
        }
        (_, None) => Err(wrong("embargo_minutes", format_args!("must be at most {LONGEST_EMBARGO}, a year"))),
        (_, Some(_)) => Err(wrong("embargo_until", "must be absent where embargo_minutes is given")),
    }
}

fn representations(names: &[String]) -> Result<u8, InvalidRule> {
    let mut bits = 0;
    for name in names {
        let one = Representation::named(name).ok_or(wrong("representations", "must be json or odf"))?;
        bits |= one.bit();
    }
    Ok(if bits == 0 { u8::MAX } else { bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_rule_names_its_field() {
        let field = |text: RuleText| Rule::parse(text).unwrap_err().field;
        let text = RuleText::default;
        let names = |name: &str| vec![name.to_owned()];
        assert_eq!(field(RuleText { prefix: "'; drop".to_owned(), ..text() }), "prefix");
        assert_eq!(field(RuleText { types: names("RESULT"), ..text() }), "types");
        assert_eq!(field(RuleText { statuses: names("x"), ..text() }), "statuses");
        assert_eq!(field(RuleText { feed_flag: "X".to_owned(), ..text() }), "feed_flag");
        for noc in ["", "jpn", "JPNX", "J'N"] {
            assert_eq!(field(RuleText { nocs: names(noc), ..text() }), "nocs", "{noc}");
        }
        let many = (0..=MOST_NOCS).map(|number| format!("{number:03}")).collect();
        assert_eq!(field(RuleText { nocs: many, ..text() }), "nocs");
        assert_eq!(field(RuleText { representations: names("xml"), ..text() }), "representations");
        assert_eq!(field(RuleText { embargo_minutes: LONGEST_EMBARGO + 1, ..text() }), "embargo_minutes");
        let both = RuleText { embargo_minutes: 1, embargo_until: Some(DateTime::UNIX_EPOCH), ..text() };
        assert_eq!(field(both), "embargo_until");
    }

    #[test]
    fn a_rule_reads_back_from_what_the_database_keeps() {
        let old = r#"{"prefix":"ATH","types":["DT_RESULT"],"statuses":[],"feed_flag":""}"#;
        let old: RuleText = serde_json::from_str(old).unwrap();
        assert_eq!(Rule::parse(old.clone()).unwrap().embargo(), Embargo::None);
        let new = RuleText {
            nocs: vec!["JPN".to_owned()],
            embargo_until: Some(DateTime::UNIX_EPOCH),
            representations: vec!["odf".to_owned()],
            ..old
        };
        let kept = serde_json::to_string(&new).unwrap();
        assert_eq!(serde_json::from_str::<RuleText>(&kept).unwrap(), new);
    }
}
