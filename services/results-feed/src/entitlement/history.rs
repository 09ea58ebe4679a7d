use domain::{DateTime, Utc};

use super::{Decision, Entitlement, Representation, Rights, Subject};

/// The rules of one client at each time: append-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whose.
    pub client_id: String,
    /// Oldest first.
    pub versions: Vec<Dated>,
}

/// Rules and when they came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// What held.
    pub entitlement: Entitlement,
    /// From when on.
    pub changed_at: DateTime<Utc>,
    /// Who set it.
    pub changed_by: String,
}

impl History {
    /// The rules in force at a time; none before the first ones.
    #[must_use]
    pub fn in_force(&self, at: DateTime<Utc>) -> Entitlement {
        let newest = self.versions.iter().rev().find(|dated| dated.changed_at <= at);
        newest.map_or_else(|| Entitlement::none(self.client_id.clone()), |dated| dated.entitlement.clone())
    }

    /// The rules of that version; none where it is unknown.
    #[must_use]
    pub fn of_version(&self, version: i64) -> Entitlement {
        let found = self.versions.iter().find(|dated| dated.entitlement.version == version);
        found.map_or_else(|| Entitlement::none(self.client_id.clone()), |dated| dated.entitlement.clone())
    }
}

/// Whether a reader with these clients' rules could read a version at an instant. A version that came later is judged as if
/// it had been there.
#[must_use]
pub fn decide(
    histories: &[History],
    document: &Subject<'_>,
    representation: Representation,
    at: DateTime<Utc>,
) -> Decision {
    let entitlements = histories.iter().map(|history| history.in_force(at)).collect();
    Rights::of(entitlements).in_representation(representation).at(at).decide(document)
}

#[cfg(test)]
mod tests {
    use domain::TimeDelta;

    use super::*;
    use crate::{
        document_type::FeedFlag,
        entitlement::{Facts, Reason, Rule, RuleText},
    };

    #[test]
    fn a_decision_of_the_past_is_made_by_the_rules_of_the_past() {
        let start = DateTime::UNIX_EPOCH;
        let minute = |minutes| start + TimeDelta::minutes(minutes);
        let dated = |version, at, embargo_minutes| Dated {
            entitlement: Entitlement {
                client_id: "noc".to_owned(),
                version,
                rules: vec![Rule::parse(RuleText { embargo_minutes, ..RuleText::default() }).unwrap()],
            },
            changed_at: at,
            changed_by: "operator".to_owned(),
        };
        let history = History {
            client_id: "noc".to_owned(),
            versions: vec![dated(1, minute(1), 30), dated(2, minute(40), 60)],
        };
        let facts = Facts::plain(start);
        let subject = Subject {
            code: "ATHM",
            document_type: "DT_RESULT".parse().unwrap(),
            status: None,
            feed_flag: FeedFlag::Production,
            facts: &facts,
        };
        let at =
            |minutes| decide(std::slice::from_ref(&history), &subject, Representation::Json, minute(minutes));
        assert_eq!(at(0).reason, Reason::NoRule);
        assert_eq!((at(29).reason, at(29).opens_at), (Reason::Embargo, Some(minute(30))));
        assert!(at(30).permitted);
        assert_eq!((at(40).reason, at(40).opens_at), (Reason::Embargo, Some(minute(60))));
        assert_eq!(at(60).rule.unwrap().version, 2);
        assert_eq!(history.of_version(1).rules.len(), 1);
        assert_eq!(history.of_version(7).rules.len(), 0);
    }
}
