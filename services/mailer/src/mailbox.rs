//! The form in which an address goes on the wire. An address that breaks the RFC is mailed with a quoted local part, as
//! Postfix quotes it (RFC 5321 4.1.2: the quoted string is another spelling of the same local part).

use domain::{AddressClass, EmailAddress};

/// The bytes between the angle brackets of RCPT and in a To header; nothing for what cannot be mailed.
#[must_use]
pub fn wire_form(address: &EmailAddress) -> Option<Vec<u8>> {
    let bytes = address.as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'@')?;
    let (local, domain) = (&bytes[..at], &bytes[at + 1..]);
    // A domain beyond ASCII was not checked letter by letter when the address was classified.
    if domain.is_empty() || !domain.iter().all(|byte| is_domain_byte(*byte)) {
        return None;
    }
    match address.class() {
        AddressClass::Conforming => Some(bytes.to_vec()),
        AddressClass::DotViolation => Some([b"\"", local, b"\"@", domain].concat()),
        AddressClass::Quoted => is_quoted_string(local).then(|| bytes.to_vec()),
        AddressClass::Internationalised if local.starts_with(b"\"") => {
            is_quoted_string(local).then(|| bytes.to_vec())
        }
        AddressClass::Internationalised => Some(bytes.to_vec()),
        AddressClass::Unroutable => None,
    }
}

const fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte >= 0x80
}

// RFC 5321 4.1.2: a bare quote inside would end the string, and what follows would be read as a parameter.
fn is_quoted_string(local: &[u8]) -> bool {
    let Some(inner) = local.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return false;
    };
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return false,
            b'\\' if bytes.next().is_none() => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> Option<String> {
        let address = EmailAddress::classify(text.as_bytes()).unwrap();
        wire_form(&address).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_violating_local_part_is_quoted() {
        assert_eq!(form("a..b@docomo.ne.jp").as_deref(), Some("\"a..b\"@docomo.ne.jp"));
        assert_eq!(form("a.@ezweb.ne.jp").as_deref(), Some("\"a.\"@ezweb.ne.jp"));
        assert_eq!(form("alice+x@example.org").as_deref(), Some("alice+x@example.org"));
        assert_eq!(form("\"a b\"@example.org").as_deref(), Some("\"a b\"@example.org"));
        assert_eq!(form("アリス@例え.jp").as_deref(), Some("アリス@例え.jp"));
    }

    #[test]
    fn what_could_leave_the_angle_brackets_is_not_mailed() {
        for text in ["alice", "\"a\"b\"@example.org", "\"a\\\"@example.org", "é@x> SIZE=1"] {
            assert_eq!(form(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_wire_form_holds_no_control_character(bytes in proptest::collection::vec(any::<u8>(), 1..80)) {
            if let Some(form) = EmailAddress::classify(&bytes).ok().and_then(|address| wire_form(&address)) {
                prop_assert!(!form.iter().any(u8::is_ascii_control));
            }
        }
    }
}
