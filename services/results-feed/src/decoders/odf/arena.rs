use super::{MOST_NODES, WIDEST, attributes};
use crate::quarantine::Reason;

/// No element, no piece of text.
pub(super) const NONE: u32 = u32::MAX;
// Marks a span over the arena's own text: inputs are far shorter.
const OWN: u32 = 1 << 31;

/// A piece of text: of the input, or of what had to be resolved. 8 bytes where a string has 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

/// An attribute with its resolved value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute {
    pub(super) name: Span,
    pub(super) value: Span,
}

#[derive(Debug, Clone, Copy)]
struct Element {
    name: Span,
    first_attribute: u32,
    attributes: u32,
    first_child: u32,
    next: u32,
    first_piece: u32,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    span: Span,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    element: u32,
    last_child: u32,
    last_piece: u32,
}

/// The elements of a document in the order of their starts, as spans over the input.
#[derive(Debug)]
pub(super) struct Arena<'a> {
    input: &'a str,
    resolved: String,
    elements: Vec<Element>,
    attributes: Vec<Attribute>,
    pieces: Vec<Piece>,
    open: Vec<Open>,
}

#[expect(clippy::cast_possible_truncation, reason = "an input has at most 32 MiB")]
const fn short(number: usize) -> u32 {
    number as u32
}

impl<'a> Arena<'a> {
    /// The element that was opened first.
    pub(super) const ROOT: u32 = 0;

    /// Empty, over an input.
    pub(super) fn over(input: &'a str) -> Self {
        // About what documents have: an element in 60 bytes, an attribute in 20.
        let (elements, attributes) = (input.len() / 60 + 4, input.len() / 20 + 4);
        Self {
            input,
            resolved: String::new(),
            elements: Vec::with_capacity(elements.min(MOST_NODES)),
            attributes: Vec::with_capacity(attributes.min(MOST_NODES)),
            pieces: Vec::new(),
            open: Vec::with_capacity(8),
        }
    }

    /// Opens an element; `tag` is its name of `name` bytes and what follows.
    pub(super) fn open(&mut self, tag: &str, name: usize) -> Result<(), Reason> {
        let own = tag.get(..name).filter(|name| attributes::is_name(name.as_bytes()));
        let name_span = self.span(own.ok_or(Reason::NotXml)?);
        let begins_at = self.place_behind(tag) - (tag.len() - name);
        let first_attribute = self.attributes.len();
        let scan = attributes::Scan::new(tag.as_bytes().get(name..).unwrap_or_default());
        self.add_attributes(scan, begins_at)?;
        let attributes = self.attributes.len() - first_attribute;
        if self.elements.len() + 1 + self.attributes.len() > MOST_NODES {
            return Err(Reason::TooComplex);
        }
        let index = short(self.elements.len());
        self.elements.push(Element {
            name: name_span,
            first_attribute: short(first_attribute),
            attributes: short(attributes),
            first_child: NONE,
            next: NONE,
            first_piece: NONE,
        });
        if let Some(parent) = self.open.last_mut() {
            let link = if parent.last_child == NONE {
                self.elements.get_mut(parent.element as usize).map(|element| &mut element.first_child)
            } else {
                self.elements.get_mut(parent.last_child as usize).map(|element| &mut element.next)
            };
            if let Some(link) = link {
                *link = index;
            }
            parent.last_child = index;
        }
        self.open.push(Open { element: index, last_child: NONE, last_piece: NONE });
        Ok(())
    }

    fn add_attributes(&mut self, mut scan: attributes::Scan<'_>, begins_at: usize) -> Result<(), Reason> {
        let mut count = 0;
        while let Some(found) = scan.next()? {
            count += 1;
            if count > WIDEST {
                return Err(Reason::TooComplex);
            }
            let at = |range: &std::ops::Range<usize>| Span {
                start: short(begins_at + range.start),
                length: short(range.len()),
            };
            let (name, mut value) = (at(&found.name), at(&found.value));
            if !found.is_plain {
                let raw = self.of_input(value);
                let start = self.resolved.len();
                super::text::resolve_value(raw, &mut self.resolved)?;
                value = self.own(start);
            }
            self.attributes.push(Attribute { name, value });
        }
        Ok(())
    }

    /// Closes the element that was opened last.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    /// Adds text to the element that is open. Blanks before the first text are left out.
    pub(super) fn add_text(&mut self, content: &str) {
        let Some(open) = self.open.last().copied() else { return };
        if open.last_piece == NONE && content.trim_start().is_empty() {
            return;
        }
        let start = self.resolved.len();
        let span = self.span(content);
        // What was resolved just before goes on: a row of references is one piece.
        if let Some(last) = self.pieces.get_mut(open.last_piece as usize)
            && span.start & OWN != 0
            && last.span.start & OWN != 0
            && (last.span.start & !OWN) + last.span.length == short(start)
        {
            last.span.length += span.length;
            return;
        }
        let index = short(self.pieces.len());
        self.pieces.push(Piece { span, next: NONE });
        if open.last_piece == NONE {
            if let Some(element) = self.elements.get_mut(open.element as usize) {
                element.first_piece = index;
            }
        } else if let Some(last) = self.pieces.get_mut(open.last_piece as usize) {
            last.next = index;
        }
        if let Some(open) = self.open.last_mut() {
            open.last_piece = index;
        }
    }

    /// Elements that are open.
    pub(super) const fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether an element is open.
    pub(super) const fn is_inside(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether the root was opened, and perhaps closed.
    pub(super) const fn has_root(&self) -> bool {
        !self.elements.is_empty()
    }

    /// An element's name.
    pub(super) fn name(&self, element: u32) -> &'a str {
        self.elements.get(element as usize).map_or("", |element| self.of_input(element.name))
    }

    /// An element's attributes, empty ones too.
    pub(super) fn attributes(&self, element: u32) -> &[Attribute] {
        let Some(element) = self.elements.get(element as usize) else { return &[] };
        let first = element.first_attribute as usize;
        self.attributes.get(first..first + element.attributes as usize).unwrap_or_default()
    }

    /// An attribute that is there and not empty.
    pub(super) fn attribute(&self, element: u32, name: &str) -> Option<&str> {
        let found =
            self.attributes(element).iter().find(|attribute| self.of_input(attribute.name) == name)?;
        Some(self.get(found.value)).filter(|value| !value.is_empty())
    }

    /// The first child of an element, or [`NONE`].
    pub(super) fn first_child(&self, element: u32) -> u32 {
        self.elements.get(element as usize).map_or(NONE, |element| element.first_child)
    }

    /// The element behind this one in the same parent, or [`NONE`].
    pub(super) fn next(&self, element: u32) -> u32 {
        self.elements.get(element as usize).map_or(NONE, |element| element.next)
    }

    /// The pieces of an element's text.
    pub(super) fn text(&self, element: u32) -> impl Iterator<Item = &str> {
        let mut at = self.elements.get(element as usize).map_or(NONE, |element| element.first_piece);
        std::iter::from_fn(move || {
            let piece = self.pieces.get(at as usize)?;
            at = piece.next;
            Some(self.get(piece.span))
        })
    }

    /// Whether an element has two attributes of one name.
    pub(super) fn has_doubled_attribute(&self, element: u32) -> bool {
        let mut names: Vec<&str> =
            self.attributes(element).iter().map(|attribute| self.of_input(attribute.name)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
    }

    /// The text of a span.
    pub(super) fn get(&self, span: Span) -> &str {
        let (whole, start) = if span.start & OWN == 0 {
            (self.input, span.start)
        } else {
            (&*self.resolved, span.start & !OWN)
        };
        whole.get(start as usize..(start + span.length) as usize).unwrap_or_default()
    }

    /// The text of a span that is never resolved, as a name.
    pub(super) fn of_input(&self, span: Span) -> &'a str {
        self.input.get(span.start as usize..(span.start + span.length) as usize).unwrap_or_default()
    }

    /// Where a slice of the input ends in it; 0 for another text.
    pub(super) fn place_behind(&self, piece: &str) -> usize {
        self.place_of(piece).map_or(0, |start| start + piece.len())
    }

    fn place_of(&self, piece: &str) -> Option<usize> {
        let start = piece.as_ptr().addr().checked_sub(self.input.as_ptr().addr())?;
        (start + piece.len() <= self.input.len()).then_some(start)
    }

    fn span(&mut self, piece: &str) -> Span {
        if let Some(start) = self.place_of(piece) {
            return Span { start: short(start), length: short(piece.len()) };
        }
        let start = self.resolved.len();
        self.resolved.push_str(piece);
        self.own(start)
    }

    fn own(&self, start: usize) -> Span {
        Span { start: short(start) | OWN, length: short(self.resolved.len() - start) }
    }
}
