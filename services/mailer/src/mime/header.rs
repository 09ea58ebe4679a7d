//! Header lines: RFC 5322 folding, RFC 2047 encoded words for what is not plain ASCII.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest encoded word (RFC 2047 2).
const WORD: usize = 75;
/// Bytes of text that fit one encoded word: `=?UTF-8?B??=` takes 12.
const WORD_BYTES: usize = (WORD - 12) / 4 * 3;
/// Where a line is folded (RFC 5322 2.1.1).
const LINE: usize = 76;

/// Why a header cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A line break or another control character: it could begin a header of its own.
    #[error("{name} must not hold a line break or another control character")]
    Control {
        /// Of which header.
        name: &'static str,
    },
    /// An address that has no form on the wire.
    #[error("the address cannot be mailed")]
    Address,
}

/// A header of free text.
///
/// # Errors
/// A control character in the value.
pub fn unstructured(name: &'static str, value: &str) -> Result<String, HeaderError> {
    check(name, value)?;
    let start = format!("{name}: ");
    if is_plain(value) {
        return Ok(fold(&start, value.split(' ')));
    }
    Ok(fold(&start, encoded_words(value).iter().map(String::as_str)))
}

/// A header whose value is made by us, and stays as it is.
///
/// # Errors
/// A control character in the value, or a letter beyond ASCII.
pub fn structured(name: &'static str, value: &str) -> Result<String, HeaderError> {
    check(name, value)?;
    if !value.is_ascii() {
        return Err(HeaderError::Control { name });
    }
    Ok(format!("{name}: {value}"))
}

/// A header of one mailbox, with or without a name; the address is in its wire form.
///
/// # Errors
/// A control character in either.
pub fn mailbox(name: &'static str, display: &str, address: &str) -> Result<String, HeaderError> {
    check(name, display)?;
    check(name, address)?;
    let address = format!("<{address}>");
    let start = format!("{name}: ");
    if display.is_empty() {
        return Ok(format!("{start}{address}"));
    }
    if is_plain(display) && display.len() <= LINE {
        let quoted = display.replace('\\', "\\\\").replace('"', "\\\"");
        return Ok(fold(&start, [format!("\"{quoted}\"").as_str(), &address].into_iter()));
    }
    let words = encoded_words(display);
    Ok(fold(&start, words.iter().map(String::as_str).chain([address.as_str()])))
}

fn check(name: &'static str, value: &str) -> Result<(), HeaderError> {
    if value.chars().any(char::is_control) { Err(HeaderError::Control { name }) } else { Ok(()) }
}

// Plain text is left alone; what looks like an encoded word is encoded, else a reader would decode it. A word that is
// longer than a line could not be folded, and folding eats spaces at the ends.
fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && !value.contains("=?")
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        && !value.contains("  ")
        && value.split(' ').all(|word| word.len() < LINE)
}

// Each word holds whole characters (RFC 2047 5).
fn encoded_words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chunk = String::new();
    for letter in value.chars() {
        if chunk.len() + letter.len_utf8() > WORD_BYTES {
            words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&chunk)));
            chunk.clear();
        }
        chunk.push(letter);
    }
    words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(&chunk)));
    words
}

fn fold<'a>(start: &str, words: impl Iterator<Item = &'a str>) -> String {
    let mut out = start.trim_end().to_owned();
    let mut length = out.len();
    for word in words {
        if length + 1 + word.len() > LINE {
            out.push_str("\r\n");
            length = 0;
        }
        out.push(' ');
        out.push_str(word);
        length += 1 + word.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_readable_and_folds_at_spaces() {
        assert_eq!(unstructured("Subject", "News of July").unwrap(), "Subject: News of July");
        let long = unstructured("Subject", "word ".repeat(40).trim_end()).unwrap();
        assert!(long.split("\r\n").all(|line| line.len() <= LINE), "{long}");
        assert_eq!(long.replace("\r\n", ""), format!("Subject: {}", "word ".repeat(40).trim_end()));
    }

    #[test]
    fn what_looks_encoded_is_encoded_again() {
        assert!(unstructured("Subject", "=?UTF-8?Q?x?=").unwrap().starts_with("Subject: =?UTF-8?B?"));
    }

    #[test]
    fn a_display_name_cannot_leave_its_quotes() {
        let line = mailbox("From", "Eve\" <eve@example.org>, \"x", "news@example.org").unwrap();
        assert_eq!(line, "From: \"Eve\\\" <eve@example.org>, \\\"x\" <news@example.org>");
    }
}
