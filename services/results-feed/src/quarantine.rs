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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGzip => f.write_str("NOT_GZIP"),
            Self::NotXml => f.write_str("NOT_XML"),
            Self::Doctype => f.write_str("DOCTYPE"),
            Self::HeaderMissing(field) => write!(f, "HEADER_MISSING({field})"),
            Self::HeaderInvalid(field) => write!(f, "HEADER_INVALID({field})"),
            Self::RscInvalid(position) => write!(f, "RSC_INVALID({position})"),
            Self::UnknownType => f.write_str("UNKNOWN_TYPE"),
            Self::CompetitionUnknown => f.write_str("COMPETITION_UNKNOWN"),
            Self::FlagMismatch => f.write_str("FLAG_MISMATCH"),
            Self::SourceNotAllowed => f.write_str("SOURCE_NOT_ALLOWED"),
            Self::VersionConflict => f.write_str("VERSION_CONFLICT"),
            Self::TooComplex => f.write_str("TOO_COMPLEX"),
        }
    }
}
