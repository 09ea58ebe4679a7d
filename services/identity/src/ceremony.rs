//! A challenge to a passkey: it travels sealed through the browser, so that asking for one writes nothing.

use aws_lc_rs::rand;
use domain::{DateTime, TimeDelta, UserId, Utc, Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    keyring::Keyring,
    sealed::{self, SealError},
    session,
};

/// How long a page may wait for its answer: as long as a form of sign-in.
const LIFE: TimeDelta = TimeDelta::hours(2);

/// What an answer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sign in by a passkey that the authenticator finds itself.
    SignIn,
    /// Add a passkey to a user.
    Add,
    /// Make a user with a passkey.
    SignUp,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "ceremony sign-in",
            Self::Add => "ceremony add",
            Self::SignUp => "ceremony sign-up",
        }
    }
}

/// A challenge that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceremony {
    /// Taken once.
    pub ceremony_id: Uuid,
    /// 256 random bits.
    pub challenge: [u8; 32],
    /// Whose passkey is made, at [`Purpose::Add`] and [`Purpose::SignUp`].
    pub user_id: Option<Uuid>,
    at: i64,
}

impl Ceremony {
    /// A new challenge.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new(user_id: Option<UserId>, now: DateTime<Utc>) -> Result<Self, SealError> {
        let mut challenge = [0; 32];
        rand::fill(&mut challenge).map_err(|_| SealError)?;
        let user_id = user_id.map(Uuid::from);
        Ok(Self { ceremony_id: domain::new_id(), challenge, user_id, at: now.timestamp() })
    }

    /// Whether it was asked for a moment ago, by a user who had just signed in.
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() - self.at < session::FRESH.num_seconds()
    }

    /// Seals it for a purpose and a browser.
    ///
    /// # Errors
    /// No random bytes.
    pub fn seal(&self, keys: &Keyring, purpose: Purpose, browser: Uuid) -> Result<String, SealError> {
        sealed::seal_text(keys, purpose.name(), &browser.to_string(), self)
    }

    /// Opens it for the same purpose and browser, while it is young enough.
    pub fn open(
        keys: &Keyring,
        purpose: Purpose,
        browser: Uuid,
        text: &str,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let ceremony: Self = sealed::open_text(keys, purpose.name(), &browser.to_string(), text)?;
        let age = now.timestamp() - ceremony.at;
        (age >= -sealed::AHEAD && age < LIFE.num_seconds()).then_some(ceremony)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::OLD;

    #[test]
    fn a_challenge_opens_in_its_browser_for_its_purpose_and_for_its_time() {
        let keys = Keyring::parse(OLD).unwrap();
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let (browser, user_id) = (domain::new_id(), UserId::new());
        let ceremony = Ceremony::new(Some(user_id), now).unwrap();
        assert_ne!(ceremony.challenge, Ceremony::new(Some(user_id), now).unwrap().challenge);
        let text = ceremony.seal(&keys, Purpose::Add, browser).unwrap();
        let open = |purpose, browser, at| Ceremony::open(&keys, purpose, browser, &text, at);
        assert_eq!(open(Purpose::Add, browser, now + TimeDelta::minutes(119)), Some(ceremony));
        assert_eq!(open(Purpose::Add, browser, now + TimeDelta::hours(2)), None);
        // By an instance whose clock is ahead.
        assert!(open(Purpose::Add, browser, now - TimeDelta::seconds(sealed::AHEAD)).is_some());
        assert_eq!(open(Purpose::Add, browser, now - TimeDelta::seconds(sealed::AHEAD + 1)), None);
        assert_eq!(open(Purpose::SignUp, browser, now), None);
        assert_eq!(open(Purpose::SignIn, browser, now), None);
        assert_eq!(open(Purpose::Add, domain::new_id(), now), None);
    }
}
