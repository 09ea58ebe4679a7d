//! Partners' API keys at rest: AES-256-GCM under a key that is derived from the service's pepper, bound to the row that
//! holds them.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf,
};
use domain::Uuid;

const NONCE: usize = 12;

/// The machine could not seal: no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealing failed")]
pub struct SealError;

/// Seals bytes for one row: nonce, ciphertext with tag.
///
/// # Errors
/// No random bytes.
pub fn seal(pepper: &str, row: Uuid, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut body = plain.to_vec();
    let nonce = cipher(pepper)?
        .seal_in_place_append_tag(Aad::from(row.as_bytes()), &mut body)
        .map_err(|_| SealError)?;
    let mut sealed = nonce.as_ref().to_vec();
    sealed.append(&mut body);
    Ok(sealed)
}

/// Opens what [`seal`] made for the same row under the same pepper; nothing for anything else.
#[must_use]
pub fn open(pepper: &str, row: Uuid, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_at_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let plain = cipher(pepper).ok()?.open_in_place(nonce, Aad::from(row.as_bytes()), &mut body).ok()?;
    Some(plain.to_vec())
}

fn cipher(pepper: &str) -> Result<RandomizedNonceKey, SealError> {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"kotinos results")
        .extract(pepper.as_bytes())
        .expand(&[b"delivery keys"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| SealError)?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| SealError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seal_opens_for_its_row_and_pepper_only() {
        let (row, other) = (domain::new_id(), domain::new_id());
        let sealed = seal("pepper", row, b"their key").unwrap();
        assert_eq!(open("pepper", row, &sealed).as_deref(), Some(b"their key".as_slice()));
        assert_eq!(open("pepper", other, &sealed), None);
        assert_eq!(open("salt", row, &sealed), None);
        assert_ne!(sealed, seal("pepper", row, b"their key").unwrap());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open("pepper", row, &changed), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_open(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(open("pepper", domain::new_id(), &bytes), None);
        }
    }
}
