//! Merge patches straight from canonical bytes: no tree is built of either document.

use std::{borrow::Cow, cmp::Ordering};

use bytes::Bytes;

/// What changed from one canonical document to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A JSON merge patch (RFC 7396), in canonical form but for its nulls.
    pub patch: Bytes,
    /// Whether a change lies at or below a member `Note`.
    pub changes_notes: bool,
}

impl Difference {
    /// Compares canonical bytes, in time linear in their lengths; none where one is not canonical.
    #[must_use]
    pub fn between(base: &[u8], target: &[u8]) -> Option<Self> {
        let (mut base, mut target) = (Reader::over(base), Reader::over(target));
        let mut writer = Writer::default();
        objects(&mut base, &mut target, &mut writer, false)?;
        (base.is_at_end() && target.is_at_end())
            .then(|| Self { patch: Bytes::from(writer.out), changes_notes: writer.changes_notes })
    }
}

const NOTE: &[u8] = b"Note";

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    changes_notes: bool,
}

impl Writer {
    fn name(&mut self, name: &[u8]) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b"\":");
    }

    fn value(&mut self, name: &[u8], value: &[u8], is_below_notes: bool) {
        self.name(name);
        self.out.extend_from_slice(value);
        // The quotes make it a member's name: within a text they are escaped.
        self.changes_notes |= is_below_notes
            || name == NOTE
            || !self.changes_notes && value.windows(7).any(|part| part == b"\"Note\":");
    }
}

// Both stand before an object. Its members are in the order of their names.
fn objects(
    base: &mut Reader<'_>,
    target: &mut Reader<'_>,
    writer: &mut Writer,
    is_below_notes: bool,
) -> Option<()> {
    base.open()?;
    target.open()?;
    writer.out.push(b'{');
    let (mut old, mut new) = (base.name()?, target.name()?);
    loop {
        let order = match (old, new) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => compare(old, new)?,
        };
        match (order, old, new) {
            (Ordering::Less, Some(name), _) => {
                base.value()?;
                writer.value(name, b"null", is_below_notes);
                old = base.next_name()?;
            }
            (Ordering::Greater, _, Some(name)) => {
                writer.value(name, target.value()?, is_below_notes);
                new = target.next_name()?;
            }
            (_, Some(name), Some(_)) => {
                members(name, base, target, writer, is_below_notes)?;
                (old, new) = (base.next_name()?, target.next_name()?);
            }
            _ => return None,
        }
    }
    writer.out.push(b'}');
    Some(())
}

fn members(
    name: &[u8],
    base: &mut Reader<'_>,
    target: &mut Reader<'_>,
    writer: &mut Writer,
    is_below_notes: bool,
) -> Option<()> {
    if base.is_at_object() && target.is_at_object() {
        let before = writer.out.len();
        writer.name(name);
        let inside = writer.out.len();
        objects(base, target, writer, is_below_notes || name == NOTE)?;
        // Nothing but the braces: the two are equal.
        if writer.out.len() == inside + 2 {
            writer.out.truncate(before);
        }
        return Some(());
    }
    let (old, new) = (base.value()?, target.value()?);
    if old != new {
        writer.value(name, new, is_below_notes);
    }
    Some(())
}

// The order of the names themselves, which escapes would change.
fn compare(one: &[u8], other: &[u8]) -> Option<Ordering> {
    if one == other {
        return Some(Ordering::Equal);
    }
    if !one.contains(&b'\\') && !other.contains(&b'\\') {
        return Some(one.cmp(other));
    }
    Some(unescaped(one)?.cmp(&unescaped(other)?))
}

fn unescaped(name: &[u8]) -> Option<Cow<'static, str>> {
    let quoted = [b"\"", name, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).ok().map(Cow::Owned)
}

/// A place in canonical bytes: JSON of objects and strings without blanks.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn over(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn is_at_object(&self) -> bool {
        self.peek() == Some(b'{')
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn open(&mut self) -> Option<()> {
        self.expect(b'{')
    }

    // The first member's name; none, past the brace, where the object is empty.
    fn name(&mut self) -> Option<Option<&'a [u8]>> {
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(None);
        }
        let name = self.text()?;
        self.expect(b':')?;
        Some(Some(name))
    }

    // The name of the member behind a value; none, past the brace, where there is none.
    fn next_name(&mut self) -> Option<Option<&'a [u8]>> {
        if self.peek()? == b',' {
            self.at += 1;
            if self.peek()? == b'}' {
                return None;
            }
        }
        self.name()
    }

    // What lies between the quotes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let at = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\')?;
            self.at += at + 1;
            if rest.get(at) == Some(&b'"') {
                return self.bytes.get(start..self.at - 1);
            }
            self.at += 1;
        }
    }

    // A whole value.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.text()?;
                }
                b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b':' | b',' if depth > 0 => self.at += 1,
                _ => return None,
            }
            if depth == 0 {
                return self.bytes.get(start..self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{canonical::Node, merge_patch};

    fn between(base: &str, target: &str) -> Option<(String, bool)> {
        let difference = Difference::between(base.as_bytes(), target.as_bytes())?;
        Some((String::from_utf8(difference.patch.to_vec()).unwrap(), difference.changes_notes))
    }

    fn patch(base: &str, target: &str) -> String {
        between(base, target).unwrap().0
    }

    #[test]
    fn a_patch_holds_only_what_changed() {
        assert_eq!(
            patch(r#"{"a":{"x":"1","y":"2"},"b":"3"}"#, r#"{"a":{"x":"1","y":"4"}}"#),
            r#"{"a":{"y":"4"},"b":null}"#
        );
        assert_eq!(patch(r#"{"a":{"x":{}}}"#, r#"{"a":{"x":{}}}"#), "{}");
        assert_eq!(patch("{}", r#"{"a":{"x":{}}}"#), r#"{"a":{"x":{}}}"#);
        assert_eq!(patch(r#"{"a":"1"}"#, r#"{"a":{}}"#), r#"{"a":{}}"#);
        assert_eq!(patch(r#"{"a":{"b":"1"}}"#, r#"{"a":"1"}"#), r#"{"a":"1"}"#);
    }

    #[test]
    fn changed_notes_are_seen_wherever_they_are() {
        let notes = |base: &str, target: &str| between(base, target).unwrap().1;
        let one = r#"{"C":{"Note":{"000000":{"Value":"x"}}}}"#;
        assert!(notes(one, r#"{"C":{"Note":{"000000":{"Value":"y"}}}}"#));
        assert!(notes(one, r#"{"C":{}}"#));
        assert!(notes("{}", one));
        assert!(!notes(one, one));
        assert!(!notes(r#"{"A":"1","Note":"x"}"#, r#"{"A":"\"Note\":","Note":"x"}"#));
    }

    #[test]
    fn what_is_not_canonical_gives_none() {
        for wrong in [
            "",
            "{",
            "[]",
            "{\"a\"}",
            "{\"a\":1}",
            "{\"a\":\"1\",}",
            "{}{}",
            "{\"a\":{}",
            "{\"a\":\"1\\",
            "\"a\"",
        ] {
            assert_eq!(between("{}", wrong), None, "{wrong}");
            assert_eq!(between(wrong, "{\"a\":\"2\"}"), None, "{wrong}");
        }
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let text = || "[a-b\"\\\\\u{1}é]{0,2}";
        let leaf = prop_oneof![text().prop_map(Node::Text), Just(Node::empty())];
        leaf.prop_recursive(4, 40, 4, move |inner| {
            let names = prop_oneof!["[a-b\"\\\\\u{1}!é]{1,2}", Just("Note".to_owned())];
            proptest::collection::btree_map(names, inner, 0..4).prop_map(Node::Object)
        })
    }

    fn documents() -> impl Strategy<Value = Node> {
        nodes().prop_map(|node| Node::Object([("a".to_owned(), node)].into()))
    }

    proptest! {
        #[test]
        fn it_is_what_the_trees_say(base in documents(), target in documents()) {
            let expected = merge_patch::diff(&base, &target);
            let found = Difference::between(&base.to_bytes(), &target.to_bytes()).unwrap();
            prop_assert_eq!(&found.patch[..], &expected.to_bytes()[..]);
            prop_assert_eq!(found.changes_notes, expected.touches("Note"));
        }

        #[test]
        fn no_bytes_make_it_panic(base in "[{}\"a:,\\\\]{0,12}", target in "[{}\"a:,\\\\]{0,12}") {
            let _ = Difference::between(base.as_bytes(), target.as_bytes());
        }
    }
}
