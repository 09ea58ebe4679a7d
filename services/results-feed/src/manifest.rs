use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use domain::{DateTime, NaiveDate, Utc};

use crate::{
    document::Sha256,
    document_type::{DocumentType, ResultStatus},
    entitlement::Facts,
    header::DocumentKey,
};

/// What stands before the hashed bytes of a line, and before those of the root: neither can be taken for the other.
const LINE: u8 = 0;
const ROOT: u8 = 1;

/// What a closed day holds, in one hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which day.
    pub logical_date: NaiveDate,
    /// 1 when the day closed; each document that came later adds one.
    pub revision: i32,
    /// How many lines it has.
    pub documents: i32,
    /// See [`root`].
    pub root: Sha256,
    /// The log was read up to here.
    pub up_to_seq: i64,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// A document as the day left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its short name.
    pub handle: i64,
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// Its newest version of the day.
    pub version: i32,
    /// Where its type has one.
    pub status: Option<ResultStatus>,
    /// Of its canonical bytes; none where it was invalidated.
    pub sha256: Option<Sha256>,
    /// What rights to it rest on.
    pub facts: Facts,
}

impl Line {
    /// SHA-256 of byte 0 and the line's text: the six fields of the key, version, status and the hash of the canonical bytes
    /// (`INVALIDATED` where there are none), with tabs between and a line feed at the end. No field holds either.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        let key = &self.key;
        let mut text = String::new();
        for field in [
            &key.competition_code,
            &key.document_code,
            &key.document_subcode,
            &key.document_type,
            &key.document_subtype,
            &key.language,
        ] {
            text.push_str(field);
            text.push('\t');
        }
        let status = self.status.map(ResultStatus::name).unwrap_or_default();
        // Writing to a string has no way to fail.
        let _ = write!(text, "{}\t{status}\t", self.version);
        match &self.sha256 {
            Some(hash) => hash.iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            }),
            None => text.push_str("INVALIDATED"),
        }
        text.push('\n');
        sha256(&[&[LINE], text.as_bytes()])
    }
}

/// SHA-256 of byte 1, the day as `YYYY-MM-DD`, and the hashes of all lines in the order of their keys. Whoever may not see
/// a line gets its hash, and can still check the root.
#[must_use]
pub fn root(logical_date: NaiveDate, lines: &[Sha256]) -> Sha256 {
    let (date, all) = (logical_date.to_string(), lines.concat());
    sha256(&[&[ROOT], date.as_bytes(), &all])
}

/// The order of lines: by their keys, field by field, byte by byte.
pub fn sort(lines: &mut [Line]) {
    lines.sort_by(|one, other| one.key.cmp(&other.key));
}

fn sha256(parts: &[&[u8]]) -> Sha256 {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: &str, version: i32) -> Line {
        Line {
            handle: 1,
            key: DocumentKey {
                competition_code: "SYN2030".to_owned(),
                document_code: code.to_owned(),
                document_subcode: String::new(),
                document_type: "DT_RESULT".to_owned(),
                document_subtype: String::new(),
                language: "ENG".to_owned(),
            },
            document_type: "DT_RESULT".parse().unwrap(),
            version,
            status: Some(ResultStatus::Official),
            sha256: Some([1; 32]),
            facts: Facts::plain(DateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn every_part_of_a_line_and_every_line_is_in_the_root() {
        let date = NaiveDate::default();
        let of = |lines: &[Line]| root(date, &lines.iter().map(Line::hash).collect::<Vec<_>>());
        let whole = of(&[line("A", 1), line("B", 1)]);
        let changed = [
            of(&[line("A", 1)]),
            of(&[line("A", 2), line("B", 1)]),
            of(&[line("A", 1), line("C", 1)]),
            of(&[line("A", 1), Line { status: None, ..line("B", 1) }]),
            of(&[line("A", 1), Line { sha256: None, ..line("B", 1) }]),
            root(date.succ_opt().unwrap(), &[line("A", 1).hash(), line("B", 1).hash()]),
        ];
        for other in changed {
            assert_ne!(other, whole);
        }
    }

    #[test]
    fn lines_are_in_the_order_of_their_keys() {
        let mut lines = [line("B", 1), line("A", 1)];
        sort(&mut lines);
        assert_eq!(lines[0].key.document_code, "A");
    }
}
