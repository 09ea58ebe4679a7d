use domain::{DateTime, Utc};

use super::Outlet;
use crate::{
    delivery::Decision,
    gate::{self, Held, Question, Verdict},
    keys::KeyError,
    match_key,
    row::{Press, Row, Unfit},
    store::Shadow,
    subject::Subject,
};

/// A person, decided.
#[derive(Debug)]
pub struct Judged {
    /// The decision, with the row if one goes out.
    pub decision: Decision,
    /// What that means at the recipient.
    pub fate: Fate,
}

/// What a decision means at the recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A new record.
    Create,
    /// Another row than the recipient has.
    Change,
    /// The record is emptied.
    Cease,
    /// The recipient has this row.
    Unchanged,
    /// Nothing goes.
    Withheld,
    /// The row cannot be made.
    Unfit(Unfit),
}

impl Outlet {
    /// Runs the gate over a person, and makes the row if one goes out. `forced` sends even what seems unchanged.
    pub(super) fn judge(
        &self,
        subject: &Subject,
        shadow: Option<&Shadow>,
        cutoff: DateTime<Utc>,
        forced: bool,
    ) -> Result<Judged, KeyError> {
        let held = shadow.map(|shadow| &shadow.held);
        let question = self.question(subject, held, cutoff);
        let verdict = gate::decide(&question);
        let (row, fate) = self.row(subject, shadow, verdict, cutoff, forced)?;
        let decision = Decision {
            profile_id: subject.profile_id,
            profile_version: subject.profile_version,
            consent_version: subject.consent_version,
            verdict,
            decision_id: gate::decision_id(&question, verdict),
            row,
        };
        Ok(Judged { decision, fate })
    }

    /// What the gate would say now.
    pub(super) fn decide(&self, subject: &Subject, cutoff: DateTime<Utc>) -> Verdict {
        gate::decide(&self.question(subject, None, cutoff))
    }

    fn question<'a>(
        &'a self,
        subject: &'a Subject,
        held: Option<&'a Held>,
        cutoff: DateTime<Utc>,
    ) -> Question<'a> {
        Question { agreement: self.agreement.as_ref(), mapping: &self.mapping, subject, held, cutoff }
    }

    fn row(
        &self,
        subject: &Subject,
        shadow: Option<&Shadow>,
        verdict: Verdict,
        cutoff: DateTime<Utc>,
        forced: bool,
    ) -> Result<(Option<Row>, Fate), KeyError> {
        // Without an agreement the gate withholds.
        let Some(agreement) = &self.agreement else { return Ok((None, Fate::Withheld)) };
        let press = Press { mapping: &self.mapping, agreement, keys: &self.keys, cutoff };
        let key = || match_key::of(&self.keys, subject.profile_id);
        Ok(match verdict {
            Verdict::Withhold { .. } => (None, Fate::Withheld),
            Verdict::Cease { .. } => (Some(press.cease(&key()?)), Fate::Cease),
            Verdict::Deliver { permitted, revoked } => {
                match press.deliver(subject, &key()?, permitted, revoked, shadow.is_none()) {
                    Err(unfit) => (None, Fate::Unfit(unfit)),
                    Ok(row) if shadow.is_some_and(|shadow| shadow.has(&row)) && !forced => {
                        (None, Fate::Unchanged)
                    }
                    Ok(row) if shadow.is_some() => (Some(row), Fate::Change),
                    Ok(row) => (Some(row), Fate::Create),
                }
            }
        })
    }
}

impl Shadow {
    fn has(&self, row: &Row) -> bool {
        !self.held.ceased && self.row_hash == row.hash
    }
}
