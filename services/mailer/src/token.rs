//! Tokens in the links of a mail. They carry no address and no target: a link's target is looked up in the published
//! template version, so there is no open redirect by construction.
//!
//! 33 bytes, 44 characters: key tag 1, campaign number 4, aim 2, profile id 16, HMAC-SHA-256 cut to 80 bits 10.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{ProfileId, Uuid};
use subtle::ConstantTimeEq;

use crate::keyring::{Key, Keyring};

const MAC: usize = 10;
const BODY: usize = 23;
/// Most numbered links of a template version; two numbers above are taken.
pub const MOST_LINKS: usize = 1_000;

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aim {
    /// Unsubscribes.
    Unsubscribe,
    /// Leads to the link of this number, from 0.
    Link(u16),
    /// Tells that the mail was opened.
    Open,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Number of the campaign.
    pub campaign: u32,
    /// To whom the mail went.
    pub profile_id: ProfileId,
    /// What the link does.
    pub aim: Aim,
}

impl Token {
    /// The token as 44 characters of base64url, signed with the active key.
    #[must_use]
    pub fn sign(&self, keys: &Keyring) -> String {
        let key = keys.active();
        let mut bytes = Vec::with_capacity(BODY + MAC);
        bytes.push(key.tag());
        bytes.extend_from_slice(&self.campaign.to_be_bytes());
        bytes.extend_from_slice(&self.aim.number().to_be_bytes());
        bytes.extend_from_slice(self.profile_id.0.as_bytes());
        let mac = mac(key, &bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that any key of the ring signed; nothing for anything else.
    #[must_use]
    pub fn verify(keys: &Keyring, text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, given) = bytes.split_at_checked(BODY)?;
        let tag = *body.first()?;
        let signed = |key: &&Key| bool::from(mac(key, body).ct_eq(given));
        keys.keys().filter(|key| key.tag() == tag).find(signed)?;
        Some(Self {
            campaign: u32::from_be_bytes(body[1..5].try_into().ok()?),
            aim: Aim::of_number(u16::from_be_bytes(body[5..7].try_into().ok()?)),
            profile_id: ProfileId(Uuid::from_bytes(body[7..].try_into().ok()?)),
        })
    }
}

impl Aim {
    const fn number(self) -> u16 {
        match self {
            Self::Unsubscribe => 0,
            Self::Link(number) => number.saturating_add(1),
            Self::Open => u16::MAX,
        }
    }

    const fn of_number(number: u16) -> Self {
        match number {
            0 => Self::Unsubscribe,
            u16::MAX => Self::Open,
            number => Self::Link(number - 1),
        }
    }
}

fn mac(key: &Key, body: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.derive("link token"));
    hmac::sign(&key, body).as_ref()[..MAC].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    fn token(aim: Aim) -> Token {
        Token { campaign: 4_000_000_000, profile_id: ProfileId::new(), aim }
    }

    #[test]
    fn a_token_of_an_old_key_goes_on_verifying() {
        let (old, both) = (Keyring::parse(OLD).unwrap(), Keyring::parse(BOTH).unwrap());
        for aim in [Aim::Unsubscribe, Aim::Link(0), Aim::Link(999), Aim::Open] {
            let token = token(aim);
            let text = token.sign(&old);
            assert_eq!(text.len(), 44);
            assert_eq!(Token::verify(&both, &text), Some(token));
            assert_eq!(Token::verify(&old, &token.sign(&both)), None);
        }
    }

    #[test]
    fn of_ten_thousand_mutations_none_is_accepted() {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let keys = Keyring::parse(BOTH).unwrap();
        let text = token(Aim::Link(3)).sign(&keys);
        let mut mutations = 0;
        let mut seed = 7_u32;
        while mutations < 10_000 {
            let mut changed = text.clone().into_bytes();
            for _ in 0..=(mutations % 3) {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (at, letter) = ((seed >> 8) as usize % 44, (seed >> 20) as usize % 64);
                changed[at] = LETTERS[letter];
            }
            let changed = String::from_utf8(changed).unwrap();
            if changed == text {
                continue;
            }
            assert_eq!(Token::verify(&keys, &changed), None, "{changed}");
            mutations += 1;
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_accepted(text in "\\PC{0,60}") {
            prop_assert_eq!(Token::verify(&Keyring::parse(OLD).unwrap(), &text), None);
        }
    }
}
