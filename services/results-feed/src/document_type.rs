use std::{fmt, str::FromStr};

/// A value outside a closed set of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownName(pub &'static str);

/// One of the 68 document types (2026 schema), small enough for a bit set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentType(u8);

// The order is the bit of a stored entitlement: new types go to the end.
const NAMES: [&str; 68] = [
    "DT_PDF",
    "DT_RESULT",
    "DT_RESULT_ANALYSIS",
    "DT_CURRENT",
    "DT_PHASE_RESULT",
    "DT_CUMULATIVE_RESULT",
    "DT_POOL_STANDING",
    "DT_BRACKETS",
    "DT_PLAY_BY_PLAY",
    "DT_STATS",
    "DT_RANKING",
    "DT_MEDALLISTS",
    "DT_MEDALLISTS_DISCIPLINE",
    "DT_PRESENTER",
    "DT_COMMUNICATION",
    "DT_KA",
    "DT_PING",
    "DT_LOCAL_ON",
    "DT_LOCAL_OFF",
    "DT_CONFIG",
    "DT_IMAGE",
    "DT_PRESSPHOTOFINISH_LK",
    "DT_WEATHER",
    "DT_RECORD",
    "DT_SCHEDULE",
    "DT_SCHEDULE_UPDATE",
    "DT_PARTIC",
    "DT_PARTIC_UPDATE",
    "DT_PARTIC_TEAMS",
    "DT_PARTIC_TEAMS_UPDATE",
    "DT_PARTIC_HORSES",
    "DT_PARTIC_HORSES_UPDATE",
    "DT_PARTIC_NAME",
    "DT_GLOBAL_GM",
    "DT_GLOBAL_GN",
    "DT_NOTIFICATION",
    "DT_PIC",
    "DT_AUDIO",
    "DT_ESL",
    "DT_SCHED_RES_NOC",
    "DT_MEDALS",
    "DT_MEDALLISTS_DAY",
    "DT_BCK",
    "DT_BCK_IMP",
    "DT_TRS",
    "DT_TRS_IMP",
    "DT_ALERT",
    "DT_NEWS",
    "DT_NEWS_IMP",
    "DT_BIO_PAR",
    "DT_BIO_PAR_IMP",
    "DT_BIO_TEA",
    "DT_BIO_TEA_IMP",
    "DT_BIO_NOC",
    "DT_BIO_NOC_IMP",
    "DT_BIO_HOR",
    "DT_BIO_HOR_IMP",
    "DT_IDK_COMMAND",
    "DT_CODES",
    "DT_WEA_ALERT",
    "DT_VEN_COND",
    "DT_TV_TRACKING",
    "DT_FED_RANKING",
    "DT_FLAGBEARERS",
    "DT_CEREMONY_ACTIVITY_LIST",
    "DT_CEREMONY_NOC_LIST",
    "DT_ACHIEVEMENT",
    "DT_ENTRIES",
];

impl DocumentType {
    /// How many there are.
    pub const COUNT: usize = NAMES.len();
    /// Every type of the schema.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().filter_map(|name| name.parse().ok())
    }

    /// Its name with `DT_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    /// Its bit in a set of types.
    #[must_use]
    pub const fn bit(self) -> u128 {
        1 << self.0
    }

    /// Whether it is about people one by one, so that rights filter its participants and not the document alone.
    #[must_use]
    pub fn has_participants(self) -> bool {
        let name = self.name();
        name.starts_with("DT_PARTIC") || name.starts_with("DT_BIO_")
    }

    /// Whether its document code is a person's id, a picture's number or a table's name rather than an RSC.
    #[must_use]
    pub fn has_free_code(self) -> bool {
        let name = self.name();
        name.starts_with("DT_BIO_")
            || ["DT_BCK", "DT_TRS", "DT_NEWS"].iter().any(|group| name.starts_with(group))
            || matches!(
                name,
                "DT_PIC" | "DT_CODES" | "DT_IMAGE" | "DT_AUDIO" | "DT_IDK_COMMAND" | "DT_COMMUNICATION"
            )
    }

    /// Whether each document of it matters in itself, so that none may be left out for a late reader: updates that
    /// carry only what changed, messages to people, and the clocks of the day.
    #[must_use]
    pub fn is_never_conflated(self) -> bool {
        let name = self.name();
        name.ends_with("_UPDATE")
            || matches!(
                name,
                "DT_COMMUNICATION"
                    | "DT_NOTIFICATION"
                    | "DT_ALERT"
                    | "DT_WEA_ALERT"
                    | "DT_GLOBAL_GM"
                    | "DT_GLOBAL_GN"
                    | "DT_LOCAL_ON"
                    | "DT_LOCAL_OFF"
            )
    }
}

impl fmt::Display for DocumentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DocumentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DocumentType {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        NAMES
            .iter()
            .position(|name| *name == text)
            .and_then(|index| u8::try_from(index).ok())
            .map(Self)
            .ok_or(UnknownName("must be a document type such as DT_RESULT"))
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $rule:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the wire and in SQL.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or(UnknownName($rule))
            }
        }
    };
}

names! {
    /// How firm a result is (2026 schema). Not monotone: an official result may be protested and stand again.
    ResultStatus, "must be a result status such as LIVE or OFFICIAL", {
        /// Who starts
        StartList = "START_LIST",
        /// Under way
        Live = "LIVE",
        /// Between two parts
        Intermediate = "INTERMEDIATE",
        /// Before the first check
        Unconfirmed = "UNCONFIRMED",
        /// Over, not yet confirmed
        Unofficial = "UNOFFICIAL",
        /// Confirmed
        Official = "OFFICIAL",
        /// A part is confirmed
        Partial = "PARTIAL",
        /// Under protest
        Protested = "PROTESTED",
        /// Stands until a decision
        Provisional = "PROVISIONAL",
    }
}

names! {
    /// Whether a document is for the public or for a test.
    FeedFlag, "must be P or T", {
        /// The real thing
        Production = "P",
        /// A test
        Test = "T",
    }
}

impl ResultStatus {
    /// Whether going in or out of it must reach every reader.
    #[must_use]
    pub const fn is_weighty(self) -> bool {
        matches!(self, Self::Official | Self::Protested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_bit_and_spelling() {
        let mut seen = 0_u128;
        for name in NAMES {
            let document_type: DocumentType = name.parse().unwrap();
            assert_eq!(document_type.name(), name);
            assert_eq!(seen & document_type.bit(), 0);
            seen |= document_type.bit();
        }
        assert!("DT_Result".parse::<DocumentType>().is_err());
    }

    #[test]
    fn updates_and_clocks_are_never_conflated() {
        let never = |name: &str| name.parse::<DocumentType>().unwrap().is_never_conflated();
        assert!(never("DT_SCHEDULE_UPDATE") && never("DT_LOCAL_OFF") && never("DT_ALERT"));
        assert!(!never("DT_RESULT") && !never("DT_MEDALS"));
    }
}
