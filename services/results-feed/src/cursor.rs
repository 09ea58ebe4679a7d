use std::{fmt, str::FromStr};

use crate::lane::LANES;

/// Longest epoch in digits.
const LONGEST_EPOCH: usize = 16;
/// Longest cursor in bytes: an epoch, a sequence number and an offset for each lane.
pub const LONGEST: usize = LONGEST_EPOCH + 4 * 20;

/// A place in a stream that survives restarts: its epoch, which changes only when committed entries were lost, and for
/// each lane up to where everything was given. Opaque to readers: `7f3a.117231` where the lanes agree, else the highest
/// number and how far each lane is behind it, `7f3a.117231-0-40-1203`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of the stream; 1 to 16 lower-case hexadecimal digits.
    pub epoch: String,
    /// By lane: everything up to here was given.
    pub at: [i64; LANES],
}

/// Text that we never gave out as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as it was given")]
pub struct InvalidCursor;

impl Cursor {
    /// Everything up to `seq` in every lane.
    #[must_use]
    pub const fn new(epoch: String, seq: i64) -> Self {
        Self { epoch, at: [seq; LANES] }
    }

    /// The place of the lane that is furthest.
    #[must_use]
    pub fn highest(&self) -> i64 {
        self.at.iter().copied().max().unwrap_or_default()
    }

    /// The place of the lane that is furthest behind.
    #[must_use]
    pub fn lowest(&self) -> i64 {
        self.at.iter().copied().min().unwrap_or_default()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.highest();
        write!(f, "{}.{base}", self.epoch)?;
        if self.at.iter().any(|at| *at != base) {
            for at in self.at {
                write!(f, "-{}", base - at)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > LONGEST {
            return Err(InvalidCursor);
        }
        let (epoch, places) = text.split_once('.').ok_or(InvalidCursor)?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if epoch.is_empty() || epoch.len() > LONGEST_EPOCH || !epoch.bytes().all(hexadecimal) {
            return Err(InvalidCursor);
        }
        let mut numbers = places.split('-').map(number);
        let base = numbers.next().ok_or(InvalidCursor)??;
        let mut cursor = Self::new(epoch.to_owned(), base);
        let offsets: Vec<i64> = numbers.collect::<Result<_, _>>()?;
        if offsets.is_empty() {
            return Ok(cursor);
        }
        if offsets.len() != LANES || offsets.iter().any(|offset| *offset > base) {
            return Err(InvalidCursor);
        }
        // One lane is at the base and another is not: any other way to write a place is none of ours.
        if offsets.iter().all(|offset| *offset == 0) || offsets.iter().all(|offset| *offset != 0) {
            return Err(InvalidCursor);
        }
        for (at, offset) in cursor.at.iter_mut().zip(offsets) {
            *at -= offset;
        }
        Ok(cursor)
    }
}

// As we print it: no sign and no leading zero.
fn number(text: &str) -> Result<i64, InvalidCursor> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| InvalidCursor) } else { Err(InvalidCursor) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_prints_back_the_same() {
        for right in ["7f3a.117231", "7f3a.0", "7f3a.117231-0-40-1203", "0.5-5-0-0"] {
            assert_eq!(right.parse::<Cursor>().unwrap().to_string(), right);
        }
        assert_eq!("7f3a.10-0-4-10".parse::<Cursor>().unwrap().at, [10, 6, 0]);
        let long = format!("7f3a.{}", "1".repeat(1_000_000));
        for wrong in [
            "",
            ".",
            "7f3a.",
            ".1",
            "7F3A.1",
            "7f3a.-1",
            "7f3a.1.2",
            "7f3a.99999999999999999999",
            "7f3a.01",
            "7f3a.5-0-0-0",
            "7f3a.5-1-1-1",
            "7f3a.5-0-1",
            "7f3a.5-0-1-2-3",
            "7f3a.5-0-6-0",
            "7f3a.5-0--1-0",
            "7f3a.5+0+1+0",
            long.as_str(),
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic_and_what_is_read_prints_back(text in "[0-9a-f]{1,3}\\.[0-9-]{0,12}|\\PC{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }

        #[test]
        fn every_place_is_read_back(epoch in "[0-9a-f]{1,16}", at in proptest::array::uniform3(0..=i64::MAX)) {
            let cursor = Cursor { epoch, at };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }
    }
}
