//! Delays against guessing. A row is written on a failure only.

use domain::{DateTime, TimeDelta, Utc};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Wrong passwords for one address: 5 free, then 1, 2, 4 ... 60 seconds.
    Account,
    /// Wrong passwords from one network: 30 in 10 minutes, then the rest of the 10 minutes.
    Network,
    /// Mails to one address: 5 an hour.
    ChallengeAddress,
    /// Mails asked for from one network: 30 an hour.
    ChallengeNetwork,
    /// Wrong client credentials: 20 a minute.
    ClientSecret,
    /// Wrong codes of devices, typed by one user: 10 in 10 minutes.
    UserCode,
    /// The same from one network: 30 in 10 minutes.
    UserCodeNetwork,
}

impl Counted {
    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Network => "network",
            Self::ChallengeAddress => "challenge_address",
            Self::ChallengeNetwork => "challenge_network",
            Self::ClientSecret => "client_secret",
            Self::UserCode => "user_code",
            Self::UserCodeNetwork => "user_code_network",
        }
    }

    const fn window(self) -> TimeDelta {
        match self {
            Self::Account => TimeDelta::hours(24),
            Self::Network | Self::UserCode | Self::UserCodeNetwork => TimeDelta::minutes(10),
            Self::ChallengeAddress | Self::ChallengeNetwork => TimeDelta::hours(1),
            Self::ClientSecret => TimeDelta::minutes(1),
        }
    }

    const fn free(self) -> u32 {
        match self {
            Self::Account => 5,
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
    /// Nothing is tried before.
    pub until: DateTime<Utc>,
}

impl Throttle {
    /// How long the caller has to wait.
    pub fn wait(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        (now < self.until).then(|| self.until - now)
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
            (_, Counted::Account) => now + TimeDelta::seconds(60.min(1_i64 << (over - 1).min(6))),
            _ => first_at + counted.window(),
        };
        Self { failures, first_at, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(counted: Counted, count: u32, now: DateTime<Utc>) -> Throttle {
        let mut throttle = None;
        for _ in 0..count {
            throttle = Some(Throttle::count(throttle, counted, now));
        }
        throttle.unwrap()
    }

    #[test]
    fn an_account_has_five_free_tries_and_then_doubling_delays() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let wait = |count| after(Counted::Account, count, now).wait(now).map(|wait| wait.num_seconds());
        assert_eq!([5, 6, 7, 8].map(wait), [None, Some(1), Some(2), Some(4)]);
        assert_eq!([12, 13, 500].map(wait), [Some(60), Some(60), Some(60)]);
        let later = Throttle::count(
            Some(after(Counted::Account, 50, now)),
            Counted::Account,
            now + TimeDelta::hours(24),
        );
        assert_eq!(later.failures, 1);
    }

    #[test]
    fn a_network_waits_for_the_end_of_its_window() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        assert_eq!(after(Counted::Network, 29, now).wait(now), None);
        assert_eq!(after(Counted::Network, 30, now).wait(now), Some(TimeDelta::minutes(10)));
    }
}
