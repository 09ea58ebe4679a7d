use chassis::{Code, Coded, FieldViolation};

/// What profile answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No such profile, or one that the caller may not know of: both look alike.
    #[error("no such profile")]
    NotFound,
    /// The token reaches its own person's profile only.
    #[error("the token does not reach this profile")]
    NotYours,
    /// Somebody wrote in between.
    #[error("the profile is at version {actual}")]
    StaleVersion {
        /// The version that is there.
        actual: i64,
    },
    /// The same request id came with another body before.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// A consent needs a notice that was published in the language in which it was shown.
    #[error("no such notice is published for {purpose}")]
    NoticeNotPublished {
        /// The purpose, with its recipient.
        purpose: String,
    },
    /// A published notice never changes.
    #[error("this version of the notice is published with other words")]
    NoticeTaken,
    /// The profile was merged, is being erased or is erased.
    #[error("the profile is {state}")]
    NotActive {
        /// Its state.
        state: &'static str,
    },
    /// The database did not do it.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// The fact could not be written beside the change.
    #[error("outbox")]
    Outbox(#[from] outbox::Error),
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

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::NotYours => Code::PermissionDenied,
            Self::NoticeTaken => Code::AlreadyExists,
            Self::StaleVersion { .. }
            | Self::RequestIdReused
            | Self::NoticeNotPublished { .. }
            | Self::NotActive { .. } => Code::FailedPrecondition,
            Self::Database(error) => chassis::database_code(error),
            Self::Outbox(error) => error.code(),
            Self::Stored { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound => "PROFILE_NOT_FOUND",
            Self::NotYours => "NOT_YOUR_PROFILE",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::NoticeNotPublished { .. } => "NOTICE_NOT_PUBLISHED",
            Self::NoticeTaken => "NOTICE_TAKEN",
            Self::NotActive { .. } => "NOT_ACTIVE",
            Self::Database(_) | Self::Outbox(_) => "STORAGE",
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
