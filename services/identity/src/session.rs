//! A browser's session: live, then ended.

use domain::{DateTime, SessionId, TimeDelta, UserId, Utc};

use crate::acr::Shown;

/// A session row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// In the cookie too; raised when its user signs in again, so that an older cookie dies.
    pub epoch: u32,
    /// When its user last signed in, by password or passkey: `auth_time`.
    pub pwd_at: DateTime<Utc>,
    /// When a passkey was last used; it counts when it is not before `pwd_at`.
    pub passkey_at: Option<DateTime<Utc>>,
    /// When a one-time code or a recovery code was last shown; it counts when it is not before `pwd_at`.
    pub otp_at: Option<DateTime<Utc>>,
    /// Written at most every 15 minutes.
    pub seen_at: DateTime<Utc>,
    /// The latest end.
    pub expires_at: DateTime<Utc>,
    /// Ended before its time.
    pub ended: bool,
}

/// Longest life.
pub const LIFE: TimeDelta = TimeDelta::days(30);
/// Longest time between two uses.
pub const IDLE: TimeDelta = TimeDelta::days(7);
/// How long after signing in a user may change the ways to sign in.
pub const FRESH: TimeDelta = TimeDelta::minutes(10);
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(15);

/// Why a session ended: in the audit, in the fact and in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The user signed out.
    Logout,
    /// An operator or the user ended it from elsewhere.
    Ended,
    /// The user was disabled.
    Disable,
    /// The password was changed, or a new one was set by mail.
    PasswordChange,
    /// Somebody else signed in at the same browser.
    Replaced,
    /// It was not used for too long, or got too old.
    Expiry,
    /// The user was erased.
    Erasure,
}

impl Cause {
    /// The name in SQL and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Ended => "ended",
            Self::Disable => "disable",
            Self::PasswordChange => "password_change",
            Self::Replaced => "replaced",
            Self::Expiry => "expiry",
            Self::Erasure => "erasure",
        }
    }
}

impl Session {
    /// A new session of a user who has just signed in.
    pub fn start(session_id: SessionId, user_id: UserId, shown: Shown, now: DateTime<Utc>) -> Self {
        Self {
            session_id,
            user_id,
            epoch: 0,
            pwd_at: now,
            passkey_at: (shown == Shown::Passkey).then_some(now),
            otp_at: (shown == Shown::PasswordAndCode).then_some(now),
            seen_at: now,
            expires_at: now + LIFE,
            ended: false,
        }
    }

    /// Whether a cookie of this epoch is good for it now.
    pub fn is_live(&self, epoch: u32, now: DateTime<Utc>) -> bool {
        !self.ended && self.epoch == epoch && now < self.expires_at && now < self.seen_at + IDLE
    }

    /// The same session after its user signed in again. What was shown before counts no more, so that level and
    /// `auth_time` are of one moment.
    #[must_use]
    pub fn renewed(self, shown: Shown, now: DateTime<Utc>) -> Self {
        let next = Self::start(self.session_id, self.user_id, shown, now);
        Self { epoch: self.epoch + 1, expires_at: self.expires_at, ..next }
    }

    /// The same session after its user added a code to the password.
    #[must_use]
    pub fn stepped_up(self, now: DateTime<Utc>) -> Self {
        // The password may have been shown at an instance whose clock is ahead: the code came after it all the same.
        Self { otp_at: Some(now.max(self.pwd_at)), ..self.under_new_cookie(now) }
    }

    /// The same session, of which every other cookie dies.
    #[must_use]
    pub fn under_new_cookie(mut self, now: DateTime<Utc>) -> Self {
        self.epoch += 1;
        self.seen_at = now;
        self
    }

    /// By what its user signed in.
    pub fn shown(&self) -> Shown {
        let counts = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at >= self.pwd_at);
        if counts(self.passkey_at) {
            Shown::Passkey
        } else if counts(self.otp_at) {
            Shown::PasswordAndCode
        } else {
            Shown::Password
        }
    }

    /// Whether its user signed in a moment ago.
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now < self.pwd_at + FRESH
    }

    /// Whether its use is due to be noted.
    pub fn is_due_to_be_seen(&self, now: DateTime<Utc>) -> bool {
        now >= self.seen_at + SEEN_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_idleness_age_end_or_a_newer_cookie() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let session = Session::start(SessionId::new(), UserId::new(), Shown::Password, now);
        assert!(session.is_live(0, now + TimeDelta::days(6)));
        assert!(!session.is_live(0, now + TimeDelta::days(7)));
        assert!(!session.is_live(1, now));
        let renewed = session.clone().renewed(Shown::Password, now + TimeDelta::days(6));
        assert!(renewed.is_live(1, now + TimeDelta::days(12)));
        assert!(!renewed.is_live(0, now + TimeDelta::days(6)));
        let mut used = renewed;
        used.seen_at = now + TimeDelta::days(29);
        assert!(!used.is_live(1, now + LIFE));
        used.ended = true;
        assert!(!used.is_live(1, now));
    }
    #[test]
    fn a_sign_in_replaces_what_was_shown_and_a_code_adds_to_it() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let later = now + TimeDelta::minutes(1);
        let by_passkey = Session::start(SessionId::new(), UserId::new(), Shown::Passkey, now);
        assert_eq!(by_passkey.shown(), Shown::Passkey);
        let by_password = by_passkey.renewed(Shown::Password, later);
        assert_eq!((by_password.shown(), by_password.pwd_at, by_password.epoch), (Shown::Password, later, 1));
        let with_code = by_password.clone().stepped_up(later + TimeDelta::minutes(5));
        assert_eq!(
            (with_code.shown(), with_code.pwd_at, with_code.epoch),
            (Shown::PasswordAndCode, later, 2)
        );
        let behind = by_password.clone().stepped_up(later - TimeDelta::seconds(60));
        assert_eq!(behind.shown(), Shown::PasswordAndCode, "by a clock that is behind");
        // An older program renews without a word on the other factors.
        let older = Session { pwd_at: later + TimeDelta::hours(1), ..with_code };
        assert_eq!(older.shown(), Shown::Password);
        assert!(by_password.is_fresh(later + TimeDelta::minutes(9)));
        assert!(!by_password.is_fresh(later + FRESH));
    }
}
