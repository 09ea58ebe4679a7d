use chassis::{
    Code, Coded, FieldViolation, PeerError,
    relying_party::{self, NotOpened},
};

/// What the portal answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break a rule, all at once.
    #[error("{} field(s) break a rule", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// No session, or one that has ended: the fan signs in.
    #[error("nobody is signed in")]
    SignedOut,
    /// The answer of identity does not belong to a sign-in that this browser began.
    #[error("the sign-in was not begun in this browser")]
    ForeignSignIn,
    /// A form that did not come from our own page.
    #[error("the form did not come from our own page")]
    ForeignForm,
    /// A form that is larger than any of ours.
    #[error("the form is too large")]
    TooLarge,
    /// A notice that was on the page is not the one that is published.
    #[error("the notice on the page is out of date")]
    NoticeOutOfDate,
    /// As many live feeds as one process, or one fan, may have.
    #[error("too many live feeds")]
    Full,
    /// No such page or unit.
    #[error("no such page")]
    NotFound,
    /// The profile of a new user is still on its way.
    #[error("the profile is being prepared")]
    BeingPrepared,
    /// Identity did not answer as it should.
    #[error("identity")]
    Issuer(#[from] relying_party::Error),
    /// Another service did not answer.
    #[error("peer")]
    Peer(#[from] PeerError),
    /// The live feed of results-feed does not open.
    #[error("live feed")]
    Feed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Sealed bytes do not open.
    #[error("session")]
    Sealed(#[from] NotOpened),
    /// The database did not do it.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// A template does not render.
    #[error("page")]
    Page(#[from] minijinja::Error),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::NotFound => Self::NotFound,
            _ => Self::Peer(PeerError::from(status)),
        }
    }
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::TooLarge => Code::InvalidArgument,
            Self::NoticeOutOfDate => Code::FailedPrecondition,
            Self::Full => Code::ResourceExhausted,
            Self::SignedOut => Code::Unauthenticated,
            Self::ForeignSignIn | Self::ForeignForm => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::BeingPrepared | Self::Feed(_) => Code::Unavailable,
            Self::Issuer(error) => error.code(),
            Self::Peer(error) => error.code(),
            Self::Database(error) => chassis::database_code(error),
            Self::Sealed(_) | Self::Page(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELD",
            Self::SignedOut => "SIGNED_OUT",
            Self::ForeignSignIn => "FOREIGN_SIGN_IN",
            Self::ForeignForm => "FOREIGN_FORM",
            Self::TooLarge => "TOO_LARGE",
            Self::NoticeOutOfDate => "NOTICE_OUT_OF_DATE",
            Self::Full => "TOO_MANY_FEEDS",
            Self::NotFound => "NOT_FOUND",
            Self::BeingPrepared => "BEING_PREPARED",
            Self::Issuer(_) => "ISSUER",
            Self::Peer(_) => "PEER",
            Self::Feed(_) => "FEED",
            Self::Sealed(_) => "SESSION",
            Self::Database(_) => "STORAGE",
            Self::Page(_) => "PAGE",
        }
    }

    fn fields(&self) -> Vec<FieldViolation> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            _ => Vec::new(),
        }
    }
}
