//! Who shows a DPoP proof, and whether it counts now (RFC 9449).

use std::time::Duration;

use super::{App, Refusal};
use crate::{
    client::Client,
    dpop::{self, Expected},
    replays::Taken,
};

/// Where a proof came along.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The proof; nothing when none came.
    pub proof: Option<&'a str>,
    /// Method of the request.
    pub method: &'a str,
    /// Path of the endpoint.
    pub path: &'a str,
}

/// Why a proof does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is wrong.
    #[error("invalid_dpop_proof: {0}")]
    Invalid(&'static str),
    /// It has no nonce of ours, or an old one: the next one is in the answer's header.
    #[error("use_dpop_nonce")]
    Nonce,
    /// It could not be remembered.
    #[error("too many proofs at once")]
    NoRoom,
}

impl ProofError {
    /// The registered code (RFC 9449 12.2).
    pub const fn error(self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_dpop_proof",
            Self::Nonce => "use_dpop_nonce",
            Self::NoRoom => "temporarily_unavailable",
        }
    }

    /// For the client's engineers.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Invalid(description) => description,
            Self::Nonce => "the proof must carry the nonce of the header DPoP-Nonce",
            Self::NoRoom => "try again later",
        }
    }
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::NoRoom => Self::Wait(Duration::from_secs(1)),
            _ => Self::new(error.error(), error.description()),
        }
    }
}

impl App {
    /// A nonce for the next proof.
    pub fn dpop_nonce(&self) -> String {
        dpop::mint_nonce(self.keys(), self.now())
    }

    /// Thumbprint of the key that the caller holds; nothing when no proof came.
    ///
    /// # Errors
    /// A proof that does not count, or came before.
    pub fn proven_key(
        &self,
        shown: &Shown<'_>,
        access_token: Option<&str>,
    ) -> Result<Option<String>, ProofError> {
        let Some(text) = shown.proof else { return Ok(None) };
        let now = self.now();
        let url = format!("{}{}", self.issuer(), shown.path);
        let expected = Expected { method: shown.method, url: &url, access_token, now };
        let proof = dpop::verify(text, &expected).map_err(|wrong| ProofError::Invalid(wrong.0))?;
        if !proof.nonce.is_some_and(|nonce| dpop::is_fresh(self.keys(), &nonce, now)) {
            return Err(ProofError::Nonce);
        }
        match self.proofs.take(&proof.jkt, &proof.jti, proof.until, now) {
            Taken::First => Ok(Some(proof.jkt)),
            Taken::Again => Err(ProofError::Invalid("the proof was used before")),
            Taken::NoRoom => Err(ProofError::NoRoom),
        }
    }

    /// The key for a client's tokens.
    ///
    /// # Errors
    /// As [`App::proven_key`]; no proof of a client whose tokens must be bound.
    pub(super) fn key_for_tokens(
        &self,
        client: &Client,
        shown: &Shown<'_>,
    ) -> Result<Option<String>, ProofError> {
        let jkt = self.proven_key(shown, None)?;
        if jkt.is_none() && client.requires_dpop() {
            return Err(ProofError::Invalid(
                "the client's tokens must be bound to a key: a proof is missing",
            ));
        }
        Ok(jkt)
    }
}
