//! Rules of a password, and its Argon2id hash in PHC form with a pepper (RFC 9106).

use argon2_wide::{Backend, Cost, Input};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

/// A password as it is hashed: in Unicode's normal form KC, so that an input method's full-width letters are the same, of
/// 8 to 128 characters.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Fewer than 8 characters.
    #[error("must be at least 8 characters")]
    TooShort,
    /// More than 128 characters.
    #[error("must be at most 128 characters")]
    TooLong,
    /// Guessed within 10^6 tries, by somebody who knows the address (zxcvbn's score 0 or 1).
    #[error("must be harder to guess")]
    TooEasy,
    /// Known from a breach.
    #[error("must not be known from a breach")]
    Breached,
}

/// The hash could not be computed: memory or random bytes are missing, or the stored text is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password hash failed")]
pub struct HashError;

/// 19 MiB, in KiB.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Characters.
const SHORTEST: usize = 8;
const LONGEST: usize = 128;
/// What people think of first here.
const CONTEXT: [&str; 5] = ["kotinos", "olympic", "olympics", "paralympic", "paralympics"];
const SALT: usize = 16;
const OUTPUT: usize = 32;

impl Password {
    /// A new password; no composition rules.
    ///
    /// # Errors
    /// Too short, too long, or one that anybody would try first for this address.
    pub fn new(text: &str, address: &str) -> Result<Self, InvalidPassword> {
        let password = Self::entered(text).ok_or(InvalidPassword::TooLong)?;
        if password.0.chars().count() < SHORTEST {
            return Err(InvalidPassword::TooShort);
        }
        let parts = address.split(|letter: char| !letter.is_alphanumeric()).filter(|part| part.len() > 2);
        let local = address.split('@').next().unwrap_or_default();
        let known: Vec<&str> = [address, local].into_iter().chain(parts).chain(CONTEXT).collect();
        if zxcvbn(&password.0, &known).score() < Score::Two {
            return Err(InvalidPassword::TooEasy);
        }
        Ok(password)
    }

    /// A password as somebody entered it at sign-in; nothing when it is longer than any that was ever taken.
    pub fn entered(text: &str) -> Option<Self> {
        let folded: Zeroizing<String> = Zeroizing::new(text.nfkc().take(LONGEST + 1).collect());
        (folded.chars().count() <= LONGEST).then_some(Self(folded))
    }

    /// Its text, to be looked up among the breached ones.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password([pii])")
    }
}

/// Memory of one hash, so that it is allocated once a thread of the lane.
pub use argon2_wide::Memory;

/// The name of the instructions that passwords are hashed with.
pub fn backend() -> &'static str {
    Backend::widest().name()
}

/// Hashes a new password.
///
/// # Errors
/// No memory or no random bytes.
pub fn hash(password: &Password, pepper: &[u8], memory: &mut Memory) -> Result<String, HashError> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt).map_err(|_| HashError)?;
    let cost = Cost { memory: MEMORY, passes: PASSES, lanes: LANES };
    let digest = digest(password, pepper, cost, &salt, OUTPUT, memory)?;
    let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
    Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${digest}"))
}

/// Whether the password has this hash.
///
/// # Errors
/// The stored text is damaged, or there is no memory.
pub fn verify(password: &Password, phc: &str, pepper: &[u8], memory: &mut Memory) -> Result<bool, HashError> {
    let (cost, salt, stored) = parse(phc).ok_or(HashError)?;
    let computed = digest(password, pepper, cost, &salt, stored.len(), memory)?;
    Ok(computed.ct_eq(&stored).into())
}

/// Whether a hash has the cost of new ones.
pub fn is_current(phc: &str) -> bool {
    parse(phc).is_some_and(|(cost, ..)| (cost.memory, cost.passes, cost.lanes) == (MEMORY, PASSES, LANES))
}

/// A hash that fits no password: verified for unknown users, so that they take as long as known ones.
pub const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn digest(
    password: &Password,
    pepper: &[u8],
    cost: Cost,
    salt: &[u8],
    length: usize,
    memory: &mut Memory,
) -> Result<Vec<u8>, HashError> {
    let input = Input { password: password.0.as_bytes(), salt, secret: pepper, associated_data: &[] };
    let mut output = vec![0; length];
    Backend::widest().argon2id(input, cost, memory, &mut output).map_err(|_| HashError)?;
    Ok(output)
}

fn parse(phc: &str) -> Option<(Cost, Vec<u8>, Vec<u8>)> {
    let mut parts = phc.strip_prefix("$argon2id$v=19$")?.split('$');
    let (mut memory, mut passes, mut lanes) = (None, None, None);
    for cost in parts.next()?.split(',') {
        let (name, value) = cost.split_once('=')?;
        let value: u32 = value.parse().ok()?;
        match name {
            // Four times ours: a damaged row must not take the machine's memory.
            "m" if value <= 4 * MEMORY => memory = Some(value),
            "t" if value <= 16 => passes = Some(value),
            "p" if value <= 4 => lanes = Some(value),
            _ => return None,
        }
    }
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let digest = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    if parts.next().is_some() || !(8..=64).contains(&salt.len()) || !(16..=64).contains(&digest.len()) {
        return None;
    }
    Some((Cost { memory: memory?, passes: passes?, lanes: lanes? }, salt, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_with_its_own_pepper_only() {
        let mut memory = Memory::new();
        let password = Password::new("correct horse", "alice@example.org").unwrap();
        let phc = hash(&password, b"pepper", &mut memory).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&password, &phc, b"pepper", &mut memory).unwrap());
        assert!(!verify(&password, &phc, b"salt", &mut memory).unwrap());
        let other = Password::entered("correct horsf").unwrap();
        assert!(!verify(&other, &phc, b"pepper", &mut memory).unwrap());
        assert!(!verify(&password, NOBODY, b"pepper", &mut memory).unwrap());
        assert!(is_current(&phc) && is_current(NOBODY));
        assert!(!is_current(&phc.replace("m=19456,t=2", "m=7168,t=5")) && !is_current(""));
    }

    #[test]
    fn one_password_has_one_form_however_it_is_typed() {
        for (typed, kept) in [
            ("Ｐａｓｓ　ｗｏｒｄ", "Pass word"),
            ("ﾊﾟｽﾜｰﾄﾞです", "パスワードです"),
            ("cafe\u{301} noir", "caf\u{e9} noir"),
            ("ﬁnale №5", "finale No5"),
        ] {
            assert_eq!(Password::entered(typed).unwrap().as_str(), kept);
        }
        // One character may become eighteen.
        assert!(Password::entered(&"\u{fdfa}".repeat(8)).is_none());
    }

    #[test]
    fn rules_are_length_and_how_soon_it_is_guessed() {
        let refused = |text: &str| Password::new(text, "alice.tanaka@example.org").unwrap_err();
        for easy in [
            "password",
            "12345678",
            "Passw0rd!",
            "qwertyuiop",
            "alice.tanaka1",
            "kotinos1",
            "Olympics24",
            "20200724",
        ] {
            assert_eq!(refused(easy), InvalidPassword::TooEasy, "{easy}");
        }
        assert_eq!(refused("1234567"), InvalidPassword::TooShort);
        assert_eq!(refused(&"é".repeat(129)), InvalidPassword::TooLong);
        assert_eq!(refused("ALICE.tanaka"), InvalidPassword::TooEasy);
        assert_eq!(refused("aaaaaaaaaa"), InvalidPassword::TooEasy);
        assert!(Password::new("東京オリンピック", "alice@example.org").is_ok());
        assert!(Password::entered(&"x".repeat(100_000)).is_none());
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_no_panic() {
        let password = Password::entered("correct horse").unwrap();
        for wrong in [
            "",
            "$argon2id$v=19$",
            "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
            "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=0,t=0,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=19456,t=2,p=1$!$!",
        ] {
            assert_eq!(verify(&password, wrong, b"", &mut Memory::new()), Err(HashError));
        }
    }
}
