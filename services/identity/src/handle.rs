//! The one format of codes, refresh tokens, cookies and mail links: a prefix, then base64url of key id, row id, counter
//! and HMAC-SHA256. The MAC is checked before any SQL; rows hold neither the handle nor its hash.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::Uuid;

use crate::keyring::{Keyring, Master};

/// What a handle is for. Each kind has its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Authorization code.
    Code,
    /// Refresh token; the counter is its place in the family.
    Refresh,
    /// Session cookie; the counter is the session's epoch.
    Session,
    /// Browser cookie: no row, only an id to which pages are bound; the counter tells whose browser it is.
    Browser,
    /// Link in a mail.
    MailLink,
    /// Pushed authorization request.
    PushedRequest,
    /// Initial access token of a registration policy; the counter is its generation.
    InitialAccess,
    /// Registration access token of a client that registered itself.
    Registration,
    /// Device code (RFC 8628).
    Device,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Code => "kac_",
            Self::Refresh => "krt_",
            Self::Session => "kbs_",
            Self::Browser => "kbr_",
            Self::MailLink => "kml_",
            Self::PushedRequest => "kpr_",
            Self::InitialAccess => "kia_",
            Self::Registration => "krg_",
            Self::Device => "kdc_",
        }
    }

    // Whether such a handle is good until somebody takes it back.
    const fn is_endless(self) -> bool {
        matches!(self, Self::InitialAccess | Self::Registration)
    }
}

/// A handle whose MAC was right, or one to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Its purpose.
    pub kind: Kind,
    /// Its row.
    pub id: Uuid,
    /// What tells two handles of one row apart.
    pub counter: u32,
}

const BODY: usize = 4 + 16 + 4;
const WHOLE: usize = BODY + 32;

impl Handle {
    /// A handle of a row whose handles need no counter.
    pub const fn of(kind: Kind, id: Uuid) -> Self {
        Self { kind, id, counter: 0 }
    }

    /// Its text, under the active key; of a kind without an end, under the key that never changes.
    pub fn mint(self, keys: &Keyring) -> String {
        if self.kind.is_endless() { self.mint_with(&keys.oldest()) } else { self.mint_with(&keys.active()) }
    }

    /// Its text, under the key of another handle, such as the one before it in a family.
    pub fn mint_as(self, keys: &Keyring, other: &str) -> String {
        let own = key_of(self.kind, other).and_then(|id| keys.by_id(id));
        self.mint_with(&own.unwrap_or_else(|| keys.active()))
    }

    fn mint_with(self, master: &Master) -> String {
        let mut bytes = Vec::with_capacity(WHOLE);
        bytes.extend_from_slice(&master.id());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        let tag = hmac::sign(&key(master, self.kind), &bytes);
        bytes.extend_from_slice(tag.as_ref());
        format!("{}{}", self.kind.prefix(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a text of this kind; nothing when one bit of it is not ours.
    pub fn read(keys: &Keyring, kind: Kind, text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(kind.prefix())?;
        if encoded.len() != WHOLE.div_ceil(3) * 4 - 1 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (body, tag) = bytes.split_at_checked(BODY)?;
        let master = keys.by_id(body[..4].try_into().ok()?)?;
        hmac::verify(&key(&master, kind), body, tag).ok()?;
        let id = Uuid::from_slice(&body[4..20]).ok()?;
        let counter = u32::from_be_bytes(body[20..].try_into().ok()?);
        Some(Self { kind, id, counter })
    }
}

// The short id of the key under which a handle was made.
fn key_of(kind: Kind, text: &str) -> Option<[u8; 4]> {
    // Eight characters are six bytes.
    let start = text.strip_prefix(kind.prefix())?.get(..8)?;
    URL_SAFE_NO_PAD.decode(start).ok()?.get(..4)?.try_into().ok()
}

fn key(master: &Master, kind: Kind) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, master.derive("handle", kind.prefix()).as_slice())
}

/// The six digits of a mail, bound to its challenge.
pub fn mail_code(keys: &Keyring, challenge_id: Uuid) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, keys.oldest().derive("mail code", "").as_slice());
    let tag = hmac::sign(&key, challenge_id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&tag.as_ref()[..8]);
    format!("{:06}", u64::from_be_bytes(first) % 1_000_000)
}

/// A keyed hash of something personal, for counters and the audit: it cannot be read back.
pub fn keyed_hash(keys: &Keyring, purpose: &str, value: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, keys.oldest().derive("keyed hash", purpose).as_slice());
    hmac::sign(&key, value).as_ref()[..16].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    #[test]
    fn a_handle_comes_back_and_only_as_its_own_kind() {
        let keys = Keyring::parse(BOTH).unwrap();
        let handle = Handle { kind: Kind::Refresh, id: domain::new_id(), counter: 7 };
        let text = handle.mint(&keys);
        assert_eq!(Handle::read(&keys, Kind::Refresh, &text), Some(handle));
        let other = text.replacen("krt_", "kac_", 1);
        assert_eq!(Handle::read(&keys, Kind::Code, &other), None);
        assert_eq!(Handle::read(&keys, Kind::Code, &text), None);
    }

    #[test]
    fn a_handle_of_a_retired_key_still_reads_until_its_line_goes() {
        let old = Keyring::parse(OLD).unwrap();
        let text = Handle::of(Kind::Session, domain::new_id()).mint(&old);
        assert!(Handle::read(&Keyring::parse(BOTH).unwrap(), Kind::Session, &text).is_some());
        let only_new = Keyring::parse(BOTH.lines().next().unwrap()).unwrap();
        assert!(Handle::read(&only_new, Kind::Session, &text).is_none());
    }

    #[test]
    fn a_successor_keeps_the_key_of_its_family() {
        let (old, both) = (Keyring::parse(OLD).unwrap(), Keyring::parse(BOTH).unwrap());
        let [first, second] =
            [0, 1].map(|counter| Handle { kind: Kind::Refresh, id: domain::new_id(), counter });
        let text = first.mint(&old);
        assert_eq!(second.mint_as(&both, &text), second.mint(&old));
        assert_eq!(second.mint_as(&both, "krt_"), second.mint(&both));
    }

    #[test]
    fn a_registration_outlives_the_key_of_the_month() {
        let keys = Keyring::parse(BOTH).unwrap();
        let handle = Handle::of(Kind::Registration, domain::new_id());
        let text = handle.mint(&keys);
        let mut rings = (*keys.rings()).clone();
        rings.handles.retain(|master| master.label() == "a");
        keys.replace(rings);
        assert_eq!(Handle::read(&keys, Kind::Registration, &text), Some(handle));
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(at in 0_usize..79, byte in any::<u8>()) {
            let keys = Keyring::parse(OLD).unwrap();
            let text = Handle::of(Kind::Code, domain::new_id()).mint(&keys);
            let mut bytes = text.clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            // The last character carries spare bits; a strict decoder refuses them too.
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert_eq!(Handle::read(&keys, Kind::Code, &changed), None);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let keys = Keyring::parse(OLD).unwrap();
            prop_assert_eq!(Handle::read(&keys, Kind::Code, &format!("kac_{text}")), None);
        }
    }

    #[test]
    fn a_mail_code_has_six_digits() {
        let keys = Keyring::parse(OLD).unwrap();
        let code = mail_code(&keys, domain::new_id());
        assert_eq!(code.len(), 6);
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()));
    }
}
