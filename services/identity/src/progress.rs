//! What travels from page to page, sealed for one browser: the authorization request and how far its user is. So a GET
//! of a stranger writes nothing, and a form of another browser opens nothing.

use domain::{DateTime, TimeDelta, UserId, Utc, Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    authorization::Request,
    keyring::Keyring,
    sealed::{self, SealError},
};

/// Which page may open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Posted to /authorize from another site, which sends no cookies: bound to no browser.
    Authorize,
    /// Posted to /logout from another site.
    Logout,
    /// Sign-in, and sign-up up to the address.
    SignIn,
    /// The password was right; a code is missing.
    SecondFactor,
    /// The page that waits for the mail.
    Verify,
    /// The address is proved; a password is missing.
    Complete,
    /// The page that waits for the mail which lets a user back in.
    Recover,
    /// The address is proved; a new password is missing.
    Reset,
    /// The user decides what the client gets.
    Consent,
    /// The user is asked whether to sign out.
    SignOut,
    /// The user looks at the own sessions.
    Account,
    /// The user types the code of a device.
    Device,
    /// The user decides what the device gets.
    DeviceConfirm,
}

impl Step {
    const fn purpose(self) -> &'static str {
        match self {
            Self::Authorize => "ctx authorize",
            Self::Logout => "ctx logout",
            Self::SignIn => "ctx sign-in",
            Self::SecondFactor => "ctx second factor",
            Self::Verify => "ctx verify",
            Self::Complete => "ctx complete",
            Self::Recover => "ctx recover",
            Self::Reset => "ctx reset",
            Self::Consent => "ctx consent",
            Self::SignOut => "ctx sign-out",
            Self::Account => "ctx account",
            Self::Device => "ctx device",
            Self::DeviceConfirm => "ctx device confirm",
        }
    }

    const fn life(self) -> TimeDelta {
        match self {
            Self::Authorize | Self::Logout => TimeDelta::minutes(1),
            Self::Verify | Self::Complete | Self::Recover | Self::Reset => TimeDelta::hours(1),
            Self::SecondFactor => PROVED,
            Self::SignIn | Self::Consent | Self::SignOut | Self::Account | Self::Device => {
                TimeDelta::hours(2)
            }
            Self::DeviceConfirm => TimeDelta::minutes(10),
        }
    }
}

/// Longest time between the first step of a sign-in and the second.
const PROVED: TimeDelta = TimeDelta::minutes(10);

/// The first step of a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// Who.
    pub user_id: Uuid,
    /// When, in seconds since 1970.
    pub at: i64,
    /// The password was shown for the session that is there: the second step adds to it.
    pub adds: bool,
}

impl Proved {
    /// Somebody has just shown the password.
    pub fn now(user_id: UserId, now: DateTime<Utc>) -> Self {
        Self { user_id: user_id.into(), at: now.timestamp(), adds: false }
    }

    /// The user of a session adds to what was shown for it.
    pub fn adding(user_id: UserId, now: DateTime<Utc>) -> Self {
        Self { adds: true, ..Self::now(user_id, now) }
    }

    /// Whether the second step may still follow.
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() - self.at < PROVED.num_seconds()
    }
}

/// The sealed state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The request to go on with, if a client sent the user.
    pub request: Option<Request>,
    /// The mail in question.
    pub challenge_id: Option<Uuid>,
    /// Parameters that wait for a GET or for a confirmation.
    pub params: Vec<(String, String)>,
    /// The user is signed in and does so once more, to change something of the own account.
    #[serde(default)]
    pub again: bool,
    /// Who has shown the password, at [`Step::SecondFactor`].
    #[serde(default)]
    pub proved: Option<Proved>,
    /// When it was sealed, in seconds since 1970.
    pub at: i64,
}

const NEW_PASSWORD: &str = "new_password";

impl Progress {
    /// The state of a user whom this request brought.
    pub fn of(request: Option<Request>) -> Self {
        Self { request, ..Self::default() }
    }

    /// The same for a user who has just set a new password.
    #[must_use]
    pub fn after_new_password(mut self) -> Self {
        self.params.push((NEW_PASSWORD.to_owned(), "set".to_owned()));
        self
    }

    /// Whether its user has just set a new password.
    pub fn has_new_password(&self) -> bool {
        self.params.iter().any(|(name, _)| name == NEW_PASSWORD)
    }

    /// Seals it for a step and a browser.
    ///
    /// # Errors
    /// No random bytes.
    pub fn seal(
        mut self,
        keys: &Keyring,
        step: Step,
        browser: Uuid,
        now: DateTime<Utc>,
    ) -> Result<String, SealError> {
        self.at = now.timestamp();
        sealed::seal_text(keys, step.purpose(), &browser.to_string(), &self)
    }

    /// Opens it for the same step and browser, while it is young enough.
    pub fn open(keys: &Keyring, step: Step, browser: Uuid, text: &str, now: DateTime<Utc>) -> Option<Self> {
        let progress: Self = sealed::open_text(keys, step.purpose(), &browser.to_string(), text)?;
        let age = now.timestamp() - progress.at;
        (age >= -sealed::AHEAD && age < step.life().num_seconds()).then_some(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::OLD;

    #[test]
    fn a_state_opens_in_its_browser_for_its_step_and_for_its_time() {
        let keys = Keyring::parse(OLD).unwrap();
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let browser = domain::new_id();
        let text = Progress::default().seal(&keys, Step::SignIn, browser, now).unwrap();
        let open = |step, browser, at| Progress::open(&keys, step, browser, &text, at).is_some();
        assert!(open(Step::SignIn, browser, now + TimeDelta::minutes(119)));
        assert!(!open(Step::SignIn, browser, now + TimeDelta::hours(2)));
        // By an instance whose clock is ahead.
        assert!(open(Step::SignIn, browser, now - TimeDelta::seconds(sealed::AHEAD)));
        assert!(!open(Step::SignIn, browser, now - TimeDelta::seconds(sealed::AHEAD + 1)));
        assert!(!open(Step::Complete, browser, now));
        assert!(!open(Step::SignIn, domain::new_id(), now));
    }
}
