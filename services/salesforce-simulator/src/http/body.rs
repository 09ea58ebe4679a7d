//! Bodies, read under a bound.

use axum::{body::Body, http::StatusCode};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::refusal::Refusal;

/// Reads a body of at most `limit` bytes. A longer one is read on to twice the limit and thrown away, so that a client
/// that writes before it reads still gets the refusal.
///
/// # Errors
/// The refusal for a body that is too long, or that broke off.
pub(super) async fn read(body: Body, limit: usize, code: &'static str) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    let mut length = 0usize;
    while let Some(piece) = stream.next().await {
        let piece =
            piece.map_err(|_| Refusal::bad_request("MALFORMED_REQUEST", "the request body broke off"))?;
        length = length.saturating_add(piece.len());
        if length > limit.saturating_mul(2) {
            break;
        }
        if length <= limit {
            read.extend_from_slice(&piece);
        } else {
            read = BytesMut::new();
        }
    }
    if length > limit {
        let message = format!("the request body exceeds the maximum of {limit} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, code, message));
    }
    Ok(read.freeze())
}
