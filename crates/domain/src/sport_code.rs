use std::{fmt, str::FromStr};

use crate::InvalidValue;

/// Code of a discipline as ODF writes it: three upper-case letters or digits, such as `ATH`, `JUD`, `BK3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SportCode([u8; 3]);

impl SportCode {
    /// Athletics
    pub const ATHLETICS: Self = Self(*b"ATH");
    /// Judo
    pub const JUDO: Self = Self(*b"JUD");

    /// The three characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SportCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SportCode {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let code: [u8; 3] = text
            .as_bytes()
            .try_into()
            .map_err(|_| InvalidValue::new("must be a discipline code of three characters"))?;
        if code.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            Ok(Self(code))
        } else {
            Err(InvalidValue::new("must be a discipline code of upper-case letters and digits"))
        }
    }
}
