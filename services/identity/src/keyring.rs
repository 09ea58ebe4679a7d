//! The keys behind every other key. Lines of the KEK file seal what lies in the database; the keys that lie there make
//! handles and seals (a new one each month), pepper passwords, and derive what never changes. Each purpose has a key of
//! its own below them (HKDF-SHA256, RFC 5869).

use std::sync::{Arc, PoisonError, RwLock};

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

/// All keys, exchanged as a whole while they are in use.
#[derive(Debug)]
pub struct Keyring {
    rings: RwLock<Arc<Rings>>,
}

/// The keys of one moment.
#[derive(Debug, Clone)]
pub struct Rings {
    /// Lines of the KEK file, the active one first.
    pub keks: Vec<Arc<Master>>,
    /// What makes handles and seals, the active one first.
    pub handles: Vec<Arc<Master>>,
    /// What peppers passwords, the active one first.
    pub peppers: Vec<Arc<Master>>,
    /// What never changes.
    pub root: Arc<Master>,
}

/// A secret with its name.
pub struct Master {
    name: String,
    id: [u8; 4],
    secret: Key,
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

/// Reads lines `id:base64`; empty lines are passed over.
///
/// # Errors
/// The number of the line that cannot be used.
pub fn parse(text: &str) -> Result<Vec<Arc<Master>>, InvalidKeyring> {
    let mut masters: Vec<Arc<Master>> = Vec::new();
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
        let master = Master::new(name, &secret).ok_or(wrong)?;
        if masters.iter().any(|other| other.id == master.id) {
            return Err(InvalidKeyring::Repeated { line: index + 1 });
        }
        masters.push(Arc::new(master));
    }
    if masters.is_empty() { Err(InvalidKeyring::Empty) } else { Ok(masters) }
}

impl Keyring {
    /// The keys of a KEK file alone, until those of the database are there.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let keks = parse(text)?;
        // A parsed file has a line.
        let root = keks[keks.len() - 1].clone();
        let rings = Rings { handles: keks.clone(), peppers: keks.clone(), keks, root };
        Ok(Self { rings: RwLock::new(Arc::new(rings)) })
    }

    /// The keys of this moment.
    pub fn rings(&self) -> Arc<Rings> {
        self.rings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in their place. None of the rings may be empty.
    pub fn replace(&self, rings: Rings) {
        debug_assert!(!rings.keks.is_empty() && !rings.handles.is_empty() && !rings.peppers.is_empty());
        *self.rings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rings);
    }

    /// The key that makes new handles and seals.
    pub fn active(&self) -> Arc<Master> {
        self.rings().handles[0].clone()
    }

    /// The key of handles and seals of this short id, if it is still there.
    pub fn by_id(&self, id: [u8; 4]) -> Option<Arc<Master>> {
        let rings = self.rings();
        rings.handles.iter().chain([&rings.root]).find(|master| master.id == id).cloned()
    }

    /// The line that seals what lies in the database.
    pub fn kek(&self) -> Arc<Master> {
        self.rings().keks[0].clone()
    }

    /// The line of this short id, if the file still has it.
    pub fn kek_by_id(&self, id: [u8; 4]) -> Option<Arc<Master>> {
        self.rings().keks.iter().find(|master| master.id == id).cloned()
    }

    /// Under which name new passwords are peppered.
    pub fn pepper_id(&self) -> String {
        self.rings().peppers[0].name.clone()
    }

    /// The pepper of this name.
    pub fn pepper(&self, name: &str) -> Option<Key> {
        let rings = self.rings();
        let master = rings.peppers.iter().find(|master| master.name == name)?;
        Some(master.derive("pepper", ""))
    }

    /// What derives all that must never change, such as pairwise subjects.
    pub fn oldest(&self) -> Arc<Master> {
        self.rings().root.clone()
    }
}

impl Master {
    /// A secret of 32 bytes under a name; nothing for another length.
    pub fn new(name: &str, secret: &[u8]) -> Option<Self> {
        let digest = digest::digest(&digest::SHA256, name.as_bytes());
        let mut id = [0; 4];
        id.copy_from_slice(&digest.as_ref()[..4]);
        let secret: Key = Zeroizing::new(secret.try_into().ok()?);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kotinos identity").extract(secret.as_slice());
        Some(Self { name: name.to_owned(), id, secret, prk })
    }

    /// What handles and seals carry of its name.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Its name, for logs and for the row that it lies in.
    pub fn label(&self) -> &str {
        &self.name
    }

    /// The secret itself, to be sealed.
    pub const fn secret(&self) -> &Key {
        &self.secret
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
        assert_eq!((ring.active().label(), ring.kek().label()), ("a", "a"));
        assert_eq!(ring.oldest().label(), "b");
        let old = Keyring::parse(OLD).unwrap();
        let (ours, theirs) = (ring.by_id(old.active().id()).unwrap(), old.active());
        assert_eq!(*ours.derive("x", ""), *theirs.derive("x", ""));
        assert_ne!(*ours.derive("x", ""), *ours.derive("y", ""));
        assert_ne!(*ours.derive("xy", ""), *ours.derive("x", "y"));
        assert_eq!(ring.pepper("b"), old.pepper(&old.pepper_id()));
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
