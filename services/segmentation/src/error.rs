use chassis::{Code, Coded, FieldViolation, PeerError};

/// What segmentation answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No such segment or freeze.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Another segment has this key.
    #[error("the key is taken")]
    KeyTaken,
    /// Somebody wrote in between.
    #[error("the segment is at version {actual}")]
    StaleVersion {
        /// The version that is there.
        actual: u32,
    },
    /// An archived segment has no members.
    #[error("the segment is archived")]
    Archived,
    /// Members of a segment without a purpose may be counted, not listed or mailed.
    #[error("the segment has no purpose")]
    NoPurpose,
    /// The purpose asked for is not the segment's.
    #[error("the segment is bound to another purpose")]
    OtherPurpose,
    /// The index has not read everything yet.
    #[error("the index is still being built")]
    NotCaughtUp,
    /// Another service did not answer.
    #[error("peer")]
    Peer(#[from] PeerError),
    /// The database did not do it.
    #[error("database")]
    Database(#[source] sqlx::Error),
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

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match chassis::constraint(&error) {
            Some("segment_key_taken") => Self::KeyTaken,
            _ => Self::Database(error),
        }
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
            Self::KeyTaken => Code::AlreadyExists,
            Self::StaleVersion { .. } | Self::Archived | Self::NoPurpose => Code::FailedPrecondition,
            Self::OtherPurpose => Code::PermissionDenied,
            Self::NotCaughtUp => Code::Unavailable,
            Self::Peer(error) => error.code(),
            Self::Database(error) => chassis::database_code(error),
            Self::Outbox(error) => error.code(),
            Self::Stored { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::KeyTaken => "KEY_TAKEN",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::Archived => "ARCHIVED",
            Self::NoPurpose => "NO_PURPOSE",
            Self::OtherPurpose => "OTHER_PURPOSE",
            Self::NotCaughtUp => "INDEX_NOT_READY",
            Self::Peer(_) => "PEER",
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
