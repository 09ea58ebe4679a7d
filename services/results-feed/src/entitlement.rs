//! Who may read what: allow-only rules, and a pure decision about one version of one document.

mod competitors;
mod decision;
mod facts;
mod history;
mod rights;
mod rule;

pub use competitors::{cut, nocs_of};
pub use decision::{Decision, Reason, RulePlace};
pub use facts::{Facts, Subject};
pub use history::{Dated, History, decide};
pub use rights::{Participants, Rights};
pub use rule::{Embargo, MOST_NOCS, MOST_PREFIXES, MOST_RULES, Representation, Rule, RuleText};

/// The client whose rights everyone has, with or without a token.
pub const PUBLIC: &str = "public";
/// The desk of commentators: staff with the scope of this name, who sign in to the pages below `/results/cis`.
pub const DESK: &str = "results.cis";

/// What a client may read: allow-only rules, and nothing without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// An OAuth client, or `public`.
    pub client_id: String,
    /// 0 until rules were set; each change adds one.
    pub version: i64,
    /// Any of them allows.
    pub rules: Vec<Rule>,
}

impl Entitlement {
    /// Of a client without rules.
    #[must_use]
    pub const fn none(client_id: String) -> Self {
        Self { client_id, version: 0, rules: Vec::new() }
    }

    /// Whether any of its rules holds something back for a time.
    #[must_use]
    pub fn has_embargo(&self) -> bool {
        self.rules.iter().any(|rule| rule.embargo() != Embargo::None)
    }
}
