//! A person's row for a recipient: a cell for each field of the mapping, made under a verdict.

use domain::{AddressClass, DateTime, EmailAddress, NaiveDate, Pii, Utc};

use crate::{
    agreement::Agreement,
    gate,
    keys::DestinationKeys,
    mapping::{Computed, Conversion, FieldMapping, Mapping, Mask, NullPolicy, Source},
    subject::{Subject, TraitValue},
};

/// How Bulk CSV says that a field is emptied; a value that reads so cannot be sent.
pub const CLEARS: &str = "#N/A";
/// Longest address that the recipient's type for addresses takes, in characters.
const LONGEST_EMAIL: usize = 80;

/// What a row says about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A text, never empty.
    Text(Pii<String>),
    /// Yes or no.
    Flag(bool),
    /// The field is emptied.
    Clear,
}

/// A row: a cell for each field of the mapping, none where the recipient keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The person's key.
    pub match_key: String,
    /// By place in the mapping.
    pub cells: Vec<Option<Cell>>,
    /// Keyed hash of what the recipient holds after it.
    pub hash: [u8; 16],
}

/// A value that does not fit: the row fails, the value is never cut or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The recipient's field.
    pub field: String,
    /// `TOO_LONG`, `RESERVED_VALUE` or `WRONG_TYPE`.
    pub code: &'static str,
}

/// What every row of a destination is made with.
#[derive(Debug, Clone, Copy)]
pub struct Press<'a> {
    /// The mapping.
    pub mapping: &'a Mapping,
    /// Under which consents count.
    pub agreement: &'a Agreement,
    /// For the hash.
    pub keys: &'a DestinationKeys,
    /// As of when consents count.
    pub cutoff: DateTime<Utc>,
}

impl Press<'_> {
    /// The row of a person whom the gate lets through.
    ///
    /// # Errors
    /// The first field whose value does not fit.
    pub fn deliver(
        &self,
        subject: &Subject,
        match_key: &str,
        permitted: Mask,
        revoked: Mask,
        creates: bool,
    ) -> Result<Row, Unfit> {
        let mut cells = Vec::with_capacity(self.mapping.fields().len());
        for (at, field) in self.mapping.fields().iter().enumerate() {
            cells.push(if field.is_key() {
                Some(Cell::Text(match_key.to_owned().into()))
            } else if permitted.has(at) {
                self.permitted(field, subject, creates)?
            } else if revoked.has(at) {
                Some(emptied(field))
            } else {
                // Never sent before: left alone, but for what the recipient requires.
                placeholder(field)
            });
        }
        Ok(self.row(match_key, cells))
    }

    /// The row that empties a person's record: flags off, the rest cleared.
    #[must_use]
    pub fn cease(&self, match_key: &str) -> Row {
        let cell = |field: &FieldMapping| {
            if field.is_key() { Cell::Text(match_key.to_owned().into()) } else { emptied(field) }
        };
        let cells = self.mapping.fields().iter().map(|field| Some(cell(field))).collect();
        self.row(match_key, cells)
    }

    fn permitted(
        &self,
        field: &FieldMapping,
        subject: &Subject,
        creates: bool,
    ) -> Result<Option<Cell>, Unfit> {
        if field.null_policy == NullPolicy::FillEmpty && !creates {
            return Ok(None);
        }
        if let Some(cell) = self.value(field, subject)? {
            return Ok(Some(cell));
        }
        Ok(placeholder(field).or_else(|| (field.null_policy == NullPolicy::Clear).then_some(Cell::Clear)))
    }

    fn value(&self, field: &FieldMapping, subject: &Subject) -> Result<Option<Cell>, Unfit> {
        let text = match &field.source {
            Source::Computed(Computed::Consent(key)) => {
                let given = gate::permits(self.agreement, subject, key, self.cutoff).is_ok();
                return Ok(Some(Cell::Flag(given)));
            }
            Source::Computed(computed) => computed_text(computed, subject),
            Source::Constant(constant) => Some(constant.clone()),
            Source::Trait(name) => match subject.traits.reveal().get(name) {
                None => None,
                Some(TraitValue::Flag(flag)) if field.conversion == Conversion::Flag => {
                    return Ok(Some(Cell::Flag(*flag)));
                }
                Some(value) => Some(convert(field, value)?),
            },
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let unfit = |code| Unfit { field: field.target.clone(), code };
        if text.chars().count() > field.max_length {
            return Err(unfit("TOO_LONG"));
        }
        if text == CLEARS {
            return Err(unfit("RESERVED_VALUE"));
        }
        Ok(Some(Cell::Text(text.into())))
    }

    fn row(&self, match_key: &str, cells: Vec<Option<Cell>>) -> Row {
        // What is cleared and what was never there are the same to the recipient; what is only filled at creation says
        // nothing about later.
        let mut state = Vec::new();
        for (field, cell) in self.mapping.fields().iter().zip(&cells) {
            let value: &[u8] = match cell {
                Some(Cell::Text(text)) if field.null_policy != NullPolicy::FillEmpty => {
                    text.reveal().as_bytes()
                }
                Some(Cell::Flag(true)) => b"true",
                Some(Cell::Flag(false)) => b"false",
                _ => continue,
            };
            for part in [field.target.as_bytes(), value] {
                state.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                state.extend_from_slice(part);
            }
        }
        Row { match_key: match_key.to_owned(), cells, hash: self.keys.hash_row(&state) }
    }
}

impl Row {
    /// Fields that go out with a value.
    #[must_use]
    pub fn sent(&self) -> Mask {
        self.mask(|cell| !matches!(cell, Cell::Clear))
    }

    /// Fields that are emptied.
    #[must_use]
    pub fn cleared(&self) -> Mask {
        self.mask(|cell| matches!(cell, Cell::Clear))
    }

    fn mask(&self, which: impl Fn(&Cell) -> bool) -> Mask {
        let mut mask = Mask::default();
        for (at, cell) in self.cells.iter().enumerate() {
            if cell.as_ref().is_some_and(&which) {
                mask.add(at);
            }
        }
        mask
    }
}

fn emptied(field: &FieldMapping) -> Cell {
    match (&field.conversion, placeholder(field)) {
        (Conversion::Flag, _) => Cell::Flag(false),
        (_, Some(placeholder)) => placeholder,
        (_, None) => Cell::Clear,
    }
}

fn placeholder(field: &FieldMapping) -> Option<Cell> {
    field.placeholder.as_ref().map(|text| Cell::Text(text.clone().into()))
}

fn computed_text(computed: &Computed, subject: &Subject) -> Option<String> {
    let email = subject.email.as_ref();
    match computed {
        Computed::Email => {
            email.filter(|email| is_taken(email)).and_then(EmailAddress::as_str).map(str::to_owned)
        }
        Computed::EmailRaw => email.filter(|email| !is_taken(email)).map(|email| readable(email.as_bytes())),
        Computed::EmailClass => email.map(|email| email.class().name().to_owned()),
        Computed::Locale => subject.locale.map(|locale| locale.tag().to_owned()),
        Computed::MatchKey | Computed::Consent(_) => None,
    }
}

// What breaks the RFC, and what is longer than the recipient's type, goes into the field for raw addresses: an address
// never drops a row.
fn is_taken(email: &EmailAddress) -> bool {
    email.class() == AddressClass::Conforming && email.as_bytes().len() <= LONGEST_EMAIL
}

// Bytes that are not UTF-8 are shown as `\xNN`.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    // At worst each of 254 bytes becomes four characters, and the field takes 255.
    text.chars().take(255).collect()
}

fn convert(field: &FieldMapping, value: &TraitValue) -> Result<String, Unfit> {
    let wrong = || Unfit { field: field.target.clone(), code: "WRONG_TYPE" };
    match (field.conversion, value) {
        (Conversion::None, TraitValue::Text(text)) => Ok(text.clone()),
        (Conversion::None, TraitValue::Number(number)) => Ok(number.to_string()),
        (Conversion::Date, TraitValue::Date(text)) => {
            text.parse::<NaiveDate>().map(|day| day.to_string()).map_err(|_| wrong())
        }
        (Conversion::Join, TraitValue::Set(members))
            if members.iter().all(|member| !member.contains(';')) =>
        {
            Ok(members.join(";"))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
pub mod tests;
