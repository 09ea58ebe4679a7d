use std::{pin::Pin, sync::Arc};

use futures::Stream;
use proto::results::v1::{
    self as wire, FeedFrame, GetSnapshotRequest, GetSnapshotResponse, ListGapsRequest, ListGapsResponse,
    SubscribeMode, SubscribeRequest, feed_frame::Frame as Kind, feed_service_server::FeedService,
};
use tonic::{Request, Response, Status};

use super::{gaps, parse};
use crate::{
    Error,
    app::App,
    entry::Edition,
    events::{document_key, status, timestamp},
    fanout::{Mode, Reader, Subscription},
    frame::{Frame, HEARTBEAT_SECONDS, Sent, hex, href},
};

/// `kotinos.results.v1.FeedService`
#[derive(Debug, Clone)]
pub struct Feed {
    app: App,
}

impl Feed {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl FeedService for Feed {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<FeedFrame, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let actor = chassis::actor(&request)?;
        let asked = subscription(request.get_ref(), actor).map_err(chassis::status)?;
        let place = Arc::clone(self.app.connections()).try_acquire_owned();
        let place = place.map_err(|_| chassis::status(Error::Unavailable("too many connections")))?;
        let mut reader = Reader::new(self.app.clone(), asked).map_err(chassis::status)?;
        let frames = async_stream::try_stream! {
            let _place = place;
            while let Some(frames) = reader.next().await.map_err(chassis::status)? {
                for sent in frames {
                    yield to_proto(sent);
                }
            }
        };
        Ok(Response::new(Box::pin(frames)))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let client_id = parse::reader(&request)?;
        self.page(&client_id, request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }

    async fn list_gaps(
        &self,
        request: Request<ListGapsRequest>,
    ) -> Result<Response<ListGapsResponse>, Status> {
        let client_id = parse::reader(&request)?;
        gaps::list(&self.app, &client_id, request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }
}

impl Feed {
    async fn page(
        &self,
        client_id: &str,
        request: &GetSnapshotRequest,
    ) -> Result<GetSnapshotResponse, Error> {
        let feed_flag = parse::feed_flag("feed_flag", &request.feed_flag)?;
        let prefixes = parse::prefixes("prefixes", &request.prefixes)?;
        let limit = parse::page_size("page_size", request.page_size)?;
        let after = parse::handle("page_token", &request.page_token)?;
        let rights = self.app.rights(Some(client_id)).await?;
        let page = self.app.snapshot(&rights, feed_flag, &prefixes, after, limit).await?;
        Ok(GetSnapshotResponse {
            cursor: page.cursor.to_string(),
            documents: page.editions.iter().map(snap).collect(),
            next_page_token: page.next.map(|handle| handle.to_string()).unwrap_or_default(),
        })
    }
}

fn subscription(request: &SubscribeRequest, actor: chassis::Actor) -> Result<Subscription, Error> {
    let cursor = parse::bounded("cursor", &request.cursor)?;
    Ok(Subscription {
        feed_flag: parse::feed_flag("feed_flag", &request.feed_flag)?,
        prefixes: parse::prefixes("prefixes", &request.prefixes)?,
        cursor: (!cursor.is_empty()).then(|| cursor.to_owned()),
        mode: match request.mode() {
            SubscribeMode::Unspecified | SubscribeMode::State => Mode::State,
            SubscribeMode::Every => Mode::Every,
        },
        expires_at: None,
        client_id: Some(actor.client_id),
    })
}

fn to_proto(sent: Sent) -> FeedFrame {
    let frame = match sent.frame {
        Frame::Hello { stream, cursor } => Kind::Hello(wire::Hello {
            stream,
            cursor: cursor.to_string(),
            heartbeat_seconds: HEARTBEAT_SECONDS,
        }),
        Frame::Snap(edition) if is_large(&edition) => Kind::Reference(reference(&edition, 0)),
        Frame::Snap(edition) => Kind::Snap(snap(&edition)),
        Frame::Live { cursor } => Kind::Live(wire::Live { cursor: cursor.to_string() }),
        Frame::Delta { edition, base_version, patch, previous } => Kind::Delta(wire::Delta {
            handle: edition.handle,
            base_version,
            version: edition.version,
            result_status: status(edition.status),
            seq: edition.seq,
            previous,
            patch: patch.to_vec(),
        }),
        Frame::Full { edition, previous } if is_large(&edition) => {
            Kind::Reference(reference(&edition, previous))
        }
        Frame::Full { edition, previous } => Kind::Full(wire::Full {
            handle: edition.handle,
            key: Some(document_key(&edition.key)),
            version: edition.version,
            result_status: status(edition.status),
            seq: edition.seq,
            previous,
            body: body(&edition),
        }),
        Frame::Gone { handle, seq, previous } => {
            Kind::Gone(wire::Gone { handle, seq, previous, why: "INVALIDATED".to_owned() })
        }
        Frame::Superseded { handle, version, status: now, seq, previous } => {
            Kind::Superseded(wire::Superseded { handle, version, result_status: status(now), seq, previous })
        }
        Frame::Skip { previous, seq, count } => Kind::Skip(wire::Skip { previous, seq, count }),
        Frame::Heartbeat { seq, at, lag_ms } => {
            Kind::Heartbeat(wire::Heartbeat { seq, at: Some(timestamp(at)), lag_ms })
        }
        Frame::Reset { why, cursor } => {
            Kind::Reset(wire::Reset { why: why.name().to_owned(), cursor: cursor.to_string() })
        }
        Frame::Bye { why, retry_ms } => Kind::Bye(wire::Bye { why: why.name().to_owned(), retry_ms }),
    };
    let cursor = sent.cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
    FeedFrame { cursor, frame: Some(frame) }
}

fn is_large(edition: &Edition) -> bool {
    edition.body_in_frame().is_none()
}

fn body(edition: &Edition) -> Vec<u8> {
    edition.body_in_frame().map(|body| body.to_vec()).unwrap_or_default()
}

// A page of many documents could outgrow a message: a large one is left to its address.
fn snap(edition: &Edition) -> wire::Snap {
    wire::Snap {
        handle: edition.handle,
        key: Some(document_key(&edition.key)),
        version: edition.version,
        result_status: status(edition.status),
        seq: edition.seq,
        body: body(edition),
    }
}

fn reference(edition: &Edition, previous: i64) -> wire::Reference {
    wire::Reference {
        handle: edition.handle,
        key: Some(document_key(&edition.key)),
        version: edition.version,
        result_status: status(edition.status),
        seq: edition.seq,
        previous,
        bytes: u64::try_from(edition.size).unwrap_or(u64::MAX),
        sha256: hex(&edition.sha256),
        href: href(edition),
    }
}
