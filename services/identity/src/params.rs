//! Parameters of a request in form encoding, as OAuth 2.0 reads them (RFC 6749 3.1, 3.2).

use url::form_urlencoded;

/// A query or a body that is no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// More than 64 parameters.
    #[error("too many parameters")]
    TooMany,
    /// A NUL or broken UTF-8 in a name or a value.
    #[error("a parameter is not text")]
    NotText,
}

/// Names and values, in their order. An empty value counts as absent (RFC 6749 3.1).
#[derive(Debug, Clone, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    repeated: Vec<String>,
}

/// May come more than once (RFC 8707 2).
const REPEATABLE: &str = "resource";
const MOST: usize = 64;

impl Params {
    /// Reads a query or a form body.
    ///
    /// # Errors
    /// More than 64 parameters, or a value that is not text.
    pub fn parse(encoded: &[u8]) -> Result<Self, InvalidParams> {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(encoded) {
            if params.pairs.len() == MOST {
                return Err(InvalidParams::TooMany);
            }
            // The decoder puts U+FFFD where bytes are no UTF-8.
            if [&name, &value].iter().any(|text| text.contains(['\0', '\u{fffd}'])) {
                return Err(InvalidParams::NotText);
            }
            if name != REPEATABLE && params.pairs.iter().any(|(other, _)| *other == name) {
                params.repeated.push(name.clone().into_owned());
            }
            params.pairs.push((name.into_owned(), value.into_owned()));
        }
        params.pairs.retain(|(_, value)| !value.is_empty());
        Ok(params)
    }

    /// The value of this name, if it came and is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Every value of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether this parameter came more than once.
    pub fn repeats(&self, name: &str) -> bool {
        self.repeated.iter().any(|other| other == name)
    }

    /// Whether any parameter came more than once, which no OAuth request may do (RFC 6749 3.1, 3.2).
    pub fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// Every name and value.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }
}

impl From<Vec<(String, String)>> for Params {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, repeated: Vec::new() }
    }
}

/// Words of a space-separated parameter (RFC 6749 3.3), each once, in their order; nothing when one has a character
/// outside the grammar or there are more than 64.
pub fn words(text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let grammar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if word.len() > 128 || words.len() == 64 || !word.bytes().all(grammar) {
            return None;
        }
        if !words.iter().any(|other| other == word) {
            words.push(word.to_owned());
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_parameter_is_seen_but_for_resource() {
        assert!(Params::parse(b"scope=a&scope=b").unwrap().repeats("scope"));
        assert!(Params::parse(b"scope=&scope=b").unwrap().has_repeated());
        let both = Params::parse(b"resource=a&resource=b").unwrap();
        assert!(!both.has_repeated());
        assert_eq!(both.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        assert_eq!(Params::parse(b"state=&nonce=n").unwrap().get("state"), None);
    }

    #[test]
    fn nul_and_broken_text_are_refused() {
        for wrong in [&b"a=%00"[..], b"a%00=b", b"a=%ff", b"a=\xff"] {
            assert_eq!(Params::parse(wrong).unwrap_err(), InvalidParams::NotText);
        }
        let many = (0..70).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(Params::parse(many.as_bytes()).unwrap_err(), InvalidParams::TooMany);
    }

    #[test]
    fn scope_words_follow_the_grammar() {
        assert_eq!(words("openid  email openid").unwrap(), ["openid", "email"]);
        assert_eq!(words("a\"b"), None);
        assert_eq!(words("a\\b"), None);
        assert_eq!(words("a\nb"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Params::parse(&bytes);
        }
    }
}
