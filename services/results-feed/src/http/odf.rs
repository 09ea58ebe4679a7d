use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use serde::Serialize;

use super::{Failure, Refusal, Web};
use crate::{Error, decoders::gzip, ledger::Receipt, quarantine::Reason};

/// Most bytes of a body as sent (ODF Foundation Principles 8.2).
const LARGEST: usize = 10 << 20;

const TOO_LARGE: Refusal = Refusal {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    reason: "BODY_TOO_LARGE",
    rule: "a document is at most 10 MiB as sent, and 32 MiB and 200 times that when inflated",
};
const UNKNOWN_ENCODING: Refusal = Refusal {
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    reason: "UNKNOWN_ENCODING",
    rule: "Content-Encoding is gzip or identity",
};
const TOO_SLOW: Refusal = Refusal {
    status: StatusCode::REQUEST_TIMEOUT,
    reason: "BODY_TOO_SLOW",
    rule: "a document arrives within the time that RESULTS_BODY_SECONDS names",
};

/// What a sender is told.
#[derive(Debug, Serialize)]
pub struct Answer {
    outcome: &'static str,
    seq: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `POST /results/v1/odf`: one document, answered once it is durable (ODF Foundation Principles 8.2).
pub async fn take(State(web): State<Web>, headers: HeaderMap, body: Body) -> Result<Json<Answer>, Failure> {
    // Before the body is read: who has no key costs no memory.
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).ok_or(Error::UnknownKey)?;
    let publisher = web.app.find_publisher(key).await?;
    let is_packed = match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(UNKNOWN_ENCODING.into()),
    };
    let body = tokio::time::timeout(web.body_patience, axum::body::to_bytes(body, LARGEST)).await;
    let body = body.map_err(|_| TOO_SLOW)?.map_err(|_| TOO_LARGE)?;
    let receipt = match if is_packed { inflate(body.clone()).await? } else { Some(body.clone()) } {
        Some(raw) => web.app.publish(&publisher, raw).await?,
        None => web.app.quarantine(&publisher, &body, Reason::NotGzip).await?,
    };
    let reason = match &receipt {
        Receipt::Quarantined(reason) => Some(reason.to_string()),
        _ => None,
    };
    Ok(Json(Answer { outcome: receipt.outcome(), seq: receipt.seq(), reason }))
}

// Beside the runtime, since a bomb is inflated up to its limit. Nothing where it is no gzip.
async fn inflate(body: Bytes) -> Result<Option<Bytes>, Failure> {
    let inflated = tokio::task::spawn_blocking(move || gzip::inflate(&body)).await;
    match inflated {
        Ok(Ok(raw)) => Ok(Some(Bytes::from(raw))),
        Ok(Err(gzip::Error::NotGzip)) => Ok(None),
        Ok(Err(gzip::Error::TooLarge)) => Err(TOO_LARGE.into()),
        Err(_) => Err(Error::Unavailable("going down").into()),
    }
}
