use std::time::Duration;

use chassis::{Code, Coded, FieldViolation};

use crate::{keys::KeyError, salesforce};

/// What crm-sync answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// There is no such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Another destination has the name.
    #[error("a destination of this name exists")]
    NameTaken,
    /// An agreement's id is used once.
    #[error("an agreement of this id exists")]
    AgreementTaken,
    /// Whoever proposed an agreement cannot activate it.
    #[error("a second person activates an agreement")]
    SamePerson,
    /// Not from where it stands.
    #[error("the {what} is {state}")]
    State {
        /// What.
        what: &'static str,
        /// Where it stands.
        state: &'static str,
    },
    /// The agreement's window is over.
    #[error("the agreement's window is over")]
    WindowOver,
    /// Something has to be there first.
    #[error("there is no {0} yet")]
    Missing(&'static str),
    /// A setting of the service has to be there first.
    #[error("the setting {0} is missing")]
    NotConfigured(&'static str),
    /// The mapping names a field that was not agreed.
    #[error("the agreement does not name the field {0}")]
    FieldNotAgreed(String),
    /// The mapping drops a field that may hold values at the recipient.
    #[error("the mapping drops the field {0}, which the published one has")]
    FieldDropped(String),
    /// The plan does not hold any longer.
    #[error("{0}")]
    PlanStale(&'static str),
    /// Another run is under way.
    #[error("another run is under way")]
    Busy,
    /// The same request id came with another body before.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// Another runner took the destination over.
    #[error("another runner took the destination over")]
    Fenced,
    /// The recipient did not do it.
    #[error("the recipient")]
    Recipient(#[from] salesforce::Error),
    /// A result file is not what it should be.
    #[error("the recipient's results")]
    Results(#[from] crate::bulk_csv::Malformed),
    /// Rows could not be written as CSV.
    #[error("upload data")]
    Csv(#[from] csv::Error),
    /// A key could not be used.
    #[error("keys")]
    Key(#[from] KeyError),
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

impl Error {
    /// Whether the database held two writes apart, so that the same again may pass.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => chassis::constraint(error),
            _ => None,
        }
    }

    /// How long the recipient asks to wait.
    #[must_use]
    pub const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Recipient(salesforce::Error::Busy { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::NameTaken | Self::AgreementTaken => Code::AlreadyExists,
            Self::SamePerson => Code::PermissionDenied,
            Self::State { .. }
            | Self::WindowOver
            | Self::Missing(_)
            | Self::NotConfigured(_)
            | Self::FieldNotAgreed(_)
            | Self::FieldDropped(_)
            | Self::PlanStale(_)
            | Self::Busy
            | Self::RequestIdReused => Code::FailedPrecondition,
            // Whoever asked can do nothing about it but ask again.
            Self::Recipient(_) | Self::Results(_) | Self::Fenced => Code::Unavailable,
            Self::Database(error) => chassis::database_code(error),
            Self::Outbox(error) => error.code(),
            Self::Csv(_) | Self::Key(_) | Self::Stored { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::NotFound(_) => "NOT_FOUND",
            Self::NameTaken => "NAME_TAKEN",
            Self::AgreementTaken => "AGREEMENT_TAKEN",
            Self::SamePerson => "SAME_PERSON",
            Self::State { .. } => "WRONG_STATE",
            Self::WindowOver => "WINDOW_OVER",
            Self::Missing(_) => "MISSING",
            Self::NotConfigured(_) => "NOT_CONFIGURED",
            Self::FieldNotAgreed(_) => "FIELD_NOT_AGREED",
            Self::FieldDropped(_) => "FIELD_DROPPED",
            Self::PlanStale(_) => "PLAN_STALE",
            Self::Busy => "BUSY",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::Fenced => "FENCED",
            Self::Recipient(_) | Self::Results(_) => "RECIPIENT",
            Self::Key(_) | Self::Csv(_) => "INTERNAL",
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

    fn retry_after(&self) -> Option<Duration> {
        self.patience()
    }
}
