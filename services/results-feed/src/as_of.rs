use std::{fmt, str::FromStr};

use domain::{DateTime, NaiveDate, Utc};

/// A place in the past of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Behind this entry.
    Seq(i64),
    /// When everything taken up to then was there.
    Instant(DateTime<Utc>),
    /// When this day of competition was closed; a day that is open stands as it is now.
    Day(NaiveDate),
}

/// Text that names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a sequence number, an instant such as 2030-08-04T12:00:00Z, or a day such as 2030-08-04")]
pub struct InvalidAsOf;

impl FromStr for AsOf {
    type Err = InvalidAsOf;

    fn from_str(text: &str) -> Result<Self, InvalidAsOf> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Seq).map_err(|_| InvalidAsOf);
        }
        if text.len() == 10
            && let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        {
            return Ok(Self::Day(date));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|instant| Self::Instant(instant.to_utc()))
            .map_err(|_| InvalidAsOf)
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "{seq}"),
            Self::Instant(instant) => f.write_str(&instant.to_rfc3339()),
            Self::Day(date) => write!(f, "{date}"),
        }
    }
}

/// Where a page of a past state begins: the entry that the first page stood for, so that all pages are of one state, and
/// the document that ended the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastPage {
    /// Of the entry.
    pub seq: i64,
    /// Of the document.
    pub after: i64,
}

impl FromStr for PastPage {
    type Err = InvalidPage;

    fn from_str(text: &str) -> Result<Self, InvalidPage> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.split_once('.') {
            Some((seq, after)) if digits(seq) && digits(after) => Ok(Self {
                seq: seq.parse().map_err(|_| InvalidPage)?,
                after: after.parse().map_err(|_| InvalidPage)?,
            }),
            _ => Err(InvalidPage),
        }
    }
}

impl fmt::Display for PastPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.after)
    }
}

/// Text that we never gave out as a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a page token as it was given")]
pub struct InvalidPage;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_an_instant_and_a_day_are_told_apart() {
        assert_eq!("117231".parse(), Ok(AsOf::Seq(117_231)));
        assert_eq!("2030-08-04".parse(), Ok(AsOf::Day(NaiveDate::from_ymd_opt(2030, 8, 4).unwrap())));
        let instant = DateTime::parse_from_rfc3339("2030-08-04T12:00:00Z").unwrap().to_utc();
        assert_eq!("2030-08-04T21:00:00+09:00".parse(), Ok(AsOf::Instant(instant)));
        for wrong in ["", "-1", "1.5", "2030-8-4", "2030-02-30", "yesterday", "99999999999999999999"] {
            assert_eq!(wrong.parse::<AsOf>(), Err(InvalidAsOf), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_page_prints_back_the_same(seq in 0..i64::MAX, after in 0..i64::MAX) {
            let page = PastPage { seq, after };
            prop_assert_eq!(page.to_string().parse(), Ok(page));
        }

        #[test]
        fn garbage_does_not_panic(text in "\\PC{0,40}") {
            let _ = (text.parse::<AsOf>(), text.parse::<PastPage>());
        }
    }
}
