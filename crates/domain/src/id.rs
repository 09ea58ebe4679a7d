use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A new UUIDv7 (RFC 9562 5.7): ids sort by the time at which they were made.
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Text that is no UUID in its hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct ParseIdError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id; ids sort by time.
            #[must_use]
            pub fn new() -> Self {
                Self(new_id())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

ids! {
    /// Of a user: who can sign in. Owned by identity.
    UserId,
    /// Of a person's profile. Owned by profile.
    ProfileId,
    /// Of a browser session at identity.
    SessionId,
    /// Of a segment.
    SegmentId,
    /// Of a mail campaign.
    CampaignId,
    /// Of a fact on Kafka (`ce_id`).
    EventId,
    /// That a caller gives a write, so that a repeat has the first one's effect.
    RequestId,
}

// Only the hyphenated form, so that an id has one spelling in logs, keys and URLs.
fn parse(text: &str) -> Result<Uuid, ParseIdError> {
    if text.len() != 36 {
        return Err(ParseIdError);
    }
    Uuid::try_parse(text).map_err(|_| ParseIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = ProfileId::new();
        assert_eq!(id.to_string().parse::<ProfileId>(), Ok(id));
        for wrong in ["", "42", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96774bbcceb302099a8057"]
        {
            assert_eq!(wrong.parse::<ProfileId>(), Err(ParseIdError));
        }
    }
}
