use std::error::Error as StdError;

use chassis::{Code, Coded};

/// Why a handler could not take a batch in.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Of the surroundings: tried again with back-off, as often as it takes; the partition waits.
    #[error("a passing failure")]
    Transient(#[source] Box<dyn StdError + Send + Sync>),
    /// Of a record: tried three times alone, then its key is parked and the others go on.
    #[error("a record cannot be taken in")]
    Record(#[source] Box<dyn StdError + Send + Sync>),
}

impl Failure {
    /// The database or a peer is away: try again.
    pub fn transient(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Transient(error.into())
    }

    /// The record itself is at fault.
    pub fn record(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Record(error.into())
    }

    /// By the error's code: what is unavailable or exhausted passes, everything else is the record's.
    pub fn of(error: impl Coded + Send + Sync + 'static) -> Self {
        match error.code() {
            Code::Unavailable | Code::ResourceExhausted => Self::Transient(Box::new(error)),
            _ => Self::Record(Box::new(error)),
        }
    }
}

/// The whole chain of an error in one line, for a log field or a parked record.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text.truncate(text.floor_char_boundary(2_000));
    text
}
