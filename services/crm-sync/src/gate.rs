//! The gate: may this person's row go to this recipient, and which of its fields? Pure, and it refuses when it cannot
//! know.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use domain::{ConsentKey, DateTime, Utc};

use crate::{
    agreement::{Agreement, OnEnd, State},
    mapping::{Mapping, Mask},
    subject::{Standing, Status, Subject},
};

/// What the gate looks at.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The agreement of the recipient's object, in whatever state.
    pub agreement: Option<&'a Agreement>,
    /// The published mapping.
    pub mapping: &'a Mapping,
    /// The person, with the newest consents.
    pub subject: &'a Subject,
    /// What the recipient holds of the person.
    pub held: Option<&'a Held>,
    /// As of when.
    pub cutoff: DateTime<Utc>,
}

/// What the recipient holds of a person by our last acknowledged row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Fields that were sent and not cleared since, by name.
    pub fields: BTreeSet<String>,
    /// The record was ceased.
    pub ceased: bool,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The row goes.
    Deliver {
        /// Fields that may hold a value.
        permitted: Mask,
        /// Fields that were sent before and may not any longer.
        revoked: Mask,
    },
    /// The recipient's record is emptied.
    Cease {
        /// Why.
        reason: Reason,
    },
    /// Nothing goes.
    Withhold {
        /// Why.
        reason: Reason,
    },
}

/// Why a row does not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// There is no agreement.
    NoAgreement,
    /// It was proposed, not yet activated.
    AgreementNotActive,
    /// It is held up.
    AgreementSuspended,
    /// Its window has not begun.
    AgreementNotBegun,
    /// It ended, or its window is over.
    AgreementEnded,
    /// It does not name the key's field.
    KeyNotAgreed,
    /// Only consents came so far.
    ProfileUnknown,
    /// The profile was merged into another.
    ProfileMerged,
    /// It is being erased, or was.
    ProfileErased,
    /// Processing is restricted.
    Restricted,
    /// The person has said nothing.
    ConsentMissing,
    /// The person said no.
    ConsentRefused,
    /// Not any more.
    ConsentWithdrawn,
    /// The consent's time is over.
    ConsentExpired,
    /// The consent was given on another notice than the agreement accepts.
    NoticeNotAccepted,
}

/// 128 bits of SHA-256 over everything that a decision depends on.
pub type DecisionId = [u8; 16];

/// Decides about one person.
#[must_use]
pub fn decide(question: &Question<'_>) -> Verdict {
    let Some(agreement) = question.agreement else {
        return Verdict::Withhold { reason: Reason::NoAgreement };
    };
    // Permission that is lost is lost at the recipient too, if it holds something.
    let holds = question.held.is_some_and(|held| !held.ceased);
    let lost = |reason| if holds { Verdict::Cease { reason } } else { Verdict::Withhold { reason } };
    // The person comes before the agreement: a withdrawal is passed on even while the agreement is held up.
    if let Some(reason) = standing(question.subject) {
        // A profile that has not come yet says nothing about the person.
        return if reason == Reason::ProfileUnknown { Verdict::Withhold { reason } } else { lost(reason) };
    }
    for purpose in &agreement.claims.purposes {
        if let Err(reason) = permits(agreement, question.subject, purpose, question.cutoff) {
            return lost(reason);
        }
    }
    match in_force(agreement, question.cutoff) {
        Ok(()) => fields(question, agreement),
        Err(reason @ Reason::AgreementEnded) if agreement.claims.on_end == OnEnd::Delete => lost(reason),
        Err(reason) => Verdict::Withhold { reason },
    }
}

fn standing(subject: &Subject) -> Option<Reason> {
    match subject.state {
        Standing::Active if subject.restricted => Some(Reason::Restricted),
        Standing::Active => None,
        Standing::Unknown => Some(Reason::ProfileUnknown),
        Standing::Merged => Some(Reason::ProfileMerged),
        Standing::Erasing | Standing::Erased => Some(Reason::ProfileErased),
    }
}

fn in_force(agreement: &Agreement, cutoff: DateTime<Utc>) -> Result<(), Reason> {
    match agreement.state {
        State::Proposed => Err(Reason::AgreementNotActive),
        State::Suspended => Err(Reason::AgreementSuspended),
        State::Ended => Err(Reason::AgreementEnded),
        State::Active if cutoff < agreement.claims.not_before => Err(Reason::AgreementNotBegun),
        State::Active if cutoff >= agreement.claims.not_after => Err(Reason::AgreementEnded),
        State::Active => Ok(()),
    }
}

/// Whether a purpose is given, valid at this time, and on an accepted notice.
///
/// # Errors
/// Why not.
pub fn permits(
    agreement: &Agreement,
    subject: &Subject,
    key: &ConsentKey,
    at: DateTime<Utc>,
) -> Result<(), Reason> {
    if !key.purpose().needs_consent() {
        return Ok(());
    }
    let head = subject.heads.get(key).ok_or(Reason::ConsentMissing)?;
    match head.status {
        Status::Given => {}
        Status::Refused => return Err(Reason::ConsentRefused),
        Status::Withdrawn => return Err(Reason::ConsentWithdrawn),
        Status::Unknown => return Err(Reason::ConsentMissing),
    }
    if head.valid_until.is_some_and(|until| at >= until) {
        return Err(Reason::ConsentExpired);
    }
    let accepted = &agreement.claims.accepted_notices;
    if !accepted.is_empty() && !accepted.contains(&head.notice_sha256) {
        return Err(Reason::NoticeNotAccepted);
    }
    Ok(())
}

fn fields(question: &Question<'_>, agreement: &Agreement) -> Verdict {
    let (mut permitted, mut revoked) = (Mask::default(), Mask::default());
    for (at, field) in question.mapping.fields().iter().enumerate() {
        let needs = agreement.claims.fields.get(&field.target);
        let may = needs.is_some_and(|needs| {
            needs.iter().all(|key| permits(agreement, question.subject, key, question.cutoff).is_ok())
        });
        if may {
            permitted.add(at);
        } else if question.held.is_some_and(|held| held.fields.contains(&field.target)) {
            revoked.add(at);
        }
    }
    if !permitted.has(question.mapping.key()) {
        return Verdict::Withhold { reason: Reason::KeyNotAgreed };
    }
    Verdict::Deliver { permitted, revoked }
}

/// The id of a decision: the same inputs give the same id, anywhere.
#[must_use]
pub fn decision_id(question: &Question<'_>, verdict: Verdict) -> DecisionId {
    let mut context = Context::new(&SHA256);
    context.update(b"kotinos crm-sync decision 1");
    // Every part has a fixed length, so no two inputs run together.
    context.update(&question.agreement.map_or([0; 32], |agreement| agreement.sha256));
    context.update(&[question.agreement.map_or(0, |agreement| agreement.state as u8 + 1)]);
    context.update(question.mapping.sha256());
    context.update(question.subject.profile_id.0.as_bytes());
    context.update(&question.subject.profile_version.to_be_bytes());
    context.update(&question.subject.consent_version.to_be_bytes());
    context.update(&question.cutoff.timestamp_micros().to_be_bytes());
    let (name, reason, permitted, revoked) = match verdict {
        Verdict::Deliver { permitted, revoked } => (1, 0, permitted.0, revoked.0),
        Verdict::Cease { reason } => (2, reason as u8, 0, 0),
        Verdict::Withhold { reason } => (3, reason as u8, 0, 0),
    };
    context.update(&[name, reason]);
    context.update(&permitted.to_be_bytes());
    context.update(&revoked.to_be_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&context.finish().as_ref()[..16]);
    id
}

impl Verdict {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliver { .. } => "deliver",
            Self::Cease { .. } => "cease",
            Self::Withhold { .. } => "withhold",
        }
    }

    /// Why it does not go.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Deliver { .. } => None,
            Self::Cease { reason } | Self::Withhold { reason } => Some(reason),
        }
    }

    /// Fields that may hold a value.
    #[must_use]
    pub const fn permitted(self) -> Mask {
        match self {
            Self::Deliver { permitted, .. } => permitted,
            Self::Cease { .. } | Self::Withhold { .. } => Mask(0),
        }
    }

    /// Whether a row made under `self` says more than this newer verdict allows.
    #[must_use]
    pub fn exceeds(self, newer: Self) -> bool {
        match (self, newer) {
            (Self::Deliver { permitted, .. }, Self::Deliver { permitted: now, .. }) => !now.holds(permitted),
            (Self::Deliver { .. }, Self::Cease { .. } | Self::Withhold { .. }) => true,
            (Self::Cease { .. } | Self::Withhold { .. }, _) => false,
        }
    }
}

impl Reason {
    /// Code on the wire and in SQL.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAgreement => "NO_AGREEMENT",
            Self::AgreementNotActive => "AGREEMENT_NOT_ACTIVE",
            Self::AgreementSuspended => "AGREEMENT_SUSPENDED",
            Self::AgreementNotBegun => "AGREEMENT_NOT_BEGUN",
            Self::AgreementEnded => "AGREEMENT_ENDED",
            Self::KeyNotAgreed => "KEY_NOT_AGREED",
            Self::ProfileUnknown => "PROFILE_UNKNOWN",
            Self::ProfileMerged => "PROFILE_MERGED",
            Self::ProfileErased => "PROFILE_ERASED",
            Self::Restricted => "RESTRICTED",
            Self::ConsentMissing => "CONSENT_MISSING",
            Self::ConsentRefused => "CONSENT_REFUSED",
            Self::ConsentWithdrawn => "CONSENT_WITHDRAWN",
            Self::ConsentExpired => "CONSENT_EXPIRED",
            Self::NoticeNotAccepted => "NOTICE_NOT_ACCEPTED",
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
pub mod tests;
