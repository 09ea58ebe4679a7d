use std::{fmt, str::FromStr};

use crate::InvalidValue;

/// A language of the suite's own pages and mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Locale {
    /// Japanese
    Ja,
    /// English, which everything falls back to
    #[default]
    En,
    /// French
    Fr,
}

impl Locale {
    /// Every locale, in the order in which pages offer them.
    pub const ALL: [Self; 3] = [Self::Ja, Self::En, Self::Fr];

    /// The BCP 47 tag.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Ja => "ja",
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// The best match for an `Accept-Language` header or a list of tags (RFC 9110 12.5.4, RFC 4647 lookup): the first
    /// highest-weighted language that we have. Reads at most 20 ranges.
    #[must_use]
    pub fn negotiate(header: &str) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for range in header.split(',').take(20) {
            let mut parts = range.split(';');
            let Some(locale) = parts.next().and_then(|tag| tag.trim().parse().ok()) else { continue };
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1000, thousandths);
            if weight > 0 && best.is_none_or(|(highest, _)| weight > highest) {
                best = Some((weight, locale));
            }
        }
        best.map(|(_, locale)| locale)
    }
}

// A quality of `0.8` as 800 (RFC 9110 12.4.2: at most three digits after the point); anything unreadable counts as zero.
fn thousandths(quality: &str) -> u16 {
    let (whole, rest) = quality.split_once('.').unwrap_or((quality, ""));
    if rest.len() > 3 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" => 1000,
        "0" => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl FromStr for Locale {
    type Err = InvalidValue;

    /// Takes a BCP 47 tag whose language we have: `fr`, `fr-CA`, `ja-JP`.
    fn from_str(tag: &str) -> Result<Self, InvalidValue> {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|locale| locale.tag().eq_ignore_ascii_case(language))
            .ok_or(InvalidValue::new("must be a language tag of ja, en or fr"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_that_we_have_wins() {
        assert_eq!(Locale::negotiate("de, fr-CA;q=0.8, en;q=0.9"), Some(Locale::En));
        assert_eq!(Locale::negotiate("ja,en;q=0.5"), Some(Locale::Ja));
        assert_eq!(Locale::negotiate("fr;q=0, de"), None);
        assert_eq!(Locale::negotiate(";;;q=,,,\u{0}"), None);
    }
}
