//! A passkey of a user: registered, used, named, removed.

use domain::{DateTime, UserId, Utc};

use crate::webauthn::{Known, Registered, Used};

/// Most passkeys of one user.
pub const MOST: usize = 20;
/// Longest name, in characters.
const LONGEST_NAME: usize = 60;

/// A passkey row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The authenticator's name for it.
    pub credential_id: Vec<u8>,
    /// Whose it is.
    pub user_id: UserId,
    /// COSE_Key.
    pub public_key: Vec<u8>,
    /// 0 when the authenticator does not count.
    pub sign_count: u32,
    /// It may be copied to other devices.
    pub backup_eligible: bool,
    /// It is copied.
    pub backed_up: bool,
    /// The user's name for it.
    pub name: String,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last used.
    pub used_at: Option<DateTime<Utc>>,
}

impl Passkey {
    /// A passkey that its authenticator has just made.
    pub fn new(registered: Registered, user_id: UserId, name: String, now: DateTime<Utc>) -> Self {
        Self {
            credential_id: registered.credential_id,
            user_id,
            public_key: registered.public_key,
            sign_count: registered.sign_count,
            backup_eligible: registered.backup_eligible,
            backed_up: registered.backed_up,
            name,
            created_at: now,
            used_at: None,
        }
    }

    /// What an assertion is judged by.
    pub fn known(&self) -> Known<'_> {
        Known {
            public_key: &self.public_key,
            sign_count: self.sign_count,
            backup_eligible: self.backup_eligible,
        }
    }

    /// The passkey after its user signed in by it.
    #[must_use]
    pub fn used(mut self, used: Used, now: DateTime<Utc>) -> Self {
        self.sign_count = used.sign_count;
        self.backed_up = used.backed_up;
        self.used_at = Some(now);
        self
    }
}

/// A name as its user wrote it: 1 to 60 characters on one line; nothing for any other.
pub fn name(text: &str) -> Option<String> {
    let name = text.trim();
    let length = name.chars().count();
    ((1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_line() {
        assert_eq!(name(" 仕事用のパソコン ").as_deref(), Some("仕事用のパソコン"));
        for wrong in ["", " \t", "a\nb", &"x".repeat(61)] {
            assert_eq!(name(wrong), None);
        }
    }
}
