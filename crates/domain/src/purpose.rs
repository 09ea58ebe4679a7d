use std::{fmt, str::FromStr};

use crate::InvalidValue;

/// What personal data is used for. One spelling everywhere: code, wire, SQL, text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The organising committee's e-mail magazine.
    CommitteeNewsletter,
    /// The IOC's e-mail magazine.
    IocNewsletter,
    /// Offers of one partner, who is the recipient.
    PartnerOffers,
    /// Measuring whether a mail is opened and which links are followed.
    OpenTracking,
    /// Choosing content and segments by preferences and behaviour.
    Profiling,
    /// Handing data on to a sports body, who is the recipient, after the event.
    LegacyHandover,
    /// What a person asked for; it needs no consent.
    Service,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] = [
        Self::CommitteeNewsletter,
        Self::IocNewsletter,
        Self::PartnerOffers,
        Self::OpenTracking,
        Self::Profiling,
        Self::LegacyHandover,
        Self::Service,
    ];

    /// The name on the wire, in SQL and in text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommitteeNewsletter => "committee_newsletter",
            Self::IocNewsletter => "ioc_newsletter",
            Self::PartnerOffers => "partner_offers",
            Self::OpenTracking => "open_tracking",
            Self::Profiling => "profiling",
            Self::LegacyHandover => "legacy_handover",
            Self::Service => "service",
        }
    }

    /// Whether a consent to it is given to one recipient at a time.
    #[must_use]
    pub const fn has_recipient(self) -> bool {
        matches!(self, Self::PartnerOffers | Self::LegacyHandover)
    }

    /// Whether a consent is needed at all.
    #[must_use]
    pub const fn needs_consent(self) -> bool {
        !matches!(self, Self::Service)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Purpose {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == text).ok_or(InvalidValue::new(
            "must be a purpose: committee_newsletter, ioc_newsletter, partner_offers, open_tracking, profiling, \
             legacy_handover or service",
        ))
    }
}

/// A purpose together with its recipient: what one consent is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsentKey {
    purpose: Purpose,
    recipient: String,
}

impl ConsentKey {
    /// Checks that a recipient is named exactly where the purpose has one.
    ///
    /// # Errors
    /// The rule about recipients; a recipient is 1 to 40 of `a-z 0-9 -`.
    pub fn new(purpose: Purpose, recipient: &str) -> Result<Self, InvalidValue> {
        if !purpose.has_recipient() && !recipient.is_empty() {
            return Err(InvalidValue::new("must be empty: this purpose names no recipient"));
        }
        if purpose.has_recipient() && recipient.is_empty() {
            return Err(InvalidValue::new("must name the recipient of this purpose"));
        }
        let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if recipient.len() > 40 || !recipient.bytes().all(right) {
            return Err(InvalidValue::new("must be at most 40 lower-case letters, digits or `-`"));
        }
        Ok(Self { purpose, recipient: recipient.to_owned() })
    }

    /// The purpose.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The recipient; empty where the purpose names none.
    #[must_use]
    pub fn recipient(&self) -> &str {
        &self.recipient
    }
}

impl fmt::Display for ConsentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recipient.is_empty() {
            self.purpose.fmt(f)
        } else {
            write!(f, "{}({})", self.purpose, self.recipient)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_one_spelling() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.name().parse(), Ok(purpose));
        }
        assert!("Profiling".parse::<Purpose>().is_err());
    }

    #[test]
    fn a_recipient_is_named_exactly_where_there_is_one() {
        assert!(ConsentKey::new(Purpose::Profiling, "ioc").is_err());
        assert!(ConsentKey::new(Purpose::PartnerOffers, "").is_err());
        assert!(ConsentKey::new(Purpose::PartnerOffers, "'; drop table").is_err());
        assert_eq!(
            ConsentKey::new(Purpose::PartnerOffers, "ioc").unwrap().to_string(),
            "partner_offers(ioc)"
        );
    }
}
