use domain::{ConsentKey, DateTime, InvalidValue, SegmentId, Utc};

use crate::rule::Rule;

/// A named rule, and the purpose for which its members may be used.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its id.
    pub segment_id: SegmentId,
    /// Its name in URLs and commands.
    pub key: SegmentKey,
    /// Its name for people.
    pub name: String,
    /// Whether it lives.
    pub state: State,
    /// Of the rule.
    pub version: u32,
    /// The rule, in canonical form.
    pub rule: Rule,
    /// SHA-256 of its canonical bytes.
    pub rule_hash: [u8; 32],
    /// What its members may be used for; without one analysts may count.
    pub purpose: Option<ConsentKey>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Lower-case letters, digits and `-`, at most 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentKey(String);

/// Whether a segment lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// People enter and leave it.
    Active,
    /// Nobody is in it any more.
    Archived,
}

impl SegmentKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for SegmentKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(right) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue { rule: "must be 1 to 64 lower-case letters, digits or `-`" })
        }
    }
}

impl State {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Active, Self::Archived].into_iter().find(|state| state.name() == name)
    }
}
