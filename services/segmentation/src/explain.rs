use crate::{
    person::{Person, TraitValue},
    rule::{Moment, Rule},
};

/// A rule's tree with what holds for one person, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// all, any, not or leaf.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// For a leaf: what is asked, in words.
    pub text: String,
    /// For a leaf: what the person has.
    pub value: String,
    /// For a consent leaf: the record that says so.
    pub consent_record_id: String,
    /// For an inner node.
    pub children: Vec<Explained>,
}

/// Explains a rule for a person at a moment.
#[must_use]
pub fn explain(rule: &Rule, person: &Person, moment: Moment) -> Explained {
    let holds = rule.holds(person, moment);
    match rule {
        Rule::All(children) => inner("all", holds, children, person, moment),
        Rule::Any(children) => inner("any", holds, children, person, moment),
        Rule::Not(child) => inner("not", holds, std::slice::from_ref(&**child), person, moment),
        Rule::Consent(purpose, recipient) => {
            let held = person.consent(purpose, recipient);
            let to = if recipient.is_empty() { String::new() } else { format!(" to {recipient}") };
            Explained {
                consent_record_id: held.map(|held| held.record_id.clone()).unwrap_or_default(),
                ..leaf(
                    holds,
                    format!("consent {purpose}{to} is given"),
                    consent_value(person, purpose, recipient),
                )
            }
        }
        other => leaf(holds, text(other), value(other, person, moment)),
    }
}

fn inner(kind: &'static str, holds: bool, children: &[Rule], person: &Person, moment: Moment) -> Explained {
    let children = children.iter().map(|child| explain(child, person, moment)).collect();
    Explained {
        kind,
        holds,
        text: String::new(),
        value: String::new(),
        consent_record_id: String::new(),
        children,
    }
}

const fn leaf(holds: bool, text: String, value: String) -> Explained {
    Explained { kind: "leaf", holds, text, value, consent_record_id: String::new(), children: Vec::new() }
}

fn text(rule: &Rule) -> String {
    match rule {
        Rule::Attribute { name, values } if values.is_empty() => format!("{name} is known"),
        Rule::Attribute { name, values } => format!("{name} is {}", values.join(" or ")),
        Rule::Set { name, any_of, all_of, none_of } => {
            let part = |words: &str, values: &[String]| {
                (!values.is_empty()).then(|| format!("{words} {}", values.join(", ")))
            };
            let parts = [part("any of", any_of), part("all of", all_of), part("none of", none_of)];
            format!("{name} has {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Rule::Range { name, min, max } => match (min, max) {
            (Some(min), Some(max)) => format!("{name} is {min} to {max}"),
            (Some(min), None) => format!("{name} is {min} or more"),
            (None, Some(max)) => format!("{name} is {max} or less"),
            (None, None) => format!("{name} is known"),
        },
        Rule::Reachable => "an address can be mailed".to_owned(),
        Rule::Alive => "the profile is in use".to_owned(),
        Rule::All(_) | Rule::Any(_) | Rule::Not(_) | Rule::Consent(..) => String::new(),
    }
}

fn value(rule: &Rule, person: &Person, moment: Moment) -> String {
    match rule {
        Rule::Attribute { name, .. } | Rule::Set { name, .. } => match person.traits.get(name) {
            Some(TraitValue::One(held)) => held.clone(),
            Some(TraitValue::Many(held)) => held.join(", "),
            None => "not known".to_owned(),
        },
        Rule::Range { name, .. } => person
            .ordinal(name, moment.now.date_naive())
            .map_or_else(|| "not known".to_owned(), |held| held.to_string()),
        Rule::Reachable => person.reachable.to_string(),
        Rule::Alive => person.alive.to_string(),
        Rule::All(_) | Rule::Any(_) | Rule::Not(_) | Rule::Consent(..) => String::new(),
    }
}

fn consent_value(person: &Person, purpose: &str, recipient: &str) -> String {
    person.consent(purpose, recipient).map_or_else(
        || "unknown".to_owned(),
        |held| match held.valid_until {
            Some(until) => format!("{}, valid until {}", held.status, until.to_rfc3339()),
            None => held.status.clone(),
        },
    )
}
