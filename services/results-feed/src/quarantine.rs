use std::fmt;

/// Why a document was kept aside. It was taken all the same: a refusal would make its sender repeat it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Announced as gzip and not gzip.
    NotGzip,
    /// No well-formed XML in UTF-8.
    NotXml,
    /// A document type declaration, the door of entity attacks.
    Doctype,
    /// A header field is absent or empty.
    HeaderMissing(&'static str),
    /// A header field breaks its rule.
    HeaderInvalid(&'static str),
    /// The document code is no RSC from this character on, counted from 1.
    RscInvalid(usize),
    /// A type outside the schema.
    UnknownType,
    /// A document of another competition.
    CompetitionUnknown,
    /// A test document with a key for production, or the reverse.
    FlagMismatch,
    /// The key may not send documents of this code.
    SourceNotAllowed,
    /// Another content came under this version before; the first one stands.
    VersionConflict,
    /// Deeper, wider or larger than the limits.
    TooComplex,
}

impl Reason {
    /// Its name without what it is about.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotGzip => "NOT_GZIP",
            Self::NotXml => "NOT_XML",
            Self::Doctype => "DOCTYPE",
            Self::HeaderMissing(_) => "HEADER_MISSING",
            Self::HeaderInvalid(_) => "HEADER_INVALID",
            Self::RscInvalid(_) => "RSC_INVALID",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::CompetitionUnknown => "COMPETITION_UNKNOWN",
            Self::FlagMismatch => "FLAG_MISMATCH",
            Self::SourceNotAllowed => "SOURCE_NOT_ALLOWED",
            Self::VersionConflict => "VERSION_CONFLICT",
            Self::TooComplex => "TOO_COMPLEX",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Self::HeaderMissing(field) | Self::HeaderInvalid(field) => write!(f, "({field})"),
            Self::RscInvalid(position) => write!(f, "({position})"),
            _ => Ok(()),
        }
    }
}
