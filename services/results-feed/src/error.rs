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
    /// No access token, where one is needed.
    #[error("an access token is needed")]
    NoToken,
    /// No publisher key, or a wrong or revoked one.
    #[error("the publisher key is not known")]
    UnknownKey,
    /// No such ticket, or one that was used or is too old.
    #[error("the ticket is not good")]
    UnknownTicket,
    /// Somebody changed it in between.
    #[error("it is at version {actual}")]
    StaleVersion {
        /// The version that is there.
        actual: i64,
    },
    /// A limit is reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Its present state does not allow it.
    #[error("{0}")]
    NotNow(&'static str),
    /// The rehearsal has a replay that has not ended, or all have.
    #[error("the rehearsal is taken by a replay that has not ended")]
    ReplayRunning,
    /// The replay was stopped, or another replica drives it now.
    #[error("the replay is driven by another")]
    ReplayLost,
    /// The document is not durable; the sender repeats it.
    #[error("not now: {0}")]
    Unavailable(&'static str),
    /// The token of an open stream has ended.
    #[error("the token has expired")]
    Expired,
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

impl From<crate::delivery_target::WrongField> for Error {
    fn from(wrong: crate::delivery_target::WrongField) -> Self {
        Self::from(FieldViolation::new(wrong.field, wrong.rule))
    }
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
            Self::UnknownKey | Self::UnknownTicket | Self::NoToken | Self::Expired => Code::Unauthenticated,
            Self::StaleVersion { .. } | Self::NotNow(_) | Self::ReplayRunning | Self::ReplayLost => {
                Code::FailedPrecondition
            }
            Self::TooMany(_) => Code::ResourceExhausted,
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
            Self::UnknownTicket => "UNKNOWN_TICKET",
            Self::NoToken => "NO_TOKEN",
            Self::Expired => "TOKEN_EXPIRED",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::TooMany(_) => "TOO_MANY",
            Self::NotNow(_) => "STATE",
            Self::ReplayRunning => "REPLAY_RUNNING",
            Self::ReplayLost => "REPLAY_LOST",
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
