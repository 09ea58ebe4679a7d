use domain::{DateTime, Utc, Uuid};

use crate::{
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::Subject,
    rsc::Prefix,
};

/// Most targets of a client.
pub const MOST_OF_A_CLIENT: i64 = 10;
/// Most targets in all: each has workers, and figures of its own.
pub const MOST: i64 = 200;
/// Most documents that may wait to be sent to a target once more.
pub const MOST_RESENT: i64 = 20_000;
/// Longest URL in bytes.
const LONGEST_URL: usize = 500;
/// Longest API key of a partner; ODF Foundation Principles 8.2 have 32 characters.
const LONGEST_KEY: usize = 200;
/// How a filter names documents without a status.
const NO_STATUS: &str = "NONE";

/// A partner's server that takes documents by POST (ODF Foundation Principles 8.2). Its API key is not here: it leaves its
/// seal only when a document is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryTarget {
    /// Its id.
    pub target_id: Uuid,
    /// The OAuth client that owns it; what this client may not see is not delivered.
    pub client_id: String,
    /// In the owner's words.
    pub name: String,
    /// Where documents are posted to.
    pub url: String,
    /// Which of the documents that the owner may see.
    pub filter: Filter,
    /// What a target that is behind gets.
    pub mode: DeliveryMode,
    /// Since when nothing is sent, as the owner wants it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Since when nothing is sent, because a document was refused for a day.
    pub parked_at: Option<DateTime<Utc>>,
    /// From 1; each change adds one.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a target that is behind gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The newest version of each document; what matters is never left out.
    State,
    /// Every version.
    Every,
}

impl DeliveryMode {
    /// The name in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Every => "every",
        }
    }

    /// From the name in SQL.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::State, Self::Every].into_iter().find(|mode| mode.name() == name)
    }
}

/// A field that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct WrongField {
    /// Which.
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

impl WrongField {
    fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}

/// What an owner decides about its target, read and right.
#[derive(Debug, Clone)]
pub struct Draft {
    /// See [`DeliveryTarget`].
    pub name: String,
    /// See [`DeliveryTarget`].
    pub url: String,
    /// Sent as `X-API-KEY`; none keeps the one that is there.
    pub api_key: Option<String>,
    /// See [`DeliveryTarget`].
    pub filter: Filter,
    /// See [`DeliveryTarget`].
    pub mode: DeliveryMode,
}

impl Draft {
    /// That the address and the key can be used.
    ///
    /// # Errors
    /// The field and its rule.
    pub fn check(&self) -> Result<(), WrongField> {
        if self.url.is_empty() || self.url.len() > LONGEST_URL {
            return Err(WrongField::new("url", format!("must be a URL of at most {LONGEST_URL} bytes")));
        }
        let right = |key: &String| {
            (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !self.api_key.as_ref().is_none_or(right) {
            return Err(WrongField::new(
                "api_key",
                format!("must be 1 to {LONGEST_KEY} visible ASCII characters"),
            ));
        }
        Ok(())
    }
}

impl DeliveryTarget {
    /// Whether documents are sent.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.paused_at.is_none() && self.parked_at.is_none()
    }

    /// Takes a draft over.
    ///
    /// # Errors
    /// Another feed flag; no key, and another host: the key is for the host to which it was given.
    pub fn update(&mut self, draft: &Draft) -> Result<(), WrongField> {
        if draft.filter.feed_flag != self.filter.feed_flag {
            return Err(WrongField::new("filter.feed_flag", "must stay: the other flag is another stream"));
        }
        if draft.api_key.is_none() && authority(&draft.url) != authority(&self.url) {
            return Err(WrongField::new("api_key", "must come again with a url of another host"));
        }
        self.name.clone_from(&draft.name);
        self.url.clone_from(&draft.url);
        self.filter = draft.filter.clone();
        self.mode = draft.mode;
        self.version += 1;
        Ok(())
    }

    /// Nothing is sent from now on. Whether that is a change.
    pub fn pause(&mut self, now: DateTime<Utc>) -> bool {
        let changes = self.paused_at.is_none();
        if changes {
            self.paused_at = Some(now);
            self.version += 1;
        }
        changes
    }

    /// Goes on, also after a day without success. Whether that is a change.
    pub fn resume(&mut self) -> bool {
        let changes = !self.is_running();
        if changes {
            (self.paused_at, self.parked_at) = (None, None);
            self.version += 1;
        }
        changes
    }
}

// Scheme, host and port: everything before the path.
fn authority(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}

/// Documents under any of the prefixes, of these types and statuses, of one feed flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// None means everything.
    pub prefixes: Vec<Prefix>,
    /// None means every type.
    pub types: Vec<DocumentType>,
    /// The inner none is a document without a status; no entry means every status.
    pub statuses: Vec<Option<ResultStatus>>,
    /// Production or test.
    pub feed_flag: FeedFlag,
}

impl Filter {
    /// Whether a version is meant.
    #[must_use]
    pub fn matches(&self, document: &Subject<'_>) -> bool {
        self.feed_flag == document.feed_flag
            && (self.types.is_empty() || self.types.contains(&document.document_type))
            && (self.statuses.is_empty() || self.statuses.contains(&document.status))
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| prefix.matches(document.code)))
    }

    /// A status as filters name it.
    #[must_use]
    pub const fn status_name(status: Option<ResultStatus>) -> &'static str {
        match status {
            Some(status) => status.name(),
            None => NO_STATUS,
        }
    }

    /// A status by its name in filters.
    ///
    /// # Errors
    /// No such status.
    pub fn status_of(name: &str) -> Result<Option<ResultStatus>, crate::document_type::UnknownName> {
        if name == NO_STATUS { Ok(None) } else { name.parse().map(Some) }
    }
}

/// Whether documents of a type go apart, so that they never hold results up: pictures, PDF, biographies, news, tables.
#[must_use]
pub fn is_bulk(document_type: DocumentType) -> bool {
    let name = document_type.name();
    ["DT_BIO_", "DT_BCK", "DT_TRS", "DT_NEWS"].iter().any(|group| name.starts_with(group))
        || matches!(
            name,
            "DT_PDF" | "DT_PIC" | "DT_IMAGE" | "DT_AUDIO" | "DT_CODES" | "DT_ESL" | "DT_PRESSPHOTOFINISH_LK"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entitlement::Facts;

    fn target() -> DeliveryTarget {
        DeliveryTarget {
            target_id: domain::new_id(),
            client_id: "noc".to_owned(),
            name: "Paris".to_owned(),
            url: "https://odf.example:8443/in".to_owned(),
            filter: filter(),
            mode: DeliveryMode::Every,
            paused_at: None,
            parked_at: None,
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn filter() -> Filter {
        Filter {
            prefixes: vec!["ATH".parse().unwrap(), "JUD".parse().unwrap()],
            types: vec!["DT_RESULT".parse().unwrap()],
            statuses: vec![Some(ResultStatus::Official), None],
            feed_flag: FeedFlag::Production,
        }
    }

    fn draft(url: &str, api_key: Option<&str>) -> Draft {
        let api_key = api_key.map(str::to_owned);
        Draft {
            name: "x".to_owned(),
            url: url.to_owned(),
            api_key,
            filter: filter(),
            mode: DeliveryMode::State,
        }
    }

    #[test]
    fn a_filter_wants_all_of_its_parts() {
        let facts = Facts::plain(DateTime::UNIX_EPOCH);
        let subject = |code, document_type: &str, status, feed_flag| {
            filter().matches(&Subject {
                code,
                document_type: document_type.parse().unwrap(),
                status,
                feed_flag,
                facts: &facts,
            })
        };
        let official = Some(ResultStatus::Official);
        assert!(subject("JUDM", "DT_RESULT", official, FeedFlag::Production));
        assert!(subject("ATHM", "DT_RESULT", None, FeedFlag::Production));
        assert!(!subject("SWMM", "DT_RESULT", official, FeedFlag::Production));
        assert!(!subject("ATHM", "DT_MEDALS", official, FeedFlag::Production));
        assert!(!subject("ATHM", "DT_RESULT", Some(ResultStatus::Live), FeedFlag::Production));
        assert!(!subject("ATHM", "DT_RESULT", official, FeedFlag::Test));
    }

    #[test]
    fn a_key_does_not_follow_its_target_to_another_host() {
        for (url, right) in [
            ("https://odf.example:8443/other", true),
            ("https://odf.example:8443?x", true),
            ("https://odf.example/in", false),
            ("http://odf.example:8443/in", false),
            ("https://odf.example:8443@evil.example/in", false),
            ("https://evil.example/https://odf.example:8443/in", false),
        ] {
            assert_eq!(target().update(&draft(url, None)).is_ok(), right, "{url}");
            assert!(target().update(&draft(url, Some("key"))).is_ok());
        }
    }

    #[test]
    fn pausing_twice_changes_once_and_resuming_takes_a_parked_one_up() {
        let mut target = target();
        assert!(target.pause(DateTime::UNIX_EPOCH) && !target.pause(DateTime::UNIX_EPOCH));
        assert!(!target.is_running());
        target.parked_at = Some(DateTime::UNIX_EPOCH);
        assert!(target.resume() && !target.resume());
        assert!(target.is_running());
        assert_eq!(target.version, 3);
    }

    #[test]
    fn a_draft_names_its_wrong_field() {
        let field = |draft: Draft| draft.check().unwrap_err().field;
        assert_eq!(field(draft("", None)), "url");
        assert_eq!(field(draft(&"u".repeat(501), None)), "url");
        for key in ["", "a b", "k\n", "clé", &"k".repeat(201)] {
            assert_eq!(field(draft("https://odf.example", Some(key))), "api_key", "{key}");
        }
        assert!(draft("https://odf.example", Some("0123456789abcdef0123456789abcdef")).check().is_ok());
    }

    #[test]
    fn pictures_go_apart_and_results_do_not() {
        let bulk = |name: &str| is_bulk(name.parse().unwrap());
        assert!(bulk("DT_PDF") && bulk("DT_PIC") && bulk("DT_BIO_PAR") && bulk("DT_NEWS_IMP"));
        assert!(!bulk("DT_RESULT") && !bulk("DT_MEDALS") && !bulk("DT_PARTIC") && !bulk("DT_COMMUNICATION"));
    }
}
