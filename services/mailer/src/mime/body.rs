//! Bodies in seven bits: quoted-printable or base64, whichever is smaller (Japanese text triples in the first).

use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest encoded line without its end (RFC 2045 6.7 and 6.8).
const LINE: usize = 76;

/// Appends one part of a multipart body, up to the next boundary.
pub fn part(out: &mut Vec<u8>, boundary: &str, content_type: &str, text: &str) {
    let text = with_crlf(text);
    let quoted = quoted_printable(text.as_bytes());
    let encoded_length = text.len().div_ceil(3) * 4 * (LINE + 2) / LINE;
    let (encoding, body) = if quoted.len() <= encoded_length {
        ("quoted-printable", quoted)
    } else {
        ("base64", base64_lines(text.as_bytes()))
    };
    let head = format!(
        "--{boundary}\r\nContent-Type: {content_type}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&body);
    // This line end belongs to the boundary (RFC 2046 5.1.1).
    out.extend_from_slice(b"\r\n");
}

/// Every line end as CRLF.
#[must_use]
pub fn with_crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 40);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => {
                if letters.peek() == Some(&'\n') {
                    letters.next();
                }
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            other => out.push(other),
        }
    }
    out
}

/// RFC 2045 6.7, over text whose line ends are CRLF.
#[must_use]
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut column = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'\r' && bytes.get(at + 1) == Some(&b'\n') {
            out.extend_from_slice(b"\r\n");
            column = 0;
            at += 2;
            continue;
        }
        let ends_line = matches!(bytes.get(at + 1), None | Some(b'\r'));
        let literal = match byte {
            b' ' | b'\t' => !ends_line,
            b'=' => false,
            other => (0x21..0x7f).contains(&other),
        };
        let width = if literal { 1 } else { 3 };
        // One column stays free for the soft line break.
        if column + width > LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if literal {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        column += width;
        at += 1;
    }
    out
}

fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let encoded = STANDARD.encode(bytes);
    let mut out = Vec::with_capacity(encoded.len() + encoded.len() / 38);
    for (at, line) in encoded.as_bytes().chunks(LINE).enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        String::from_utf8(quoted_printable(text.as_bytes())).unwrap()
    }

    #[test]
    fn spaces_at_line_ends_and_equals_signs_are_encoded() {
        assert_eq!(quoted("a=b \r\nc\t"), "a=3Db=20\r\nc=09");
        assert_eq!(quoted("é"), "=C3=A9");
    }

    #[test]
    fn long_lines_break_softly() {
        let out = quoted(&"x=".repeat(100));
        assert!(out.split("\r\n").all(|line| line.len() <= LINE), "{out}");
        assert_eq!(out.replace("=\r\n", ""), "x=3D".repeat(100));
    }

    #[test]
    fn the_smaller_encoding_is_chosen() {
        let (mut japanese, mut english) = (Vec::new(), Vec::new());
        part(&mut japanese, "b", "text/plain", &"東京の陸上競技".repeat(20));
        part(&mut english, "b", "text/plain", &"athletics in Tokyo ".repeat(20));
        assert!(String::from_utf8(japanese).unwrap().contains("Transfer-Encoding: base64"));
        assert!(String::from_utf8(english).unwrap().contains("Transfer-Encoding: quoted-printable"));
    }

    #[test]
    fn every_line_end_becomes_crlf() {
        assert_eq!(with_crlf("a\nb\r\nc\rd"), "a\r\nb\r\nc\r\nd");
    }
}
