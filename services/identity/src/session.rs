//! A browser's session: live, then ended.

use domain::{DateTime, SessionId, TimeDelta, UserId, Utc};

/// A session row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// In the cookie too; raised when its user signs in again, so that an older cookie dies.
    pub epoch: u32,
    /// When the password was last shown.
    pub pwd_at: DateTime<Utc>,
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
        }
    }
}

impl Session {
    /// A new session of a user who has just shown the password.
    pub fn start(session_id: SessionId, user_id: UserId, now: DateTime<Utc>) -> Self {
        Self {
            session_id,
            user_id,
            epoch: 0,
            pwd_at: now,
            seen_at: now,
            expires_at: now + LIFE,
            ended: false,
        }
    }

    /// Whether a cookie of this epoch is good for it now.
    pub fn is_live(&self, epoch: u32, now: DateTime<Utc>) -> bool {
        !self.ended && self.epoch == epoch && now < self.expires_at && now < self.seen_at + IDLE
    }

    /// The same session after its user showed the password again.
    #[must_use]
    pub fn renewed(mut self, now: DateTime<Utc>) -> Self {
        self.epoch += 1;
        self.pwd_at = now;
        self.seen_at = now;
        self
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
        let session = Session::start(SessionId::new(), UserId::new(), now);
        assert!(session.is_live(0, now + TimeDelta::days(6)));
        assert!(!session.is_live(0, now + TimeDelta::days(7)));
        assert!(!session.is_live(1, now));
        let renewed = session.clone().renewed(now + TimeDelta::days(6));
        assert!(renewed.is_live(1, now + TimeDelta::days(12)));
        assert!(!renewed.is_live(0, now + TimeDelta::days(6)));
        let mut used = renewed;
        used.seen_at = now + TimeDelta::days(29);
        assert!(!used.is_live(1, now + LIFE));
        used.ended = true;
        assert!(!used.is_live(1, now));
    }
}
