use serde::{Deserialize, Serialize};

use crate::{
    document_type::{DocumentType, FeedFlag, ResultStatus},
    rsc::Prefix,
};

/// The client whose rights everyone has, with or without a token.
pub const PUBLIC: &str = "public";
/// Most rules of a client.
pub const MOST_RULES: usize = 100;
/// How a rule names documents without a status.
const NO_STATUS: &str = "NONE";

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

/// Documents under a prefix, of these types and statuses, of one feed flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    text: RuleText,
    prefix: Prefix,
    types: u128,
    statuses: u16,
    feed_flag: FeedFlag,
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
}

/// A rule that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidRule {
    /// `prefix`, `types`, `statuses` or `feed_flag`.
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub fn parse(text: RuleText) -> Result<Self, InvalidRule> {
        let wrong = |field, rule: &dyn std::fmt::Display| InvalidRule { field, rule: rule.to_string() };
        let prefix = text.prefix.parse().map_err(|error| wrong("prefix", &error))?;
        let mut types = 0;
        for name in &text.types {
            types |= name.parse::<DocumentType>().map_err(|error| wrong("types", &error))?.bit();
        }
        let mut statuses = 0;
        for name in &text.statuses {
            statuses |= match name.as_str() {
                NO_STATUS => bit(None),
                name => bit(Some(name.parse().map_err(|error| wrong("statuses", &error))?)),
            };
        }
        let feed_flag = match text.feed_flag.as_str() {
            "" => FeedFlag::Production,
            flag => flag.parse().map_err(|error| wrong("feed_flag", &error))?,
        };
        Ok(Self {
            prefix,
            types: if types == 0 { u128::MAX } else { types },
            statuses: if statuses == 0 { u16::MAX } else { statuses },
            feed_flag,
            text,
        })
    }

    /// The rule in words.
    #[must_use]
    pub const fn text(&self) -> &RuleText {
        &self.text
    }

    fn allows(&self, document: &Subject<'_>) -> bool {
        self.feed_flag == document.feed_flag
            && self.types & document.document_type.bit() != 0
            && self.statuses & bit(document.status) != 0
            && self.prefix.matches(document.code)
    }
}

const fn bit(status: Option<ResultStatus>) -> u16 {
    match status {
        None => 1,
        Some(status) => 2 << status as u16,
    }
}

/// What a decision is about: one version of a document.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its document code.
    pub code: &'a str,
    /// Its type.
    pub document_type: DocumentType,
    /// Its status.
    pub status: Option<ResultStatus>,
    /// Production or test.
    pub feed_flag: FeedFlag,
}

/// The rules that hold for one reader: those of `public` and its own.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    rules: Vec<Rule>,
    readers: Vec<(String, i64)>,
}

impl Rights {
    /// The union of entitlements; without any, everything is denied.
    #[must_use]
    pub fn of(entitlements: Vec<Entitlement>) -> Self {
        let mut rights = Self::default();
        for entitlement in entitlements {
            rights.readers.push((entitlement.client_id, entitlement.version));
            rights.rules.extend(entitlement.rules);
        }
        rights
    }

    /// Whether a version may be read.
    #[must_use]
    pub fn permit(&self, document: &Subject<'_>) -> bool {
        self.rules.iter().any(|rule| rule.allows(document))
    }

    /// The clients whose rules these are, with the versions of their entitlements: equal ones decide alike.
    #[must_use]
    pub fn readers(&self) -> &[(String, i64)] {
        &self.readers
    }

    /// Whether a change of that client's rules changes these rights.
    #[must_use]
    pub fn depend_on(&self, client_id: &str) -> bool {
        self.readers.iter().any(|(reader, _)| reader == client_id)
    }
}

/// What everyone may read until an operator sets other rules for `public`: schedule, results, medals and clocks of
/// production; no biographies, pictures or messages to staff.
#[must_use]
pub fn built_in_public() -> Entitlement {
    let types = [
        "DT_SCHEDULE",
        "DT_SCHEDULE_UPDATE",
        "DT_RESULT",
        "DT_CURRENT",
        "DT_PHASE_RESULT",
        "DT_CUMULATIVE_RESULT",
        "DT_POOL_STANDING",
        "DT_BRACKETS",
        "DT_PLAY_BY_PLAY",
        "DT_STATS",
        "DT_RANKING",
        "DT_RECORD",
        "DT_MEDALLISTS",
        "DT_MEDALLISTS_DISCIPLINE",
        "DT_MEDALLISTS_DAY",
        "DT_MEDALS",
        "DT_GLOBAL_GM",
        "DT_GLOBAL_GN",
        "DT_LOCAL_ON",
        "DT_LOCAL_OFF",
        "DT_WEATHER",
    ];
    let text = RuleText { types: types.map(str::to_owned).to_vec(), ..RuleText::default() };
    // Every name above is of the schema; were one not, the public would see nothing rather than everything.
    let rules = Rule::parse(text).into_iter().collect();
    Entitlement { client_id: PUBLIC.to_owned(), version: 0, rules }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: &str = "ATHM100M--------------FNL-000100--";

    fn subject(document_type: &str, status: Option<ResultStatus>, feed_flag: FeedFlag) -> Subject<'static> {
        Subject { code: CODE, document_type: document_type.parse().unwrap(), status, feed_flag }
    }

    fn rights(prefix: &str, types: &[&str], statuses: &[&str]) -> Rights {
        let text = RuleText {
            prefix: prefix.to_owned(),
            types: types.iter().map(|name| (*name).to_owned()).collect(),
            statuses: statuses.iter().map(|name| (*name).to_owned()).collect(),
            feed_flag: String::new(),
        };
        let rules = vec![Rule::parse(text).unwrap()];
        Rights::of(vec![Entitlement { client_id: "partner".to_owned(), version: 1, rules }])
    }

    const LIVE: Option<ResultStatus> = Some(ResultStatus::Live);

    #[test]
    fn without_a_rule_everything_is_denied() {
        assert!(!Rights::default().permit(&subject("DT_RESULT", LIVE, FeedFlag::Production)));
    }

    #[test]
    fn a_rule_allows_what_it_names_and_no_more() {
        let permit = |rights: &Rights| rights.permit(&subject("DT_RESULT", LIVE, FeedFlag::Production));
        assert!(permit(&rights("", &[], &[])));
        assert!(permit(&rights("ATHM", &["DT_RESULT"], &["LIVE"])));
        assert!(!permit(&rights("ATHW", &[], &[])));
        assert!(!permit(&rights("", &["DT_MEDALS"], &[])));
        assert!(!permit(&rights("", &[], &["OFFICIAL", "NONE"])));
        assert!(!rights("", &[], &[]).permit(&subject("DT_RESULT", LIVE, FeedFlag::Test)));
        assert!(rights("", &[], &["NONE"]).permit(&subject("DT_MEDALS", None, FeedFlag::Production)));
    }

    #[test]
    fn the_public_sees_results_and_no_biographies() {
        let public = Rights::of(vec![built_in_public()]);
        assert!(public.permit(&subject("DT_RESULT", LIVE, FeedFlag::Production)));
        assert!(public.permit(&subject("DT_MEDALS", None, FeedFlag::Production)));
        assert!(!public.permit(&subject("DT_BIO_PAR", None, FeedFlag::Production)));
        assert!(!public.permit(&subject("DT_RESULT", LIVE, FeedFlag::Test)));
        assert!(public.depend_on(PUBLIC) && !public.depend_on("partner"));
    }

    #[test]
    fn a_wrong_rule_names_its_field() {
        let field = |text: RuleText| Rule::parse(text).unwrap_err().field;
        assert_eq!(field(RuleText { prefix: "'; drop".to_owned(), ..RuleText::default() }), "prefix");
        assert_eq!(field(RuleText { types: vec!["RESULT".to_owned()], ..RuleText::default() }), "types");
        assert_eq!(field(RuleText { statuses: vec!["x".to_owned()], ..RuleText::default() }), "statuses");
        assert_eq!(field(RuleText { feed_flag: "X".to_owned(), ..RuleText::default() }), "feed_flag");
    }

    proptest! {
        #[test]
        fn another_rule_never_takes_a_right_away(prefixes in proptest::collection::vec("[A-Z]{0,3}", 1..5)) {
            let all = Rights { rules: prefixes.iter().flat_map(|prefix| rights(prefix, &[], &[]).rules).collect(), readers: vec![] };
            let document = subject("DT_RESULT", LIVE, FeedFlag::Production);
            let any = prefixes.iter().any(|prefix| rights(prefix, &[], &[]).permit(&document));
            prop_assert_eq!(all.permit(&document), any);
        }
    }
}
