use crate::quarantine::Reason;

/// Bytes that are looked at in one go.
const STRIDE: usize = 64;

/// Whether text in UTF-8 holds what XML 1.0 section 2.2 does not call a `Char`. PostgreSQL takes no U+0000 in text either.
pub(super) fn holds_forbidden_characters(bytes: &[u8]) -> bool {
    for (stride, chunk) in bytes.chunks(STRIDE).enumerate() {
        // Without a branch for each byte: the compiler makes vectors of it.
        let suspects = chunk.iter().fold(0, |found, byte| found | u8::from(is_suspect(*byte)));
        if suspects == 0 {
            continue;
        }
        for (at, byte) in chunk.iter().enumerate().filter(|(_, byte)| is_suspect(**byte)) {
            let place = stride * STRIDE + at;
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            let is_allowed =
                *byte == 0xef && !matches!(bytes.get(place + 1..place + 3), Some([0xbf, 0xbe | 0xbf]));
            if !is_allowed {
                return true;
            }
        }
    }
    false
}

const fn is_suspect(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r') || byte == 0xef
}

/// The character that a reference stands for: its number, or one of the five predefined names. `name` is what lies between
/// `&` and `;`.
pub(super) fn resolve(name: &str) -> Result<char, Reason> {
    let number = match (name.strip_prefix("#x"), name.strip_prefix('#')) {
        (Some(digits), _) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        (None, Some(digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        (None, None) => {
            return match name {
                "amp" => Ok('&'),
                "lt" => Ok('<'),
                "gt" => Ok('>'),
                "apos" => Ok('\''),
                "quot" => Ok('"'),
                _ => Err(Reason::NotXml),
            };
        }
        _ => None,
    };
    number.and_then(char::from_u32).filter(|character| is_character(*character)).ok_or(Reason::NotXml)
}

const fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Resolves the references of an attribute's value and normalises its blanks (XML 1.0 section 3.3.3).
pub(super) fn resolve_value(raw: &str, resolved: &mut String) -> Result<(), Reason> {
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        let (before, special) = rest.split_at(at);
        resolved.push_str(before);
        if let Some(reference) = special.strip_prefix('&') {
            let (name, behind) = reference.split_once(';').ok_or(Reason::NotXml)?;
            resolved.push(resolve(name)?);
            rest = behind;
        } else {
            // The end of a line is one character, however it is written (section 2.11).
            resolved.push(' ');
            rest = special.strip_prefix("\r\n").or_else(|| special.get(1..)).unwrap_or_default();
        }
    }
    resolved.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_five_and_numbers() {
        for (name, character) in [("amp", '&'), ("#65", 'A'), ("#x1F600", '😀'), ("#10", '\n'), ("#xe9", 'é')]
        {
            assert_eq!(resolve(name), Ok(character), "{name}");
        }
        for name in [
            "",
            "nbsp",
            "#",
            "#x",
            "#X41",
            "#-1",
            "#+65",
            "#0",
            "#8",
            "#xd800",
            "#xfffe",
            "#x110000",
            "#99999999999",
        ] {
            assert_eq!(resolve(name), Err(Reason::NotXml), "{name}");
        }
    }

    #[test]
    fn values_are_normalised() {
        let value = |raw: &str| {
            let mut resolved = String::new();
            resolve_value(raw, &mut resolved).map(|()| resolved)
        };
        assert_eq!(value("a&lt;b\r\n c\td&#10;é").unwrap(), "a<b  c d\né");
        assert_eq!(value("a&b"), Err(Reason::NotXml));
        assert_eq!(value("a&b c;"), Err(Reason::NotXml));
    }

    #[test]
    fn forbidden_characters_are_found_wherever_they_are() {
        for place in [0, 1, 62, 63, 64, 65, 127, 200] {
            let mut text = "a".repeat(place);
            text.push('\u{1}');
            assert!(holds_forbidden_characters(text.as_bytes()), "{place}");
            text.pop();
            text.push('\u{ffff}');
            assert!(holds_forbidden_characters(text.as_bytes()), "{place}");
            text.pop();
            text.push_str("\u{f900}\u{fffd}\t\r\n é");
            assert!(!holds_forbidden_characters(text.as_bytes()), "{place}");
        }
    }
}
