use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        Query as Pairs, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use chassis::Coded;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use tokio::time::{error::Elapsed, timeout};
use tracing::Instrument as _;

use super::{Failure, Refusal, Web, feed::subscription, query::Query};
use crate::{
    document_type::FeedFlag,
    fanout::{Carrier, Figures, Reader, Sent},
};

/// The one subprotocol (RFC 6455 1.9).
const PROTOCOL: &str = "kotinos.feed.v1";
/// Bytes that a connection holds for reading: the default is 128 KiB, and readers have nothing to say.
const READ_BUFFER: usize = 4 << 10;
/// Bytes that are gathered before they are written.
const WRITE_BUFFER: usize = 4 << 10;
/// Longest message from a reader in bytes.
const LONGEST_MESSAGE: usize = 4 << 10;
/// A connection on which nothing could be written for so long is closed; a large message has a second more for each 1,000
/// bytes, so that slowness alone ends none.
const STANDSTILL: Duration = Duration::from_secs(60);
/// How long the closing may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// `GET /results/v1/feed/ws`: the feed by WebSocket (RFC 6455). Each message is one frame as JSON, with the cursor after
/// it as `c`. Closed with 1000 after `bye`, 1008 after a standstill or a message too many, 1011 when the database fails.
pub async fn subscribe(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    check_origin(&headers, query.ticket.is_some())?;
    let asked = subscription(&web, &headers, query).await?;
    let figures = Arc::clone(web.app.hub(FeedFlag::Production).figures());
    let place = web.app.connect()?;
    let reader = Reader::new(web.app.clone(), asked)?;
    // What it reads from the database belongs to the call that asked.
    let span = tracing::Span::current();
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| {
        let talk = async move {
            let _place = (place, figures.open(Carrier::Socket));
            write_feed(socket, reader, &figures).await;
        };
        talk.instrument(span)
    }))
}

// A page of somebody else's site may read the public's feed only with a ticket, which its owner gave it.
fn check_origin(headers: &HeaderMap, has_ticket: bool) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    if has_ticket || (authority.is_some() && authority == text(header::HOST)) {
        return Ok(());
    }
    Err(Refusal {
        status: StatusCode::FORBIDDEN,
        reason: "FOREIGN_ORIGIN",
        rule: "pages of other sites need a ticket",
    })
}

async fn write_feed(socket: WebSocket, mut reader: Reader, figures: &Figures) {
    let (mut sink, mut stream) = socket.split();
    let code = loop {
        let sent = {
            // Not begun anew when the other side says something: what it has taken would be lost.
            let mut next = std::pin::pin!(reader.next());
            loop {
                tokio::select! {
                    biased;
                    said = stream.next() => match said {
                        // Answered by the library, with the next message.
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Text(_) | Message::Binary(_))) => break None,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    },
                    sent = next.as_mut() => break Some(sent),
                }
            }
        };
        match sent {
            Some(Ok(Some(sent))) => match write(&mut sink, &sent, figures).await {
                Ok(()) => {}
                Err(Unwritten::Lost) => return,
                Err(Unwritten::StoodStill) => break close_code::POLICY,
            },
            Some(Ok(None)) => break close_code::NORMAL,
            Some(Err(error)) => {
                tracing::warn!(code = ?error.code(), reason = error.reason(), "feed connection ended");
                break close_code::ERROR;
            }
            None => break close_code::POLICY,
        }
    };
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static("") }));
    // A reader that takes nothing does not hear why; one that does answers, and the connection ends with that.
    let _ = timeout(GOODBYE, async {
        sink.send(close).await?;
        while let Some(Ok(_)) = stream.next().await {}
        Ok::<_, axum::Error>(())
    })
    .await;
}

enum Unwritten {
    /// The connection is gone.
    Lost,
    /// Its reader takes nothing.
    StoodStill,
}

async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    sent: &[Sent],
    figures: &Figures,
) -> Result<(), Unwritten> {
    for sent in sent {
        let mut messages = Vec::new();
        sent.messages(|message| messages.push(message));
        figures.wrote(Carrier::Socket, messages.len(), messages.iter().map(Bytes::len).sum());
        for message in messages {
            let patience = STANDSTILL + Duration::from_millis(message.len() as u64);
            // We wrote it: it is UTF-8.
            let Ok(text) = Utf8Bytes::try_from(message) else { continue };
            written(&timeout(patience, sink.feed(Message::Text(text))).await)?;
        }
    }
    written(&timeout(STANDSTILL, sink.flush()).await)
}

fn written(done: &Result<Result<(), axum::Error>, Elapsed>) -> Result<(), Unwritten> {
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Unwritten::Lost),
        Err(_) => Err(Unwritten::StoodStill),
    }
}
