use std::time::Duration;

use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{Code, Coded, FieldViolation};

/// Why a call of another service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It answered with an error, or not at all.
    #[error("the peer answered {:?}", .status.code())]
    Status {
        /// Its reason (`google.rpc.ErrorInfo`), when it gave one.
        reason: Option<String>,
        /// What it said, or what the channel says for it.
        #[source]
        status: Status,
    },
    /// We could not get a token to call with.
    #[error("no access token: {0}")]
    Token(String),
    /// The key of our OAuth client cannot be used.
    #[error("the key of the OAuth client cannot be used: {0}")]
    Key(String),
}

impl PeerError {
    /// The reason that the peer gave: a constant in capitals.
    #[must_use]
    pub fn reason_of_peer(&self) -> Option<&str> {
        match self {
            Self::Status { reason, .. } => reason.as_deref(),
            Self::Token(_) | Self::Key(_) => None,
        }
    }
}

impl From<Status> for PeerError {
    fn from(status: Status) -> Self {
        let reason =
            status.get_details_error_info().map(|info| info.reason).filter(|reason| !reason.is_empty());
        Self::Status { reason, status }
    }
}

impl From<PeerError> for Status {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Status { status, .. } => status,
            other => {
                let mut status = Self::unavailable("no access token for the peer");
                status.set_source(std::sync::Arc::new(other));
                status
            }
        }
    }
}

impl Coded for PeerError {
    fn code(&self) -> Code {
        match self {
            Self::Status { status, .. } => match status.code() {
                tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::ResourceExhausted => {
                    Code::Unavailable
                }
                // Whether these are the caller's doing is for the app to say.
                tonic::Code::NotFound => Code::NotFound,
                tonic::Code::AlreadyExists => Code::AlreadyExists,
                tonic::Code::FailedPrecondition => Code::FailedPrecondition,
                _ => Code::Internal,
            },
            // Nothing about the call itself is wrong: it passes once the issuer or the key is there.
            Self::Token(_) | Self::Key(_) => Code::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Status { .. } => match self.code() {
                Code::Unavailable => "PEER_UNAVAILABLE",
                Code::NotFound => "PEER_NOT_FOUND",
                Code::AlreadyExists => "PEER_ALREADY_EXISTS",
                Code::FailedPrecondition => "PEER_FAILED_PRECONDITION",
                _ => "PEER",
            },
            Self::Token(_) => "PEER_TOKEN",
            Self::Key(_) => "CLIENT_KEY",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { status, .. } if self.code() == Code::Unavailable => {
                status.get_details_retry_info().and_then(|info| info.retry_delay)
            }
            _ => None,
        }
    }
}

/// The fields that a peer's answer names as wrong (`google.rpc.BadRequest`).
#[must_use]
pub fn fields_of(status: &Status) -> Vec<FieldViolation> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|wrong| FieldViolation::new(wrong.field, wrong.description)).collect()
}

#[cfg(test)]
mod tests {
    use tonic::Code as Grpc;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn each_answer_of_a_peer_has_its_code_here() {
        let table = [
            (Grpc::Cancelled, Code::Internal, "PEER"),
            (Grpc::Unknown, Code::Internal, "PEER"),
            (Grpc::InvalidArgument, Code::Internal, "PEER"),
            (Grpc::DeadlineExceeded, Code::Unavailable, "PEER_UNAVAILABLE"),
            (Grpc::NotFound, Code::NotFound, "PEER_NOT_FOUND"),
            (Grpc::AlreadyExists, Code::AlreadyExists, "PEER_ALREADY_EXISTS"),
            (Grpc::PermissionDenied, Code::Internal, "PEER"),
            (Grpc::ResourceExhausted, Code::Unavailable, "PEER_UNAVAILABLE"),
            (Grpc::FailedPrecondition, Code::FailedPrecondition, "PEER_FAILED_PRECONDITION"),
            (Grpc::Aborted, Code::Internal, "PEER"),
            (Grpc::OutOfRange, Code::Internal, "PEER"),
            (Grpc::Unimplemented, Code::Internal, "PEER"),
            (Grpc::Internal, Code::Internal, "PEER"),
            (Grpc::Unavailable, Code::Unavailable, "PEER_UNAVAILABLE"),
            (Grpc::DataLoss, Code::Internal, "PEER"),
            (Grpc::Unauthenticated, Code::Internal, "PEER"),
        ];
        // Every code but OK, by its number.
        assert_eq!(table.map(|(theirs, ..)| theirs as i32).to_vec(), (1..=16).collect::<Vec<_>>());
        for (theirs, ours, reason) in table {
            let error = PeerError::from(Status::new(theirs, ""));
            assert_eq!((error.code(), error.reason()), (ours, reason), "{theirs:?}");
        }
    }

    #[test]
    fn reason_fields_and_patience_of_a_peer_are_read() {
        let mut details = ErrorDetails::new();
        details.set_error_info("NOT_NOW", "kotinos", std::collections::HashMap::new());
        details.add_bad_request_violation("email", "must be an e-mail address");
        details.set_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Grpc::Unavailable, "not now", details);
        assert_eq!(fields_of(&status), [FieldViolation::new("email", "must be an e-mail address")]);
        let error = PeerError::from(status);
        assert_eq!(error.reason_of_peer(), Some("NOT_NOW"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));

        let plain = Status::not_found("nobody");
        assert!(fields_of(&plain).is_empty());
        assert_eq!(PeerError::from(plain).reason_of_peer(), None);
    }
}
