mod handshake;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Query as Pairs, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use chassis::Coded;
use tokio::time::timeout;
use tungstenite::protocol::frame::coding::CloseCode;

use self::{
    handshake::Handshake,
    wire::{Said, Unwritten, Wire},
};
use super::{Failure, Refusal, Web, feed::subscription, query::Query};
use crate::{
    Error,
    document_type::FeedFlag,
    fanout::{Carrier, Figures, Reader, Sent},
};

/// How long the closing may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// `GET /results/v1/feed/ws`: the feed by WebSocket (RFC 6455). Each message is one frame as JSON, with the cursor after
/// it as `c`. Closed with 1000 after `bye`, 1002 after what is no frame, 1008 after a standstill or a message, since a
/// reader has none to send, 1011 when the database fails.
pub async fn subscribe(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
    handshake: Handshake,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    check_origin(&headers, query.ticket.is_some())?;
    let asked = subscription(&web, &headers, query).await?;
    let figures = Arc::clone(web.app.hub(FeedFlag::Production).figures());
    let place = web.app.connect()?;
    let reader = Reader::new(web.app.clone(), asked)?;
    let answer = handshake.answer();
    tokio::spawn(async move {
        // Without the bytes that came with the handshake: they hold the buffer of its reading, 16 KB, as long as they live.
        let wire = handshake.socket.await.map(|(stream, said)| Wire::new(stream, &said));
        let Some(wire) = wire else { return };
        let _place = (place, figures.open(Carrier::Socket));
        // In memory of its own: the task would have room for it twice, before and after the socket is there.
        Box::pin(write_feed(wire, reader, &figures)).await;
    });
    Ok(answer)
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

async fn write_feed(mut wire: Wire, mut reader: Reader, figures: &Figures) {
    let code = loop {
        match next(&mut wire, &mut reader).await {
            Next::Sent(sent) => match write(&mut wire, &sent, figures).await {
                Ok(()) => {}
                Err(Unwritten::Lost) => return,
                Err(Unwritten::StoodStill) => break CloseCode::Policy,
            },
            Next::Closed(code) => {
                // Its close is answered by one with the same reason (RFC 6455 5.5.1).
                let _ = timeout(GOODBYE, wire.close(code)).await;
                return;
            }
            Next::Failed(error) => {
                let _entered = reader.span().enter();
                tracing::warn!(code = ?error.code(), reason = error.reason(), "feed connection ended");
                break CloseCode::Error;
            }
            Next::End(code) => break code,
            Next::Lost => return,
        }
        // A reader that takes all at once, however much there is, must not have the thread for itself.
        tokio::task::consume_budget().await;
    };
    // A reader that takes nothing does not hear why; one that does answers, and the connection ends with that.
    let _ = timeout(GOODBYE, async {
        wire.close(Some(u16::from(code).to_be_bytes())).await?;
        while !matches!(wire.hear().await, None | Some(Said::Close(_) | Said::Message | Said::Nonsense)) {}
        Ok::<_, Unwritten>(())
    })
    .await;
}

enum Next {
    Sent(Vec<Sent>),
    /// By its reader.
    Closed(Option<[u8; 2]>),
    /// By us.
    End(CloseCode),
    /// What it reads could not be read.
    Failed(Error),
    Lost,
}

// What there is to do on a connection, and pings answered meanwhile.
async fn next(wire: &mut Wire, reader: &mut Reader) -> Next {
    // Not begun anew when the other side says something: what it has taken would be lost.
    let mut sent = std::pin::pin!(reader.next());
    loop {
        tokio::select! {
            biased;
            said = wire.hear() => match said {
                Some(Said::Ping(payload)) => match wire.pong(&payload).await {
                    Ok(()) => {}
                    Err(Unwritten::Lost) => return Next::Lost,
                    Err(Unwritten::StoodStill) => return Next::End(CloseCode::Policy),
                },
                Some(Said::Pong) => {}
                Some(Said::Close(code)) => return Next::Closed(code),
                Some(Said::Message) => return Next::End(CloseCode::Policy),
                Some(Said::Nonsense) => return Next::End(CloseCode::Protocol),
                None => return Next::Lost,
            },
            sent = sent.as_mut() => return match sent {
                Ok(Some(sent)) => Next::Sent(sent),
                Ok(None) => Next::End(CloseCode::Normal),
                Err(error) => Next::Failed(error),
            },
        }
    }
}

async fn write(wire: &mut Wire, sent: &[Sent], figures: &Figures) -> Result<(), Unwritten> {
    let mut messages: Vec<Bytes> = Vec::with_capacity(sent.len());
    sent.iter().for_each(|sent| sent.messages(|message| messages.push(message)));
    figures.wrote(Carrier::Socket, messages.len(), messages.iter().map(Bytes::len).sum());
    wire.write(&messages).await
}
