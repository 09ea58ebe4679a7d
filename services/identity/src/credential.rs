//! The kinds of credentials.

/// A way to sign in, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A password.
    Password,
    /// A passkey (WebAuthn).
    Passkey,
    /// One-time passwords of an app (RFC 6238).
    Totp,
    /// The codes for whoever lost the app.
    RecoveryCode,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Password, Self::Passkey, Self::Totp, Self::RecoveryCode];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Passkey => "passkey",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
        }
    }

    /// The kind of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
