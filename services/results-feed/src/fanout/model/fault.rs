use std::fmt;

/// What the checker complains of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which rule is broken.
    pub kind: Kind,
    told: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sender is told what the fold says, and sequence numbers have no holes.
    Receipt,
    /// `p` is the `s` of the frame before.
    Chain,
    /// A frame behind which something is still to come has no cursor.
    Cursor,
    /// Nothing is sent that the reader may not see.
    Forbidden,
    /// What must be heard is heard.
    Missing,
    /// A patch meets the version that it patches.
    Patch,
    /// Frames come as the guide has them.
    Protocol,
    /// At rest a reader holds the state that its rights allow.
    State,
}

impl Fault {
    /// Of a rule, in words.
    pub fn new(kind: Kind, told: impl Into<String>) -> Self {
        Self { kind, told: told.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.told)
    }
}
