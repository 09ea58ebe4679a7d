//! Rows as the CSV of Bulk API 2.0, and its result files. An empty cell is ignored there, `#N/A` clears.

use std::collections::HashMap;

use crate::{
    mapping::Mapping,
    row::{CLEARS, Cell, Row},
};

/// A writer of upload data: LF, quotes only where needed, no blank around them.
pub struct Upload {
    writer: csv::Writer<Vec<u8>>,
    rows: usize,
}

/// A result file that is not what the recipient promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a result file is malformed")]
pub struct Malformed;

/// A row of a result file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRow {
    /// The record's id; empty where there is none.
    pub record_id: String,
    /// Code of the row's error; empty where it succeeded. Its text is dropped: it quotes values.
    pub code: String,
    /// Fields that the error names.
    pub fields: Vec<String>,
}

impl Upload {
    /// With the header of a mapping.
    ///
    /// # Errors
    /// None in memory.
    pub fn new(mapping: &Mapping) -> Result<Self, csv::Error> {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::Any(b'\n'))
            .quote_style(csv::QuoteStyle::Necessary)
            .from_writer(Vec::new());
        writer.write_record(mapping.fields().iter().map(|field| &field.target))?;
        Ok(Self { writer, rows: 0 })
    }

    /// Adds a row of the mapping's width.
    ///
    /// # Errors
    /// A row of another width.
    pub fn push(&mut self, row: &Row) -> Result<(), csv::Error> {
        self.writer.write_record(row.cells.iter().map(|cell| match cell {
            None => "",
            Some(Cell::Text(text)) => text.reveal(),
            Some(Cell::Flag(true)) => "true",
            Some(Cell::Flag(false)) => "false",
            Some(Cell::Clear) => CLEARS,
        }))?;
        self.rows += 1;
        Ok(())
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes.
    ///
    /// # Errors
    /// None in memory.
    pub fn finish(self) -> Result<Vec<u8>, csv::Error> {
        self.writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

/// Reads a result file: by match key, since the order is not promised. At most `most` rows.
///
/// # Errors
/// Not CSV, no column of the key, more rows than were sent.
pub fn read_results(
    body: &[u8],
    key_field: &str,
    most: usize,
) -> Result<HashMap<String, ResultRow>, Malformed> {
    let mut rows = HashMap::new();
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(rows);
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
    let header = reader.headers().map_err(|_| Malformed)?.clone();
    let place = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let key = place(key_field).ok_or(Malformed)?;
    let (id, error) = (place("sf__Id"), place("sf__Error"));
    for record in reader.records() {
        let record = record.map_err(|_| Malformed)?;
        let cell = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
        let (code, fields) = row_error(cell(error));
        let row = ResultRow { record_id: record_id(cell(id)), code, fields };
        rows.insert(cell(Some(key)).to_owned(), row);
        if rows.len() > most {
            return Err(Malformed);
        }
    }
    Ok(rows)
}

/// `CODE:text:FIELD1, FIELD2 --` gives the code and the fields.
fn row_error(text: &str) -> (String, Vec<String>) {
    let code = safe_code(text.split(':').next().unwrap_or_default());
    let fields = text.rsplit(':').next().unwrap_or_default().trim_end_matches(['-', ' ']);
    let is_field = |name: &&str| {
        (1..=80).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    // The last part is a list of fields only where a text stands before it.
    let named = text.matches(':').count() >= 2;
    let fields = fields.split([',', ' ']).filter(is_field).filter(|_| named).take(20).map(str::to_owned);
    (code, fields.collect())
}

/// A code as the recipient's guides spell it; anything else is `UNKNOWN_CODE`, so that no text slips through.
#[must_use]
pub fn safe_code(text: &str) -> String {
    let right = (1..=80).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    match text {
        "" => String::new(),
        _ if right => text.to_owned(),
        _ => "UNKNOWN_CODE".to_owned(),
    }
}

// 15 or 18 letters and digits.
fn record_id(text: &str) -> String {
    let right = matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if right { text.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::{Computed, Conversion, FieldMapping, NullPolicy, Source};

    fn mapping() -> Mapping {
        let field = |target: &str, source| FieldMapping {
            target: target.to_owned(),
            source,
            conversion: Conversion::None,
            max_length: 100,
            null_policy: NullPolicy::Clear,
            placeholder: None,
        };
        let key = field("Kotinos_Id__c", Source::Computed(Computed::MatchKey));
        let others = ["A", "B", "C"].map(|name| field(name, Source::Trait("x".to_owned())));
        Mapping::new([vec![key], others.to_vec()].concat()).unwrap()
    }

    fn row(cells: Vec<Option<Cell>>) -> Row {
        let key = Some(Cell::Text("KEY".to_owned().into()));
        Row { match_key: "KEY".to_owned(), cells: [vec![key], cells].concat(), hash: [0; 16] }
    }

    fn written(rows: &[Row]) -> String {
        let mut upload = Upload::new(&mapping()).unwrap();
        rows.iter().for_each(|row| upload.push(row).unwrap());
        assert_eq!(upload.rows(), rows.len());
        String::from_utf8(upload.finish().unwrap()).unwrap()
    }

    fn text(text: &str) -> Option<Cell> {
        Some(Cell::Text(text.to_owned().into()))
    }

    #[test]
    fn kept_cleared_and_quoted_cells_look_as_the_guide_says() {
        let row = row(vec![None, Some(Cell::Clear), text("a \"b\", c\nd")]);
        assert_eq!(written(&[row]), "Kotinos_Id__c,A,B,C\nKEY,,#N/A,\"a \"\"b\"\", c\nd\"\n");
    }

    #[test]
    fn results_are_matched_by_key_and_their_texts_dropped() {
        let body = "\"sf__Id\",\"sf__Error\",\"Kotinos_Id__c\"\n\
            \"\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\",\"K2\"\n\
            \"\",\"INVALID_EMAIL_ADDRESS:Email: invalid email address: alice@example.org:Email --\",\"K1\"\n\
            \"\",\"no code here alice@example.org\",\"K3\"\n";
        let rows = read_results(body.as_bytes(), "Kotinos_Id__c", 10).unwrap();
        assert_eq!(
            (rows["K2"].code.as_str(), &rows["K2"].fields),
            ("REQUIRED_FIELD_MISSING", &vec!["LastName".to_owned()])
        );
        assert_eq!(
            (rows["K1"].code.as_str(), &rows["K1"].fields),
            ("INVALID_EMAIL_ADDRESS", &vec!["Email".to_owned()])
        );
        assert_eq!((rows["K3"].code.as_str(), rows["K3"].fields.len()), ("UNKNOWN_CODE", 0));
        assert!(!format!("{rows:?}").contains("alice"), "a result's text quotes values");
    }

    #[test]
    fn a_result_file_of_another_shape_is_refused() {
        assert_eq!(read_results(b"a,b\n1,2\n", "Kotinos_Id__c", 10), Err(Malformed));
        assert_eq!(read_results(b"Kotinos_Id__c\nK1\nK2\n", "Kotinos_Id__c", 1), Err(Malformed));
        assert!(read_results(b"\n", "Kotinos_Id__c", 1).unwrap().is_empty());
        assert!(read_results(&[0xff, b'\n'], "Kotinos_Id__c", 1).is_err());
    }

    fn cell() -> impl Strategy<Value = Option<Cell>> {
        prop_oneof![
            Just(None),
            Just(Some(Cell::Clear)),
            any::<bool>().prop_map(|flag| Some(Cell::Flag(flag))),
            "[^\u{0}]{1,40}".prop_filter("reserved", |text| text != CLEARS).prop_map(|value| text(&value)),
        ]
    }

    proptest! {
        // The null contract, read back by another's rules: empty is ignored, `#N/A` clears, the rest is a value.
        #[test]
        fn what_is_written_is_what_is_read(rows in proptest::collection::vec(proptest::array::uniform3(cell()), 0..8)) {
            let body = written(&rows.iter().map(|cells| row(cells.to_vec())).collect::<Vec<_>>());
            let mut reader = csv::ReaderBuilder::new().from_reader(body.as_bytes());
            let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), rows.len());
            for (record, cells) in read.iter().zip(&rows) {
                for (read, cell) in record.iter().skip(1).zip(cells) {
                    let expected = match cell {
                        None => "",
                        Some(Cell::Clear) => "#N/A",
                        Some(Cell::Flag(flag)) => if *flag { "true" } else { "false" },
                        Some(Cell::Text(text)) => text.reveal(),
                    };
                    prop_assert_eq!(read, expected);
                }
            }
        }

        #[test]
        fn no_result_file_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_results(&body, "Kotinos_Id__c", 5);
        }
    }
}
