use std::cmp::Ordering;

use bytes::Bytes;

use super::{
    super::Defects,
    DEEPEST_JSON,
    arena::{Arena, NONE},
};
use crate::{
    canonical::{Key, key_of, write_text},
    quarantine::Reason,
};

/// Places have so many digits, so that their order is the order of their text; a seventh where children are very many.
const PLACE_DIGITS: usize = 6;
const MOST_OF_PLACE_DIGITS: usize = 1_000_000;

/// The canonical bytes of what follows the header, straight from the arena; none without a `Competition` element.
pub(super) fn canonical(arena: &Arena<'_>) -> Result<(Option<Bytes>, Defects), Reason> {
    let mut writer = Writer {
        arena,
        out: Vec::new(),
        members: Vec::new(),
        names: Vec::new(),
        depth: 0,
        defects: Defects::default(),
    };
    let mut child = arena.first_child(Arena::ROOT);
    let mut stands = false;
    while child != NONE {
        stands |= arena.name(child) == "Competition";
        writer.members.push(Member::new(arena.name(child), What::Child(child)));
        child = arena.next(child);
    }
    // Written all the same where it does not stand: doubled attributes make a document wrong.
    writer.object(0)?;
    Ok((stands.then(|| Bytes::from(writer.out)), writer.defects))
}

/// A member of an object to be written. Their order is that of the finished names: `#text`, then attributes that gave way
/// to a child (`@name`), then all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member<'a> {
    rank: Rank,
    name: &'a str,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Text,
    Moved,
    Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Text(u32),
    /// By its element and its place there.
    Attribute(u32, u32),
    Child(u32),
}

impl<'a> Member<'a> {
    const fn new(name: &'a str, what: What) -> Self {
        Self { rank: Rank::Name, name, what }
    }
}

struct Writer<'a> {
    arena: &'a Arena<'a>,
    out: Vec<u8>,
    // Members of the elements that are being written; those of the innermost one are last.
    members: Vec<Member<'a>>,
    // What names the children of the lists that are being written, in the same way.
    names: Vec<(&'a str, u32)>,
    depth: usize,
    defects: Defects,
}

impl<'a> Writer<'a> {
    fn element(&mut self, element: u32) -> Result<(), Reason> {
        let arena = self.arena;
        let base = self.members.len();
        if arena.text(element).next().is_some() {
            self.members.push(Member { rank: Rank::Text, name: "", what: What::Text(element) });
        }
        for (place, attribute) in (0..).zip(arena.attributes(element)) {
            let what = What::Attribute(element, place);
            self.members.push(Member::new(arena.of_input(attribute.name), what));
        }
        let mut child = arena.first_child(element);
        while child != NONE {
            self.members.push(Member::new(arena.name(child), What::Child(child)));
            child = arena.next(child);
        }
        self.object(base)
    }

    // Writes the members from `base` on, and takes them off.
    fn object(&mut self, base: usize) -> Result<(), Reason> {
        self.depth += 1;
        if self.depth > DEEPEST_JSON {
            return Err(Reason::TooComplex);
        }
        self.sort(base)?;
        self.out.push(b'{');
        let begins_at = self.out.len();
        let mut at = base;
        while let Some(member) = self.members.get(at).copied() {
            let mut end = at + 1;
            match member.what {
                What::Text(element) => self.text(element, begins_at),
                What::Attribute(element, place) => self.attribute(member, element, place, begins_at),
                What::Child(_) => {
                    while self.members.get(end).is_some_and(|next| next.name == member.name) {
                        end += 1;
                    }
                    self.name(member, begins_at);
                    self.children(at, end)?;
                }
            }
            at = end;
        }
        self.out.push(b'}');
        self.members.truncate(base);
        self.depth -= 1;
        Ok(())
    }

    fn sort(&mut self, base: usize) -> Result<(), Reason> {
        let Some(members) = self.members.get_mut(base..) else { return Ok(()) };
        members.sort_unstable();
        let mut gives_way = false;
        for index in 1..members.len() {
            if let Some([one, other]) = members.get(index - 1..=index)
                && one.name == other.name
            {
                match (one.what, other.what) {
                    (What::Attribute(..), What::Attribute(..)) => return Err(Reason::NotXml),
                    (What::Attribute(..), What::Child(_)) => gives_way = true,
                    _ => {}
                }
            }
        }
        if gives_way {
            for index in 1..members.len() {
                if let Some([one, other]) = members.get_mut(index - 1..=index)
                    && one.name == other.name
                    && matches!((one.what, other.what), (What::Attribute(..), What::Child(_)))
                {
                    one.rank = Rank::Moved;
                }
            }
            members.sort_unstable();
        }
        Ok(())
    }

    fn name(&mut self, member: Member<'_>, begins_at: usize) {
        if self.out.len() > begins_at {
            self.out.push(b',');
        }
        // A name of XML holds nothing that JSON escapes.
        self.out.push(b'"');
        match member.rank {
            Rank::Text => self.out.extend_from_slice(b"#text"),
            Rank::Moved => self.out.push(b'@'),
            Rank::Name => {}
        }
        self.out.extend_from_slice(member.name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn attribute(&mut self, member: Member<'_>, element: u32, place: u32, begins_at: usize) {
        let arena = self.arena;
        let value = arena.attributes(element).get(place as usize).map_or("", |found| arena.get(found.value));
        if value.is_empty() {
            self.defects.empty_attributes += 1;
            return;
        }
        self.name(member, begins_at);
        write_text(value, &mut self.out);
    }

    fn text(&mut self, element: u32, begins_at: usize) {
        let arena = self.arena;
        let mut pieces = arena.text(element);
        let (first, second) = (pieces.next().unwrap_or_default(), pieces.next());
        let joined;
        let text = if second.is_none() {
            first.trim()
        } else {
            joined = arena.text(element).collect::<String>();
            joined.trim()
        };
        if !text.is_empty() {
            self.name(Member { rank: Rank::Text, name: "", what: What::Text(element) }, begins_at);
            write_text(text, &mut self.out);
        }
    }

    // The children of one name, which are the members from `start` to `end`.
    fn children(&mut self, start: usize, end: usize) -> Result<(), Reason> {
        let Some(first) = self.members.get(start).copied() else { return Ok(()) };
        let key = key_of(first.name);
        if let (None, 1, What::Child(only)) = (key, end - start, first.what) {
            return self.element(only);
        }
        if first.name == "Result" && self.has_doubled_order(start, end) {
            self.defects.doubled_sort_orders += 1;
        }
        self.depth += 1;
        if self.depth > DEEPEST_JSON {
            return Err(Reason::TooComplex);
        }
        self.out.push(b'{');
        if self.put_names(key.unwrap_or(Key::Position), start, end) {
            self.named(self.names.len() - (end - start))?;
        } else {
            self.placed(start, end)?;
        }
        self.out.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn named(&mut self, base: usize) -> Result<(), Reason> {
        let begins_at = self.out.len();
        let mut at = base;
        while let Some((name, child)) = self.names.get(at).copied() {
            at += 1;
            if self.out.len() > begins_at {
                self.out.push(b',');
            }
            write_text(name, &mut self.out);
            self.out.push(b':');
            self.element(child)?;
        }
        self.names.truncate(base);
        Ok(())
    }

    fn placed(&mut self, start: usize, end: usize) -> Result<(), Reason> {
        let digits = PLACE_DIGITS + usize::from(end - start > MOST_OF_PLACE_DIGITS);
        for place in start..end {
            let Some(Member { what: What::Child(child), .. }) = self.members.get(place).copied() else {
                continue;
            };
            let comma = if place > start { "," } else { "" };
            self.out.extend_from_slice(format!("{comma}\"{:0digits$}\":", place - start).as_bytes());
            self.element(child)?;
        }
        Ok(())
    }

    // Puts what names these children, in order; a key that is absent or doubled names nothing, and then none is put.
    fn put_names(&mut self, key: Key, start: usize, end: usize) -> bool {
        let base = self.names.len();
        for place in start..end {
            let Some(Member { what: What::Child(child), .. }) = self.members.get(place) else { continue };
            let name = self.name_of(key, *child);
            if name.is_empty() {
                self.names.truncate(base);
                return false;
            }
            self.names.push((name, *child));
        }
        if self.is_in_order_after_sorting(base) {
            return true;
        }
        self.names.truncate(base);
        false
    }

    // Sorts the names from `base` on; whether each is there once.
    fn is_in_order_after_sorting(&mut self, base: usize) -> bool {
        let Some(names) = self.names.get_mut(base..) else { return false };
        names.sort_unstable();
        names
            .windows(2)
            .all(|pair| matches!(pair, [(one, _), (other, _)] if one.cmp(other) == Ordering::Less))
    }

    fn name_of(&self, key: Key, element: u32) -> &'a str {
        let arena = self.arena;
        match key {
            Key::Attribute(attribute) => arena.attribute(element, attribute).unwrap_or_default(),
            Key::OfChild(child, attribute) => {
                let mut only = None;
                let mut at = arena.first_child(element);
                while at != NONE {
                    if arena.name(at) == child {
                        if only.is_some() {
                            return "";
                        }
                        only = Some(at);
                    }
                    at = arena.next(at);
                }
                only.and_then(|only| arena.attribute(only, attribute)).unwrap_or_default()
            }
            Key::Position => "",
        }
    }

    fn has_doubled_order(&mut self, start: usize, end: usize) -> bool {
        let base = self.names.len();
        for place in start..end {
            if let Some(Member { what: What::Child(child), .. }) = self.members.get(place)
                && let Some(order) = self.arena.attribute(*child, "SortOrder")
            {
                self.names.push((order, 0));
            }
        }
        let is_doubled = !self.is_in_order_after_sorting(base);
        self.names.truncate(base);
        is_doubled
    }
}
