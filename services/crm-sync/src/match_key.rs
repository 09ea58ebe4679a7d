//! The key by which a recipient knows a person: it cannot be joined with another recipient's, and needs no table.

use domain::ProfileId;

use crate::keys::{DestinationKeys, KeyError};

/// RFC 4648 section 6: no letter differs from another by case alone.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The key of a person at a destination: 26 characters of base32.
///
/// # Errors
/// The cryptographic library's.
pub fn of(keys: &DestinationKeys, profile_id: ProfileId) -> Result<String, KeyError> {
    Ok(base32(keys.encrypt_block(*profile_id.0.as_bytes())?))
}

fn base32(block: [u8; 16]) -> String {
    let number = u128::from_be_bytes(block);
    // 128 bits are 25 digits of five bits and one of three, filled up with zeros on the right.
    let digit = |at: u32| {
        let five = if at < 25 { number >> (123 - 5 * at) } else { number << 2 };
        char::from(ALPHABET[usize::try_from(five & 31).unwrap_or_default()])
    };
    (0..26).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::keys::Kek;

    fn keys(destination: u128) -> DestinationKeys {
        let kek = Kek::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        kek.destination(domain::Uuid::from_u128(destination)).unwrap()
    }

    #[test]
    fn a_key_is_base32_of_the_block() {
        // RFC 4648 section 10: "foobar" is MZXW6YTBOI======.
        let mut block = [0; 16];
        block[..6].copy_from_slice(b"foobar");
        assert_eq!(base32(block), "MZXW6YTBOIAAAAAAAAAAAAAAAA");
        assert_eq!(base32([255; 16]), "77777777777777777777777774");
    }

    #[test]
    fn the_same_person_has_the_same_key_at_one_destination_and_others_elsewhere() {
        let person = ProfileId::new();
        assert_eq!(of(&keys(1), person).unwrap(), of(&keys(1), person).unwrap());
        assert_ne!(of(&keys(1), person).unwrap(), of(&keys(2), person).unwrap());
    }

    #[test]
    fn no_two_people_share_a_key() {
        let keys = keys(1);
        let all: HashSet<String> = (0..10_000).map(|_| of(&keys, ProfileId::new()).unwrap()).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn a_short_key_is_refused() {
        for wrong in ["", "AAEC", "not base64!", &"A".repeat(100)] {
            assert!(Kek::parse(wrong).is_err(), "{wrong}");
        }
    }
}
