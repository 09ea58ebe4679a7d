//! One client to be told of one session's end (OIDC Back-Channel Logout 1.0): pending, then delivered or abandoned.

use domain::{DateTime, SessionId, TimeDelta, UserId, Utc, Uuid};

/// A ledger row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutDelivery {
    /// Its id, also the token's `jti`: the same on each try.
    pub delivery_id: Uuid,
    /// The ended session.
    pub session_id: SessionId,
    /// Whose it was.
    pub user_id: UserId,
    /// Who is told.
    pub client_id: String,
    /// The session as this client knows it.
    pub sid: String,
    /// Tries so far.
    pub attempts: u32,
    /// When its day of tries began: with the session's end, or when an operator said so.
    pub since: DateTime<Utc>,
}

/// What becomes of a delivery after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client knows.
    Delivered,
    /// It is tried again.
    Retry(DateTime<Utc>),
    /// A day of tries is over.
    Abandoned,
}

const LONGEST: TimeDelta = TimeDelta::hours(24);

impl LogoutDelivery {
    /// Judges an answer; `status` is 0 when there was none.
    pub fn answered(&self, status: u16, now: DateTime<Utc>) -> Outcome {
        if (200..300).contains(&status) {
            return Outcome::Delivered;
        }
        if now >= self.since + LONGEST {
            return Outcome::Abandoned;
        }
        // 1 s, 2 s, 4 s ... 15 min.
        let seconds = 900.min(1_i64 << self.attempts.min(10));
        Outcome::Retry(now + TimeDelta::seconds(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_retried_for_a_day() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let mut delivery = LogoutDelivery {
            delivery_id: domain::new_id(),
            session_id: SessionId::new(),
            user_id: UserId::new(),
            client_id: "portal".into(),
            sid: String::new(),
            attempts: 0,
            since: now,
        };
        assert_eq!(delivery.answered(204, now), Outcome::Delivered);
        assert_eq!(delivery.answered(0, now), Outcome::Retry(now + TimeDelta::seconds(1)));
        delivery.attempts = 50;
        assert_eq!(delivery.answered(500, now), Outcome::Retry(now + TimeDelta::minutes(15)));
        assert_eq!(delivery.answered(400, now + LONGEST), Outcome::Abandoned);
    }
}
