//! Proof of an address by mail: asked for, proved by a link or six digits, consumed once.

use domain::{DateTime, EmailAddress, Locale, TimeDelta, Utc, Uuid};

/// Life of the link.
pub const LINK_LIFE: TimeDelta = TimeDelta::hours(1);
/// Life of the six digits.
pub const CODE_LIFE: TimeDelta = TimeDelta::minutes(10);
const TRIES: u32 = 5;

/// Why a mail goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new user proves the address.
    SignUp,
    /// Somebody signs up with an address that a user has: only that user learns of it.
    AddressTaken,
}

impl Purpose {
    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::AddressTaken => "address_taken",
        }
    }

    /// The mailer's template.
    pub const fn template(self) -> &'static str {
        match self {
            Self::SignUp => "identity.verify_email",
            Self::AddressTaken => "identity.address_taken",
        }
    }
}

/// A challenge row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its id, also the mail's request id.
    pub challenge_id: Uuid,
    /// Why.
    pub purpose: Purpose,
    /// To whom.
    pub address: EmailAddress,
    /// In which language.
    pub locale: Locale,
    /// The client whose request is in progress; empty when none is.
    pub client_id: String,
    /// That request, sealed for the browser that made it.
    pub progress: Option<Vec<u8>>,
    /// Wrong digits so far.
    pub failures: u32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// The link's end.
    pub expires_at: DateTime<Utc>,
    /// When a user came of it.
    pub consumed: bool,
}

/// What six digits lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCheck {
    /// The address is proved.
    Right,
    /// Counted; it may be tried again.
    Wrong,
    /// No further try: too many, too late, or never possible.
    Over,
}

impl Challenge {
    /// A new challenge.
    pub fn new(
        purpose: Purpose,
        address: EmailAddress,
        locale: Locale,
        client_id: String,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            challenge_id: domain::new_id(),
            purpose,
            address,
            locale,
            client_id,
            progress: None,
            failures: 0,
            created_at: now,
            expires_at: now + LINK_LIFE,
            consumed: false,
        }
    }

    /// Whether its link proves the address now.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.purpose == Purpose::SignUp && !self.consumed && now < self.expires_at
    }

    /// Judges six digits.
    pub fn check_code(&self, right: &str, given: &str, now: DateTime<Utc>) -> CodeCheck {
        let late = now >= self.created_at + CODE_LIFE;
        if late || self.consumed || self.failures >= TRIES {
            return CodeCheck::Over;
        }
        // The holder of a taken address gets no digits, so that any are wrong: the page answers alike.
        if self.purpose == Purpose::SignUp && right == given { CodeCheck::Right } else { CodeCheck::Wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(purpose: Purpose, now: DateTime<Utc>) -> Challenge {
        let address = EmailAddress::conforming("alice@example.org").unwrap();
        Challenge::new(purpose, address, Locale::Ja, "portal".into(), now)
    }

    #[test]
    fn a_link_is_open_once_for_an_hour() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let mut challenge = challenge(Purpose::SignUp, now);
        assert!(challenge.is_open(now + TimeDelta::minutes(59)));
        assert!(!challenge.is_open(now + LINK_LIFE));
        challenge.consumed = true;
        assert!(!challenge.is_open(now));
    }

    #[test]
    fn digits_count_for_ten_minutes_and_five_tries() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let mut challenge = challenge(Purpose::SignUp, now);
        assert_eq!(challenge.check_code("123456", "123456", now), CodeCheck::Right);
        assert_eq!(challenge.check_code("123456", "000000", now), CodeCheck::Wrong);
        assert_eq!(challenge.check_code("123456", "123456", now + CODE_LIFE), CodeCheck::Over);
        challenge.failures = 5;
        assert_eq!(challenge.check_code("123456", "123456", now), CodeCheck::Over);
    }

    #[test]
    fn a_taken_address_cannot_be_proved_again() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let challenge = challenge(Purpose::AddressTaken, now);
        assert!(!challenge.is_open(now));
        assert_eq!(challenge.check_code("123456", "123456", now), CodeCheck::Wrong);
    }
}
