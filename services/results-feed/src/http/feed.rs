use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Query as Pairs, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use chassis::{Actor, Coded};
use domain::Service;
use tokio::time::Instant;

use super::{Failure, NO_SNIFF, Web, cis::commentator, query::Query};
use crate::{
    Error,
    app::{PastPlace, SnapshotPage},
    as_of::PastPage,
    entitlement::DESK,
    fanout::{Carrier, Reader, Representation, Subscription},
    frame::{Frame, hex},
};

/// What a token needs to read the feed over HTTP.
const SCOPE: &str = "results.subscribe";

/// A reader that took nothing for so long is let go.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Most bytes that are written in one go.
const PIECE: usize = 16 << 10;

/// `GET /results/v1/feed`: the feed as server-sent events (HTML Living Standard 9.2). Without a token or ticket it shows
/// what the public may see. `id:` comes only with frames from which a reader may go on.
pub async fn subscribe(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asked = subscription(&web, &headers, Query::parse(pairs)?).await?;
    let figures = Arc::clone(web.app.hub(asked.stream).figures());
    let place = (web.app.connect()?, figures.open(Carrier::Events));
    let mut reader = Reader::new(web.app.clone(), asked)?;
    let retry = Bytes::from(format!("retry: {}\n\n", reader.retry_ms()));
    let events = async_stream::stream! {
        let _place = place;
        yield Ok::<_, Infallible>(retry);
        'open: loop {
            match reader.next().await {
                Ok(Some(sent)) => {
                    for sent in sent {
                        let mut pieces = Vec::with_capacity(2);
                        sent.events(|piece| cut(piece, &mut pieces));
                        let bytes = pieces.iter().map(Bytes::len).sum();
                        figures.wrote(Carrier::Events, sent.frame_count(), bytes);
                        for piece in pieces {
                            let begun = Instant::now();
                            yield Ok(piece);
                            if begun.elapsed() > STANDSTILL {
                                break 'open;
                            }
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    // The reader comes back with its last id; nothing is lost.
                    let _entered = reader.span().enter();
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
    // Proxies that buffer would hold the feed back. What a reader asks of the database is in its span without our help.
    let quick = ([("x-accel-buffering", "no")], Extension(chassis::EntersSpan));
    Ok((headers, quick, Body::from_stream(events)).into_response())
}

// In small pieces it is seen whether a reader takes any.
fn cut(mut event: Bytes, pieces: &mut Vec<Bytes>) {
    while event.len() > PIECE {
        pieces.push(event.split_to(PIECE));
    }
    pieces.push(event);
}

/// What a request for the feed asks for, and in whose name.
pub async fn subscription(web: &Web, headers: &HeaderMap, query: Query) -> Result<Subscription, Failure> {
    let (client_id, expires_at) = match &query.ticket {
        Some(ticket) => web.app.take_ticket(ticket).await.map(|(client, at)| (Some(client), Some(at)))?,
        None => match bearer(web, headers).await? {
            Some(actor) => (Some(actor.client_id), Some(actor.expires_at)),
            None => match commentator(web, headers) {
                Some(commentator) => (Some(DESK.to_owned()), commentator.ends_at()),
                None => (None, None),
            },
        },
    };
    let last_event_id =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    Ok(Subscription {
        stream: query.stream(),
        filter: query.filter(),
        representation: query.representation,
        // The header is newer: a browser sends it when it comes back to the address that it first opened.
        cursor: last_event_id.map(str::to_owned).or(query.cursor),
        mode: query.mode,
        client_id,
        expires_at,
    })
}

/// `GET /results/v1/state`: a page of the current state, or with `as_of` of a past one, as JSON.
pub async fn state(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let client_id = reader(&web, &headers).await?;
    let limit = query.limit.unwrap_or(100);
    let (page, next) = state_page(&web, client_id.as_deref(), &query, limit).await?;
    let mut json = BytesMut::from(format!(r#"{{"cursor":"{}","documents":["#, page.cursor).as_bytes());
    for (at, edition) in page.editions.into_iter().enumerate() {
        if at > 0 {
            json.put_u8(b',');
        }
        json.put(Frame::Snap { edition: Arc::new(edition), raw: None }.to_json());
    }
    json.put_u8(b']');
    if let Some(next) = next {
        json.put(format!(r#","next":"{next}""#).as_bytes());
    }
    json.put_u8(b'}');
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), NO_SNIFF], json.freeze())
        .into_response())
}

async fn state_page(
    web: &Web,
    client_id: Option<&str>,
    query: &Query,
    limit: i64,
) -> Result<(SnapshotPage, Option<String>), Error> {
    let (stream, prefixes) = (query.stream(), &query.prefixes);
    if let Some(as_of) = query.as_of {
        let place = PastPlace { as_of, page: query.past_page()? };
        let (page, seq) = web.app.past_snapshot(client_id, stream, prefixes, place, limit).await?;
        let next = page.next.map(|after| PastPage { seq, after }.to_string());
        return Ok((page, next));
    }
    let rights = web.app.rights(client_id).await?;
    let page = web.app.snapshot(&rights, stream, prefixes, query.after()?, limit).await?;
    let next = page.next.map(|handle| handle.to_string());
    Ok((page, next))
}

/// `GET /results/v1/documents/{handle}/{seq}`: a document that was too large for a frame.
pub async fn document(
    State(web): State<Web>,
    Path((handle, seq)): Path<(String, String)>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let representation = Query::parse(pairs)?.representation;
    let client_id = reader(&web, &headers).await?;
    let rights = web.app.rights(client_id.as_deref()).await?;
    let handle = chassis::parse("handle", &handle).map_err(Error::from)?;
    let seq = chassis::parse("seq", &seq).map_err(Error::from)?;
    if representation == Representation::Odf {
        let raw = web.app.get_raw_edition(&rights, handle, seq).await?;
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        return Ok(([kind, NO_SNIFF], raw).into_response());
    }
    let edition = web.app.get_edition(&rights, handle, seq).await?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", hex(&edition.sha256)));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"\""))),
        NO_SNIFF,
    ];
    Ok((headers, edition.body.unwrap_or_default()).into_response())
}

/// Whose rights hold: a token's client, or a commentator's by the cookie of the desk, since a browser's feed carries no
/// header of ours.
pub async fn reader(web: &Web, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let client_id = bearer(web, headers).await?.map(|actor| actor.client_id);
    Ok(client_id.or_else(|| commentator(web, headers).map(|_| DESK.to_owned())))
}

/// Who reads; nobody known without a token. A token that is wrong is refused rather than taken for none: its bearer
/// believes to see more than the public.
pub async fn bearer(web: &Web, headers: &HeaderMap) -> Result<Option<Actor>, Failure> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = authorization.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    let verified = web.process.verify_token(token, Service::ResultsFeed.audience()).await;
    let actor = verified.map_err(|error| Failure::Auth(error.into()))?;
    actor.require(SCOPE).map_err(|denied| Failure::Auth(denied.into()))?;
    Ok(Some(actor))
}
