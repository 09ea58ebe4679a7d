use chassis::{Code, Coded, FieldViolation, PeerError};

use crate::{campaign::WrongState, sealed::SealError, template::Fault};

/// What mailer answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Its key is taken.
    #[error("this {0} is there already")]
    AlreadyExists(&'static str),
    /// The campaign's state does not allow it.
    #[error("the campaign's state does not allow it")]
    WrongState(#[from] WrongState),
    /// Somebody wrote in between.
    #[error("the campaign is at version {actual}")]
    StaleVersion {
        /// The version that is there.
        actual: i64,
    },
    /// The same request id came with another body before.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// A campaign needs a published version.
    #[error("this version of the template is not published")]
    NotPublished,
    /// Some people would get no language.
    #[error("the version has neither en nor its default language")]
    NoFallback,
    /// Another service did not do it.
    #[error("a call of another service failed")]
    Peer(#[from] PeerError),
    /// Another service answered what it may not.
    #[error("another service's answer has a wrong {0}")]
    PeerAnswer(&'static str),
    /// The database did not do it.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// The fact could not be written beside the change.
    #[error("outbox")]
    Outbox(#[from] outbox::Error),
    /// A secret could not be sealed.
    #[error("sealing")]
    Seal(#[from] SealError),
    /// A row that our own rules could not have written.
    #[error("stored {what} cannot be read")]
    Stored {
        /// Which value.
        what: &'static str,
    },
}

impl From<FieldViolation> for Error {
    fn from(violation: FieldViolation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl From<Vec<Fault>> for Error {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Invalid(faults.into_iter().map(|fault| FieldViolation::new(fault.field, fault.rule)).collect())
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::AlreadyExists(_) => Code::AlreadyExists,
            Self::WrongState(_)
            | Self::StaleVersion { .. }
            | Self::RequestIdReused
            | Self::NotPublished
            | Self::NoFallback => Code::FailedPrecondition,
            Self::Peer(error) => error.code(),
            Self::Database(error) => chassis::database_code(error),
            Self::Outbox(error) => error.code(),
            Self::PeerAnswer(_) | Self::Seal(_) | Self::Stored { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::AlreadyExists(_) => "ALREADY_EXISTS",
            Self::WrongState(_) => "WRONG_STATE",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::NotPublished => "TEMPLATE_NOT_PUBLISHED",
            Self::NoFallback => "NO_FALLBACK_LANGUAGE",
            Self::Peer(_) | Self::PeerAnswer(_) => "PEER",
            Self::Database(_) | Self::Outbox(_) => "STORAGE",
            Self::Seal(_) => "SEALING",
            Self::Stored { .. } => "STORED_VALUE",
        }
    }

    fn fields(&self) -> Vec<FieldViolation> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }
}
