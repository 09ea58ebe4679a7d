use std::fmt::Write;

/// Writes elements and attributes; what is written is well-formed whatever the texts hold.
#[derive(Debug, Default)]
pub struct Xml {
    text: String,
    open: Vec<&'static str>,
    is_in_tag: bool,
}

impl Xml {
    /// Begins an element within the one that is open.
    pub fn begin(&mut self, name: &'static str) -> &mut Self {
        self.end_tag();
        self.text.push('<');
        self.text.push_str(name);
        self.open.push(name);
        self.is_in_tag = true;
        self
    }

    /// An attribute of the element that was begun last; an empty one is absent (ODF Foundation Principles 6.7).
    pub fn attribute(&mut self, name: &str, value: &str) -> &mut Self {
        if self.is_in_tag && !value.is_empty() {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
        }
        self
    }

    /// As [`Xml::attribute`], for numbers.
    pub fn number(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.attribute(name, &value.to_string())
    }

    /// Ends the element that was begun last.
    pub fn end(&mut self) -> &mut Self {
        let Some(name) = self.open.pop() else { return self };
        if self.is_in_tag {
            self.text.push_str("/>");
            self.is_in_tag = false;
        } else {
            // Writing to a string has no way to fail.
            let _ = write!(self.text, "</{name}>");
        }
        self
    }

    /// Puts in what another writer wrote.
    pub fn inside(&mut self, written: &str) -> &mut Self {
        if !written.is_empty() {
            self.end_tag();
            self.text.push_str(written);
        }
        self
    }

    /// Everything, with what is still open ended.
    #[must_use]
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.text
    }

    fn end_tag(&mut self) {
        if self.is_in_tag {
            self.text.push('>');
            self.is_in_tag = false;
        }
    }
}

// XML 1.0 sections 2.2 and 2.4: what is no `Char` is left out, and a line break in an attribute is kept by its number.
fn escape(into: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\t' => into.push_str("&#9;"),
            '\n' => into.push_str("&#10;"),
            '\r' => into.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::{Reader, XmlVersion, events::Event};

    use super::*;

    #[test]
    fn elements_nest_and_empty_attributes_are_absent() {
        let mut xml = Xml::default();
        xml.begin("a").attribute("x", "").attribute("y", "1").begin("b").end().begin("c").number("n", 3);
        assert_eq!(xml.finish(), r#"<a y="1"><b/><c n="3"/></a>"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[\\t\\n -\\u{d7ff}]{1,40}") {
            let mut xml = Xml::default();
            xml.begin("a").attribute("v", &text);
            let written = xml.finish();
            let Event::Empty(tag) = Reader::from_str(&written).read_event().unwrap() else { panic!("{written}") };
            let attribute = tag.attributes().next().unwrap().unwrap();
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned();
            prop_assert_eq!(value, text);
        }
    }
}
