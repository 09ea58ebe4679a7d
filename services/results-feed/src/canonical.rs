use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A document without its header in the one form that feed, log and patches use: an element is an object, an attribute a
/// string, and children that may repeat are an object keyed by what names them. No arrays and no nulls, so that merge
/// patches (RFC 7396) are exact; keys are sorted, so that equal documents have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Node {
    /// An attribute, or the text of an element under `#text`.
    Text(String),
    /// An element, or children that repeat.
    Object(BTreeMap<String, Node>),
}

impl Node {
    /// An object without members.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Object(BTreeMap::new())
    }

    /// The canonical bytes: JSON in one line with sorted keys.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and string keys only: writing to memory has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads canonical bytes back.
    ///
    /// # Errors
    /// Bytes that [`Node::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            Self::Text(_) => None,
        }
    }

    /// The member that is reached through these names.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The attribute of that name; empty where there is none, which ODF takes for the same (Foundation Principles 6.7).
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// The children under `name`, in the order of their keys.
    pub fn children<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a Self)> + use<'a> {
        let members = match self.get(name) {
            Some(Self::Object(members)) => Some(members),
            _ => None,
        };
        members.into_iter().flatten().map(|(key, node)| (key.as_str(), node))
    }
}

/// What names one of several children.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// Their attribute.
    Attribute(&'static str),
    /// An attribute of their only child of that element.
    OfChild(&'static str, &'static str),
    /// Nothing: their place.
    Position,
}

// Elements that may repeat are keyed even when one is there, so that a second one changes no path. An attribute that
// moves with every version, such as a rank, is no key: deltas would carry the whole row.
const KEYS: &[(&str, Key)] = &[
    ("Athlete", Key::Attribute("Code")),
    ("Competitor", Key::Attribute("Code")),
    ("Discipline", Key::Attribute("Code")),
    ("Event", Key::Attribute("Code")),
    ("ExtendedInfo", Key::Position),
    ("ExtendedResult", Key::Position),
    ("Medal", Key::Position),
    ("MedalLine", Key::Attribute("Organisation")),
    ("MedalNumber", Key::Attribute("Type")),
    ("Note", Key::Position),
    ("Participant", Key::Attribute("Code")),
    ("Result", Key::OfChild("Competitor", "Code")),
    ("Session", Key::Attribute("SessionCode")),
    ("StartList", Key::Position),
    ("Start", Key::OfChild("Competitor", "Code")),
    ("Team", Key::Attribute("Code")),
    ("Unit", Key::Attribute("Code")),
];

/// Children of one element while it is read: their names in order of appearance, each with its elements.
#[derive(Debug, Default)]
pub struct Children(BTreeMap<String, Vec<Node>>);

impl Children {
    /// Adds a finished child element.
    pub fn push(&mut self, name: &str, node: Node) {
        match self.0.get_mut(name) {
            Some(nodes) => nodes.push(node),
            None => {
                self.0.insert(name.to_owned(), vec![node]);
            }
        }
    }

    /// Puts the children beside the attributes of their element. Where an attribute has a child's name, the attribute
    /// moves to `@name`.
    pub fn settle_into(self, members: &mut BTreeMap<String, Node>) {
        for (name, nodes) in self.0 {
            if let Some(attribute) = members.remove(&name) {
                members.insert(format!("@{name}"), attribute);
            }
            let node = settle(&name, nodes);
            members.insert(name, node);
        }
    }
}

fn settle(name: &str, mut nodes: Vec<Node>) -> Node {
    let key = KEYS.iter().find(|(element, _)| *element == name).map(|(_, key)| *key);
    match (key, nodes.len()) {
        (None, 1) => nodes.pop().unwrap_or_else(Node::empty),
        (key, _) => Node::Object(keyed(key.unwrap_or(Key::Position), nodes)),
    }
}

// A key that is absent or doubled names nothing: then all of these go by their place.
fn keyed(key: Key, nodes: Vec<Node>) -> BTreeMap<String, Node> {
    let names: BTreeMap<String, usize> =
        nodes.iter().enumerate().map(|(index, node)| (name_of(key, node).to_owned(), index)).collect();
    if names.len() == nodes.len() && !names.contains_key("") {
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        return names.into_iter().filter_map(|(name, index)| Some((name, nodes[index].take()?))).collect();
    }
    nodes.into_iter().enumerate().map(|(index, node)| (format!("{index:06}"), node)).collect()
}

fn name_of(key: Key, node: &Node) -> &str {
    match key {
        Key::Attribute(attribute) => node.text(attribute),
        Key::OfChild(child, attribute) => {
            let mut children = node.children(child);
            match (children.next(), children.next()) {
                (Some((_, only)), None) => only.text(attribute),
                _ => "",
            }
        }
        Key::Position => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(attributes: &[(&str, &str)]) -> Node {
        Node::Object(attributes.iter().map(|(k, v)| ((*k).to_owned(), Node::Text((*v).to_owned()))).collect())
    }

    fn settled(name: &str, nodes: Vec<Node>) -> Node {
        let mut children = Children::default();
        for node in nodes {
            children.push(name, node);
        }
        let mut members = BTreeMap::new();
        children.settle_into(&mut members);
        Node::Object(members)
    }

    #[test]
    fn one_competitor_has_the_path_that_it_keeps_among_eight() {
        let one = settled("Competitor", vec![element(&[("Code", "1")])]);
        let two = settled("Competitor", vec![element(&[("Code", "1")]), element(&[("Code", "2")])]);
        assert_eq!(one.at(&["Competitor", "1"]), two.at(&["Competitor", "1"]));
    }

    #[test]
    fn doubled_or_missing_keys_fall_back_to_places() {
        let doubled = settled("Unit", vec![element(&[("Code", "1")]), element(&[("Code", "1")])]);
        assert!(doubled.at(&["Unit", "000001"]).is_some());
        let missing = settled("Unit", vec![element(&[]), element(&[("Code", "1")])]);
        assert!(missing.at(&["Unit", "000000"]).is_some());
        let unlisted = settled("Odd", vec![element(&[("A", "1")]), element(&[("A", "2")])]);
        assert_eq!(unlisted.at(&["Odd", "000001", "A"]), Some(&Node::Text("2".to_owned())));
    }

    #[test]
    fn an_attribute_gives_way_to_a_child_of_its_name() {
        let mut children = Children::default();
        children.push("Result", element(&[]));
        let mut members = BTreeMap::from([("Result".to_owned(), Node::Text("9.79".to_owned()))]);
        children.settle_into(&mut members);
        assert_eq!(members.get("@Result"), Some(&Node::Text("9.79".to_owned())));
    }

    #[test]
    fn bytes_are_sorted_and_read_back() {
        let node = element(&[("b", "2"), ("a", "\"\u{2028}\n")]);
        let bytes = node.to_bytes();
        assert!(bytes.starts_with(b"{\"a\":"));
        assert!(!bytes.contains(&b'\n'));
        assert_eq!(Node::from_bytes(&bytes).unwrap(), node);
    }
}
