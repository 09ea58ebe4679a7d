use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, Query as Pairs, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use chassis::Coded;
use domain::Service;

use super::{Failure, NO_SNIFF, Web, query::Query};
use crate::{
    Error,
    fanout::{Reader, Subscription},
    frame::{Frame, Sent, hex},
};

/// What a token needs to read the feed over HTTP.
const SCOPE: &str = "results.subscribe";

/// `GET /results/v1/feed`: the feed as server-sent events (HTML Living Standard 9.2). Without a token it shows what the
/// public may see. `id:` comes only with frames from which a reader may go on.
pub async fn subscribe(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let client_id = reader(&web, &headers).await?;
    let last_event_id =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let stream = query.stream();
    let asked = Subscription {
        stream,
        prefixes: query.prefixes,
        // The header is newer: a browser sends it when it comes back to the address that it first opened.
        cursor: last_event_id.map(str::to_owned).or(query.cursor),
        mode: query.mode,
        client_id,
        expires_at: None,
    };
    let place = Arc::clone(web.app.connections()).try_acquire_owned();
    let place = place.map_err(|_| Error::Unavailable("too many connections"))?;
    let mut reader = Reader::new(web.app.clone(), asked)?;
    let retry = Bytes::from(format!("retry: {}\n\n", reader.retry_ms()));
    let events = async_stream::stream! {
        let _place = place;
        yield Ok::<_, Infallible>(retry);
        loop {
            match reader.next().await {
                Ok(Some(frames)) => yield Ok(events(&frames)),
                Ok(None) => break,
                Err(error) => {
                    // The reader comes back with its last id; nothing is lost.
                    tracing::warn!(code = ?error.code(), reason = error.reason(), "feed connection ended");
                    break;
                }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        NO_SNIFF,
    ];
    // Proxies that buffer would hold the feed back.
    Ok((headers, [("x-accel-buffering", "no")], Body::from_stream(events)).into_response())
}

/// `GET /results/v1/state`: a page of the current state as JSON.
pub async fn state(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let client_id = reader(&web, &headers).await?;
    let rights = web.app.rights(client_id.as_deref()).await?;
    let limit = query.limit.unwrap_or(100);
    let page = web.app.snapshot(&rights, query.stream(), &query.prefixes, query.after, limit).await?;
    let mut json = BytesMut::from(format!(r#"{{"cursor":"{}","documents":["#, page.cursor).as_bytes());
    for (at, edition) in page.editions.into_iter().enumerate() {
        if at > 0 {
            json.put_u8(b',');
        }
        json.put(Frame::Snap(Arc::new(edition)).to_json());
    }
    json.put_u8(b']');
    if let Some(next) = page.next {
        json.put(format!(r#","next":"{next}""#).as_bytes());
    }
    json.put_u8(b'}');
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), NO_SNIFF], json.freeze())
        .into_response())
}

/// `GET /results/v1/documents/{handle}/{seq}`: a document that was too large for a frame.
pub async fn document(
    State(web): State<Web>,
    Path((handle, seq)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let client_id = reader(&web, &headers).await?;
    let rights = web.app.rights(client_id.as_deref()).await?;
    let handle = chassis::parse("handle", &handle).map_err(Error::from)?;
    let seq = chassis::parse("seq", &seq).map_err(Error::from)?;
    let edition = web.app.get_edition(&rights, handle, seq).await?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", hex(&edition.sha256)));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"\""))),
        NO_SNIFF,
    ];
    Ok((headers, edition.body.unwrap_or_default()).into_response())
}

// A token that is wrong is refused rather than taken for none: its bearer believes to see more than the public.
async fn reader(web: &Web, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = authorization.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    let verified = web.process.verify_token(token, Service::ResultsFeed.audience()).await;
    let actor = verified.map_err(|error| Failure::Auth(error.into()))?;
    actor.require(SCOPE).map_err(|denied| Failure::Auth(denied.into()))?;
    Ok(Some(actor.client_id))
}

fn events(frames: &[Sent]) -> Bytes {
    let mut events = BytesMut::new();
    for sent in frames {
        if let Some(cursor) = &sent.cursor {
            events.put(format!("id: {cursor}\n").as_bytes());
        }
        events.put(&b"data: "[..]);
        events.put(sent.frame.to_json());
        events.put(&b"\n\n"[..]);
    }
    events.freeze()
}
