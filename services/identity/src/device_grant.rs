//! A device without a browser waits for its user, who decides elsewhere (RFC 8628): pending, then allowed or denied, then
//! redeemed.

use aws_lc_rs::hmac;
use domain::{DateTime, SessionId, TimeDelta, UserId, Utc, Uuid};

use crate::keyring::Keyring;

/// How long a device waits.
pub const LIFE: TimeDelta = TimeDelta::minutes(10);
/// Least time between two questions, until the device is in a hurry.
pub const INTERVAL: TimeDelta = TimeDelta::seconds(5);
/// What a device that is in a hurry has to wait longer, each time (RFC 8628 3.5).
pub const SLOWER: TimeDelta = TimeDelta::seconds(5);

/// Consonants that make no words and are not taken for one another or for digits (RFC 8628 6.1).
const LETTERS: [u8; 20] = *b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has decided.
    Pending,
    /// The user allowed it.
    Allowed,
    /// The user did not.
    Denied,
    /// The device has its tokens.
    Redeemed,
}

impl State {
    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Redeemed => "redeemed",
        }
    }
}

impl std::str::FromStr for State {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Pending, Self::Allowed, Self::Denied, Self::Redeemed]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or(())
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceGrant {
    /// Of the device code, and of the family that comes of it.
    pub device_id: Uuid,
    /// What the user types.
    pub user_code: String,
    /// Whose device.
    pub client_id: String,
    /// What it asks for; once allowed, what was granted.
    pub scopes: Vec<String>,
    /// APIs named by the request.
    pub resources: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Its last moment.
    pub expires_at: DateTime<Utc>,
}

/// Who allowed it, and how the user had signed in.
#[derive(Debug, Clone)]
pub struct Approval {
    /// By whom.
    pub user_id: UserId,
    /// In which session.
    pub session_id: SessionId,
    /// What was granted.
    pub scopes: Vec<String>,
    /// How strongly the user had signed in.
    pub acr: String,
    /// By which means.
    pub amr: Vec<String>,
    /// When.
    pub auth_time: DateTime<Utc>,
}

/// What a device's question leads to (RFC 8628 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Nobody has decided.
    Pending,
    /// The device asks too often.
    SlowDown,
    /// The user did not allow it.
    Denied,
    /// It is too late.
    Expired,
    /// It was redeemed before.
    Used,
    /// Now.
    Allowed,
}

impl DeviceGrant {
    /// A device that begins to wait.
    pub fn new(
        keys: &Keyring,
        device_id: Uuid,
        client_id: String,
        scopes: Vec<String>,
        resources: Vec<String>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            user_code: user_code(keys, device_id),
            device_id,
            client_id,
            scopes,
            resources,
            state: State::Pending,
            created_at: now,
            expires_at: now + LIFE,
        }
    }

    /// Whether its user may still decide.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.state == State::Pending && now < self.expires_at
    }

    /// Judges a question of its device; `in_a_hurry` when it came sooner than it may.
    pub fn poll(&self, in_a_hurry: bool, now: DateTime<Utc>) -> Poll {
        match self.state {
            State::Redeemed => Poll::Used,
            State::Denied => Poll::Denied,
            _ if now >= self.expires_at => Poll::Expired,
            _ if in_a_hurry => Poll::SlowDown,
            State::Pending => Poll::Pending,
            State::Allowed => Poll::Allowed,
        }
    }
}

// 20^8 codes, a few minutes, a few tries: a code cannot be guessed. It is derived, so that the row's maker needs no chance.
fn user_code(keys: &Keyring, device_id: Uuid) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, keys.oldest().derive("user code", "").as_slice());
    let tag = hmac::sign(&key, device_id.as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&tag.as_ref()[..16]);
    let mut number = u128::from_be_bytes(first);
    let mut code = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        // Below 20 by the modulus.
        code.push(char::from(LETTERS[(number % 20) as usize]));
        number /= 20;
    }
    code
}

/// The code as people read it: two groups.
pub fn grouped(user_code: &str) -> String {
    match user_code.split_at_checked(LENGTH / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => user_code.to_owned(),
    }
}

/// The code in what somebody typed: any case, full-width letters, any dashes and spaces (RFC 8628 6.1).
pub fn typed(text: &str) -> Option<String> {
    let mut code = String::with_capacity(LENGTH);
    for letter in text.chars().take(64) {
        let letter = match letter {
            // Full-width forms stand at a fixed distance.
            'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(letter as u32 - 0xfee0)?,
            letter => letter,
        }
        .to_ascii_uppercase();
        if letter.is_ascii() && LETTERS.contains(&(letter as u8)) {
            code.push(letter);
        } else if letter.is_alphanumeric() {
            return None;
        }
    }
    (code.len() == LENGTH).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::OLD;

    fn grant(now: DateTime<Utc>) -> DeviceGrant {
        let keys = Keyring::parse(OLD).unwrap();
        DeviceGrant::new(&keys, domain::new_id(), "tv".into(), vec!["openid".into()], vec![], now)
    }

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_user_code_is_eight_consonants_and_reads_back_as_people_type_it() {
        let code = grant(now()).user_code;
        assert!(code.len() == 8 && code.bytes().all(|letter| LETTERS.contains(&letter)), "{code}");
        assert_ne!(code, grant(now()).user_code);
        let full_width: String =
            code.chars().filter_map(|letter| char::from_u32(letter as u32 + 0xfee0)).collect();
        for typed_as in
            [code.clone(), grouped(&code), code.to_lowercase(), format!(" {}  ", grouped(&code)), full_width]
        {
            assert_eq!(typed(&typed_as), Some(code.clone()), "{typed_as}");
        }
        for wrong in
            ["", "BCDF", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF-GHJ1", "BCDF-GHJé", &"B".repeat(99)]
        {
            assert_eq!(typed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_device_waits_asks_slowly_and_gets_its_tokens_once() {
        let mut grant = grant(now());
        assert!(grant.is_open(now()) && !grant.is_open(now() + LIFE));
        assert_eq!(grant.poll(false, now()), Poll::Pending);
        assert_eq!(grant.poll(true, now()), Poll::SlowDown);
        assert_eq!(grant.poll(false, now() + LIFE), Poll::Expired);
        grant.state = State::Allowed;
        assert_eq!(grant.poll(true, now()), Poll::SlowDown);
        assert_eq!(grant.poll(false, now()), Poll::Allowed);
        assert_eq!(grant.poll(false, now() + LIFE), Poll::Expired);
        grant.state = State::Denied;
        assert_eq!(grant.poll(true, now()), Poll::Denied);
        grant.state = State::Redeemed;
        assert_eq!(grant.poll(false, now()), Poll::Used);
        assert!(!grant.is_open(now()));
    }
}
