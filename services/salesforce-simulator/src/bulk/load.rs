//! The processing of a closed job: CSV to rows, in chunks of 200 as Salesforce's own transactions.

use std::io::Cursor;

use bytes::Bytes;
use csv::StringRecord;

use super::{Job, LineEnding, Outcome};
use crate::{
    org::{Column, ObjectType, SystemField},
    refusal::RowError,
    rows::{self, Author, Cells, Operation, Saved, Table},
    value::Input,
};

/// Rows of one transaction.
pub const CHUNK: usize = 200;
/// Characters of one cell.
const MAX_CELL: usize = 32_000;

/// An upload being read.
pub struct Load {
    reader: csv::Reader<Cursor<Bytes>>,
    header: Vec<Column>,
    operation: Operation,
    chunk: Vec<StringRecord>,
    /// Why reading cannot go on after the present chunk.
    broken: Option<String>,
}

/// A reader with the job's delimiter. Both line endings end a record; `Load::open` has compared them with the job's.
pub(super) fn reader(content: Bytes, delimiter: u8, flexible: bool) -> csv::Reader<Cursor<Bytes>> {
    csv::ReaderBuilder::new().delimiter(delimiter).flexible(flexible).from_reader(Cursor::new(content))
}

impl Load {
    /// # Errors
    /// The `errorMessage` of the job: its header or line ending does not fit, so that no row is processed.
    pub fn open(job: &Job, object: &ObjectType) -> Result<Self, String> {
        let content = job.content.clone().unwrap_or_default();
        check_line_ending(&content, job.line_ending)?;
        // The csv crate closes a quote left open by a truncated upload; Salesforce does not.
        if content.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            return Err(invalid("a quoted field does not end"));
        }
        let mut reader = reader(content, job.delimiter, false);
        let names = reader.headers().map_err(|error| invalid(&error.to_string()))?;
        let header = names.iter().map(|name| {
            let name = name.trim_start_matches('\u{feff}');
            object.column(name).ok_or_else(|| invalid(&format!("Field name not found : {}", shown(name))))
        });
        let header = header.collect::<Result<Vec<Column>, String>>()?;
        check_header(&header, job.operation, object)?;
        Ok(Self { reader, header, operation: job.operation, chunk: Vec::with_capacity(CHUNK), broken: None })
    }

    /// Reads the next chunk; 0 at the end.
    ///
    /// # Errors
    /// The `errorMessage` of the job: from here on no row can be read.
    pub fn read(&mut self) -> Result<usize, String> {
        self.chunk.clear();
        if let Some(reason) = self.broken.take() {
            return Err(reason);
        }
        while self.chunk.len() < CHUNK {
            let mut record = StringRecord::new();
            match self.reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true)
                    if record.iter().any(|cell| cell.len() > MAX_CELL && cell.chars().count() > MAX_CELL) =>
                {
                    self.broken =
                        Some(format!("ClientInputError : a field has more than {MAX_CELL} characters"));
                    break;
                }
                Ok(true) => self.chunk.push(record),
                Err(error) => {
                    self.broken = Some(invalid(&kind(&error)));
                    break;
                }
            }
        }
        match self.broken.take_if(|_| self.chunk.is_empty()) {
            Some(reason) => Err(reason),
            None => Ok(self.chunk.len()),
        }
    }

    /// Does the rows of the present chunk.
    #[must_use]
    pub fn apply(&self, table: &mut Table, by: &Author) -> Vec<Outcome> {
        let object = table.object.clone();
        let rows: Vec<_> = self.chunk.iter().map(|record| self.cells(&object, record)).collect();
        let doubled = match self.operation {
            Operation::Upsert(field) => {
                let keys: Vec<Option<&str>> = rows
                    .iter()
                    .map(|row| row.as_ref().ok().and_then(|cells| rows::key_of(cells, field)))
                    .collect();
                rows::doubled(&keys)
            }
            _ => vec![false; rows.len()],
        };
        let saved = rows.into_iter().zip(doubled).map(|(row, doubled)| self.row(table, row, doubled, by));
        saved
            .map(|result| match result {
                Ok(Saved { serial, created }) => Outcome::Saved { serial, created },
                Err(error) => Outcome::Failed(Box::new(error)),
            })
            .collect()
    }

    fn row(
        &self,
        table: &mut Table,
        row: Result<Cells<'_>, RowError>,
        doubled: bool,
        by: &Author,
    ) -> Result<Saved, RowError> {
        let cells = row?;
        if let (Operation::Upsert(field), true) = (self.operation, doubled) {
            let name = table.object.column_name(Column::Data(field)).to_owned();
            return Err(rows::doubled_error(&name, rows::key_of(&cells, field).unwrap_or_default()));
        }
        table.apply(self.operation, &cells, by)
    }

    fn cells<'a>(&self, object: &ObjectType, record: &'a StringRecord) -> Result<Cells<'a>, RowError> {
        let mut cells = Cells::default();
        for (column, text) in self.header.iter().zip(record) {
            if let Some(input) = Input::from_csv(text) {
                cells.push(object, *column, input)?;
            }
        }
        Ok(cells)
    }
}

fn check_line_ending(content: &[u8], expected: LineEnding) -> Result<(), String> {
    let Some(end) = content.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
    let is_crlf = end.checked_sub(1).and_then(|before| content.get(before)) == Some(&b'\r');
    if is_crlf == (expected == LineEnding::Crlf) {
        return Ok(());
    }
    let setting = if is_crlf { "LF" } else { "CRLF" };
    Err(format!(
        "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
    ))
}

fn check_header(header: &[Column], operation: Operation, object: &ObjectType) -> Result<(), String> {
    let missing = |name: &str| Err(invalid(&format!("Field name not found : {name}")));
    for (place, column) in header.iter().enumerate() {
        if header.iter().skip(place + 1).any(|other| other == column) {
            return Err(invalid(&format!("Duplicate field name : {}", object.column_name(*column))));
        }
    }
    let has_id = header.contains(&Column::System(SystemField::Id));
    match operation {
        _ if header.is_empty() => Err(invalid("Unable to find any headers in the CSV file")),
        Operation::Upsert(field) if !header.contains(&Column::Data(field)) => {
            missing(object.column_name(Column::Data(field)))
        }
        Operation::Update if !has_id => missing("Id"),
        Operation::Delete | Operation::HardDelete if !has_id || header.len() > 1 => {
            Err(invalid("delete and hardDelete batches must contain only ids"))
        }
        _ => Ok(()),
    }
}

fn invalid(reason: &str) -> String {
    format!("InvalidBatch : {reason}")
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Without the cells of the record, which the csv crate's own text could quote.
fn kind(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} columns, the header {expected_len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            format!("line {} is not UTF-8", pos.as_ref().map_or(0, csv::Position::line))
        }
        _ => "the CSV cannot be parsed".to_owned(),
    }
}
