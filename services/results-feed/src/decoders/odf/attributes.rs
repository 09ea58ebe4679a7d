use std::ops::Range;

use crate::quarantine::Reason;

const NAME_START: u8 = 1;
const NAME: u8 = 2;
const BLANK: u8 = 4;
// In a value: it has to be resolved or normalised.
const SPECIAL: u8 = 8;
// In a value: it ends it, or must not be there.
const STOP: u8 = 16;

// What each byte may be, so that a tag is read in one pass. Bytes of other scripts are letters (XML 1.0 section 2.3,
// which leaves out a few signs that nobody uses in names).
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii() {
            class |= NAME_START | NAME;
        }
        if byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b':') {
            class |= NAME;
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            class |= BLANK;
        }
        if matches!(byte, b'&' | b'\t' | b'\n' | b'\r') {
            class |= SPECIAL;
        }
        if matches!(byte, b'"' | b'\'' | b'<') {
            class |= STOP;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether it is a name of XML. A colon comes in the middle only.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| is(*byte, NAME_START)) && name.iter().all(|byte| is(*byte, NAME))
}

/// An attribute as ranges of the scanned text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: Range<usize>,
    /// Between the quotes.
    pub(super) value: Range<usize>,
    /// Whether the value stands for itself, without references and blanks that are normalised.
    pub(super) is_plain: bool,
}

/// The attributes of a tag, one after the other. Doubled ones are not found here.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// Over what follows a tag's name.
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The next one; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Reason> {
        let from = self.at;
        self.pass_over(BLANK);
        if self.at == self.text.len() {
            return Ok(None);
        }
        // A blank comes before each (XML 1.0, production 40).
        let begins = self.text.get(self.at).is_some_and(|byte| is(*byte, NAME_START));
        if self.at == from || !begins {
            return Err(Reason::NotXml);
        }
        let start = self.at;
        self.pass_over(NAME);
        let name = start..self.at;
        self.pass_over(BLANK);
        self.expect(b'=')?;
        self.pass_over(BLANK);
        let quote = match self.text.get(self.at) {
            Some(byte @ (b'"' | b'\'')) => *byte,
            _ => return Err(Reason::NotXml),
        };
        self.at += 1;
        let (value, is_plain) = self.value(quote)?;
        Ok(Some(Found { name, value, is_plain }))
    }

    fn value(&mut self, quote: u8) -> Result<(Range<usize>, bool), Reason> {
        let start = self.at;
        let mut is_plain = true;
        let rest = self.text.get(start..).unwrap_or_default();
        for (at, byte) in rest.iter().enumerate() {
            if !is(*byte, SPECIAL | STOP) {
                continue;
            }
            if *byte == quote {
                self.at = start + at + 1;
                return Ok((start..start + at, is_plain));
            }
            if *byte == b'<' {
                return Err(Reason::NotXml);
            }
            is_plain &= !is(*byte, SPECIAL);
        }
        Err(Reason::NotXml)
    }

    fn pass_over(&mut self, class: u8) {
        while self.text.get(self.at).is_some_and(|byte| is(*byte, class)) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Reason> {
        if self.text.get(self.at) != Some(&byte) {
            return Err(Reason::NotXml);
        }
        self.at += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Result<Vec<(&str, &str, bool)>, Reason> {
        let mut scan = Scan::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(found) = scan.next()? {
            all.push((&text[found.name], &text[found.value], found.is_plain));
        }
        Ok(all)
    }

    #[test]
    fn names_and_values_are_ranges_of_the_tag() {
        assert_eq!(
            scanned(" A=\"1\"\n x:b-2 = '\"' é=\"a&amp;b\" ").unwrap(),
            [("A", "1", true), ("x:b-2", "\"", true), ("é", "a&amp;b", false)]
        );
        assert_eq!(scanned("").unwrap(), []);
        assert_eq!(scanned(" A=\"a\nb\"").unwrap(), [("A", "a\nb", false)]);
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        for text in [
            "A=\"1\"",
            " A",
            " A=",
            " A=1",
            " A=\"1",
            " A=\"1\"B=\"2\"",
            " 1=\"1\"",
            " A=\"<\"",
            " @A=\"1\"",
            " :a=\"\"",
        ] {
            assert_eq!(scanned(text), Err(Reason::NotXml), "{text}");
        }
    }
}
