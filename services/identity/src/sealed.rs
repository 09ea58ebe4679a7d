//! Sealing with AES-256-GCM-SIV: what travels through the browser between pages, under the keys of handles, and private
//! keys at rest, under a line of the KEK file.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::keyring::{Keyring, Master};

/// How far the clock of the instance that sealed something for the way through a browser may be ahead of ours, in seconds:
/// the next page is another instance's as often as not.
pub const AHEAD: i64 = 120;

/// The machine could not seal: no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

/// Seals bytes at rest for a purpose, bound to a context that the opener must know as well. What is sealed so is sealed
/// anew when the KEK file gets another first line: `app/key_rotation.rs` has to know the table.
///
/// # Errors
/// No random bytes.
pub fn seal(keys: &Keyring, purpose: &str, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    seal_under(&keys.kek(), purpose, context, plain)
}

/// Opens what [`seal`] made for the same purpose and context; nothing for anything else.
pub fn open(keys: &Keyring, purpose: &str, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let kek = keys.kek_by_id(master_of(sealed)?)?;
    open_under(&kek, purpose, context, sealed)
}

/// Seals what stays in the database for years: under the key that never changes, so that nothing has to be sealed anew.
///
/// # Errors
/// No random bytes.
pub fn seal_to_stay(
    keys: &Keyring,
    purpose: &str,
    context: &str,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    seal_under(&keys.oldest(), purpose, context, plain)
}

/// Opens what [`seal_to_stay`] made.
pub fn open_to_stay(keys: &Keyring, purpose: &str, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    open_under(&keys.oldest(), purpose, context, sealed)
}

/// The short id of the key under which something is sealed.
pub fn master_of(sealed: &[u8]) -> Option<[u8; 4]> {
    sealed.get(..4)?.try_into().ok()
}

fn seal_under(master: &Master, purpose: &str, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut body = plain.to_vec();
    let nonce = key(master, purpose)?
        .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut body)
        .map_err(|_| SealError)?;
    let mut sealed = Vec::with_capacity(16 + body.len());
    sealed.extend_from_slice(&master.id());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut body);
    Ok(sealed)
}

fn open_under(master: &Master, purpose: &str, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = sealed.split_at_checked(4)?;
    let (nonce, body) = rest.split_at_checked(12)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let plain =
        key(master, purpose).ok()?.open_in_place(nonce, Aad::from(context.as_bytes()), &mut body).ok()?;
    Some(plain.to_vec())
}

/// Seals a value as text that fits into a URL.
///
/// # Errors
/// No random bytes.
pub fn seal_text<T: Serialize>(
    keys: &Keyring,
    purpose: &str,
    context: &str,
    value: &T,
) -> Result<String, SealError> {
    let plain = serde_json::to_vec(value).map_err(|_| SealError)?;
    Ok(URL_SAFE_NO_PAD.encode(seal_under(&keys.active(), purpose, context, &plain)?))
}

/// Longest sealed text that is looked at, in characters: a full request is far smaller.
const LONGEST: usize = 12_000;

/// Opens what [`seal_text`] made.
pub fn open_text<T: DeserializeOwned>(keys: &Keyring, purpose: &str, context: &str, text: &str) -> Option<T> {
    if text.len() > LONGEST {
        return None;
    }
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let master = keys.by_id(master_of(&sealed)?)?;
    serde_json::from_slice(&open_under(&master, purpose, context, &sealed)?).ok()
}

fn key(master: &Master, purpose: &str) -> Result<RandomizedNonceKey, SealError> {
    RandomizedNonceKey::new(&AES_256_GCM_SIV, master.derive("seal", purpose).as_slice())
        .map_err(|_| SealError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    #[test]
    fn a_seal_opens_for_its_purpose_and_browser_only() {
        let keys = Keyring::parse(BOTH).unwrap();
        let text = seal_text(&keys, "login", "browser-1", &"state").unwrap();
        assert_eq!(open_text::<String>(&keys, "login", "browser-1", &text).as_deref(), Some("state"));
        assert_eq!(open_text::<String>(&keys, "login", "browser-2", &text), None);
        assert_eq!(open_text::<String>(&keys, "consent", "browser-1", &text), None);
        let other = Keyring::parse(OLD).unwrap();
        assert_eq!(open_text::<String>(&other, "login", "browser-1", &text), None);
    }

    #[test]
    fn what_lies_in_the_database_opens_with_its_line_only() {
        let (both, old) = (Keyring::parse(BOTH).unwrap(), Keyring::parse(OLD).unwrap());
        let sealed = seal(&old, "signing key", "kid", b"secret").unwrap();
        assert_eq!(open(&both, "signing key", "kid", &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(open(&both, "signing key", "other", &sealed), None);
        let anew = seal(&both, "signing key", "kid", b"secret").unwrap();
        assert_eq!(open(&old, "signing key", "kid", &anew), None);
        assert_eq!(master_of(&anew), Some(both.kek().id()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let keys = Keyring::parse(OLD).unwrap();
            prop_assert_eq!(open(&keys, "login", "", &bytes), None);
        }
    }
}
