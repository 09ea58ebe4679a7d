//! Proof of an address by mail: asked for, proved by a link or six digits, consumed once.

use domain::{DateTime, EmailAddress, Locale, TimeDelta, UserId, Utc, Uuid};
use subtle::ConstantTimeEq;

use crate::{
    change::Change,
    user::{Status, User},
};

/// Life of the link.
pub const LINK_LIFE: TimeDelta = TimeDelta::hours(1);
/// Life of the six digits.
pub const CODE_LIFE: TimeDelta = TimeDelta::minutes(10);
/// How long a mail that only tells something may be late.
const NOTICE_LIFE: TimeDelta = TimeDelta::hours(24);
const TRIES: u32 = 5;

/// Why a mail goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A new user proves the address.
    SignUp,
    /// Somebody signs up with an address that a user has: only that user learns of it.
    AddressTaken,
    /// A user who lost the password proves the address.
    Recover,
    /// Somebody asks for a way back in at an address where nobody may sign in. No mail goes out; the row stands there so
    /// that the pages behave alike.
    NoRecovery,
    /// Tells a user that the password was changed.
    PasswordChanged,
    /// Tells a user that another way to sign in was changed.
    Changed(Change),
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 10] = [
        Self::SignUp,
        Self::AddressTaken,
        Self::Recover,
        Self::NoRecovery,
        Self::PasswordChanged,
        Self::Changed(Change::ALL[0]),
        Self::Changed(Change::ALL[1]),
        Self::Changed(Change::ALL[2]),
        Self::Changed(Change::ALL[3]),
        Self::Changed(Change::ALL[4]),
    ];

    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::AddressTaken => "address_taken",
            Self::Recover => "recover",
            Self::NoRecovery => "no_recovery",
            Self::PasswordChanged => "password_changed",
            Self::Changed(change) => change.name(),
        }
    }

    /// The purpose of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// The mailer's template; none where no mail goes out.
    pub const fn template(self) -> Option<&'static str> {
        match self {
            Self::SignUp => Some("identity.verify_email"),
            Self::AddressTaken => Some("identity.address_taken"),
            Self::Recover => Some("identity.recover"),
            Self::NoRecovery => None,
            Self::PasswordChanged => Some("identity.password_changed"),
            Self::Changed(_) => Some("identity.sign_in_changed"),
        }
    }

    /// What becomes of a wish for a proof at an address, by where the user stands who has it.
    #[must_use]
    pub const fn at_address(self, known: Option<Status>) -> Self {
        match (self, known) {
            (Self::SignUp, Some(_)) => Self::AddressTaken,
            (Self::Recover, None | Some(Status::Disabled | Status::Erased)) => Self::NoRecovery,
            (asked, _) => asked,
        }
    }

    // Whether link and digits of its mail prove the address.
    const fn proves(self) -> bool {
        matches!(self, Self::SignUp | Self::Recover)
    }

    const fn life(self) -> TimeDelta {
        match self {
            Self::PasswordChanged | Self::Changed(_) => NOTICE_LIFE,
            _ => LINK_LIFE,
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
    /// Who has the address, where a user is needed.
    pub user_id: Option<UserId>,
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
            user_id: None,
            locale,
            client_id,
            progress: None,
            failures: 0,
            created_at: now,
            expires_at: now + purpose.life(),
            consumed: false,
        }
    }

    /// Whether it proves the address for this purpose now.
    pub fn is_open(&self, purpose: Purpose, now: DateTime<Utc>) -> bool {
        self.purpose == purpose && purpose.proves() && !self.consumed && now < self.expires_at
    }

    /// Whether it lets this user choose a new password: the address is still the user's, and the password was not changed
    /// since the mail was asked for.
    pub fn recovers(&self, user: &User, set_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        self.is_open(Purpose::Recover, now)
            && self.user_id == Some(user.user_id)
            && user.status == Status::Active
            && user.email == self.address
            && set_at.is_none_or(|set_at| set_at <= self.created_at)
    }

    /// Judges six digits.
    pub fn check_code(&self, right: &str, given: &str, now: DateTime<Utc>) -> CodeCheck {
        let late = now >= self.created_at + CODE_LIFE;
        if late || self.consumed || self.failures >= TRIES {
            return CodeCheck::Over;
        }
        // Whose address proves nothing got no digits, so that any are wrong: the page answers alike.
        let same = bool::from(right.as_bytes().ct_eq(given.as_bytes()));
        if self.purpose.proves() && same { CodeCheck::Right } else { CodeCheck::Wrong }
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
        assert!(challenge.is_open(Purpose::SignUp, now + TimeDelta::minutes(59)));
        assert!(!challenge.is_open(Purpose::SignUp, now + LINK_LIFE));
        assert!(!challenge.is_open(Purpose::Recover, now));
        challenge.consumed = true;
        assert!(!challenge.is_open(Purpose::SignUp, now));
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
        assert!(!challenge.is_open(Purpose::SignUp, now));
        assert_eq!(challenge.check_code("123456", "123456", now), CodeCheck::Wrong);
    }

    #[test]
    fn what_is_asked_for_depends_on_who_has_the_address() {
        use Purpose::{AddressTaken, NoRecovery, Recover, SignUp};
        let (active, disabled) = (Some(Status::Active), Some(Status::Disabled));
        assert_eq!(
            [None, active, disabled].map(|known| SignUp.at_address(known)),
            [SignUp, AddressTaken, AddressTaken]
        );
        assert_eq!(
            [None, active, disabled].map(|known| Recover.at_address(known)),
            [NoRecovery, Recover, NoRecovery]
        );
        assert_eq!(NoRecovery.template(), None);
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::find(purpose.name()), Some(purpose));
        }
    }

    #[test]
    fn a_way_back_in_is_the_users_own_and_no_older_than_the_password() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let email = EmailAddress::conforming("alice@example.org").unwrap();
        let (user, _) = User::register(UserId::new(), email, Locale::Ja, "portal".into(), now);
        let mut challenge = challenge(Purpose::Recover, now);
        challenge.user_id = Some(user.user_id);
        let before = Some(now - TimeDelta::seconds(1));
        assert!(challenge.recovers(&user, before, now) && challenge.recovers(&user, None, now));
        assert!(!challenge.recovers(&user, Some(now + TimeDelta::seconds(1)), now));
        assert!(!challenge.recovers(&user, before, now + LINK_LIFE));
        let mut other = user.clone();
        other.email = EmailAddress::conforming("alice@example.net").unwrap();
        assert!(!challenge.recovers(&other, before, now), "the address is not hers any more");
        other = User { user_id: UserId::new(), ..user.clone() };
        assert!(!challenge.recovers(&other, before, now));
        other = User { status: Status::Disabled, ..user };
        assert!(!challenge.recovers(&other, before, now));
    }
}
