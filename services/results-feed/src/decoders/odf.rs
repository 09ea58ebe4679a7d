//! ODF2 as XML 1.0. A document type declaration is refused and the five predefined entities are the only ones, so that
//! nothing grows while it is read; depth, attributes and nodes have bounds.
//!
//! The hot path copies no text: quick-xml's events become spans over the input, and those are written as canonical bytes.

mod arena;
mod attributes;
mod text;
mod write;

use aws_lc_rs::digest;
use bytes::Bytes;
use quick_xml::{
    Reader,
    events::{BytesDecl, Event},
};

use self::arena::Arena;
use super::{Decoded, Defects, gzip};
use crate::{canonical::Body, header::Header, quarantine::Reason};

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
    if bytes.len() > gzip::LONGEST {
        return Err(Reason::TooComplex);
    }
    let input = std::str::from_utf8(bytes).map_err(|_| Reason::NotXml)?;
    if text::holds_forbidden_characters(bytes) {
        return Err(Reason::NotXml);
    }
    let mut document = Document::over(input);
    document.read()?;
    document.finish()
}

struct Document<'a> {
    input: &'a str,
    arena: Arena<'a>,
    // Elements that are open and not kept, since only the header of this document is read.
    skipped: usize,
    is_header_only: bool,
    has_competition: bool,
    header_ends_at: usize,
}

impl<'a> Document<'a> {
    fn over(input: &'a str) -> Self {
        let arena = Arena::over(input);
        Self { input, arena, skipped: 0, is_header_only: false, has_competition: false, header_ends_at: 0 }
    }

    fn read(&mut self) -> Result<(), Reason> {
        let mut reader = Reader::from_str(self.input);
        loop {
            match reader.read_event().map_err(|_| Reason::NotXml)? {
                Event::Start(tag) => self.open(&tag, tag.name().as_ref().len())?,
                Event::Empty(tag) => {
                    self.open(&tag, tag.name().as_ref().len())?;
                    self.close();
                }
                Event::End(_) => self.close(),
                Event::Text(text) if self.skipped == 0 => self.text(&text.xml10_content())?,
                Event::CData(text) if self.arena.is_inside() => self.text(&text.xml10_content())?,
                Event::GeneralRef(reference) if self.arena.is_inside() => {
                    let mut character = [0; 4];
                    self.text(text::resolve(&reference)?.encode_utf8(&mut character))?;
                }
                Event::CData(_) | Event::GeneralRef(_) => return Err(Reason::NotXml),
                Event::Decl(declaration) => check_encoding(&declaration)?,
                Event::DocType(_) => return Err(Reason::Doctype),
                Event::Text(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return Ok(()),
            }
        }
    }

    fn open(&mut self, tag: &str, name: usize) -> Result<(), Reason> {
        if self.arena.depth() + self.skipped >= DEEPEST {
            return Err(Reason::TooComplex);
        }
        if self.skipped > 0 {
            self.skipped += 1;
            return Ok(());
        }
        let is_root = !self.arena.is_inside();
        if is_root && self.arena.has_root() {
            return Err(Reason::NotXml);
        }
        if self.is_header_only {
            self.has_competition |= tag.get(..name) == Some("Competition");
            self.skipped = 1;
            return Ok(());
        }
        self.arena.open(tag, name)?;
        if is_root {
            if self.arena.has_doubled_attribute(Arena::ROOT) {
                return Err(Reason::NotXml);
            }
            self.is_header_only = Header::is_all_that_is_read(|name| self.arena.attribute(Arena::ROOT, name));
            self.header_ends_at = self.arena.place_behind(tag);
        }
        Ok(())
    }

    // The reader has checked that this end belongs to the last start.
    fn close(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.arena.close();
        }
    }

    fn text(&mut self, content: &str) -> Result<(), Reason> {
        if !self.arena.is_inside() {
            return if content.trim().is_empty() { Ok(()) } else { Err(Reason::NotXml) };
        }
        if self.skipped == 0 {
            self.arena.add_text(content);
        }
        Ok(())
    }

    fn finish(self) -> Result<Decoded, Reason> {
        if self.arena.is_inside() || !self.arena.has_root() {
            return Err(Reason::NotXml);
        }
        if self.arena.name(Arena::ROOT) != "OdfBody" {
            return Err(Reason::HeaderMissing("OdfBody"));
        }
        let header = Header::of(|name| self.arena.attribute(Arena::ROOT, name))?;
        if self.is_header_only {
            let stands = self.has_competition || header.serial.is_some();
            let body = stands.then(|| Body::new(self.fingerprint()));
            return Ok(Decoded { header, body, defects: Defects::default() });
        }
        let (body, defects) = write::canonical(&self.arena)?;
        Ok(Decoded { header, body: body.map(Body::new), defects })
    }

    // What stands for a body that nobody reads: two contents under one version are still told apart. A name with `#`
    // is none of XML's.
    fn fingerprint(&self) -> Bytes {
        let unread = self.input.as_bytes().get(self.header_ends_at..).unwrap_or_default();
        let sha256 = digest::digest(&digest::SHA256, unread);
        let hex: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Bytes::from(format!(r##"{{"Competition":{{"#sha256":"{hex}"}}}}"##))
    }
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

#[cfg(test)]
#[path = "odf_tests.rs"]
mod tests;
