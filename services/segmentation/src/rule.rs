use domain::{ConsentKey, Purpose};
use serde::{Deserialize, Serialize};

use crate::person::{Person, TraitValue};

/// Most leaves of a rule.
pub const MOST_LEAVES: usize = 256;
/// Deepest rule, in levels.
pub const DEEPEST: usize = 16;

/// A condition over one person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every child holds; no child means everyone.
    All(Vec<Rule>),
    /// At least one child holds.
    Any(Vec<Rule>),
    /// The child does not hold.
    Not(Box<Rule>),
    /// A single-valued trait is one of the values; present, when none is named.
    Attribute {
        /// The trait.
        name: String,
        /// Sorted, each once.
        values: Vec<String>,
    },
    /// A multi-valued trait.
    Set {
        /// The trait.
        name: String,
        /// At least one of them, when any is named.
        any_of: Vec<String>,
        /// All of them.
        all_of: Vec<String>,
        /// None of them.
        none_of: Vec<String>,
    },
    /// An ordinal: `age` in whole years at the present day.
    Range {
        /// The ordinal.
        name: String,
        /// Smallest, open when absent.
        min: Option<i64>,
        /// Largest, open when absent.
        max: Option<i64>,
    },
    /// Synthetic: the person permits a purpose now. Only a purpose-bound compile makes it.
    Consent(String, String),
    /// Synthetic: there is an address to which mail can go.
    Reachable,
    /// Synthetic: the profile is in use.
    Alive,
}

/// A trait of profile's published schema, as far as rules care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTrait {
    /// Its name.
    pub name: String,
    /// basic, preference, behaviour or sensitive.
    pub category: String,
    /// Whether it holds several values.
    pub multi_valued: bool,
    /// The closed vocabulary, where there is one.
    pub allowed_values: Vec<String>,
}

/// What is wrong with a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleViolation {
    /// Path of the node: `rule.all[1].attribute.trait`.
    pub path: String,
    /// What it must be.
    pub rule: String,
}

/// What a rule is evaluated against besides the person: the day, for ages, and the time, for consents.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub now: domain::DateTime<domain::Utc>,
}

impl Rule {
    /// The canonical form: children and values sorted, each once, double negation removed. Equal rules become equal.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::All(children) => Self::All(sorted(children.into_iter().map(Self::canonical).collect())),
            Self::Any(children) => Self::Any(sorted(children.into_iter().map(Self::canonical).collect())),
            Self::Not(child) => match child.canonical() {
                Self::Not(inner) => *inner,
                other => Self::Not(Box::new(other)),
            },
            Self::Attribute { name, values } => Self::Attribute { name, values: sorted(values) },
            Self::Set { name, any_of, all_of, none_of } => {
                Self::Set { name, any_of: sorted(any_of), all_of: sorted(all_of), none_of: sorted(none_of) }
            }
            leaf => leaf,
        }
    }

    /// The canonical bytes, over which a rule's hash is taken.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether the rule holds for a person at a moment.
    #[must_use]
    pub fn holds(&self, person: &Person, moment: Moment) -> bool {
        match self {
            Self::All(children) => children.iter().all(|child| child.holds(person, moment)),
            Self::Any(children) => children.iter().any(|child| child.holds(person, moment)),
            Self::Not(child) => !child.holds(person, moment),
            Self::Attribute { name, values } => match person.traits.get(name) {
                Some(TraitValue::One(held)) => values.is_empty() || values.contains(held),
                Some(TraitValue::Many(held)) => values.is_empty() && !held.is_empty(),
                None => false,
            },
            Self::Set { name, any_of, all_of, none_of } => {
                let held: &[String] = match person.traits.get(name) {
                    Some(TraitValue::Many(held)) => held,
                    _ => &[],
                };
                (any_of.is_empty() || any_of.iter().any(|value| held.contains(value)))
                    && all_of.iter().all(|value| held.contains(value))
                    && !none_of.iter().any(|value| held.contains(value))
            }
            Self::Range { name, min, max } => person
                .ordinal(name, moment.now.date_naive())
                .is_some_and(|held| min.is_none_or(|min| held >= min) && max.is_none_or(|max| held <= max)),
            Self::Consent(purpose, recipient) => person.permits(purpose, recipient, moment.now),
            Self::Reachable => person.reachable,
            Self::Alive => person.alive,
        }
    }

    /// Checks a rule against the traits that there are.
    ///
    /// # Errors
    /// Every violation, with its path.
    pub fn check(&self, known: &[KnownTrait]) -> Result<(), Vec<RuleViolation>> {
        let mut violations = Vec::new();
        self.check_node("rule", 1, known, &mut violations);
        if self.leaves() > MOST_LEAVES {
            violations.push(RuleViolation {
                path: "rule".to_owned(),
                rule: "must have at most 256 leaves".to_owned(),
            });
        }
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// Trait names that the rule looks at.
    #[must_use]
    pub fn traits(&self) -> Vec<&str> {
        match self {
            Self::All(children) | Self::Any(children) => children.iter().flat_map(Self::traits).collect(),
            Self::Not(child) => child.traits(),
            Self::Attribute { name, .. } | Self::Set { name, .. } | Self::Range { name, .. } => vec![name],
            Self::Consent(..) | Self::Reachable | Self::Alive => Vec::new(),
        }
    }

    fn leaves(&self) -> usize {
        match self {
            Self::All(children) | Self::Any(children) => children.iter().map(Self::leaves).sum(),
            Self::Not(child) => child.leaves(),
            _ => 1,
        }
    }

    fn check_node(
        &self,
        path: &str,
        depth: usize,
        known: &[KnownTrait],
        violations: &mut Vec<RuleViolation>,
    ) {
        let mut wrong = |path: String, rule: String| violations.push(RuleViolation { path, rule });
        if depth > DEEPEST {
            return wrong(path.to_owned(), "must be at most 16 levels deep".to_owned());
        }
        match self {
            Self::All(children) => check_children(children, &format!("{path}.all"), depth, known, violations),
            Self::Any(children) if children.is_empty() => {
                wrong(format!("{path}.any"), "must have a child".to_owned());
            }
            Self::Any(children) => check_children(children, &format!("{path}.any"), depth, known, violations),
            Self::Not(child) => child.check_node(&format!("{path}.not"), depth + 1, known, violations),
            Self::Attribute { name, values } => {
                check_trait(&format!("{path}.attribute"), name, Some(false), values, known, violations);
            }
            Self::Set { name, any_of, all_of, none_of } => {
                let path = format!("{path}.set");
                let values = [any_of.as_slice(), all_of, none_of].concat();
                if values.is_empty() {
                    wrong(path.clone(), "must name a value in any_of, all_of or none_of".to_owned());
                }
                check_trait(&path, name, Some(true), &values, known, violations);
            }
            Self::Range { name, min, max } => {
                if name != "age" {
                    wrong(format!("{path}.range.trait"), "must be age".to_owned());
                }
                if min.zip(*max).is_some_and(|(min, max)| min > max) {
                    wrong(format!("{path}.range"), "must have a min that is not above its max".to_owned());
                }
            }
            Self::Consent(..) | Self::Reachable | Self::Alive => {
                wrong(path.to_owned(), "is added by the purpose, not by a rule".to_owned());
            }
        }
    }
}

fn check_children(
    children: &[Rule],
    path: &str,
    depth: usize,
    known: &[KnownTrait],
    violations: &mut Vec<RuleViolation>,
) {
    for (at, child) in children.iter().enumerate() {
        child.check_node(&format!("{path}[{at}]"), depth + 1, known, violations);
    }
}

fn check_trait(
    path: &str,
    name: &str,
    multi_valued: Option<bool>,
    values: &[String],
    known: &[KnownTrait],
    violations: &mut Vec<RuleViolation>,
) {
    let mut wrong = |path: String, rule: String| violations.push(RuleViolation { path, rule });
    let Some(found) = known.iter().find(|known| known.name == name) else {
        let near =
            known.iter().min_by_key(|known| distance(&known.name, name)).map_or("", |known| &known.name);
        return wrong(
            format!("{path}.trait"),
            format!("must be a trait of the schema; the nearest is {near}"),
        );
    };
    if multi_valued.is_some_and(|multi| multi != found.multi_valued) {
        let right = if found.multi_valued { "a set leaf" } else { "an attribute leaf" };
        wrong(path.to_owned(), format!("must be {right} for this trait"));
    }
    for (at, value) in values.iter().enumerate() {
        if !found.allowed_values.is_empty() && !found.allowed_values.contains(value) {
            let allowed = found.allowed_values.join(", ");
            wrong(format!("{path}.values[{at}]"), format!("must be one of {allowed}"));
        }
        if value.is_empty() || value.chars().count() > 255 {
            wrong(format!("{path}.values[{at}]"), "must be 1 to 255 characters".to_owned());
        }
    }
}

// Edit distance (Levenshtein), for the nearest name in an error.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let cost = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Binds a rule to a purpose: whoever is in must also permit the purpose, be alive and be reachable; a rule over tastes or
/// behaviour needs the consent to profiling as well.
#[must_use]
pub fn bind(rule: &Rule, key: &ConsentKey, known: &[KnownTrait]) -> Rule {
    let mut all = vec![rule.clone(), Rule::Alive];
    if key.purpose().needs_consent() {
        all.push(Rule::Consent(key.purpose().name().to_owned(), key.recipient().to_owned()));
    }
    let profiles = |name: &str| {
        known.iter().any(|known| {
            known.name == name && (known.category == "preference" || known.category == "behaviour")
        })
    };
    if rule.traits().into_iter().any(profiles) {
        all.push(Rule::Consent(Purpose::Profiling.name().to_owned(), String::new()));
    }
    if matches!(key.purpose(), Purpose::CommitteeNewsletter | Purpose::IocNewsletter | Purpose::PartnerOffers)
    {
        all.push(Rule::Reachable);
    }
    Rule::All(all)
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests;
