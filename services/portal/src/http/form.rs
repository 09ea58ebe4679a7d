use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{body::Bytes, extract::rejection::BytesRejection};
use domain::Uuid;

use crate::Error;

/// Most fields of a form that are read.
const MOST_FIELDS: usize = 300;

/// A form as it came: its bytes, or why they did not come.
pub type Sent = Result<Bytes, BytesRejection>;

/// The fields of a form or a query; a name may come several times.
#[derive(Debug, Default)]
pub struct Fields {
    values: BTreeMap<String, Vec<String>>,
    digest: [u8; 16],
}

impl Fields {
    /// Reads the form of a request.
    ///
    /// # Errors
    /// It is larger than any of ours.
    pub fn read(sent: &Sent) -> Result<Self, Error> {
        sent.as_ref().map(|body| Self::parse(body)).map_err(|_| Error::TooLarge)
    }

    /// Reads `application/x-www-form-urlencoded`.
    pub fn parse(text: &[u8]) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text).take(MOST_FIELDS) {
            values.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest(&SHA256, text).as_ref()[..16]);
        Self { values, digest: short }
    }

    /// The first value of a name, without blanks around it; empty where there is none.
    pub fn one(&self, name: &str) -> &str {
        self.values.get(name).and_then(|values| values.first()).map_or("", |value| value.trim())
    }

    /// The value of a name that came exactly once, as it came.
    pub fn only(&self, name: &str) -> Option<&str> {
        match self.values.get(name)?.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Every value of a name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// Names this write: the same form sent twice is one write, and each page that was shown has a form of its own.
    pub fn request_id(&self) -> Uuid {
        Uuid::from_bytes(self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_gives_no_fields_and_no_panic() {
        let fields = Fields::parse(b"%zz=&=&\xff\xfe&a=1&a=2&b=%20x%20");
        assert_eq!(fields.all("a"), ["1", "2"]);
        assert_eq!(fields.one("b"), "x");
        assert_eq!(fields.one("none"), "");
        let many = "a=1&".repeat(10_000);
        assert_eq!(Fields::parse(many.as_bytes()).all("a").len(), MOST_FIELDS);
    }

    #[test]
    fn a_repeated_field_is_not_the_only_one() {
        let fields = Fields::parse(b"state=1&state=2&code=x");
        assert_eq!((fields.only("state"), fields.only("code"), fields.only("none")), (None, Some("x"), None));
    }

    #[test]
    fn the_same_form_is_the_same_write() {
        let id = |text: &[u8]| Fields::parse(text).request_id();
        assert_eq!(id(b"form=1&a=2"), id(b"form=1&a=2"));
        assert_ne!(id(b"form=1&a=2"), id(b"form=2&a=2"));
        assert_ne!(id(b"form=1&a=2"), id(b"form=1&a=3"));
    }
}
