//! Recovery codes: ten, each good once in place of a one-time code. Only their keyed hashes are kept.

use aws_lc_rs::rand;
use domain::UserId;

use crate::{handle::keyed_hash, keyring::Keyring, sealed::SealError};

/// How many a user gets.
pub const COUNT: usize = 10;
/// Letters of a code: 60 bits, so that nobody finds one by trying.
const LETTERS: usize = 12;
/// Letters that are not mistaken for one another (Crockford's base32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// New codes, as they are shown once: groups of four.
///
/// # Errors
/// No random bytes.
pub fn generate() -> Result<Vec<String>, SealError> {
    let mut codes = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut bytes = [0; LETTERS];
        rand::fill(&mut bytes).map_err(|_| SealError)?;
        let letters: Vec<char> =
            bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        codes.push(groups.join("-"));
    }
    Ok(codes)
}

/// The hash of a code as somebody wrote it: in any case, with or without hyphens, with O for 0 and I or L for 1, by a
/// Japanese keyboard. Nothing for what can be none.
pub fn hash(keys: &Keyring, user_id: UserId, written: &str) -> Option<Vec<u8>> {
    let mut code = Vec::with_capacity(16 + LETTERS);
    code.extend_from_slice(user_id.0.as_bytes());
    for letter in written.chars().take(80) {
        let letter = match letter {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
            letter => letter,
        };
        match letter.to_ascii_uppercase() {
            '-' | '‐' | 'ー' => {}
            letter if letter.is_whitespace() => {}
            'O' => code.push(b'0'),
            'I' | 'L' => code.push(b'1'),
            letter => code.push(u8::try_from(letter).ok().filter(|byte| ALPHABET.contains(byte))?),
        }
    }
    (code.len() == 16 + LETTERS).then(|| keyed_hash(keys, "recovery code", &code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::OLD;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let keys = Keyring::parse(OLD).unwrap();
        let user_id = UserId::new();
        let right = hash(&keys, user_id, "0A1B-2C3D-4E5F").unwrap();
        for same in ["0a1b2c3d4e5f", " oAiB 2c3d 4e5f ", "０Ａ１Ｂー２Ｃ３Ｄー４Ｅ５Ｆ", "OALB-2C3D-4E5F"]
        {
            assert_eq!(hash(&keys, user_id, same).as_ref(), Some(&right), "{same}");
        }
        assert_ne!(hash(&keys, UserId::new(), "0A1B-2C3D-4E5F").unwrap(), right, "another user's");
        for wrong in ["", "0A1B-2C3D-4E5", "0A1B-2C3D-4E5F-0", "0A1B-2C3D-4E5U", "0A1B_2C3D_4E5F", "日本"] {
            assert_eq!(hash(&keys, user_id, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn new_codes_differ_and_read_back() {
        let keys = Keyring::parse(OLD).unwrap();
        let codes = generate().unwrap();
        assert_eq!(codes.len(), COUNT);
        for (at, code) in codes.iter().enumerate() {
            assert_eq!(code.len(), 14);
            assert!(hash(&keys, UserId::new(), code).is_some() && !codes[..at].contains(code));
        }
    }
}
