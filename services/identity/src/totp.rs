//! One-time codes by time (RFC 6238): HMAC-SHA-1, six digits, 30 seconds, since that is what every app knows.

use aws_lc_rs::{hmac, rand};
use domain::{DateTime, Utc};
use subtle::ConstantTimeEq;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::sealed::SealError;

/// 160 bits (RFC 4226 4, requirement 6).
const SECRET: usize = 20;
const STEP: i64 = 30;
/// How many steps a clock may be off, each way.
const WINDOW: i64 = 1;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a user's app and identity share.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// No random bytes.
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; SECRET]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError)?;
        Ok(Self(bytes))
    }

    /// The bytes, to be sealed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// One that was sealed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// As people type it into an app: base32 (RFC 4648 6) in groups of four.
    pub fn to_text(&self) -> String {
        let letters = self.to_base32();
        let groups: Vec<&str> =
            letters.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
        groups.join(" ")
    }

    /// As an app reads it off a picture: the `otpauth` URI that apps agree on.
    pub fn to_uri(&self, site: &str, address: &str) -> String {
        let encode = |text: &str| {
            form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
        };
        let (site, address, base32) = (encode(site), encode(address), self.to_base32());
        let secret = base32.as_str();
        format!(
            "otpauth://totp/{site}:{address}?secret={secret}&issuer={site}&algorithm=SHA1&digits=6&period=30"
        )
    }

    /// The step of a right code: at most one step away from now, and later than the last one that was taken.
    pub fn check(&self, digits: &str, last_step: i64, now: DateTime<Utc>) -> Option<i64> {
        let present = now.timestamp().div_euclid(STEP);
        let mut found = None;
        for step in present - WINDOW..=present + WINDOW {
            let right = bool::from(self.code(step).as_bytes().ct_eq(digits.as_bytes()));
            if right && step > last_step {
                found = Some(step);
            }
        }
        found
    }

    // RFC 4226 5.3.
    fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.as_bytes());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[tag.len() - 1] & 0x0f);
        let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
        format!("{:06}", number % 1_000_000)
    }

    // 160 bits are 32 letters exactly, without padding.
    fn to_base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET * 8 / 5));
        for group in self.0.chunks(5) {
            let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for letter in (0..8).rev() {
                text.push(char::from(BASE32[usize::try_from(bits >> (letter * 5) & 31).unwrap_or(0)]));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::from_bytes(b"12345678901234567890").unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238 appendix B, whose codes have eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().code(seconds / 30), code);
            assert_eq!(secret().check(code, 0, at(seconds)), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_counts_one_step_around_and_never_twice() {
        let (now, step) = (at(1_111_111_111), 1_111_111_111 / 30);
        for (away, right) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = secret().code(step + away);
            assert_eq!(secret().check(&code, 0, now).is_some(), right, "{away}");
        }
        let code = secret().code(step);
        assert_eq!(secret().check(&code, step, now), None);
        assert_eq!(secret().check(&code, step - 1, now), Some(step));
        for wrong in ["", "05047", "0504710", "050472", "０５０４７１"] {
            assert_eq!(secret().check(wrong, 0, now), None);
        }
    }

    #[test]
    fn an_app_reads_the_secret() {
        assert_eq!(secret().to_text(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert_eq!(
            secret().to_uri("Kotinos ID", "alice+x@example.jp"),
            "otpauth://totp/Kotinos%20ID:alice%2Bx%40example.jp?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Kotinos%20ID&algorithm=SHA1&digits=6&period=30"
        );
    }
}
