//! How strongly a user signed in: `acr` (OIDC Core 2) and `amr` (RFC 8176).

use serde::{Deserialize, Serialize};

/// A level of `acr`; a greater one includes a smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// One factor: password, mail code or upstream.
    One,
    /// A user-verified passkey, or two factors.
    Two,
}

impl Level {
    /// Every level, best first.
    pub const ALL: [Self; 2] = [Self::Two, Self::One];

    /// `acr` in tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "urn:kotinos:acr:1",
            Self::Two => "urn:kotinos:acr:2",
        }
    }
}

/// By what a user showed at sign-in who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The password alone.
    Password,
    /// The password, and a one-time code or a recovery code.
    PasswordAndCode,
    /// A passkey whose authenticator verified the user.
    Passkey,
}

impl Shown {
    /// The level that it reaches.
    pub const fn level(self) -> Level {
        match self {
            Self::Password => Level::One,
            Self::PasswordAndCode | Self::Passkey => Level::Two,
        }
    }

    /// `amr`: whether the key of a passkey lies in hardware is not known, so that it is `pop`.
    pub fn methods(self) -> Vec<String> {
        let methods: &[&str] = match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
        };
        methods.iter().map(|method| (*method).to_owned()).collect()
    }
}
