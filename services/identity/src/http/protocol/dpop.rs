//! The headers of DPoP (RFC 9449): a proof comes in `DPoP`, the nonce for the next one goes out in `DPoP-Nonce`.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use crate::app::{App, ProofError, Shown};

const PROOF: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The proof that came along to an endpoint, if any.
///
/// # Errors
/// More than one (RFC 9449 4.3), or one that is not text.
pub fn shown<'a>(headers: &'a HeaderMap, method: &'a str, path: &'a str) -> Result<Shown<'a>, ProofError> {
    let mut proofs = headers.get_all(PROOF).iter();
    let proof = proofs.next().map(HeaderValue::to_str).transpose();
    match (proof, proofs.next()) {
        (Ok(proof), None) => Ok(Shown { proof, method, path }),
        (_, Some(_)) => Err(ProofError::Invalid("more than one proof")),
        (Err(_), None) => Err(ProofError::Invalid("the proof is not text")),
    }
}

/// Gives whoever shows a proof the nonce for the next one (RFC 9449 8.2).
pub async fn hand_out_nonce(State(app): State<App>, request: Request, next: Next) -> Response {
    let shows = request.headers().contains_key(PROOF);
    let mut response = next.run(request).await;
    if shows && let Ok(nonce) = HeaderValue::try_from(app.dpop_nonce()) {
        response.headers_mut().insert(NONCE, nonce);
    }
    response
}
