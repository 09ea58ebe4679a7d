use chassis::{Code, Coded, FieldViolation};

/// What results-feed answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No such thing, or one that the caller may not know of: both look alike.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// No publisher key, or a wrong or revoked one.
    #[error("the publisher key is not known")]
    UnknownKey,
    /// Somebody changed the entitlement in between.
    #[error("the entitlement is at version {actual}")]
    StaleVersion {
        /// The version that is there.
        actual: i64,
    },
    /// The document is not durable; the sender repeats it.
    #[error("not now: {0}")]
    Unavailable(&'static str),
    /// The publisher sends more than its share.
    #[error("too many documents, try again later")]
    OverQuota(std::time::Duration),
    /// What is stored can't be read back.
    #[error("stored {what} can't be read")]
    Corrupt {
        /// Which column.
        what: &'static str,
    },
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The outbox did not take a fact.
    #[error(transparent)]
    Outbox(#[from] outbox::Error),
    /// The database.
    #[error("database")]
    Database(#[from] sqlx::Error),
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
            Self::NotFound(_) => Code::NotFound,
            Self::UnknownKey => Code::Unauthenticated,
            Self::StaleVersion { .. } => Code::FailedPrecondition,
            Self::Unavailable(_) => Code::Unavailable,
            Self::OverQuota(_) => Code::ResourceExhausted,
            Self::Corrupt { .. } | Self::Random => Code::Internal,
            Self::Outbox(error) => error.code(),
            Self::Database(error) => chassis::database_code(error),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound(_) => "NOT_FOUND",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::Unavailable(_) => "NOT_NOW",
            Self::OverQuota(_) => "QUOTA_EXCEEDED",
            Self::Corrupt { .. } => "CORRUPT",
            Self::Random => "RANDOM",
            Self::Outbox(error) => error.reason(),
            Self::Database(_) => "DATABASE",
        }
    }

    fn fields(&self) -> Vec<FieldViolation> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        if let Self::OverQuota(wait) = self {
            return Some(*wait);
        }
        // Senders repeat after 5 s anyway (ODF Foundation Principles 8.2).
        (self.code() == Code::Unavailable).then_some(std::time::Duration::from_secs(5))
    }
}
