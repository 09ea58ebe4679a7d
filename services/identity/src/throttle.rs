//! Delays against guessing. A row is written on a failure only.

use domain::{DateTime, TimeDelta, Utc};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Wrong passwords for one address by strangers: 5 free, then 1, 2, 4 ... 60 seconds; after 100 a day a proof by mail.
    Account,
    /// The same for one address at a browser where its user has signed in: strangers do not slow the user down.
    Browser,
    /// Wrong passwords from one network: after 30 in 10 minutes it waits behind all others. A carrier may stand behind it.
    Network,
    /// Mails to one address: 5 an hour.
    ChallengeAddress,
    /// Mails asked for from one network: 30 an hour.
    ChallengeNetwork,
    /// Wrong client credentials: 20 a minute.
    ClientSecret,
    /// Wrong codes after a right password: 5 free, then 1, 2, 4 ... 60 seconds; after 100 none until the day is over.
    SecondFactor,
    /// Wrong codes of devices, typed by one user: 10 in 10 minutes.
    UserCode,
    /// The same from one network: 30 in 10 minutes.
    UserCodeNetwork,
}

/// What a counter makes of the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing.
    Free,
    /// It stands behind all others.
    Last,
    /// Not before this time has passed.
    Wait(TimeDelta),
    /// A password alone will not do today: first a proof by mail.
    MailProof,
}

/// Wrong passwords of a day after which a password alone will not do.
const MAIL_PROOF: u32 = 100;
/// Longest wait after a wrong password, in seconds.
const LONGEST_WAIT: i64 = 60;

impl Counted {
    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Browser => "browser",
            Self::Network => "network",
            Self::ChallengeAddress => "challenge_address",
            Self::ChallengeNetwork => "challenge_network",
            Self::ClientSecret => "client_secret",
            Self::SecondFactor => "second_factor",
            Self::UserCode => "user_code",
            Self::UserCodeNetwork => "user_code_network",
        }
    }

    const fn window(self) -> TimeDelta {
        match self {
            Self::Account | Self::Browser | Self::SecondFactor => TimeDelta::hours(24),
            Self::Network | Self::UserCode | Self::UserCodeNetwork => TimeDelta::minutes(10),
            Self::ChallengeAddress | Self::ChallengeNetwork => TimeDelta::hours(1),
            Self::ClientSecret => TimeDelta::minutes(1),
        }
    }

    const fn free(self) -> u32 {
        match self {
            Self::Account | Self::Browser | Self::SecondFactor => 5,
            // The one that reaches the limit closes the window.
            Self::ChallengeAddress => 4,
            Self::UserCode => 9,
            Self::Network | Self::ChallengeNetwork | Self::UserCodeNetwork => 29,
            Self::ClientSecret => 19,
        }
    }
}

/// A counter row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// How many within the window.
    pub failures: u32,
    /// When the window began.
    pub first_at: DateTime<Utc>,
    /// What the counter asks for lasts until then.
    pub until: DateTime<Utc>,
}

impl Throttle {
    /// What it makes of the next try.
    pub fn judge(&self, counted: Counted, now: DateTime<Utc>) -> Verdict {
        let guessing = matches!(counted, Counted::Account | Counted::Browser);
        if guessing && self.failures >= MAIL_PROOF && now < self.first_at + counted.window() {
            return Verdict::MailProof;
        }
        match counted {
            _ if now >= self.until => Verdict::Free,
            Counted::Network => Verdict::Last,
            _ => Verdict::Wait(self.until - now),
        }
    }

    /// The counter after one more.
    #[must_use]
    pub fn count(before: Option<Self>, counted: Counted, now: DateTime<Utc>) -> Self {
        let running = before.filter(|before| now < before.first_at + counted.window());
        let (failures, first_at) =
            running.map_or((1, now), |before| (before.failures.saturating_add(1), before.first_at));
        let over = failures.saturating_sub(counted.free());
        let until = match (over, counted) {
            (0, _) => now,
            // Whoever guesses here knows the password.
            (_, Counted::SecondFactor) if failures >= MAIL_PROOF => first_at + counted.window(),
            (_, Counted::Account | Counted::Browser | Counted::SecondFactor) => {
                now + TimeDelta::seconds(LONGEST_WAIT.min(1_i64 << (over - 1).min(6)))
            }
            _ => first_at + counted.window(),
        };
        Self { failures, first_at, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-07-24T10:00:00Z";

    fn after(counted: Counted, count: u32, now: DateTime<Utc>) -> Throttle {
        let mut throttle = None;
        for _ in 0..count {
            throttle = Some(Throttle::count(throttle, counted, now));
        }
        throttle.unwrap()
    }

    fn judged(counted: Counted, count: u32) -> Verdict {
        let now = DAY.parse().unwrap();
        after(counted, count, now).judge(counted, now)
    }

    const fn seconds(seconds: i64) -> Verdict {
        Verdict::Wait(TimeDelta::seconds(seconds))
    }

    #[test]
    fn an_account_has_five_free_tries_and_then_doubling_delays() {
        for counted in [Counted::Account, Counted::Browser] {
            let judged = [1, 5, 6, 7, 8, 9, 10, 11, 12, 99].map(|count| judged(counted, count));
            let waits = [1, 2, 4, 8, 16, 32, 60, 60].map(seconds);
            assert_eq!(judged[..2], [Verdict::Free, Verdict::Free]);
            assert_eq!(judged[2..], waits);
        }
        let now: DateTime<Utc> = DAY.parse().unwrap();
        let sixth = after(Counted::Account, 6, now);
        assert_eq!(sixth.judge(Counted::Account, now + TimeDelta::seconds(1)), Verdict::Free);
    }

    #[test]
    fn after_a_hundred_a_day_an_account_wants_a_proof_by_mail_until_the_day_is_over() {
        let now: DateTime<Utc> = DAY.parse().unwrap();
        assert_eq!(judged(Counted::Account, 100), Verdict::MailProof);
        let full = after(Counted::Account, 500, now);
        assert_eq!(full.judge(Counted::Account, now + TimeDelta::hours(23)), Verdict::MailProof);
        assert_eq!(full.judge(Counted::Account, now + TimeDelta::hours(24)), Verdict::Free);
        let later = Throttle::count(Some(full), Counted::Account, now + TimeDelta::hours(24));
        assert_eq!(later.failures, 1);
    }

    #[test]
    fn a_network_that_guesses_is_served_last_until_its_window_ends() {
        assert_eq!(
            (judged(Counted::Network, 29), judged(Counted::Network, 30)),
            (Verdict::Free, Verdict::Last)
        );
        let now: DateTime<Utc> = DAY.parse().unwrap();
        let full = after(Counted::Network, 10_000, now);
        assert_eq!(full.judge(Counted::Network, now + TimeDelta::seconds(599)), Verdict::Last);
        assert_eq!(full.judge(Counted::Network, now + TimeDelta::minutes(10)), Verdict::Free);
    }

    #[test]
    fn mails_and_client_secrets_wait_for_the_end_of_their_window() {
        for (counted, most, window) in [
            (Counted::ChallengeAddress, 5, 3_600),
            (Counted::ChallengeNetwork, 30, 3_600),
            (Counted::ClientSecret, 20, 60),
        ] {
            assert_eq!((judged(counted, most - 1), judged(counted, most)), (Verdict::Free, seconds(window)));
        }
    }

    #[test]
    fn the_strictest_verdict_is_the_greatest() {
        let order = [Verdict::Free, Verdict::Last, seconds(1), seconds(60), Verdict::MailProof];
        assert!(order.is_sorted());
    }
    #[test]
    fn codes_are_guessed_at_a_hundred_times_a_day_at_most() {
        let now: DateTime<Utc> = DAY.parse().unwrap();
        assert_eq!(judged(Counted::SecondFactor, 5), Verdict::Free);
        assert_eq!(judged(Counted::SecondFactor, 6), seconds(1));
        assert_eq!(judged(Counted::SecondFactor, 99), seconds(60));
        let closed = after(Counted::SecondFactor, 100, now);
        assert_eq!(closed.judge(Counted::SecondFactor, now), Verdict::Wait(TimeDelta::hours(24)));
    }
}
