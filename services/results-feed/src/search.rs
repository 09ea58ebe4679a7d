use domain::{DateTime, NaiveDate, Utc};

use crate::{
    document_type::{DocumentType, FeedFlag, ResultStatus},
    entitlement::{Facts, Subject},
    header::DocumentKey,
    rsc::Prefix,
};

/// Most languages of a search.
pub const MOST_LANGUAGES: usize = 20;

/// Which versions of documents are looked for. What is empty asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Production or test.
    pub feed_flag: FeedFlag,
    /// Any of them.
    pub prefixes: Vec<Prefix>,
    /// Any of them.
    pub types: Vec<DocumentType>,
    /// Any of them; three letters each.
    pub languages: Vec<String>,
    /// Logical day, included.
    pub first_day: Option<NaiveDate>,
    /// Logical day, included.
    pub last_day: Option<NaiveDate>,
    /// When it was taken: from here on.
    pub received_from: Option<DateTime<Utc>>,
    /// When it was taken: before.
    pub received_before: Option<DateTime<Utc>>,
    /// This one only.
    pub version: Option<i32>,
    /// Only the newest version of each document.
    pub newest_only: bool,
}

impl Search {
    /// Everything of a flag.
    #[must_use]
    pub const fn of(feed_flag: FeedFlag) -> Self {
        Self {
            feed_flag,
            prefixes: Vec::new(),
            types: Vec::new(),
            languages: Vec::new(),
            first_day: None,
            last_day: None,
            received_from: None,
            received_before: None,
            version: None,
            newest_only: false,
        }
    }
}

/// A text that is no language of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be three capital letters such as ENG")]
pub struct InvalidLanguage;

/// A language as headers name it (ODF Foundation Principles 3.3.2).
///
/// # Errors
/// Other text.
pub fn language(text: &str) -> Result<String, InvalidLanguage> {
    let right = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    right.then(|| text.to_owned()).ok_or(InvalidLanguage)
}

/// A version that was found, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Short name of its document.
    pub handle: i64,
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// From 1.
    pub version: i32,
    /// Where the type has one; of an invalidation that of what it withdraws.
    pub status: Option<ResultStatus>,
    /// Its place in the log.
    pub seq: i64,
    /// Whether it withdraws its version.
    pub is_invalidation: bool,
    /// Of its header.
    pub logical_date: Option<NaiveDate>,
    /// When it was taken.
    pub received_at: DateTime<Utc>,
    /// What rights to it rest on; of an invalidation, to what it withdraws.
    pub facts: Facts,
    /// Of the bytes that its sender sent.
    pub bytes: usize,
}

impl Version {
    /// What a right is about.
    #[must_use]
    pub fn subject(&self, feed_flag: FeedFlag) -> Subject<'_> {
        let (document_type, status) = (self.document_type, self.status);
        Subject { code: &self.key.document_code, document_type, status, feed_flag, facts: &self.facts }
    }

    /// Its name in an archive: no path, and in the order in which versions came.
    #[must_use]
    pub fn file_name(&self) -> String {
        let plain = |text: &str| -> String {
            let keep = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            text.chars().map(keep).collect()
        };
        let (seq, version) = (self.seq, self.version);
        let (document_type, code) = (plain(&self.key.document_type), plain(&self.key.document_code));
        format!("{seq:010}_{document_type}_{code}_{}_V{version}.xml", plain(&self.key.language))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_leads_nowhere() {
        let version = Version {
            handle: 1,
            key: DocumentKey {
                competition_code: "SYN2030".to_owned(),
                document_code: "../../etc/passwd\\".to_owned(),
                document_subcode: String::new(),
                document_type: "DT_PIC".to_owned(),
                document_subtype: String::new(),
                language: "ENG".to_owned(),
            },
            document_type: "DT_PIC".parse().unwrap(),
            version: 3,
            status: None,
            seq: 42,
            is_invalidation: false,
            logical_date: None,
            received_at: DateTime::UNIX_EPOCH,
            facts: Facts::plain(DateTime::UNIX_EPOCH),
            bytes: 1,
        };
        assert_eq!(version.file_name(), "0000000042_DT_PIC_______etc_passwd__ENG_V3.xml");
    }

    #[test]
    fn a_language_has_three_capital_letters() {
        assert_eq!(language("FRA").as_deref(), Ok("FRA"));
        for wrong in ["", "fra", "FR", "FRAN", "F'A", "日本"] {
            assert_eq!(language(wrong), Err(InvalidLanguage), "{wrong}");
        }
    }
}
