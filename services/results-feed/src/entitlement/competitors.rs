use std::collections::BTreeSet;

use domain::Noc;

use super::MOST_NOCS;
use crate::{canonical::Node, document_type::DocumentType};

/// Elements that are competitors, or the people and teams of which they are made.
const NAMED: [&str; 4] = ["Athlete", "Competitor", "Participant", "Team"];
/// Elements of a participants document that are filtered one by one.
const PARTICIPANTS: [&str; 3] = ["Horse", "Participant", "Team"];
/// What holds an organisation's code.
const ORGANISATION: &str = "Organisation";

/// The organisations of a document's competitors and participants, sorted. Coaches and officials beside a competitor do not
/// count. A document that names more than [`MOST_NOCS`] is nobody's in particular, and has none.
#[must_use]
pub fn nocs_of(document_type: DocumentType, document_code: &str, body: &Node) -> Vec<Noc> {
    let mut nocs = BTreeSet::new();
    collect(body, 0, &mut nocs);
    if document_type.name().starts_with("DT_BIO_NOC") {
        nocs.extend(document_code.parse::<Noc>());
    }
    if document_type.has_participants()
        && let Some(competition) = body.get("Competition")
    {
        for name in PARTICIPANTS {
            nocs.extend(competition.get(name).into_iter().flat_map(|held| {
                let organisations: Vec<Noc> = items(held).filter_map(|(_, one)| organisation(one)).collect();
                organisations
            }));
        }
    }
    if nocs.len() > MOST_NOCS { Vec::new() } else { nocs.into_iter().collect() }
}

// `within` is 2 in what holds named elements, 1 in such an element and in its description, 0 elsewhere.
fn collect(node: &Node, within: u8, nocs: &mut BTreeSet<Noc>) {
    let Node::Object(members) = node else { return };
    for (name, member) in members {
        match member {
            Node::Text(text) if within > 0 && name == ORGANISATION => nocs.extend(text.parse::<Noc>()),
            Node::Text(_) => {}
            Node::Object(_) => {
                let next = match name.as_str() {
                    name if NAMED.contains(&name) => 2,
                    "Description" if within > 0 => 1,
                    _ => within.saturating_sub(1),
                };
                collect(member, next, nocs);
            }
        }
    }
}

/// A participants document with those of these organisations alone, who are sorted: what else it holds but the attributes of
/// `Competition` goes too.
#[must_use]
pub fn cut(body: &Node, nocs: &[Noc]) -> Node {
    let Some(Node::Object(competition)) = body.get("Competition") else { return Node::empty() };
    let is_ours = |node: &Node| organisation(node).is_some_and(|noc| nocs.binary_search(&noc).is_ok());
    let mut kept = std::collections::BTreeMap::new();
    for (name, member) in competition {
        if let Node::Text(_) = member {
            kept.insert(name.clone(), member.clone());
        } else if PARTICIPANTS.contains(&name.as_str()) {
            let node = if is_one(member) {
                is_ours(member).then(|| member.clone())
            } else {
                let ours: std::collections::BTreeMap<String, Node> = items(member)
                    .filter(|(_, one)| is_ours(one))
                    .map(|(key, one)| (key.to_owned(), one.clone()))
                    .collect();
                (!ours.is_empty()).then_some(Node::Object(ours))
            };
            kept.extend(node.map(|node| (name.clone(), node)));
        }
    }
    Node::Object([("Competition".to_owned(), Node::Object(kept))].into())
}

// Some elements are an object of objects only where there is more than one.
fn is_one(node: &Node) -> bool {
    matches!(node, Node::Object(members) if members.values().any(|member| matches!(member, Node::Text(_))))
}

fn items(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let alone = is_one(node).then_some(("", node));
    let many = match node {
        Node::Object(members) if alone.is_none() => Some(members),
        _ => None,
    };
    alone.into_iter().chain(many.into_iter().flatten().map(|(key, one)| (key.as_str(), one)))
}

fn organisation(node: &Node) -> Option<Noc> {
    let own = node.text(ORGANISATION);
    let text = match (own, node.get("Description")) {
        ("", Some(description)) => description.text(ORGANISATION),
        (own, _) => own,
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        Node::from_bytes(json.as_bytes()).unwrap()
    }

    fn names(document_type: &str, code: &str, json: &str) -> Vec<String> {
        let nocs = nocs_of(document_type.parse().unwrap(), code, &node(json));
        nocs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn competitors_and_their_athletes_count_and_their_coaches_do_not() {
        let result = r#"{"Competition":{"Organisation":"XXX","Result":{
            "1":{"Competitor":{"1":{"Code":"1","Organisation":"JPN","Coaches":{"Coach":{"9":{"Organisation":"FRA"}}},
                 "Composition":{"Athlete":{"2":{"Code":"2","Description":{"Organisation":"KEN"}}}}}}},
            "2":{"Competitor":{"3":{"Organisation":"JPN"}}},
            "3":{"Competitor":{"4":{"Organisation":"none of these"}}}},
            "MedalLine":{"USA":{"Organisation":"USA"}}}}"#;
        assert_eq!(names("DT_RESULT", "ATHM", result), ["JPN", "KEN"]);
        assert_eq!(names("DT_RESULT", "ATHM", "{}"), [""; 0]);
        assert_eq!(names("DT_BIO_NOC", "BRA", "{}"), ["BRA"]);
        assert_eq!(names("DT_RESULT", "BRA", "{}"), [""; 0]);
    }

    #[test]
    fn a_document_of_everybody_is_of_nobody() {
        let mut rows = String::new();
        for number in 0..=MOST_NOCS {
            rows += &format!(
                r#"{}"{number}":{{"Organisation":"{number:03}"}}"#,
                if number > 0 { "," } else { "" }
            );
        }
        let all = format!(r#"{{"Competition":{{"Participant":{{{rows}}}}}}}"#);
        assert_eq!(names("DT_PARTIC", "ATH", &all), [""; 0]);
    }

    #[test]
    fn participants_are_cut_one_by_one() {
        let body = node(
            r#"{"Competition":{"Gen":"1","Note":{"000000":{"Organisation":"JPN"}},
                "Participant":{"1":{"Code":"1","Organisation":"JPN"},"2":{"Code":"2","Organisation":"FRA"},"3":{"Code":"3"}},
                "Horse":{"Code":"7","Organisation":"FRA"},
                "Team":{"8":{"Code":"8","Organisation":"FRA"}}}}"#,
        );
        let of = |noc: &str| cut(&body, &[noc.parse().unwrap()]);
        let japan = r#"{"Competition":{"Gen":"1","Participant":{"1":{"Code":"1","Organisation":"JPN"}}}}"#;
        assert_eq!(of("JPN"), node(japan));
        let france = r#"{"Competition":{"Gen":"1","Horse":{"Code":"7","Organisation":"FRA"},
            "Participant":{"2":{"Code":"2","Organisation":"FRA"}},"Team":{"8":{"Code":"8","Organisation":"FRA"}}}}"#;
        assert_eq!(of("FRA"), node(france));
        assert_eq!(of("KEN"), node(r#"{"Competition":{"Gen":"1"}}"#));
        assert_eq!(cut(&node("{}"), &[]), Node::empty());
    }
}
