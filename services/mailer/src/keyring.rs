//! Keys that a site gives as lines `id:base64`: the first one is active, every one still opens and verifies.

use std::{collections::HashSet, fmt};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Pii;

/// Fewest bytes of a key.
const SHORTEST: usize = 32;
/// Most keys of a ring: rotation keeps old ones for as long as mails with their links are read.
const MOST: usize = 64;

/// A ring of at least one key.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// One key of a ring.
#[derive(Clone)]
pub struct Key {
    id: String,
    bytes: Pii<Vec<u8>>,
}

/// A key file that cannot be used. The text never repeats key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the keys {rule}")]
pub struct KeyringError {
    /// From 1; 0 for the whole text.
    pub line: usize,
    /// What it must be.
    pub rule: &'static str,
}

impl Keyring {
    /// Reads lines `id:base64`; empty lines and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// No key at all, an id that is used twice, a key of fewer than 32 bytes.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut ids = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |rule| KeyringError { line: at + 1, rule };
            let (id, key) = line.split_once(':').ok_or(wrong("must be `id:base64`"))?;
            let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if id.is_empty() || id.len() > 32 || !id.bytes().all(right) {
                return Err(wrong("must have an id of 1 to 32 letters, digits, `-`, `_` or `.`"));
            }
            if !ids.insert(id.to_owned()) {
                return Err(wrong("must not repeat an id"));
            }
            let bytes = STANDARD.decode(key.trim()).map_err(|_| wrong("must hold base64 after the colon"))?;
            if bytes.len() < SHORTEST {
                return Err(wrong("must hold at least 32 bytes"));
            }
            keys.push(Key { id: id.to_owned(), bytes: Pii::new(bytes) });
        }
        if keys.is_empty() || keys.len() > MOST {
            return Err(KeyringError { line: 0, rule: "must hold 1 to 64 keys" });
        }
        Ok(Self { keys })
    }

    /// The key that signs and seals.
    #[must_use]
    pub fn active(&self) -> &Key {
        // `parse` makes no empty ring.
        &self.keys[0]
    }

    /// Every key, the active one first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The key of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl Key {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// One byte of the id's hash: enough to try the right key first, and no secret.
    #[must_use]
    pub fn tag(&self) -> u8 {
        digest(&SHA256, self.id.as_bytes()).as_ref()[0]
    }

    /// A key for one use, so that what one use gives away says nothing about another.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, self.bytes.reveal());
        hmac::sign(&master, purpose.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const OLD: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    pub const BOTH: &str =
        "k2:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\nk1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n";

    #[test]
    fn the_first_key_is_active_and_all_are_found() {
        let ring = Keyring::parse(BOTH).unwrap();
        assert_eq!(ring.active().id(), "k2");
        assert!(ring.find("k1").is_some() && ring.find("k3").is_none());
        assert_ne!(ring.active().derive("token"), ring.active().derive("seal"));
        assert_eq!(format!("{ring:?}"), "Keyring(2 keys)");
    }

    #[test]
    fn a_wrong_line_is_named_without_its_key() {
        for (text, line) in [("", 0), ("k1", 1), ("k1:!!", 1), ("\nk1:QUJD", 2), (":QUJD", 1)] {
            assert_eq!(Keyring::parse(text).unwrap_err().line, line, "{text}");
        }
        let twice = format!("{OLD}\n{OLD}");
        assert_eq!(Keyring::parse(&twice).unwrap_err().rule, "must not repeat an id");
    }
}
