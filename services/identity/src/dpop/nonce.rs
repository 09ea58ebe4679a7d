//! Nonces of ours (RFC 9449 8, 9): a time under a MAC, so that no instance has to remember which it gave. They say that a
//! proof was made after we were asked, not in store.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{DateTime, Utc};
use subtle::ConstantTimeEq;

use crate::{
    keyring::{Keyring, Master},
    sealed::AHEAD,
};

/// How long one is good, in seconds: each answer brings a newer one.
const LIFE: i64 = 300;
const BODY: usize = 4 + 8;
const TAG: usize = 16;

/// A nonce of this moment.
pub fn mint(keys: &Keyring, now: DateTime<Utc>) -> String {
    let master = keys.active();
    let mut bytes = [0; BODY + TAG];
    bytes[..4].copy_from_slice(&master.id());
    bytes[4..BODY].copy_from_slice(&now.timestamp().to_be_bytes());
    let tag = tag(&master, &bytes[..BODY]);
    bytes[BODY..].copy_from_slice(&tag);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether a nonce is ours and not too old.
pub fn is_fresh(keys: &Keyring, text: &str, now: DateTime<Utc>) -> bool {
    given_at(keys, text).is_some_and(|at| {
        let age = now.timestamp().saturating_sub(at);
        (-AHEAD..LIFE).contains(&age)
    })
}

fn given_at(keys: &Keyring, text: &str) -> Option<i64> {
    if text.len() != (BODY + TAG).div_ceil(3) * 4 - 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (body, given) = bytes.split_at_checked(BODY)?;
    let master = keys.by_id(body[..4].try_into().ok()?)?;
    let right: bool = tag(&master, body).as_slice().ct_eq(given).into();
    right.then(|| body[4..].try_into().ok().map(i64::from_be_bytes)).flatten()
}

fn tag(master: &Master, body: &[u8]) -> [u8; TAG] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master.derive("dpop nonce", "").as_slice());
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hmac::sign(&key, body).as_ref()[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use domain::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_nonce_is_good_for_its_time_and_with_every_key_of_the_file() {
        let (old, both) = (Keyring::parse(OLD).unwrap(), Keyring::parse(BOTH).unwrap());
        let nonce = mint(&old, now());
        assert!(is_fresh(&old, &nonce, now()));
        assert!(is_fresh(&both, &nonce, now() + TimeDelta::seconds(LIFE - 1)));
        assert!(!is_fresh(&old, &nonce, now() + TimeDelta::seconds(LIFE)));
        assert!(is_fresh(&old, &nonce, now() - TimeDelta::seconds(AHEAD)));
        assert!(!is_fresh(&old, &nonce, now() - TimeDelta::seconds(AHEAD + 1)));
        assert!(!is_fresh(&old, &mint(&both, now()), now()));
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(at in 0_usize..38, byte in any::<u8>()) {
            let keys = Keyring::parse(OLD).unwrap();
            let mut bytes = mint(&keys, now()).into_bytes();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let fresh = String::from_utf8(bytes).is_ok_and(|text| is_fresh(&keys, &text, now()));
            prop_assert!(!fresh);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            prop_assert!(!is_fresh(&Keyring::parse(OLD).unwrap(), &text, now()));
        }
    }
}
