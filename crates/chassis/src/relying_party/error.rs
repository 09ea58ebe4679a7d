use crate::{Code, Coded};

/// The issuer did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer at all, or not in time.
    #[error("the issuer does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused: the code or the refresh token is spent or foreign.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// Its token is not for us, or not from it.
    #[error("token does not hold: {0}")]
    Token(String),
    /// The operating system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) => Code::Unavailable,
            Self::Refused(_) | Self::Token(_) => Code::Unauthenticated,
            Self::Random => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "ISSUER_UNREACHABLE",
            Self::Refused(_) => "ISSUER_REFUSED",
            Self::Token(_) => "TOKEN",
            Self::Random => "RANDOM",
        }
    }
}
