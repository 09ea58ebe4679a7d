//! The writings in which a text may stand in a log or a label.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Shorter pieces would be found in any base64.
const SHORTEST: usize = 6;

/// A text, and how it looks where it cannot be read back from its surroundings.
pub(super) struct Sought {
    plain: String,
    base64: Vec<String>,
    bytes: Vec<String>,
}

impl Sought {
    pub(super) fn new(secret: &str) -> Self {
        let plain = secret.to_lowercase();
        let (mut base64, mut bytes) = (Vec::new(), Vec::new());
        for text in [secret, &plain] {
            for before in 0..3 {
                base64.extend([STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| inside(&engine, before, text)));
            }
            bytes.push(join(text, "", |byte| format!("{byte:02x}")));
            bytes.push(join(text, ",", |byte| byte.to_string()));
            bytes.push(join(text, ", ", |byte| byte.to_string()));
        }
        base64.retain(|form| form.len() >= SHORTEST);
        Self { plain, base64, bytes }
    }
}

fn join(text: &str, between: &str, byte: impl Fn(u8) -> String) -> String {
    text.bytes().map(byte).collect::<Vec<_>>().join(between)
}

// What base64 makes of a text with so many bytes before it, without the letters that depend on its neighbours.
fn inside(engine: &impl Engine, before: usize, text: &str) -> String {
    let mut bytes = vec![0; before];
    bytes.extend(text.bytes());
    let encoded = engine.encode(&bytes);
    let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    encoded.get(from..to).unwrap_or_default().to_owned()
}

/// A text as it stands, and as it reads when each kind of escapes in it is resolved.
pub(super) struct Readings<'a> {
    raw: &'a str,
    lower: String,
    resolved: Vec<(&'static str, String)>,
}

impl<'a> Readings<'a> {
    pub(super) fn of(raw: &'a str) -> Self {
        let mut resolved = Vec::new();
        let mut add = |writing, sign: char, text: &str, resolve: fn(&str) -> String| {
            if text.contains(sign) {
                resolved.push((writing, resolve(text).to_lowercase()));
            }
        };
        add("percent-encoded", '%', raw, percent);
        // An address within an address, as in a redirect.
        add("percent-encoded twice", '%', &percent(raw), percent);
        add("escaped", '\\', raw, backslash);
        // A line of a log that quotes a line of a log.
        add("escaped twice", '\\', &backslash(raw), backslash);
        add("quoted-printable", '=', raw, quoted_printable);
        add("escaped as in HTML", '&', raw, html);
        Self { raw, lower: raw.to_lowercase(), resolved }
    }

    /// The writing in which it is found, if it is.
    pub(super) fn find(&self, sought: &Sought) -> Option<&'static str> {
        if self.lower.contains(&sought.plain) {
            return Some("as it is");
        }
        if sought.base64.iter().any(|form| self.raw.contains(form.as_str())) {
            return Some("in base64");
        }
        if sought.bytes.iter().any(|form| self.lower.contains(form.as_str())) {
            return Some("byte by byte");
        }
        let found = self.resolved.iter().find(|(_, text)| text.contains(&sought.plain));
        found.map(|(writing, _)| *writing)
    }
}

// Bytes of two hexadecimal digits behind a sign; what is not well formed stays.
fn signed_bytes(text: &str, sign: u8, other: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = if *first == sign { after.get(..2).and_then(hex) } else { None };
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = &after[2..];
        } else if let Some((read, taken)) = other(rest) {
            bytes.extend(read);
            rest = rest.get(taken..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits, 16)?).ok()
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let right = !digits.is_empty() && digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| right)?, radix).ok()
}

// RFC 3986 2.1, and the plus sign of forms.
fn percent(text: &str) -> String {
    signed_bytes(text, b'%', |rest| rest.starts_with(b"+").then(|| (b" ".to_vec(), 1)))
}

// RFC 2045 6.7 with its soft line breaks, and the underscore of RFC 2047 4.2.
fn quoted_printable(text: &str) -> String {
    signed_bytes(text, b'=', |rest| match rest {
        [b'=', b'\r', b'\n', ..] => Some((Vec::new(), 3)),
        [b'=', b'\n', ..] => Some((Vec::new(), 2)),
        [b'_', ..] => Some((b" ".to_vec(), 1)),
        _ => None,
    })
}

// JSON's `\u00e9` (RFC 8259 7), Rust's `\u{e9}` and `\xc3`, PostgreSQL's `\303`, and `\"`.
fn backslash(text: &str) -> String {
    signed_bytes(text, 0, |rest| match rest {
        [b'\\', b'u', b'{', rest @ ..] => {
            let length = rest.iter().take(7).position(|byte| *byte == b'}')?;
            let letter = char::from_u32(number(rest.get(..length)?, 16)?)?;
            Some((letter.to_string().into_bytes(), length + 4))
        }
        [b'\\', b'u', ..] => utf16(rest),
        [b'\\', b'x', high, low, ..] => Some((vec![hex(&[*high, *low])?], 4)),
        [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            Some((vec![u8::try_from(number(digits.get(..3)?, 8)?).ok()?], 4))
        }
        [b'\\', letter, ..] if !letter.is_ascii_alphanumeric() => Some((vec![*letter], 2)),
        _ => None,
    })
}

// Beyond the first plane a letter is two of them.
fn utf16(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let unit = |at: usize| {
        let escape = rest.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::try_from(number(escape, 16)?).ok()
    };
    let first = unit(0)?;
    let units: Vec<u16> = std::iter::once(first).chain(unit(6)).collect();
    let letter = char::decode_utf16(units).next()?.ok()?;
    Some((letter.to_string().into_bytes(), 6 * letter.len_utf16()))
}

fn html(text: &str) -> String {
    signed_bytes(text, 0, |rest| {
        let reference = rest.strip_prefix(b"&#")?;
        let length = reference.iter().take(9).position(|byte| *byte == b';')?;
        let letter = match reference.get(..length)? {
            [b'x' | b'X', digits @ ..] => number(digits, 16)?,
            digits => number(digits, 10)?,
        };
        Some((char::from_u32(letter)?.to_string().into_bytes(), length + 3))
    })
}
