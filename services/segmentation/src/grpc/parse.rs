//! Wire messages into domain types: every wrong field is named.

use chassis::FieldViolation;
use domain::{ConsentKey, Purpose};
use proto::segmentation::v1::{self as wire, segment_rule::Node};

use crate::{
    Error,
    app::CreateSegment,
    rule::{DEEPEST, Rule},
};

const LONGEST_NAME: usize = 120;

/// A segment to make.
pub fn create_segment(request: wire::CreateSegmentRequest) -> Result<CreateSegment, Error> {
    let mut wrong = Vec::new();
    let key = chassis::parse("key", &request.key).map_err(|violation| wrong.push(violation)).ok();
    if request.name.is_empty()
        || request.name.chars().count() > LONGEST_NAME
        || request.name.chars().any(char::is_control)
    {
        wrong.push(FieldViolation::new("name", "must be 1 to 120 characters without control characters"));
    }
    let purpose =
        purpose(&request.purpose, &request.recipient).map_err(|violation| wrong.push(violation)).ok();
    let rule = rule(request.rule).map_err(|violation| wrong.push(violation)).ok();
    match (key, purpose, rule) {
        (Some(key), Some(purpose), Some(rule)) if wrong.is_empty() => {
            Ok(CreateSegment { key, name: request.name, rule, purpose })
        }
        _ => Err(Error::Invalid(wrong)),
    }
}

/// A purpose with its recipient; none where both are empty.
pub fn purpose(purpose: &str, recipient: &str) -> Result<Option<ConsentKey>, FieldViolation> {
    if purpose.is_empty() && recipient.is_empty() {
        return Ok(None);
    }
    let purpose: Purpose = chassis::parse("purpose", purpose)?;
    let key =
        ConsentKey::new(purpose, recipient).map_err(|error| FieldViolation::new("recipient", error.rule))?;
    Ok(Some(key))
}

/// A rule's tree. Its depth is bounded here, before anything walks it.
pub fn rule(rule: Option<wire::SegmentRule>) -> Result<Rule, FieldViolation> {
    node(rule, "rule", 1)
}

fn node(rule: Option<wire::SegmentRule>, path: &str, depth: usize) -> Result<Rule, FieldViolation> {
    if depth > DEEPEST {
        return Err(FieldViolation::new(path, "must be at most 16 levels deep"));
    }
    let Some(found) = rule.and_then(|rule| rule.node) else {
        return Err(FieldViolation::new(path, "must be all, any, not, attribute, set or range"));
    };
    Ok(match found {
        Node::All(list) => Rule::All(children(list, &format!("{path}.all"), depth)?),
        Node::Any(list) => Rule::Any(children(list, &format!("{path}.any"), depth)?),
        Node::Not(child) => Rule::Not(Box::new(node(Some(*child), &format!("{path}.not"), depth + 1)?)),
        Node::Attribute(leaf) => Rule::Attribute { name: leaf.r#trait, values: leaf.values },
        Node::Set(leaf) => {
            Rule::Set { name: leaf.r#trait, any_of: leaf.any_of, all_of: leaf.all_of, none_of: leaf.none_of }
        }
        Node::Range(leaf) => Rule::Range { name: leaf.r#trait, min: leaf.min, max: leaf.max },
    })
}

fn children(list: wire::RuleList, path: &str, depth: usize) -> Result<Vec<Rule>, FieldViolation> {
    let mut rules = Vec::with_capacity(list.rules.len().min(256));
    for (at, rule) in list.rules.into_iter().enumerate() {
        rules.push(node(Some(rule), &format!("{path}[{at}]"), depth + 1)?);
    }
    Ok(rules)
}

/// A rule on the wire. Synthetic leaves never leave the service this way.
pub fn to_wire(rule: &Rule) -> wire::SegmentRule {
    let list = |rules: &[Rule]| wire::RuleList { rules: rules.iter().map(to_wire).collect() };
    let node = match rule {
        Rule::All(rules) => Some(Node::All(list(rules))),
        Rule::Any(rules) => Some(Node::Any(list(rules))),
        Rule::Not(child) => Some(Node::Not(Box::new(to_wire(child)))),
        Rule::Attribute { name, values } => {
            Some(Node::Attribute(wire::AttributeLeaf { r#trait: name.clone(), values: values.clone() }))
        }
        Rule::Set { name, any_of, all_of, none_of } => Some(Node::Set(wire::SetLeaf {
            r#trait: name.clone(),
            any_of: any_of.clone(),
            all_of: all_of.clone(),
            none_of: none_of.clone(),
        })),
        Rule::Range { name, min, max } => {
            Some(Node::Range(wire::RangeLeaf { r#trait: name.clone(), min: *min, max: *max }))
        }
        Rule::Consent(..) | Rule::Reachable | Rule::Alive => None,
    };
    wire::SegmentRule { node }
}
