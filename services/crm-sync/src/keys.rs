//! Keys of a destination, derived from the service's one key-encryption key: what leaves under one of them cannot be
//! joined with what leaves under another.

use std::fmt;

use aws_lc_rs::{
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
    hkdf, hmac,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::{InvalidValue, Uuid};
use zeroize::Zeroizing;

const LENGTH: usize = 32;

/// The key from which all others come; 32 bytes.
#[derive(Clone)]
pub struct Kek(Zeroizing<[u8; LENGTH]>);

/// The keys of one destination.
pub struct DestinationKeys {
    block: EncryptingKey,
    rows: hmac::Key,
}

/// A key could not be made or used: the cryptographic library refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of a destination cannot be used")]
pub struct KeyError;

impl Kek {
    /// Reads the one line `id:base64` (RFC 4648 section 4), as all key files of the suite have them. A second line is
    /// refused: recipients know people by keys that come of this one, so it is never replaced.
    ///
    /// # Errors
    /// Text that is not one such line with 32 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let wrong = InvalidValue { rule: "must be one line `id:base64` of 32 bytes" };
        let (_, key) = text.trim().split_once(':').ok_or_else(|| wrong.clone())?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(key).map_err(|_| wrong.clone())?);
        let key: [u8; LENGTH] = bytes.as_slice().try_into().map_err(|_| wrong)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The keys of a destination.
    ///
    /// # Errors
    /// The cryptographic library's.
    pub fn destination(&self, destination_id: Uuid) -> Result<DestinationKeys, KeyError> {
        let block = self.derive("match key", destination_id)?;
        let rows = self.derive("row hash", destination_id)?;
        let block = UnboundCipherKey::new(&AES_256, block.as_slice()).map_err(|_| KeyError)?;
        Ok(DestinationKeys {
            block: EncryptingKey::ecb(block).map_err(|_| KeyError)?,
            rows: hmac::Key::new(hmac::HMAC_SHA256, rows.as_slice()),
        })
    }

    fn derive(&self, purpose: &str, destination_id: Uuid) -> Result<Zeroizing<[u8; LENGTH]>, KeyError> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kotinos crm-sync").extract(self.0.as_slice());
        let mut key = Zeroizing::new([0; LENGTH]);
        secret
            .expand(&[purpose.as_bytes(), destination_id.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(key.as_mut_slice()))
            .map_err(|_| KeyError)?;
        Ok(key)
    }
}

impl DestinationKeys {
    /// One AES-256 block. A single block never repeats for two inputs, which is what an identifier needs; nothing
    /// longer is ever encrypted this way.
    pub(crate) fn encrypt_block(&self, block: [u8; 16]) -> Result<[u8; 16], KeyError> {
        let mut out = block;
        self.block.encrypt(&mut out).map_err(|_| KeyError)?;
        Ok(out)
    }

    /// Keyed hash of a row, so that the ledger cannot be searched for guessed values.
    pub(crate) fn hash_row(&self, row: &[u8]) -> [u8; 16] {
        let tag = hmac::sign(&self.rows, row);
        let mut out = [0; 16];
        out.copy_from_slice(&tag.as_ref()[..16]);
        out
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek([secret])")
    }
}

impl fmt::Debug for DestinationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DestinationKeys([secret])")
    }
}
