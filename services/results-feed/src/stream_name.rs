use std::{fmt, str::FromStr};

use crate::document_type::{FeedFlag, UnknownName};

/// A stream of this service: production, tests, or a rehearsal. Whoever may see test documents may see rehearsals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// `P`
    Production,
    /// `T`
    Test,
    /// `R1` to `R9`
    Rehearsal(RehearsalNumber),
}

/// Which of the rehearsals, from 1 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RehearsalNumber(u8);

/// How many rehearsals there may be at a time: their names have one digit.
pub const REHEARSALS: usize = 9;

impl RehearsalNumber {
    /// From 1 to 9.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number as usize <= REHEARSALS { Some(Self(number)) } else { None }
    }

    /// Every number, from 1.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=9).map(Self)
    }

    /// Its place among all, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }
}

impl StreamName {
    /// The flag of its documents, and of the rights that hold for it.
    #[must_use]
    pub const fn feed_flag(self) -> FeedFlag {
        match self {
            Self::Production => FeedFlag::Production,
            Self::Test | Self::Rehearsal(_) => FeedFlag::Test,
        }
    }

    /// Every name.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Production, Self::Test].into_iter().chain(RehearsalNumber::all().map(Self::Rehearsal))
    }
}

impl From<FeedFlag> for StreamName {
    fn from(feed_flag: FeedFlag) -> Self {
        match feed_flag {
            FeedFlag::Production => Self::Production,
            FeedFlag::Test => Self::Test,
        }
    }
}

impl From<StreamName> for FeedFlag {
    fn from(stream: StreamName) -> Self {
        stream.feed_flag()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Production => f.write_str("P"),
            Self::Test => f.write_str("T"),
            Self::Rehearsal(RehearsalNumber(number)) => write!(f, "R{number}"),
        }
    }
}

impl FromStr for StreamName {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::all().find(|name| name.to_string() == text).ok_or(UnknownName("must be P, T or R1 to R9"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_its_name_and_no_other_is_known() {
        assert_eq!(StreamName::all().count(), 2 + REHEARSALS);
        for stream in StreamName::all() {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for wrong in ["", "R", "R0", "R10", "p", "R1 "] {
            assert!(wrong.parse::<StreamName>().is_err(), "{wrong}");
        }
        assert_eq!((RehearsalNumber::new(0), RehearsalNumber::new(10)), (None, None));
        assert_eq!("R3".parse::<StreamName>().map(StreamName::feed_flag), Ok(FeedFlag::Test));
    }
}
