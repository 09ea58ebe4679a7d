//! A line of the ledger, and what became of it.

use domain::{DateTime, ProfileId, Utc, Uuid};

use crate::{
    gate::{DecisionId, Verdict},
    mapping::Mask,
    row::Row,
};

/// Which way a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Withdrawals, restrictions, erasures: nothing is before them.
    Cease,
    /// Changes of people, as they come.
    Change,
    /// Everybody, by plan.
    Load,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing had to be sent.
    None,
    /// On its way.
    Open,
    /// The recipient has it.
    Delivered,
    /// The recipient refused the row.
    Failed,
    /// Its chunk was given up before the recipient looked at it.
    NeverProcessed,
    /// The recipient's reply was lost.
    Unanswered,
}

/// A decision about one person, to be written before the row goes.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Who.
    pub profile_id: ProfileId,
    /// Which profile was seen.
    pub profile_version: i64,
    /// Which consents were seen.
    pub consent_version: i64,
    /// What the gate said.
    pub verdict: Verdict,
    /// Its id.
    pub decision_id: DecisionId,
    /// What goes out; none when nothing has to.
    pub row: Option<Row>,
}

/// A line of the ledger as it is read back.
#[derive(Debug, Clone)]
pub struct Line {
    /// Who.
    pub profile_id: ProfileId,
    /// Where to.
    pub destination_id: Uuid,
    /// Which way.
    pub lane: String,
    /// The job or call.
    pub chunk_id: Option<Uuid>,
    /// The run.
    pub run_id: Option<Uuid>,
    /// deliver, cease, withhold.
    pub verdict: String,
    /// Why it did not go.
    pub reason: String,
    /// What was permitted, by name.
    pub permitted: Vec<String>,
    /// What was sent with a value, by name.
    pub sent: Vec<String>,
    /// What was emptied, by name.
    pub cleared: Vec<String>,
    /// Which profile was seen.
    pub profile_version: i64,
    /// Which consents were seen.
    pub consent_version: i64,
    /// Under which agreement.
    pub agreement_id: Option<Uuid>,
    /// By which mapping.
    pub mapping_version_id: Uuid,
    /// The decision.
    pub decision_id: DecisionId,
    /// What became of it.
    pub outcome: String,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// When its outcome was known.
    pub settled_at: Option<DateTime<Utc>>,
}

impl Decision {
    /// Fields that go out with a value.
    #[must_use]
    pub fn sent(&self) -> Mask {
        self.row.as_ref().map(Row::sent).unwrap_or_default()
    }

    /// Fields that are emptied.
    #[must_use]
    pub fn cleared(&self) -> Mask {
        self.row.as_ref().map(Row::cleared).unwrap_or_default()
    }
}

impl Lane {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cease => "cease",
            Self::Change => "change",
            Self::Load => "load",
        }
    }

    /// The lane of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Cease, Self::Change, Self::Load].into_iter().find(|lane| lane.name() == name)
    }
}

impl Outcome {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::NeverProcessed => "never_processed",
            Self::Unanswered => "unanswered",
        }
    }
}
