use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Most bytes that a document may have when inflated.
pub const LONGEST: usize = 32 << 20;
/// Most bytes out for each byte in: XML is far below, a bomb far above.
const RATIO: usize = 200;

/// Why a body could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not gzip, or cut.
    #[error("the body is not gzip")]
    NotGzip,
    /// Counted while inflating: nothing larger than the limit is ever held.
    #[error("the inflated body is over 32 MiB or over 200 times its size")]
    TooLarge,
}

/// Inflates a gzip body (RFC 1952).
///
/// # Errors
/// Bytes that are no gzip; more than 32 MiB, or more than 200 times the size of the input.
pub fn inflate(body: &[u8]) -> Result<Vec<u8>, Error> {
    // A small body may well be a long run of blanks; the ratio is for what could hurt.
    let most = LONGEST.min(body.len().saturating_mul(RATIO).max(64 << 10));
    let mut inflated = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut inflated).map_err(|_| Error::NotGzip)?;
    if inflated.len() > most { Err(Error::TooLarge) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        assert_eq!(inflate(&gzip(b"<OdfBody/>")), Ok(b"<OdfBody/>".to_vec()));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_held() {
        assert_eq!(inflate(&gzip(&vec![b' '; 30 << 20])), Err(Error::TooLarge));
        assert_eq!(inflate(&gzip(&vec![0; 40 << 20])), Err(Error::TooLarge));
    }

    #[test]
    fn a_cut_body_is_refused() {
        let whole = gzip(&[b'x'; 5_000]);
        assert_eq!(inflate(&whole[..whole.len() - 6]), Err(Error::NotGzip));
        assert_eq!(inflate(b""), Err(Error::NotGzip));
    }

    proptest! {
        #[test]
        fn garbage_is_no_gzip(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assume!(!bytes.starts_with(&[0x1f, 0x8b]));
            prop_assert_eq!(inflate(&bytes), Err(Error::NotGzip));
        }
    }
}
