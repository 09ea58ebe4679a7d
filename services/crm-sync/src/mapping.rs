//! How a person becomes a row: from where each of the recipient's fields comes, and what an empty value means.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{ConsentKey, InvalidValue};
use serde::{Deserialize, Serialize};

pub mod ioc;

use crate::agreement::parse_key;

/// Most fields of a mapping: their masks fit 63 bits.
pub const MOST_FIELDS: usize = 60;
/// Longest field of the recipient, in characters (Bulk API 2.0, "Prepare CSV files").
pub const LONGEST_VALUE: usize = 32_000;

/// The fields of a version, in the order of their masks and of the CSV's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    fields: Vec<FieldMapping>,
    key: usize,
    sha256: [u8; 32],
}

/// One field of the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldMapping {
    /// Its API name.
    pub target: String,
    /// Where its value comes from.
    pub source: Source,
    /// What the value becomes.
    pub conversion: Conversion,
    /// Longest value in characters. A longer one fails the row, it is never cut.
    pub max_length: usize,
    /// What an empty value does.
    pub null_policy: NullPolicy,
    /// Sent in place of an empty or withheld value, where the recipient requires one.
    pub placeholder: Option<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A trait of the profile, by name.
    Trait(String),
    /// Made by us.
    Computed(Computed),
    /// Always the same.
    Constant(String),
}

/// What we make ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Computed {
    /// The person's key at this destination.
    MatchKey,
    /// The address, where the recipient takes it.
    Email,
    /// The address, where the recipient refuses it as an address.
    EmailRaw,
    /// The class of the address.
    EmailClass,
    /// Language tag.
    Locale,
    /// Whether this consent is given to this recipient.
    Consent(ConsentKey),
}

/// What a value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversion {
    /// Text as it is.
    None,
    /// A calendar day, ISO 8601.
    Date,
    /// Members of a set, joined by `;`.
    Join,
    /// Yes or no.
    Flag,
}

/// What an empty value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullPolicy {
    /// The recipient keeps what it has.
    Keep,
    /// The field is emptied.
    Clear,
    /// The field is only filled when the record is created.
    FillEmpty,
}

/// A set of a mapping's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Mask(pub u64);

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// `fields[3].target`
    pub field: String,
    /// What must hold.
    pub rule: &'static str,
}

impl Mapping {
    /// Checks the fields.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn new(fields: Vec<FieldMapping>) -> Result<Self, Wrong> {
        let wrong = |field: &str, rule| Wrong { field: field.to_owned(), rule };
        if fields.is_empty() || fields.len() > MOST_FIELDS {
            return Err(wrong("fields", "must hold 1 to 60 fields"));
        }
        let mut targets = HashSet::new();
        for (at, field) in fields.iter().enumerate() {
            if let Some((part, rule)) = field.check() {
                return Err(Wrong { field: format!("fields[{at}].{part}"), rule });
            }
            if !targets.insert(field.target.to_ascii_lowercase()) {
                return Err(Wrong { field: format!("fields[{at}].target"), rule: "must not be there twice" });
            }
        }
        let mut keys = fields.iter().enumerate().filter(|(_, field)| field.is_key());
        let (Some((key, _)), None) = (keys.next(), keys.next()) else {
            return Err(wrong("fields", "must hold exactly one field whose source is match_key"));
        };
        let sha256 = sha256(&fields);
        Ok(Self { fields, key, sha256 })
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> &[FieldMapping] {
        &self.fields
    }

    /// Place of the key's field.
    #[must_use]
    pub const fn key(&self) -> usize {
        self.key
    }

    /// SHA-256 of the fields in their canonical form.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The names of a mask's fields.
    #[must_use]
    pub fn names(&self, mask: Mask) -> Vec<String> {
        let set = self.fields.iter().enumerate().filter(|(at, _)| mask.has(*at));
        set.map(|(_, field)| field.target.clone()).collect()
    }
}

// Serialised field by field, in the struct's order: the form is canonical.
fn sha256(fields: &[FieldMapping]) -> [u8; 32] {
    let text = serde_json::to_vec(fields).unwrap_or_default();
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &text).as_ref());
    out
}

impl FieldMapping {
    /// Whether it holds the person's key.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.source == Source::Computed(Computed::MatchKey)
    }

    fn check(&self) -> Option<(&'static str, &'static str)> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(1..=80).contains(&self.target.len()) || !self.target.bytes().all(is_name) {
            return Some(("target", "must be 1 to 80 letters, digits or `_`"));
        }
        if self.max_length == 0 || self.max_length > LONGEST_VALUE {
            return Some(("max_length", "must be 1 to 32,000 characters"));
        }
        let text = |text: &str| {
            !text.is_empty()
                && text.chars().count() <= self.max_length
                && !text.chars().any(char::is_control)
                && text != "#N/A"
        };
        if !self.placeholder.as_deref().is_none_or(text) {
            return Some(("placeholder", "must be text that fits the field"));
        }
        match &self.source {
            Source::Constant(constant) if !text(constant) => {
                Some(("constant", "must be text that fits the field"))
            }
            Source::Constant(_) if self.conversion != Conversion::None => {
                Some(("conversion", "must be none for a constant"))
            }
            Source::Trait(name) if !(1..=64).contains(&name.len()) || !name.bytes().all(is_name) => {
                Some(("trait", "must be the name of a trait"))
            }
            Source::Computed(Computed::Consent(_)) if self.conversion != Conversion::Flag => {
                Some(("conversion", "must be flag for a consent"))
            }
            Source::Computed(computed)
                if !matches!(computed, Computed::Consent(_)) && self.conversion != Conversion::None =>
            {
                Some(("conversion", "must be none for a computed value"))
            }
            _ => None,
        }
    }
}

impl Mask {
    /// Whether the field at this place is in it.
    #[must_use]
    pub const fn has(self, at: usize) -> bool {
        at < 64 && self.0 & (1 << at) != 0
    }

    /// Puts the field at this place in.
    pub const fn add(&mut self, at: usize) {
        if at < 64 {
            self.0 |= 1 << at;
        }
    }

    /// Whether every field of the other is in it.
    #[must_use]
    pub const fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As SQL holds it. Masks have at most 60 bits.
    #[must_use]
    pub const fn to_sql(self) -> i64 {
        self.0.cast_signed()
    }

    /// From SQL.
    #[must_use]
    pub const fn from_sql(bits: i64) -> Self {
        Self(bits.cast_unsigned())
    }
}

impl From<Computed> for String {
    fn from(computed: Computed) -> Self {
        match computed {
            Computed::MatchKey => "match_key".to_owned(),
            Computed::Email => "email".to_owned(),
            Computed::EmailRaw => "email_raw".to_owned(),
            Computed::EmailClass => "email_class".to_owned(),
            Computed::Locale => "locale".to_owned(),
            Computed::Consent(key) => format!("consent:{key}"),
        }
    }
}

impl TryFrom<String> for Computed {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Ok(match text.as_str() {
            "match_key" => Self::MatchKey,
            "email" => Self::Email,
            "email_raw" => Self::EmailRaw,
            "email_class" => Self::EmailClass,
            "locale" => Self::Locale,
            other => match other.strip_prefix("consent:") {
                Some(key) => Self::Consent(parse_key(key)?),
                None => {
                    return Err(InvalidValue {
                        rule: "must be match_key, email, email_raw, email_class, locale or consent:<purpose>",
                    });
                }
            },
        })
    }
}

impl Conversion {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Date => "date",
            Self::Join => "join",
            Self::Flag => "flag",
        }
    }

    /// The conversion of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::None, Self::Date, Self::Join, Self::Flag]
            .into_iter()
            .find(|conversion| conversion.name() == name)
    }
}

impl NullPolicy {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Clear => "clear",
            Self::FillEmpty => "fill_empty",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Keep, Self::Clear, Self::FillEmpty].into_iter().find(|policy| policy.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<FieldMapping> {
        ioc::mapping().unwrap().fields().to_vec()
    }

    #[test]
    fn the_hash_follows_the_fields() {
        let one = Mapping::new(fields()).unwrap();
        assert_eq!(one.sha256(), Mapping::new(fields()).unwrap().sha256());
        let mut other = fields();
        other[3].max_length += 1;
        assert_ne!(one.sha256(), Mapping::new(other).unwrap().sha256());
    }

    #[test]
    fn a_mapping_survives_its_stored_form() {
        let text = serde_json::to_string(&fields()).unwrap();
        let again: Vec<FieldMapping> = serde_json::from_str(&text).unwrap();
        assert_eq!(Mapping::new(again).unwrap(), ioc::mapping().unwrap());
    }

    #[test]
    fn each_wrong_field_is_named() {
        let change = |at: usize, edit: fn(&mut FieldMapping)| {
            let mut fields = fields();
            edit(&mut fields[at]);
            Mapping::new(fields).unwrap_err().field
        };
        assert_eq!(change(1, |field| field.target = "E mail".to_owned()), "fields[1].target");
        assert_eq!(change(1, |field| field.target = "kotinos_ID__c".to_owned()), "fields[1].target");
        assert_eq!(change(2, |field| field.max_length = 0), "fields[2].max_length");
        assert_eq!(change(2, |field| field.max_length = 32_001), "fields[2].max_length");
        assert_eq!(change(5, |field| field.placeholder = Some("#N/A".to_owned())), "fields[5].placeholder");
        assert_eq!(change(4, |field| field.source = Source::Constant(String::new())), "fields[4].constant");
        assert_eq!(change(4, |field| field.source = Source::Trait("'; drop".to_owned())), "fields[4].trait");
        assert_eq!(change(4, |field| field.source = Source::Computed(Computed::MatchKey)), "fields");
        assert_eq!(change(0, |field| field.source = Source::Computed(Computed::Email)), "fields");
        assert_eq!(change(1, |field| field.conversion = Conversion::Join), "fields[1].conversion");
        assert!(Mapping::new(Vec::new()).is_err());
        assert!(Mapping::new(vec![fields()[0].clone(); 61]).is_err());
    }
}
