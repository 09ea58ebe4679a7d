//! A change of the ways to sign in: how the audit and the user's mail call it, and which fact tells of it.

use crate::{credential::Kind, user::Event};

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There is one more passkey.
    PasskeyAdded,
    /// There is one less.
    PasskeyRemoved,
    /// Codes by app are on.
    CodesOn,
    /// They are off.
    CodesOff,
    /// There are new recovery codes.
    RecoveryCodesRenewed,
}

impl Change {
    /// Every change.
    pub const ALL: [Self; 5] =
        [Self::PasskeyAdded, Self::PasskeyRemoved, Self::CodesOn, Self::CodesOff, Self::RecoveryCodesRenewed];

    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::CodesOn => "codes_on",
            Self::CodesOff => "codes_off",
            Self::RecoveryCodesRenewed => "recovery_codes_renewed",
        }
    }

    /// What the user did, for the audit.
    pub const fn action(self) -> &'static str {
        match self {
            Self::PasskeyAdded => "add_passkey",
            Self::PasskeyRemoved => "remove_passkey",
            Self::CodesOn => "turn_codes_on",
            Self::CodesOff => "turn_codes_off",
            Self::RecoveryCodesRenewed => "renew_recovery_codes",
        }
    }

    /// The words of the user's mail.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PasskeyAdded => "mail_passkey_added",
            Self::PasskeyRemoved => "mail_passkey_removed",
            Self::CodesOn => "mail_codes_on",
            Self::CodesOff => "mail_codes_off",
            Self::RecoveryCodesRenewed => "mail_recovery_codes",
        }
    }

    /// The fact that tells other services.
    pub const fn event(self) -> Event {
        match self {
            Self::PasskeyAdded => Event::CredentialAdded { kind: Kind::Passkey },
            Self::PasskeyRemoved => Event::CredentialRemoved { kind: Kind::Passkey },
            Self::CodesOn => Event::CredentialAdded { kind: Kind::Totp },
            Self::CodesOff => Event::CredentialRemoved { kind: Kind::Totp },
            Self::RecoveryCodesRenewed => Event::CredentialAdded { kind: Kind::RecoveryCode },
        }
    }
}
