//! ODF2 as XML 1.0. A document type declaration is refused and the five predefined entities are the only ones, so that
//! nothing grows while it is read; depth, attributes and nodes have bounds.

use std::collections::BTreeMap;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesDecl, BytesRef, BytesStart, Event},
};

use super::Decoded;
use crate::{
    canonical::{Children, Node},
    document_type::DocumentType,
    header::Header,
    quarantine::Reason,
};

/// Deepest nesting of elements.
const DEEPEST: usize = 64;
/// Most attributes of an element.
const WIDEST: usize = 256;
/// Most elements and attributes of a document.
const MOST_NODES: usize = 2_000_000;
/// Deepest nesting of the canonical JSON: a reader's default limit is 128 (children that repeat add a level).
const DEEPEST_JSON: usize = 120;

/// Reads a document.
///
/// # Errors
/// The reason for its quarantine.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Reason> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotXml)?;
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(|_| Reason::NotXml)? {
            Event::Start(tag) => {
                tree.open(&tag)?;
                if tree.is_header_of_pictures() {
                    break;
                }
            }
            Event::Empty(tag) => {
                tree.open(&tag)?;
                tree.close();
            }
            Event::End(_) => tree.close(),
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => tree.text(&resolve(&reference)?)?,
            Event::Decl(declaration) => check_encoding(&declaration)?,
            Event::DocType(_) => return Err(Reason::Doctype),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    tree.finish()
}

#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    nodes: usize,
}

#[derive(Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, Node>,
    children: Children,
    text: String,
}

impl Tree {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), Reason> {
        if self.open.len() >= DEEPEST {
            return Err(Reason::TooComplex);
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(Reason::NotXml);
        }
        let attributes = attributes(tag)?;
        self.nodes += 1 + attributes.len();
        if self.nodes > MOST_NODES {
            return Err(Reason::TooComplex);
        }
        self.open.push(Element {
            name: tag.name().into_inner().to_owned(),
            attributes,
            ..Element::default()
        });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Reason> {
        check_characters(text)?;
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(Reason::NotXml),
        }
        Ok(())
    }

    // The reader has checked that this end belongs to the last start.
    fn close(&mut self) {
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => {
                let name = element.name.clone();
                parent.children.push(&name, element.settle());
            }
            None => self.root = Some(element),
        }
    }

    // PDF and PIC carry megabytes of base64 that nobody reads in a canonical document.
    fn is_header_of_pictures(&mut self) -> bool {
        let [root, competition] = self.open.as_slice() else { return false };
        let document_type = match root.attributes.get("DocumentType") {
            Some(Node::Text(name)) => name.parse::<DocumentType>().map(DocumentType::name),
            _ => return false,
        };
        let is_picture = matches!(document_type, Ok("DT_PDF" | "DT_PIC" | "DT_IMAGE" | "DT_AUDIO"));
        if !is_picture || competition.name != "Competition" {
            return false;
        }
        self.close();
        self.close();
        true
    }

    fn finish(self) -> Result<Decoded, Reason> {
        if !self.open.is_empty() {
            return Err(Reason::NotXml);
        }
        let root = self.root.ok_or(Reason::NotXml)?;
        if root.name != "OdfBody" {
            return Err(Reason::HeaderMissing("OdfBody"));
        }
        let header = Header::of(&root.attributes)?;
        let mut members = BTreeMap::new();
        root.children.settle_into(&mut members);
        let body = members.contains_key("Competition").then_some(Node::Object(members));
        if body.as_ref().is_some_and(|body| depth(body) > DEEPEST_JSON) {
            return Err(Reason::TooComplex);
        }
        Ok(Decoded { header, body })
    }
}

impl Element {
    fn settle(self) -> Node {
        let mut members = self.attributes;
        self.children.settle_into(&mut members);
        let text = self.text.trim();
        if !text.is_empty() {
            members.insert("#text".to_owned(), Node::Text(text.to_owned()));
        }
        Node::Object(members)
    }
}

// The library's own check for doubled attributes is quadratic; the map's is not. Empty means absent.
fn attributes(tag: &BytesStart<'_>) -> Result<BTreeMap<String, Node>, Reason> {
    let mut read = BTreeMap::new();
    for (count, attribute) in tag.attributes().with_checks(false).enumerate() {
        if count >= WIDEST {
            return Err(Reason::TooComplex);
        }
        let attribute = attribute.map_err(|_| Reason::NotXml)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| Reason::NotXml)?;
        check_characters(&value)?;
        if read.insert(attribute.key.into_inner().to_owned(), Node::Text(value.into_owned())).is_some() {
            return Err(Reason::NotXml);
        }
    }
    read.retain(|_, value| !matches!(value, Node::Text(text) if text.is_empty()));
    Ok(read)
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, Reason> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| Reason::NotXml)? {
        return Ok(character.to_string());
    }
    let text = match &**reference {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "apos" => "'",
        "quot" => "\"",
        _ => return Err(Reason::NotXml),
    };
    Ok(text.to_owned())
}

fn check_encoding(declaration: &BytesDecl<'_>) -> Result<(), Reason> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => {
            Ok(())
        }
        Some(_) => Err(Reason::NotXml),
    }
}

// XML 1.0 section 2.2: `Char`. PostgreSQL takes no U+0000 in text either.
fn check_characters(text: &str) -> Result<(), Reason> {
    let forbidden = |character: char| matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(forbidden) { Err(Reason::NotXml) } else { Ok(()) }
}

// Bounded by twice the depth of the elements.
fn depth(node: &Node) -> usize {
    match node {
        Node::Text(_) => 0,
        Node::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "odf_tests.rs"]
mod tests;
