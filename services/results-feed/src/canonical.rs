use std::{collections::BTreeMap, ops::Deref, sync::OnceLock};

use bytes::Bytes;
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

/// A canonical document as its bytes, which are all that log, feed and patches need. It is read into a tree for who asks
/// for a member, once.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    tree: OnceLock<Node>,
}

impl Body {
    /// Over canonical bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, tree: OnceLock::new() }
    }

    /// The canonical bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Deref for Body {
    type Target = Node;

    // Bytes that can't be read back say nothing.
    fn deref(&self) -> &Node {
        self.tree.get_or_init(|| Node::from_bytes(&self.bytes).unwrap_or_else(|_| Node::empty()))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Body {}

/// What names one of several children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Their attribute.
    Attribute(&'static str),
    /// An attribute of their only child of that element.
    OfChild(&'static str, &'static str),
    /// Nothing: their place.
    Position,
}

/// How children of this name are keyed; none for those that do not repeat as a rule.
///
/// Elements that may repeat are keyed even when one is there, so that a second one changes no path. An attribute that
/// moves with every version, such as a rank, is no key: deltas would carry the whole row.
#[must_use]
pub fn key_of(element: &str) -> Option<Key> {
    match element {
        "Athlete" | "Competitor" | "Discipline" | "Event" | "Participant" | "Team" | "Unit" => {
            Some(Key::Attribute("Code"))
        }
        "MedalLine" => Some(Key::Attribute("Organisation")),
        "MedalNumber" => Some(Key::Attribute("Type")),
        "Session" => Some(Key::Attribute("SessionCode")),
        "Result" | "Start" => Some(Key::OfChild("Competitor", "Code")),
        "ExtendedInfo" | "ExtendedResult" | "Medal" | "Note" | "StartList" => Some(Key::Position),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a string of JSON as `serde_json` does.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, behind)) = special.split_first() else { break };
        let short = match *byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(*byte)]);
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(attributes: &[(&str, &str)]) -> Node {
        Node::Object(attributes.iter().map(|(k, v)| ((*k).to_owned(), Node::Text((*v).to_owned()))).collect())
    }

    #[test]
    fn bytes_are_sorted_and_read_back() {
        let node = element(&[("b", "2"), ("a", "\"\u{2028}\n")]);
        let bytes = node.to_bytes();
        assert!(bytes.starts_with(b"{\"a\":"));
        assert!(!bytes.contains(&b'\n'));
        assert_eq!(Node::from_bytes(&bytes).unwrap(), node);
        let body = Body::new(bytes.into());
        assert_eq!(body.text("b"), "2");
        assert_eq!(*body, node);
    }

    proptest! {
        #[test]
        fn text_is_written_as_serde_json_writes_it(text in "(\\PC|[\u{0}-\u{20}\"\\\\]){0,40}") {
            let mut written = Vec::new();
            write_text(&text, &mut written);
            prop_assert_eq!(written, serde_json::to_vec(&text).unwrap());
        }
    }
}
