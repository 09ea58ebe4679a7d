//! Secrets of transactional mails at rest: AES-256-GCM, bound to the row that holds them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use domain::Uuid;

use crate::keyring::{Key, Keyring};

const NONCE: usize = 12;

/// The machine could not seal: no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

/// Seals bytes for one row: `length of key id, key id, nonce, ciphertext with tag`.
///
/// # Errors
/// No random bytes.
pub fn seal(keys: &Keyring, row: Uuid, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let active = keys.active();
    let mut body = plain.to_vec();
    let nonce = cipher(active)?
        .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut body)
        .map_err(|_| SealError)?;
    let length = u8::try_from(active.id().len()).map_err(|_| SealError)?;
    let mut sealed = vec![length];
    sealed.extend_from_slice(active.id().as_bytes());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut body);
    Ok(sealed)
}

/// Opens what [`seal`] made for the same row; nothing for anything else.
#[must_use]
pub fn open(keys: &Keyring, row: Uuid, sealed: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = sealed.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (nonce, body) = rest.split_at_checked(NONCE)?;
    let key = keys.find(std::str::from_utf8(id).ok()?)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let plain = cipher(key).ok()?.open_in_place(nonce, Aad::from(row.as_bytes()), &mut body).ok()?;
    Some(plain.to_vec())
}

fn cipher(key: &Key) -> Result<RandomizedNonceKey, SealError> {
    RandomizedNonceKey::new(&AES_256_GCM, &key.derive("transactional")).map_err(|_| SealError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    #[test]
    fn a_seal_opens_for_its_row_only_and_after_a_rotation() {
        let (old, both) = (Keyring::parse(OLD).unwrap(), Keyring::parse(BOTH).unwrap());
        let (row, other) = (domain::new_id(), domain::new_id());
        let sealed = seal(&old, row, b"secret").unwrap();
        assert_eq!(open(&both, row, &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(open(&both, other, &sealed), None);
        assert_eq!(open(&old, row, &seal(&both, row, b"secret").unwrap()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&Keyring::parse(OLD).unwrap(), domain::new_id(), &bytes), None);
        }
    }
}
