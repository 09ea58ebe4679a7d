use aws_lc_rs::hmac;
use domain::{DateTime, Utc};

use crate::{document_type::FeedFlag, quarantine::Reason, rsc::Prefix};

/// Characters of an API key (ODF Foundation Principles 8.2).
pub const LENGTH: usize = 32;
/// Characters of its id, which are its first ones.
pub const ID_LENGTH: usize = 8;
// 32 characters that nobody mixes up; 5 bits each: 40 bits of id, 120 bits of secret.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// What a sender of documents may send. The key itself is kept as HMAC-SHA-256 under a pepper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherKey {
    /// The first 8 characters of the key.
    pub key_id: String,
    /// Whose it is, in the operator's words.
    pub name: String,
    /// Documents of the other flag are quarantined.
    pub feed_flag: FeedFlag,
    /// RSC prefixes that it may send; none means all.
    pub prefixes: Vec<Prefix>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl PublisherKey {
    /// Whether a document of this flag and code may come with this key.
    ///
    /// # Errors
    /// The reason for the document's quarantine.
    pub fn admit(&self, feed_flag: FeedFlag, document_code: &str) -> Result<(), Reason> {
        if feed_flag != self.feed_flag {
            return Err(Reason::FlagMismatch);
        }
        if !self.prefixes.is_empty() && !self.prefixes.iter().any(|prefix| prefix.matches(document_code)) {
            return Err(Reason::SourceNotAllowed);
        }
        Ok(())
    }
}

/// A whole key of 32 characters as it is shown once, from 32 random bytes.
#[must_use]
pub fn spell(random: &[u8; LENGTH]) -> String {
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// The id of a presented key, if it has the form of one.
#[must_use]
pub fn id_of(presented: &str) -> Option<&str> {
    let right = presented.len() == LENGTH && presented.bytes().all(|byte| ALPHABET.contains(&byte));
    right.then(|| &presented[..ID_LENGTH])
}

/// What is kept of a key.
#[must_use]
pub fn seal(pepper: &str, key: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pepper.as_bytes()), key.as_bytes()).as_ref().to_vec()
}

/// Whether a presented key is the sealed one, in constant time.
#[must_use]
pub fn is_sealed(pepper: &str, presented: &str, sealed: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, pepper.as_bytes()), presented.as_bytes(), sealed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefixes: &[&str]) -> PublisherKey {
        PublisherKey {
            key_id: "ABCDEFGH".to_owned(),
            name: "timing".to_owned(),
            feed_flag: FeedFlag::Production,
            prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            created_at: DateTime::UNIX_EPOCH,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_sends_only_its_flag_and_prefixes() {
        let athletics = key(&["ATH", "SWM"]);
        assert_eq!(athletics.admit(FeedFlag::Production, "ATHM"), Ok(()));
        assert_eq!(athletics.admit(FeedFlag::Test, "ATHM"), Err(Reason::FlagMismatch));
        assert_eq!(athletics.admit(FeedFlag::Production, "JUDM"), Err(Reason::SourceNotAllowed));
        assert_eq!(key(&[]).admit(FeedFlag::Production, "JUDM"), Ok(()));
    }

    #[test]
    fn a_sealed_key_is_known_again_and_no_other() {
        let secret = spell(&[7; LENGTH]);
        let sealed = seal("pepper", &secret);
        assert_eq!(id_of(&secret).unwrap().len(), ID_LENGTH);
        assert!(is_sealed("pepper", &secret, &sealed));
        assert!(!is_sealed("salt", &secret, &sealed));
        assert!(!is_sealed("pepper", &spell(&[8; LENGTH]), &sealed));
        for wrong in ["", "short", &"a".repeat(32), &"é".repeat(16), &format!("{secret}A")] {
            assert_eq!(id_of(wrong), None);
        }
    }
}
