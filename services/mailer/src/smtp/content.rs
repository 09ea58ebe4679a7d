//! A message as it goes after DATA: dot-stuffed last of all, and never with a bare CR or LF, since relays read those
//! differently and a second message could be smuggled in.

/// A CR without LF, or an LF without CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message holds a bare CR or LF")]
pub struct BareLineBreak;

/// The message with stuffed dots (RFC 5321 4.5.2) and the final dot.
///
/// # Errors
/// A bare line break.
pub fn for_data(message: &[u8]) -> Result<Vec<u8>, BareLineBreak> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 64 + 8);
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = match after {
            [] => after,
            [b'\r', b'\n', next @ ..] => next,
            _ => return Err(BareLineBreak),
        };
    }
    out.extend_from_slice(b".\r\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dots_are_stuffed_and_the_end_is_marked() {
        assert_eq!(for_data(b"a\r\n.b\r\n..\r\n").unwrap(), b"a\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(for_data(b"no end").unwrap(), b"no end\r\n.\r\n");
        assert_eq!(for_data(b"").unwrap(), b".\r\n");
    }

    #[test]
    fn smuggled_ends_are_refused() {
        for bytes in [b"a\n.\nMAIL".as_slice(), b"a\r.\r\nb", b"a\n.\r\nb", b"\r", b"a\r\n\n"] {
            assert_eq!(for_data(bytes), Err(BareLineBreak));
        }
    }

    proptest! {
        #[test]
        fn only_the_end_is_a_lone_dot(lines in proptest::collection::vec("[.a ]{0,4}", 0..20)) {
            let message = lines.join("\r\n");
            let out = for_data(message.as_bytes()).unwrap();
            let text = String::from_utf8(out).unwrap();
            let found: Vec<&str> = text.strip_suffix(".\r\n").unwrap().split("\r\n").collect();
            prop_assert!(!found.contains(&"."));
        }
    }
}
