//! Key encryption keys. Every other key is derived from one of them for one purpose (HKDF-SHA256, RFC 5869).

use aws_lc_rs::{digest, hkdf};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// A 256-bit key that is wiped when it is dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// Why the text of a key file cannot be used. It never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyring {
    /// No line at all.
    #[error("must have at least one line `id:base64`")]
    Empty,
    /// One line is wrong.
    #[error("line {line} must be `id:base64` of 32 bytes, with an id of 1 to 32 letters, digits, `-` or `_`")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Two lines have one id.
    #[error("line {line} repeats an id")]
    Repeated {
        /// Counted from 1.
        line: usize,
    },
}

/// The keys of the KEK file; the first is the active one, the others still open what they once sealed.
#[derive(Debug)]
pub struct Keyring {
    masters: Vec<Master>,
}

/// One line of the KEK file.
pub struct Master {
    name: String,
    id: [u8; 4],
    prk: hkdf::Prk,
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Master").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Keyring {
    /// Reads lines `id:base64`; empty lines are passed over.
    ///
    /// # Errors
    /// The number of the line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let mut masters: Vec<Master> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let wrong = InvalidKeyring::Line { line: index + 1 };
            let (name, secret) = line.split_once(':').ok_or(wrong.clone())?;
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || name.len() > 32 || !name.bytes().all(letters) {
                return Err(wrong);
            }
            let secret = Zeroizing::new(STANDARD.decode(secret.trim()).map_err(|_| wrong.clone())?);
            if secret.len() != 32 {
                return Err(wrong);
            }
            let master = Master::new(name, &secret);
            if masters.iter().any(|other| other.id == master.id) {
                return Err(InvalidKeyring::Repeated { line: index + 1 });
            }
            masters.push(master);
        }
        if masters.is_empty() { Err(InvalidKeyring::Empty) } else { Ok(Self { masters }) }
    }

    /// The key that makes new handles and seals.
    ///
    /// # Errors
    /// Never in practice: a keyring has at least one line.
    pub fn active(&self) -> &Master {
        // A keyring without a line cannot be built.
        &self.masters[0]
    }

    /// The line of this short id, if it is still there.
    pub fn by_id(&self, id: [u8; 4]) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == id)
    }

    /// The line of this name, if it is still there.
    pub fn by_name(&self, name: &str) -> Option<&Master> {
        self.masters.iter().find(|master| master.name == name)
    }

    /// The line that derives what must never change, such as pairwise subjects: the last one of the file.
    pub fn oldest(&self) -> &Master {
        &self.masters[self.masters.len() - 1]
    }
}

impl Master {
    fn new(name: &str, secret: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, name.as_bytes());
        let mut id = [0; 4];
        id.copy_from_slice(&digest.as_ref()[..4]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kotinos identity").extract(secret);
        Self { name: name.to_owned(), id, prk }
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What handles and seals carry of its name.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key for one purpose, and within it for one context such as a sector.
    pub fn derive(&self, purpose: &str, context: &str) -> Key {
        let mut key = Zeroizing::new([0; 32]);
        let info = [purpose.as_bytes(), &[0], context.as_bytes()];
        // 32 bytes are far below the limit of 255 blocks, the only way in which expanding fails.
        let filled = self.prk.expand(&info, Length).and_then(|okm| okm.fill(key.as_mut_slice()));
        debug_assert!(filled.is_ok());
        key
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const OLD: &str = "b:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    pub(crate) const BOTH: &str =
        "a://///////////////////////////////////////w8=\nb:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

    #[test]
    fn the_first_line_is_active_and_the_others_stay_known() {
        let ring = Keyring::parse(BOTH).unwrap();
        assert_eq!(ring.active().name(), "a");
        assert_eq!(ring.oldest().name(), "b");
        let old = Keyring::parse(OLD).unwrap();
        let (ours, theirs) = (ring.by_name("b").unwrap(), old.active());
        assert_eq!(*ours.derive("x", ""), *theirs.derive("x", ""));
        assert_ne!(*ours.derive("x", ""), *ours.derive("y", ""));
        assert_ne!(*ours.derive("xy", ""), *ours.derive("x", "y"));
    }

    #[test]
    fn garbage_is_refused_by_line_and_never_repeated() {
        assert_eq!(Keyring::parse("\n \n").unwrap_err(), InvalidKeyring::Empty);
        for wrong in ["a", "a:", ":AAAA", "a:AAAA", "a b:AAAA", "a:not base64"] {
            assert_eq!(Keyring::parse(wrong).unwrap_err(), InvalidKeyring::Line { line: 1 }, "{wrong}");
        }
        let twice = format!("{OLD}\n{OLD}");
        assert_eq!(Keyring::parse(&twice).unwrap_err(), InvalidKeyring::Repeated { line: 2 });
    }
}
