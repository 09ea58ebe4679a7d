//! How a verb answers: lines on standard output, and a code at the end.

use std::{
    error::Error as StdError,
    fmt,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::{StartError, code::chain};

/// How a verb ended otherwise than well. Each has an exit code of its own, so that scripts can tell them apart.
#[derive(Debug)]
pub enum Stop {
    /// It did not work: exit code 1.
    Failed(StartError),
    /// It was not asked rightly: exit code 2, as for a wrong flag.
    Usage(String),
    /// It would have destroyed something without `--yes`, or must not be done: exit code 3.
    Refused(String),
    /// A lock or an answer did not come in time; asking again may help: exit code 4.
    TimedOut(String),
}

impl Stop {
    /// A failure that a sentence says.
    #[must_use]
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::Failed(sentence.into().into())
    }

    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::TimedOut(_) => 4,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&chain(error.as_ref())),
            Self::Usage(text) | Self::Refused(text) | Self::TimedOut(text) => f.write_str(text),
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Self {
        if waited_in_vain(&error) { Self::TimedOut(chain(&error)) } else { Self::Failed(error.into()) }
    }
}

// Whether the database let us wait too long: for a connection, a lock or an answer.
fn waited_in_vain(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::PoolTimedOut) => return true,
            Some(sqlx::Error::Database(refused)) => {
                // lock_not_available, query_canceled
                return matches!(refused.code().as_deref(), Some("55P03" | "57014"));
            }
            _ => next = error.source(),
        }
    }
    false
}

/// Where an answer goes.
pub(super) enum Output {
    Standard,
    Kept(Kept),
}

/// An answer that a test looks at.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<String>>);

impl Kept {
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Output {
    pub(super) const fn standard() -> Self {
        Self::Standard
    }

    pub(super) fn kept() -> (Self, Kept) {
        let kept = Kept::default();
        (Self::Kept(kept.clone()), kept)
    }

    pub(super) fn write(&self, text: &str) -> Result<(), Stop> {
        match self {
            Self::Standard => Ok(std::io::stdout().write_all(text.as_bytes())?),
            Self::Kept(kept) => {
                kept.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
                Ok(())
            }
        }
    }
}

/// Columns as wide as their longest cell, under their names.
pub(super) fn table(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let head = columns.iter().map(|column| column.replace('_', " ").to_uppercase()).collect();
    let cells: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.iter().map(|row| row.iter().map(cell).collect())).collect();
    let width = |at: usize| {
        cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A field a line.
pub(super) fn fields(fields: &[(&str, Value)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    fields
        .iter()
        .map(|(name, value)| format!("{:<width$}  {}\n", name.replace('_', " "), cell(value)))
        .collect()
}

// What others wrote may hold anything; a terminal obeys control characters.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let rows = [vec![Value::from("a\u{1b}[2Jb\nc"), Value::Null]];
        assert_eq!(table(&["record_key", "error"], &rows), "RECORD KEY  ERROR\na [2Jb c    -\n");
        assert_eq!(
            fields(&[("unsent_rows", 3.into()), ("leader", Value::Null)]),
            "unsent rows  3\nleader       -\n"
        );
    }

    #[test]
    fn waiting_in_vain_is_told_from_failing() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] sqlx::Error);
        assert_eq!(Stop::from(Outer(sqlx::Error::PoolTimedOut)).exit_code(), 4);
        assert_eq!(Stop::from(Outer(sqlx::Error::RowNotFound)).exit_code(), 1);
        assert_eq!(Stop::failed("no such thing").to_string(), "no such thing");
    }
}
