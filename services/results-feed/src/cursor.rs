use std::{fmt, str::FromStr};

/// A place in a stream that survives restarts: its epoch, which changes only when committed entries were lost, and a
/// sequence number. Opaque to readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of the stream; 1 to 16 lower-case hexadecimal digits.
    pub epoch: String,
    /// Everything up to here was read.
    pub seq: i64,
}

/// Text that we never gave out as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as it was given")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, seq) = text.split_once('.').ok_or(InvalidCursor)?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if epoch.is_empty() || epoch.len() > 16 || !epoch.bytes().all(hexadecimal) {
            return Err(InvalidCursor);
        }
        if seq.is_empty() || !seq.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidCursor);
        }
        Ok(Self { epoch: epoch.to_owned(), seq: seq.parse().map_err(|_| InvalidCursor)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_prints_back_the_same() {
        assert_eq!("7f3a.117231".parse::<Cursor>().unwrap().to_string(), "7f3a.117231");
        for wrong in ["", ".", "7f3a.", ".1", "7F3A.1", "7f3a.-1", "7f3a.1.2", "7f3a.99999999999999999999"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Cursor>();
        }
    }
}
