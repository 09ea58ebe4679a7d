//! The three result files of an ended job, written from the upload and the outcomes. Rows keep the upload's order,
//! which Salesforce does not promise.

use csv::{ByteRecord, QuoteStyle, Terminator};

use super::{Job, LineEnding, Outcome, load};
use crate::rows::Table;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Successful,
    Failed,
    Unprocessed,
}

impl Kind {
    /// By the last segment of the path, in any case: Salesforce itself writes `unprocessedrecords`.
    #[must_use]
    pub fn parse(segment: &str) -> Option<Self> {
        match segment.to_ascii_lowercase().as_str() {
            "successfulresults" => Some(Self::Successful),
            "failedresults" => Some(Self::Failed),
            "unprocessedrecords" => Some(Self::Unprocessed),
            _ => None,
        }
    }
}

/// Writes one file.
///
/// # Errors
/// Only if memory for the file cannot be written to.
pub fn write(job: &Job, table: &Table, kind: Kind) -> Result<Vec<u8>, csv::Error> {
    let terminator = match job.line_ending {
        LineEnding::Lf => Terminator::Any(b'\n'),
        LineEnding::Crlf => Terminator::CRLF,
    };
    let mut writer = csv::WriterBuilder::new()
        .quote_style(QuoteStyle::Always)
        .delimiter(job.delimiter)
        .terminator(terminator)
        .flexible(true)
        .from_writer(Vec::new());
    // Flexible: the row that broke the job is among the unprocessed ones.
    let mut reader = load::reader(job.content.clone().unwrap_or_default(), job.delimiter, true);
    let header = reader.byte_headers()?.clone();
    let own: &[&[u8]] = match kind {
        Kind::Successful => &[b"sf__Id", b"sf__Created"],
        Kind::Failed => &[b"sf__Id", b"sf__Error"],
        Kind::Unprocessed => &[],
    };
    writer.write_record(own.iter().copied().chain(&header))?;
    let mut outcomes = job.outcomes.iter();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        match (kind, outcomes.next()) {
            (Kind::Successful, Some(Outcome::Saved { serial, created })) => {
                let id = table.id(*serial);
                let created: &[u8] = if *created { b"true" } else { b"false" };
                writer.write_record([id.as_bytes(), created].into_iter().chain(&record))?;
            }
            (Kind::Failed, Some(Outcome::Failed(error))) => {
                let text = error.bulk_text();
                let id = id_cell(&header, &record).to_vec();
                writer.write_record([id.as_slice(), text.as_bytes()].into_iter().chain(&record))?;
            }
            (Kind::Unprocessed, None) => writer.write_record(&record)?,
            _ => {}
        }
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

/// The id that a failed row brought along, if it had one.
fn id_cell<'a>(header: &ByteRecord, record: &'a ByteRecord) -> &'a [u8] {
    let place = header.iter().position(|name| name.eq_ignore_ascii_case(b"id"));
    place.and_then(|place| record.get(place)).unwrap_or_default()
}
