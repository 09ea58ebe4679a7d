use std::collections::BTreeSet;

use domain::{DateTime, Noc, Utc};

use super::{Decision, Entitlement, Reason, Representation, Rule, RulePlace, Subject};
use crate::document_type::DocumentType;

/// The rules that hold for one reader, those of `public` and its own, in one representation and at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    entitlements: Vec<Entitlement>,
    representation: Representation,
    as_of: DateTime<Utc>,
}

/// Which participants of a document a reader gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Participants {
    /// The whole document.
    All,
    /// Those of these organisations, sorted.
    Of(Vec<Noc>),
}

impl Participants {
    /// Those that both name.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::Of(mut nocs), Self::Of(others)) => {
                nocs.retain(|noc| others.contains(noc));
                Self::Of(nocs)
            }
        }
    }
}

impl Default for Rights {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl Rights {
    /// The union of entitlements; without any, everything is denied. No embargo is over but those that were when a version
    /// came, until [`Rights::at`] says more.
    #[must_use]
    pub const fn of(entitlements: Vec<Entitlement>) -> Self {
        Self { entitlements, representation: Representation::Json, as_of: DateTime::<Utc>::MIN_UTC }
    }

    /// In another representation.
    #[must_use]
    pub const fn in_representation(mut self, representation: Representation) -> Self {
        self.representation = representation;
        self
    }

    /// At another time, whether later or earlier.
    #[must_use]
    pub const fn at(mut self, as_of: DateTime<Utc>) -> Self {
        self.as_of = as_of;
        self
    }

    /// Whether a version may be read.
    #[must_use]
    pub fn permit(&self, document: &Subject<'_>) -> bool {
        self.permit_at(document, self.as_of)
    }

    /// Whether a version may be read when embargoes up to a time are over.
    #[must_use]
    pub fn permit_at(&self, document: &Subject<'_>, as_of: DateTime<Utc>) -> bool {
        let permits = |rule: &Rule| {
            rule.opens_at(document, self.representation)
                .is_ok_and(|at| is_over(at, document, as_of) && !self.is_uncut(rule, document))
        };
        self.rules().any(permits)
            // Together the rules may allow everybody, though each of them allows some.
            || (self.representation == Representation::Odf
                && document.document_type.has_participants()
                && self.allows_each(document, as_of))
    }

    /// Whether an embargo alone is between a reader and a version, when those up to a time are over.
    #[must_use]
    pub fn is_embargoed_at(&self, document: &Subject<'_>, as_of: DateTime<Utc>) -> bool {
        !self.permit_at(document, as_of)
            && self.rules().any(|rule| rule.opens_at(document, self.representation).is_ok())
    }

    /// Whether a version may be read, by which rule, or why not.
    #[must_use]
    pub fn decide(&self, document: &Subject<'_>) -> Decision {
        let mut nearest = Decision { permitted: false, rule: None, reason: Reason::NoRule, opens_at: None };
        for entitlement in &self.entitlements {
            for (index, rule) in entitlement.rules.iter().enumerate() {
                let (reason, opens_at) = match rule.opens_at(document, self.representation) {
                    Err(reason) => (reason, None),
                    Ok(_) if self.is_uncut(rule, document) && !self.allows_each(document, self.as_of) => {
                        (Reason::Uncut, None)
                    }
                    Ok(at) if is_over(at, document, self.as_of) => (Reason::Permitted, Some(at)),
                    Ok(at) => (Reason::Embargo, Some(at)),
                };
                let is_nearer = reason > nearest.reason
                    || (reason == Reason::Embargo
                        && nearest.reason == Reason::Embargo
                        && opens_at < nearest.opens_at);
                if is_nearer {
                    let (client_id, version) = (entitlement.client_id.clone(), entitlement.version);
                    nearest = Decision {
                        permitted: reason == Reason::Permitted,
                        rule: Some(RulePlace { client_id, version, index }),
                        reason,
                        opens_at: opens_at.filter(|at| *at > DateTime::<Utc>::MIN_UTC),
                    };
                }
                if nearest.permitted {
                    return nearest;
                }
            }
        }
        nearest
    }

    /// Each time at which another rule begins to allow a version, whatever the representation.
    #[must_use]
    pub fn openings(&self, document: &Subject<'_>) -> Vec<DateTime<Utc>> {
        let mut openings = BTreeSet::new();
        for representation in [Representation::Json, Representation::Odf] {
            openings.extend(self.rules().filter_map(|rule| rule.opens_at(document, representation).ok()));
        }
        openings.into_iter().collect()
    }

    /// Which participants of a permitted version a reader gets. Rows of results are never cut.
    #[must_use]
    pub fn participants(&self, document: &Subject<'_>) -> Participants {
        self.participants_at(document, self.as_of)
    }

    /// The same when embargoes up to a time are over.
    #[must_use]
    pub fn participants_at(&self, document: &Subject<'_>, as_of: DateTime<Utc>) -> Participants {
        if !document.document_type.has_participants() {
            return Participants::All;
        }
        match self.allowed_nocs(document, as_of) {
            None => Participants::All,
            Some(nocs) if is_biography(document.document_type) && is_within(document, &nocs) => {
                Participants::All
            }
            Some(nocs) => Participants::Of(nocs.into_iter().collect()),
        }
    }

    /// The clients whose rules these are, with the versions of their entitlements: equal ones decide alike.
    #[must_use]
    pub fn readers(&self) -> Vec<(String, i64)> {
        self.entitlements.iter().map(|one| (one.client_id.clone(), one.version)).collect()
    }

    /// Whether a change of that client's rules changes these rights.
    #[must_use]
    pub fn depend_on(&self, client_id: &str) -> bool {
        self.entitlements.iter().any(|one| one.client_id == client_id)
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.entitlements.iter().flat_map(|one| &one.rules)
    }

    // What a rule allows of it is a part.
    fn is_uncut(&self, rule: &Rule, document: &Subject<'_>) -> bool {
        self.representation == Representation::Odf
            && document.document_type.has_participants()
            && !rule.nocs().is_empty()
            && !document.facts.nocs.iter().all(|noc| rule.nocs().binary_search(noc).is_ok())
    }

    // None: a rule that names no organisations allows all of them.
    fn allowed_nocs(&self, document: &Subject<'_>, as_of: DateTime<Utc>) -> Option<BTreeSet<Noc>> {
        let mut nocs = BTreeSet::new();
        for rule in self.rules() {
            match rule.opens_at(document, self.representation) {
                Ok(at) if is_over(at, document, as_of) => {
                    if rule.nocs().is_empty() {
                        return None;
                    }
                    nocs.extend(rule.nocs());
                }
                _ => {}
            }
        }
        Some(nocs)
    }

    fn allows_each(&self, document: &Subject<'_>, as_of: DateTime<Utc>) -> bool {
        self.allowed_nocs(document, as_of).is_none_or(|nocs| is_within(document, &nocs))
    }
}

// What came when its embargo was over was never held back.
fn is_over(opens_at: DateTime<Utc>, document: &Subject<'_>, as_of: DateTime<Utc>) -> bool {
    opens_at <= as_of.max(document.facts.received_at)
}

fn is_biography(document_type: DocumentType) -> bool {
    document_type.name().starts_with("DT_BIO_")
}

fn is_within(document: &Subject<'_>, nocs: &BTreeSet<Noc>) -> bool {
    !document.facts.nocs.is_empty() && document.facts.nocs.iter().all(|noc| nocs.contains(noc))
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
