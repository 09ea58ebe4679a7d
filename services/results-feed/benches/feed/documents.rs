//! Synthetic documents. Each carries a marker that its readers look for, whatever the protocol around it.

use std::fmt::Write as _;

/// The final that everybody reads.
pub const FINAL: &str = "ATHM100M--------------FNL-000100--";
/// Characters of a marker.
pub const MARKER: usize = 14;

/// The marker of the `number`th document: `@@` on both sides of ten digits.
pub fn marker(number: u32) -> String {
    format!("@@{number:010}@@")
}

/// The number of a marker at the start of these bytes.
pub fn number_of(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"@@")?.get(..10)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A unit of a discipline, by number.
pub fn unit(number: usize) -> String {
    const DISCIPLINES: [&str; 8] = ["ATH", "SWM", "JUD", "ROW", "CTR", "GAR", "BDM", "TEN"];
    let discipline = DISCIPLINES[number % DISCIPLINES.len()];
    format!("{discipline}MEVENT{:04}---------HEAT{:06}--", number / 100 % 10_000, number % 100)
}

/// What a document says beside its rows.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub document_type: &'a str,
    pub code: &'a str,
    pub version: u32,
    pub status: &'a str,
    /// Of its marker.
    pub number: u32,
}

/// A result of `competitors`, of whom the one whose turn it is has a new mark, with this many characters that change each
/// time.
pub fn result(head: Head<'_>, competitors: usize, changing: usize) -> String {
    let mut rows = String::new();
    for row in 0..competitors {
        let is_turn = row == head.version as usize % competitors.max(1);
        let mark = if is_turn { 10_000 + head.version } else { row_mark(row) };
        let _ = write!(
            rows,
            r#"<Result SortOrder="{order}" Rank="{order}" Result="{mark}" ResultType="TIME"><Competitor Code="{code}" Type="A" Organisation="JPN"><Composition><Athlete Code="{code}" Order="1" Bib="{bib}"><Description GivenName="Given{row}" FamilyName="FAMILY{row}" Gender="M" Organisation="JPN" BirthDate="2004-01-01"/></Athlete></Composition></Competitor></Result>"#,
            order = row + 1,
            code = 1_900_000 + row,
            bib = 100 + row,
        );
    }
    let text: String = (0..changing)
        .map(|at| char::from(b'a' + u8::try_from((at + head.version as usize) % 26).unwrap_or_default()))
        .collect();
    around(head, &format!(r#"<ExtendedInfos><Progress Text="{text}"/></ExtendedInfos>{rows}"#))
}

fn row_mark(row: usize) -> u32 {
    u32::try_from(row).unwrap_or_default() + 9_000
}

/// A document of `bytes` characters in one element, such as a PDF.
pub fn bulk(head: Head<'_>, bytes: usize) -> String {
    around(head, &format!(r#"<Base64>{}</Base64>"#, "QUJD".repeat(bytes / 4)))
}

fn around(head: Head<'_>, inside: &str) -> String {
    let Head { document_type, code, version, status, number } = head;
    let status = if status.is_empty() { String::new() } else { format!(r#" ResultStatus="{status}""#) };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><OdfBody CompetitionCode="SYN2030" DocumentCode="{code}" DocumentType="{document_type}" Version="{version}"{status} FeedFlag="P" Date="2030-07-28" Time="213000000" LogicalDate="2030-07-28" Source="BENCH1"><Competition Marker="{}">{inside}</Competition></OdfBody>"#,
        marker(number)
    )
}
