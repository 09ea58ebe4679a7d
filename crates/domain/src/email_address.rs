use std::{fmt, str::FromStr};

use crate::{InvalidValue, Pii};

/// How an address stands to RFC 5321 and RFC 6531.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// A dot-string local part and a domain name.
    Conforming,
    /// Dots at the start, at the end or side by side in the local part, as Japanese carriers once sold them.
    DotViolation,
    /// A quoted local part.
    Quoted,
    /// Letters beyond ASCII (RFC 6531).
    Internationalised,
    /// No `@`, no domain, forbidden characters: kept as data, never mailed.
    Unroutable,
}

impl AddressClass {
    /// The name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conforming => "conforming",
            Self::DotViolation => "dot_violation",
            Self::Quoted => "quoted",
            Self::Internationalised => "internationalised",
            Self::Unroutable => "unroutable",
        }
    }
}

impl FromStr for AddressClass {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        [Self::Conforming, Self::DotViolation, Self::Quoted, Self::Internationalised, Self::Unroutable]
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or(InvalidValue::new(
                "must be conforming, dot_violation, quoted, internationalised or unroutable",
            ))
    }
}

/// An e-mail address: its exact bytes and their class. It prints redacted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    bytes: Pii<Vec<u8>>,
    class: AddressClass,
}

/// Longest path that SMTP takes (RFC 5321 4.5.3.1.3, without the angle brackets).
const LONGEST: usize = 254;
/// Longest local part (RFC 5321 4.5.3.1.1).
const LONGEST_LOCAL_PART: usize = 64;

impl EmailAddress {
    /// Keeps any 1 to 254 bytes and tells their class.
    ///
    /// # Errors
    /// Empty or longer bytes, and control characters, which could break out of a header or a command.
    pub fn classify(bytes: &[u8]) -> Result<Self, InvalidValue> {
        if bytes.is_empty() || bytes.len() > LONGEST {
            return Err(InvalidValue::new("must be an e-mail address of 1 to 254 bytes"));
        }
        if bytes.iter().any(u8::is_ascii_control) {
            return Err(InvalidValue::new("must not contain control characters"));
        }
        Ok(Self { class: class_of(bytes), bytes: Pii::new(bytes.to_vec()) })
    }

    /// Takes only an address that every mail system accepts: what a new sign-up needs.
    ///
    /// # Errors
    /// Everything but class `conforming`.
    pub fn conforming(text: &str) -> Result<Self, InvalidValue> {
        let address = Self::classify(text.trim().as_bytes())?;
        match address.class {
            AddressClass::Conforming => Ok(address),
            _ => Err(InvalidValue::new("must be an e-mail address such as alice@example.org")),
        }
    }

    /// The exact bytes as they were given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.reveal()
    }

    /// The address as text, where it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> AddressClass {
        self.class
    }

    /// The part after the last `@`, in lower case; empty where there is none.
    #[must_use]
    pub fn domain(&self) -> String {
        split(self.as_bytes()).map(|(_, domain)| lower(domain)).unwrap_or_default()
    }

    /// The look-up key, the only place where addresses are folded: domain in lower case; local part in lower case only
    /// where the address conforms; dots and plus kept; a violating address byte by byte.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match (self.class, split(self.as_bytes())) {
            (AddressClass::Conforming, _) => self.as_bytes().to_ascii_lowercase(),
            (_, Some((local, domain))) => [local, b"@", domain.to_ascii_lowercase().as_slice()].concat(),
            (_, None) => self.as_bytes().to_vec(),
        }
    }

    /// A form that may be shown to whoever holds a link: `a•••@example.org`.
    #[must_use]
    pub fn masked(&self) -> String {
        let text = String::from_utf8_lossy(self.as_bytes());
        match text.rsplit_once('@') {
            Some((local, domain)) => format!("{}•••@{domain}", local.chars().next().unwrap_or('•')),
            None => "•••".to_owned(),
        }
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress([pii], {})", self.class.name())
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().rposition(|byte| *byte == b'@')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_lowercase()
}

fn class_of(bytes: &[u8]) -> AddressClass {
    let Some((local, domain)) = split(bytes) else { return AddressClass::Unroutable };
    if local.is_empty() || local.len() > LONGEST_LOCAL_PART {
        return AddressClass::Unroutable;
    }
    let ascii = bytes.is_ascii();
    if !ascii && std::str::from_utf8(bytes).is_err() {
        return AddressClass::Unroutable;
    }
    if ascii && !is_domain(domain) || !ascii && domain.is_empty() {
        return AddressClass::Unroutable;
    }
    if local.len() >= 2 && local.starts_with(b"\"") && local.ends_with(b"\"") {
        return if ascii { AddressClass::Quoted } else { AddressClass::Internationalised };
    }
    if !local.iter().all(|byte| is_atext(*byte) || *byte == b'.') {
        return AddressClass::Unroutable;
    }
    if local.starts_with(b".") || local.ends_with(b".") || local.windows(2).any(|pair| pair == b"..") {
        return AddressClass::DotViolation;
    }
    if ascii { AddressClass::Conforming } else { AddressClass::Internationalised }
}

// RFC 5321 4.1.2 atext; bytes above ASCII are RFC 6531's.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte) || byte >= 0x80
}

// RFC 1035 2.3.1 labels, at least two, so that an unqualified host is no mail domain.
fn is_domain(domain: &[u8]) -> bool {
    let label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && label[0] != b'-'
            && label[label.len() - 1] != b'-'
    };
    domain.len() <= 253 && domain.contains(&b'.') && domain.split(|byte| *byte == b'.').all(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> AddressClass {
        EmailAddress::classify(text.as_bytes()).unwrap().class()
    }

    #[test]
    fn each_form_has_its_class() {
        assert_eq!(class("alice@example.org"), AddressClass::Conforming);
        assert_eq!(class("a..b@docomo.ne.jp"), AddressClass::DotViolation);
        assert_eq!(class("a.@docomo.ne.jp"), AddressClass::DotViolation);
        assert_eq!(class("\"a b\"@example.org"), AddressClass::Quoted);
        assert_eq!(class("アリス@example.org"), AddressClass::Internationalised);
        for unroutable in
            ["alice", "@example.org", "alice@", "alice@localhost", "a b@example.org", "a@-x.org"]
        {
            assert_eq!(class(unroutable), AddressClass::Unroutable, "{unroutable}");
        }
    }

    #[test]
    fn a_control_character_is_refused() {
        assert!(EmailAddress::classify(b"alice@example.org\r\nBcc: bob@example.org").is_err());
        assert!(EmailAddress::classify(&[b'a'; 255]).is_err());
    }

    #[test]
    fn the_key_folds_only_what_conforms() {
        let key =
            |text: &str| String::from_utf8(EmailAddress::classify(text.as_bytes()).unwrap().key()).unwrap();
        assert_eq!(key("Alice+x@Example.ORG"), "alice+x@example.org");
        assert_eq!(key("A..b@Docomo.ne.jp"), "A..b@docomo.ne.jp");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_keys_are_stable(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(address) = EmailAddress::classify(&bytes) {
                let again = EmailAddress::classify(&address.key()).unwrap();
                prop_assert_eq!(address.key(), again.key());
                prop_assert_eq!(format!("{address:?}").contains("[pii]"), true);
            }
        }
    }
}
