use std::fmt;

use domain::{DateTime, Utc};

/// Whether a reader may have a version, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub permitted: bool,
    /// The rule that allows it; of a refusal, the one that came nearest.
    pub rule: Option<RulePlace>,
    /// `Permitted`, or what the nearest rule lacks.
    pub reason: Reason,
    /// When an embargo ends, where one alone is in the way or was.
    pub opens_at: Option<DateTime<Utc>>,
}

/// Which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// Whose rules.
    pub client_id: String,
    /// In which version.
    pub version: i64,
    /// Which of them, from 0.
    pub index: usize,
}

/// Why a decision is as it is. The order is that in which a rule is held against a version: the later, the nearer it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is no rule at all.
    NoRule,
    /// Rules are for the other feed flag.
    FeedFlag,
    /// Rules are for another representation.
    Representation,
    /// Rules are for other codes.
    Prefix,
    /// Rules are for other types.
    Type,
    /// Rules are for other statuses.
    Status,
    /// Rules are for documents of other organisations.
    Noc,
    /// Only some participants are allowed, and the original XML is never cut.
    Uncut,
    /// An embargo is not over.
    Embargo,
    /// The version came later.
    NotYet,
    /// A rule allows it.
    Permitted,
}

impl Reason {
    /// The name on the wire and in SQL.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRule => "NO_RULE",
            Self::FeedFlag => "FEED_FLAG",
            Self::Representation => "REPRESENTATION",
            Self::Prefix => "PREFIX",
            Self::Type => "TYPE",
            Self::Status => "STATUS",
            Self::Noc => "NOC",
            Self::Uncut => "UNCUT",
            Self::Embargo => "EMBARGO",
            Self::NotYet => "NOT_YET",
            Self::Permitted => "PERMITTED",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::NoRule => "there is no rule, and without one everything is denied",
            Self::FeedFlag => "it is for the other feed flag",
            Self::Representation => "it does not allow this representation",
            Self::Prefix => "the document's code does not begin with its prefix",
            Self::Type => "it does not name the document's type",
            Self::Status => "it does not name the version's status",
            Self::Noc => "none of the document's competitors is of its organisations",
            Self::Uncut => {
                "it allows some participants of the document only, and the original XML is not cut"
            }
            Self::Embargo => "its embargo is not over",
            Self::NotYet => "the version came later than that",
            Self::Permitted => "it allows the version",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.permitted { "permitted" } else { "refused" };
        if self.reason == Reason::NotYet {
            return write!(f, "{verdict}: {}", self.reason.words());
        }
        let Some(RulePlace { client_id, version, index }) = &self.rule else {
            return write!(f, "{verdict}: {}", self.reason.words());
        };
        let nearest = if self.permitted { "" } else { "the nearest is " };
        let words = self.reason.words();
        write!(f, "{verdict}: {nearest}rule {} of {client_id}, version {version}: {words}", index + 1)?;
        match self.opens_at {
            Some(at) if !self.permitted => write!(f, "; it ends at {}", at.to_rfc3339()),
            _ => Ok(()),
        }
    }
}
