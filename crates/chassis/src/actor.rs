use domain::{DateTime, UserId, Utc};

use crate::{Code, Coded};

/// Whoever calls, as their access token says (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `sub`: a person's user id, or the client's own id when it calls in its own name.
    pub subject: String,
    /// The OAuth client that got the token.
    pub client_id: String,
    /// What the token allows.
    pub scopes: Vec<String>,
    /// How the person signed in, when the token says so.
    pub acr: Option<String>,
    /// The token's end.
    pub expires_at: DateTime<Utc>,
}

impl Actor {
    /// Whether the client calls in its own name: a service of ours, or a partner's.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.subject == self.client_id
    }

    /// The person in whose name the client calls; none when it calls in its own, or when the token hides who it is (a
    /// pairwise subject).
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        if self.is_client() { None } else { self.subject.parse().ok() }
    }

    /// Whether the token allows it.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    /// That the token allows it.
    ///
    /// # Errors
    /// [`Denied::MissingScope`].
    pub fn require(&self, scope: &str) -> Result<(), Denied> {
        if self.has(scope) { Ok(()) } else { Err(Denied::MissingScope(scope.to_owned())) }
    }
}

/// The caller of a method, whom the authentication layer has put there.
///
/// # Errors
/// Our fault: a public method, which has no caller, asked for one.
pub fn actor<T>(request: &tonic::Request<T>) -> Result<Actor, tonic::Status> {
    request.extensions().get::<Actor>().cloned().ok_or_else(|| crate::status(NoActor))
}

#[derive(Debug, thiserror::Error)]
#[error("a method without a caller asked who calls")]
struct NoActor;

impl Coded for NoActor {
    fn code(&self) -> Code {
        Code::Internal
    }

    fn reason(&self) -> &'static str {
        "NO_ACTOR"
    }
}

/// Why a caller is refused. No variant holds the token or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is none.
    #[error("an access token is needed")]
    NoToken,
    /// It is no signed JWT with the claims of an access token.
    #[error("the access token cannot be read")]
    Malformed,
    /// Its `typ` is not `at+jwt` (RFC 9068 4): an ID token is not an access token.
    #[error("the token is not an access token")]
    WrongType,
    /// Its algorithm is none that its key is for.
    #[error("the access token is signed with an algorithm that its key is not for")]
    WrongAlgorithm,
    /// The issuer publishes no such key.
    #[error("the access token is signed with an unknown key")]
    UnknownKey,
    /// It was not signed with the key that it names.
    #[error("the signature of the access token is wrong")]
    WrongSignature,
    /// Somebody else issued it.
    #[error("the access token is of another issuer")]
    ForeignIssuer,
    /// It is for another API.
    #[error("the access token is for another audience")]
    WrongAudience,
    /// It is over.
    #[error("the access token is expired")]
    Expired,
    /// It is for later.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// It is bound to a key (`cnf`, RFC 7800) whose proof nobody checks here; without it a thief could use it.
    #[error("the access token is bound to a key, and comes without its proof")]
    SenderConstrained,
    /// It is good, and does not allow this.
    #[error("the access token lacks the scope {0}")]
    MissingScope(String),
    /// Nobody can tell: the issuer's keys were never had, or are too old.
    #[error("the keys of the issuer cannot be had: {0}")]
    NoKeys(String),
}

impl Coded for Denied {
    fn code(&self) -> Code {
        match self {
            Self::MissingScope(_) => Code::PermissionDenied,
            Self::NoKeys(_) => Code::Unavailable,
            _ => Code::Unauthenticated,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NoToken => "TOKEN_MISSING",
            Self::Malformed => "TOKEN_MALFORMED",
            Self::WrongType => "TOKEN_WRONG_TYPE",
            Self::WrongAlgorithm => "TOKEN_WRONG_ALGORITHM",
            Self::UnknownKey => "TOKEN_UNKNOWN_KEY",
            Self::WrongSignature => "TOKEN_WRONG_SIGNATURE",
            Self::ForeignIssuer => "TOKEN_FOREIGN_ISSUER",
            Self::WrongAudience => "TOKEN_WRONG_AUDIENCE",
            Self::Expired => "TOKEN_EXPIRED",
            Self::NotYetValid => "TOKEN_NOT_YET_VALID",
            Self::SenderConstrained => "TOKEN_SENDER_CONSTRAINED",
            Self::MissingScope(_) => "SCOPE_MISSING",
            Self::NoKeys(_) => "NO_KEYS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Actor {
        Actor {
            subject: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            client_id: "portal".to_owned(),
            scopes: vec!["profile.read".to_owned()],
            acr: None,
            expires_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_user_is_whoever_is_not_the_client_itself() {
        let alice = alice();
        assert_eq!(alice.user().unwrap().to_string(), alice.subject);
        let client = Actor { subject: "portal".to_owned(), ..alice.clone() };
        assert_eq!(client.user(), None);
        // A client whose id happens to be a UUID does not become a person by it.
        let client = Actor { client_id: alice.subject.clone(), ..alice };
        assert_eq!(client.user(), None);
    }

    #[test]
    fn a_scope_is_the_whole_word() {
        let alice = alice();
        assert_eq!(alice.require("profile.read"), Ok(()));
        let denied = alice.require("profile").unwrap_err();
        assert_eq!((denied.code(), denied.reason()), (Code::PermissionDenied, "SCOPE_MISSING"));
    }

    #[test]
    fn a_request_without_a_caller_is_our_fault() {
        let mut request = tonic::Request::new(());
        assert_eq!(actor(&request).unwrap_err().code(), tonic::Code::Internal);
        request.extensions_mut().insert(alice());
        assert_eq!(actor(&request).unwrap(), alice());
    }
}
