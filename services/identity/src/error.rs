use std::time::Duration;

use chassis::{Code, Coded, FieldViolation};

use crate::{jws::KeyError, password::HashError, sealed::SealError, user::WrongState};

/// What identity answers when it cannot do what was asked. OAuth's own refusals are [`crate::authorization::Fault`] and
/// [`crate::app::Refusal`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No such thing, or one that the caller may not know of: both look alike.
    #[error("no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The token reaches its own user only.
    #[error("the token does not reach this user")]
    NotYours,
    /// Somebody wrote in between.
    #[error("it is at version {actual} meanwhile")]
    StaleVersion {
        /// The version that is there.
        actual: i64,
    },
    /// The user is not in the state that this needs.
    #[error(transparent)]
    WrongState(#[from] WrongState),
    /// The hash lane is full.
    #[error("too many passwords are being checked")]
    Busy,
    /// There is one already.
    #[error("there is a {what} already")]
    AlreadyThere {
        /// What was to be made.
        what: &'static str,
    },
    /// The request of this id was for something else.
    #[error("the request_id was used for another request")]
    RequestIdReused,
    /// Erasure of such a user is profile's protocol.
    #[error("profile knows the user: erasure is asked of profile")]
    HasProfile,
    /// The client proves itself otherwise.
    #[error("the client does not authenticate by a secret")]
    NoSecret,
    /// The key is not in the state that this needs.
    #[error("{rule}")]
    WrongKeyState {
        /// What hinders.
        rule: &'static str,
    },
    /// A counter says: not now.
    #[error("too many attempts")]
    TooMany {
        /// How long to wait.
        wait: Duration,
    },
    /// The signing keys are not loaded yet.
    #[error("signing keys are not loaded yet")]
    NotReady,
    /// Another service did not do it.
    #[error("{service} did not answer as it should")]
    Peer {
        /// Which one.
        service: &'static str,
        /// What it said.
        #[source]
        source: chassis::PeerError,
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
    /// The KEK file lacks a line that something is sealed under.
    #[error("{what} is sealed under line `{line}` of IDENTITY_KEK_FILE, which has no such line: put it back")]
    MissingKek {
        /// Which key.
        what: String,
        /// The line's id.
        line: String,
    },
    /// A password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Something could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A token could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A page could not be written.
    #[error("page")]
    Page(#[from] minijinja::Error),
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
            Self::NotFound { .. } => Code::NotFound,
            Self::NotYours => Code::PermissionDenied,
            Self::AlreadyThere { .. } => Code::AlreadyExists,
            Self::StaleVersion { .. }
            | Self::WrongState(_)
            | Self::RequestIdReused
            | Self::HasProfile
            | Self::NoSecret
            | Self::WrongKeyState { .. } => Code::FailedPrecondition,
            Self::TooMany { .. } => Code::ResourceExhausted,
            Self::Busy | Self::NotReady => Code::Unavailable,
            Self::Peer { source, .. } => source.code(),
            Self::Database(error) => chassis::database_code(error),
            Self::Outbox(error) => error.code(),
            Self::Stored { .. }
            | Self::MissingKek { .. }
            | Self::Hash(_)
            | Self::Seal(_)
            | Self::Key(_)
            | Self::Page(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::NotYours => "NOT_YOUR_USER",
            Self::StaleVersion { .. } => "STALE_VERSION",
            Self::WrongState(_) | Self::WrongKeyState { .. } => "WRONG_STATE",
            Self::AlreadyThere { .. } => "ALREADY_EXISTS",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::HasProfile => "HAS_PROFILE",
            Self::NoSecret => "NO_SECRET",
            Self::Busy => "BUSY",
            Self::TooMany { .. } => "TOO_MANY_ATTEMPTS",
            Self::NotReady => "NOT_READY",
            Self::Peer { .. } => "PEER",
            Self::Database(_) | Self::Outbox(_) => "STORAGE",
            Self::Stored { .. } => "STORED_VALUE",
            Self::MissingKek { .. } => "MISSING_KEK",
            Self::Hash(_) | Self::Seal(_) | Self::Key(_) => "CRYPTOGRAPHY",
            Self::Page(_) => "PAGE",
        }
    }

    fn fields(&self) -> Vec<FieldViolation> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { wait } => Some(*wait),
            Self::Busy => Some(Duration::from_secs(2)),
            Self::NotReady => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
