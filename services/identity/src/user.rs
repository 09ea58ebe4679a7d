//! Who can sign in: active, disabled, erased.

use std::str::FromStr;

use domain::{DateTime, EmailAddress, Locale, UserId, Utc};

use crate::credential;

/// Where a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// May sign in.
    Active,
    /// May not, for now.
    Disabled,
    /// Only the id is left.
    Erased,
}

impl Status {
    /// The name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Erased => "erased",
        }
    }
}

impl FromStr for Status {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Active, Self::Disabled, Self::Erased]
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or(())
    }
}

/// A user with the verified address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub user_id: UserId,
    /// Raised by every change.
    pub version: i64,
    /// Where the user stands.
    pub status: Status,
    /// Language of identity's own pages and mails.
    pub locale: Locale,
    /// sign_up, import or upstream.
    pub origin: String,
    /// Where the user registered; empty when at no client.
    pub client_id: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The address.
    pub email: EmailAddress,
    /// When it was proved.
    pub verified_at: DateTime<Utc>,
}

/// What happened to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new user with a proved address.
    Registered,
    /// May not sign in any more.
    Disabled,
    /// May sign in again.
    Enabled,
    /// Has another address.
    EmailChanged,
    /// Has one more way to sign in.
    CredentialAdded {
        /// Which.
        kind: credential::Kind,
    },
    /// Has one less.
    CredentialRemoved {
        /// Which.
        kind: credential::Kind,
    },
    /// Allowed a client something.
    ConsentGranted {
        /// Whom.
        client_id: String,
        /// What, this time.
        scopes: Vec<String>,
    },
    /// Took it back.
    ConsentWithdrawn {
        /// From whom.
        client_id: String,
        /// All that was allowed.
        scopes: Vec<String>,
    },
    /// Has another password.
    PasswordChanged {
        /// recovery or change.
        cause: &'static str,
    },
}

/// The user is not in the state that this needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user is {}", .actual.name())]
pub struct WrongState {
    /// The state that it is in.
    pub actual: Status,
}

impl User {
    /// A user who has proved an address at sign-up.
    pub fn register(
        user_id: UserId,
        email: EmailAddress,
        locale: Locale,
        client_id: String,
        now: DateTime<Utc>,
    ) -> (Self, Event) {
        let user = Self {
            user_id,
            version: 1,
            status: Status::Active,
            locale,
            origin: "sign_up".to_owned(),
            client_id,
            created_at: now,
            email,
            verified_at: now,
        };
        (user, Event::Registered)
    }

    /// Shuts the user out. Nothing when it is so already.
    ///
    /// # Errors
    /// An erased user has no way back.
    pub fn disable(&mut self) -> Result<Option<Event>, WrongState> {
        self.turn(Status::Disabled, Event::Disabled)
    }

    /// Lets the user in again. Nothing when it is so already.
    ///
    /// # Errors
    /// An erased user has no way back.
    pub fn enable(&mut self) -> Result<Option<Event>, WrongState> {
        self.turn(Status::Active, Event::Enabled)
    }

    /// Notes a change of what belongs to the user but stands elsewhere.
    pub fn note(&mut self, event: Event) -> Event {
        self.version += 1;
        event
    }

    /// Notes that there is a new password.
    ///
    /// # Errors
    /// Only an active user has one to change.
    pub fn change_password(&mut self, cause: &'static str) -> Result<Event, WrongState> {
        if self.status != Status::Active {
            return Err(WrongState { actual: self.status });
        }
        self.version += 1;
        Ok(Event::PasswordChanged { cause })
    }

    /// Gives the user another proved address.
    ///
    /// # Errors
    /// An erased user has none.
    pub fn change_email(&mut self, email: EmailAddress, now: DateTime<Utc>) -> Result<Event, WrongState> {
        if self.status == Status::Erased {
            return Err(WrongState { actual: self.status });
        }
        (self.email, self.verified_at) = (email, now);
        self.version += 1;
        Ok(Event::EmailChanged)
    }

    /// Leaves the id. There is no way back.
    pub const fn erase(&mut self) {
        self.status = Status::Erased;
        self.version += 1;
    }

    fn turn(&mut self, to: Status, event: Event) -> Result<Option<Event>, WrongState> {
        if self.status == Status::Erased {
            return Err(WrongState { actual: self.status });
        }
        if self.status == to {
            return Ok(None);
        }
        self.status = to;
        self.version += 1;
        Ok(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_raises_the_version_and_a_repeat_changes_nothing() {
        let now = "2026-07-24T10:00:00Z".parse().unwrap();
        let email = EmailAddress::conforming("alice@example.org").unwrap();
        let (mut user, event) = User::register(UserId::new(), email, Locale::Ja, "portal".into(), now);
        assert_eq!((user.version, event), (1, Event::Registered));
        assert_eq!(user.disable(), Ok(Some(Event::Disabled)));
        assert_eq!(user.disable(), Ok(None));
        assert_eq!(user.enable(), Ok(Some(Event::Enabled)));
        assert_eq!(user.version, 3);
        let cause = "recovery";
        assert_eq!(user.change_password(cause), Ok(Event::PasswordChanged { cause }));
        assert_eq!(user.version, 4);
        user.status = Status::Erased;
        assert!(user.change_password(cause).is_err());
        assert!(user.enable().is_err());
    }
}
