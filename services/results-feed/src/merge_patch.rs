use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical::Node;

/// A JSON merge patch (RFC 7396) between two canonical documents. Exact, since those hold neither nulls nor arrays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Patch {
    /// `null`: the member goes.
    Remove,
    /// The member is this text now.
    Text(String),
    /// The member is an object, changed by these patches; what was no object before starts empty.
    Object(BTreeMap<String, Patch>),
}

impl Patch {
    /// The JSON of the patch, in one line with sorted keys.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, nulls and string keys only: writing to memory has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether a change lies at or below a member of that name.
    #[must_use]
    pub fn touches(&self, name: &str) -> bool {
        match self {
            Self::Object(members) => members.iter().any(|(key, patch)| key == name || patch.touches(name)),
            _ => false,
        }
    }
}

/// The patch that makes `target` of `base`: `apply(base, diff(base, target)) == target`.
#[must_use]
pub fn diff(base: &Node, target: &Node) -> Patch {
    let (Node::Object(old), Node::Object(new)) = (base, target) else { return whole(target) };
    let mut changes = BTreeMap::new();
    for (name, node) in new {
        match old.get(name) {
            Some(before) if before == node => {}
            Some(before) => {
                changes.insert(name.clone(), diff(before, node));
            }
            None => {
                changes.insert(name.clone(), whole(node));
            }
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changes.insert(name.clone(), Patch::Remove);
    }
    Patch::Object(changes)
}

/// What `base` is after `patch`; nothing where the patch removes the whole.
#[must_use]
pub fn apply(base: Option<&Node>, patch: &Patch) -> Option<Node> {
    match patch {
        Patch::Remove => None,
        Patch::Text(text) => Some(Node::Text(text.clone())),
        Patch::Object(changes) => {
            let mut members = match base {
                Some(Node::Object(members)) => members.clone(),
                _ => BTreeMap::new(),
            };
            for (name, change) in changes {
                match apply(members.get(name), change) {
                    Some(node) => members.insert(name.clone(), node),
                    None => members.remove(name),
                };
            }
            Some(Node::Object(members))
        }
    }
}

fn whole(node: &Node) -> Patch {
    match node {
        Node::Text(text) => Patch::Text(text.clone()),
        Node::Object(members) => {
            Patch::Object(members.iter().map(|(name, member)| (name.clone(), whole(member))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(json: &str) -> Node {
        Node::from_bytes(json.as_bytes()).unwrap()
    }

    #[test]
    fn examples_of_the_rfc_hold() {
        // RFC 7396 appendix A, those without arrays and nulls in the documents.
        for (base, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let patch: Patch = serde_json::from_str(patch).unwrap();
            assert_eq!(apply(Some(&node(base)), &patch), Some(node(result)));
        }
    }

    #[test]
    fn a_patch_holds_only_what_changed() {
        let patch = diff(&node(r#"{"a":{"x":"1","y":"2"},"b":"3"}"#), &node(r#"{"a":{"x":"1","y":"4"}}"#));
        assert_eq!(patch.to_bytes(), br#"{"a":{"y":"4"},"b":null}"#);
        assert!(patch.touches("y") && !patch.touches("x"));
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof!["[a-c]{0,2}".prop_map(Node::Text), Just(Node::empty())];
        leaf.prop_recursive(4, 40, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(Node::Object)
        })
    }

    proptest! {
        #[test]
        fn applying_a_difference_gives_the_target(base in nodes(), target in nodes()) {
            let patch = diff(&base, &target);
            prop_assert_eq!(apply(Some(&base), &patch), Some(target));
            let read_back: Patch = serde_json::from_slice(&patch.to_bytes()).unwrap();
            prop_assert_eq!(read_back, patch);
        }
    }
}
