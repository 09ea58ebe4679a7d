//! Documents in the log, smaller. Packed bytes name themselves by the magic number of Zstandard (RFC 8878 section 3.1.1):
//! its second byte continues no UTF-8 character behind the first, so neither XML nor JSON begins with it, and rows of
//! before are read as they are.

use zstd::bulk::Compressor;

use aws_lc_rs::digest;

use crate::{Error, config::LogZstd, ledger::Row};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Three quarters of the best ratio for a tenth of its time.
const LEVEL: i32 = 3;
/// Below, a frame's own header eats what it saves.
const SMALLEST: usize = 128;

/// The documents of a batch as they are stored, row by row.
pub struct Packed {
    /// As sent.
    pub raw: Vec<Vec<u8>>,
    /// Its size unpacked.
    pub raw_size: Vec<Option<i32>>,
    /// SHA-256 of it unpacked.
    pub raw_sha256: Vec<Vec<u8>>,
    /// Canonical.
    pub canonical: Vec<Option<Vec<u8>>>,
    /// Its size unpacked.
    pub canonical_size: Vec<Option<i32>>,
}

impl Packed {
    /// Packs what is to be packed.
    pub fn of(rows: &[Row], packing: LogZstd) -> Result<Self, Error> {
        let (mut of_raw, mut of_canonical) = (Packer::of_raw(packing)?, Packer::of_canonical(packing)?);
        let size = |bytes: &[u8]| i32::try_from(bytes.len()).ok();
        let mut packed = Self {
            raw: Vec::with_capacity(rows.len()),
            raw_size: Vec::with_capacity(rows.len()),
            raw_sha256: Vec::with_capacity(rows.len()),
            canonical: Vec::with_capacity(rows.len()),
            canonical_size: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            packed.raw.push(of_raw.pack(&row.raw));
            packed.raw_size.push(size(&row.raw));
            packed.raw_sha256.push(digest::digest(&digest::SHA256, &row.raw).as_ref().to_vec());
            packed.canonical.push(row.canonical.as_deref().map(|bytes| of_canonical.pack(bytes)));
            packed.canonical_size.push(row.canonical.as_deref().and_then(size));
        }
        Ok(packed)
    }
}

/// Packs the documents of one batch: the working memory is set up once.
pub struct Packer(Option<Compressor<'static>>);

impl Packer {
    /// Packs where `enabled`; otherwise everything stays as it is.
    pub fn new(enabled: bool) -> Result<Self, Error> {
        let compressor = enabled.then(|| Compressor::new(LEVEL)).transpose();
        compressor.map(Self).map_err(|_| Error::Corrupt { what: "compressor" })
    }

    /// For the documents as they were sent.
    pub fn of_raw(packing: LogZstd) -> Result<Self, Error> {
        Self::new(packing != LogZstd::Off)
    }

    /// For the canonical documents.
    pub fn of_canonical(packing: LogZstd) -> Result<Self, Error> {
        Self::new(packing == LogZstd::All)
    }

    /// The bytes to store: packed where that is smaller.
    pub fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(compressor) = self.0.as_mut().filter(|_| bytes.len() >= SMALLEST) else {
            return bytes.to_vec();
        };
        match compressor.compress(bytes) {
            Ok(packed) if packed.len() < bytes.len() => packed,
            _ => bytes.to_vec(),
        }
    }
}

/// The document as it was before it was stored.
pub fn unpack(stored: Vec<u8>) -> Result<Vec<u8>, Error> {
    if !stored.starts_with(&MAGIC) {
        return Ok(stored);
    }
    // Of our own making, from a document within its limits.
    zstd::stream::decode_all(stored.as_slice()).map_err(|_| Error::Corrupt { what: "packed document" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_is_smaller_and_comes_back() {
        let text = r#"<Result Rank="1" Result="9.79"/>"#.repeat(100).into_bytes();
        let packed = Packer::of_raw(LogZstd::Raw).unwrap().pack(&text);
        assert!(packed.len() * 10 < text.len() && packed.starts_with(&MAGIC));
        assert_eq!(unpack(packed).unwrap(), text);
    }

    #[test]
    fn what_is_off_or_small_stays_as_it_is() {
        let text = "x".repeat(1_000).into_bytes();
        assert_eq!(Packer::of_canonical(LogZstd::Raw).unwrap().pack(&text), text);
        assert_eq!(Packer::of_raw(LogZstd::Off).unwrap().pack(&text), text);
        assert_eq!(Packer::of_raw(LogZstd::All).unwrap().pack(b"<OdfBody/>"), b"<OdfBody/>");
        assert!(String::from_utf8(MAGIC.to_vec()).is_err(), "no document begins like a packed one");
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,400}") {
            let packed = Packer::of_canonical(LogZstd::All).unwrap().pack(text.as_bytes());
            prop_assert_eq!(unpack(packed).unwrap(), text.as_bytes());
        }
    }
}
