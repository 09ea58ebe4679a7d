use std::{pin::Pin, sync::Arc};

use futures::Stream;
use prost::Message;
use proto::results::v1::{
    self as wire, FeedFrame, GetDocumentRequest, GetManifestRequest, GetManifestResponse, GetSnapshotRequest,
    GetSnapshotResponse, ListChangesRequest, ListChangesResponse, ListGapsRequest, ListGapsResponse,
    ListVenueClocksRequest, ListVenueClocksResponse, SearchDocumentsRequest, SearchDocumentsResponse,
    SubscribeMode, SubscribeRequest, feed_frame::Frame as Kind, feed_service_server::FeedService,
};
use tonic::{Request, Response, Status};

use super::{
    days,
    documents::{self, Pieces},
    gaps, parse, past,
};
use crate::{
    Error,
    app::App,
    cursor::Cursor,
    entry::Edition,
    events::{document_key, status, timestamp},
    fanout::{Carrier, Filter, Mode, Reader, Subscription},
    frame::{Frame, HEARTBEAT_SECONDS, Raw, Stale, hex, href},
    lane::Lane,
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
    type GetDocumentStream = Pieces;
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<FeedFrame, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let actor = chassis::actor(&request)?;
        let asked = subscription(request.get_ref(), actor).map_err(chassis::status)?;
        let figures = Arc::clone(self.app.hub(asked.stream).figures());
        let place = (self.app.connect().map_err(chassis::status)?, figures.open(Carrier::Grpc));
        let mut reader = Reader::new(self.app.clone(), asked).map_err(chassis::status)?;
        let frames = async_stream::try_stream! {
            let _place = place;
            while let Some(sent) = reader.next().await.map_err(chassis::status)? {
                for sent in sent {
                    let mut frames = Vec::with_capacity(1);
                    sent.frames(|cursor, frame| frames.push(to_proto(cursor, frame)));
                    figures.wrote(Carrier::Grpc, frames.len(), frames.iter().map(Message::encoded_len).sum());
                    for frame in frames {
                        yield frame;
                    }
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

    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let changes = past::list_changes(&self.app, client_id, request.get_ref()).await;
        changes.map(Response::new).map_err(chassis::status)
    }

    async fn list_venue_clocks(
        &self,
        request: Request<ListVenueClocksRequest>,
    ) -> Result<Response<ListVenueClocksResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let clocks = days::clocks(&self.app, &client_id, request.get_ref()).await;
        clocks.map(Response::new).map_err(chassis::status)
    }

    async fn get_manifest(
        &self,
        request: Request<GetManifestRequest>,
    ) -> Result<Response<GetManifestResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let page = days::manifest(&self.app, &client_id, request.get_ref()).await;
        page.map(Response::new).map_err(chassis::status)
    }

    async fn get_document(
        &self,
        request: Request<GetDocumentRequest>,
    ) -> Result<Response<Self::GetDocumentStream>, Status> {
        let client_id = parse::reader(&request)?;
        let pieces = documents::pieces(&self.app, &client_id, request.get_ref()).await;
        pieces.map(Response::new).map_err(chassis::status)
    }

    async fn search_documents(
        &self,
        request: Request<SearchDocumentsRequest>,
    ) -> Result<Response<SearchDocumentsResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let page = documents::search(&self.app, &client_id, request.into_inner()).await;
        page.map(Response::new).map_err(chassis::status)
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
        let stream = parse::stream("feed_flag", &request.feed_flag)?;
        let prefixes = parse::prefixes("prefixes", &request.prefixes)?;
        let limit = parse::page_size("page_size", request.page_size)?;
        if !request.as_of.is_empty() {
            let place = past::place(&request.as_of, &request.page_token)?;
            let (page, seq) =
                self.app.past_snapshot(Some(client_id), stream, &prefixes, place, limit).await?;
            return Ok(GetSnapshotResponse {
                cursor: page.cursor.to_string(),
                documents: page.editions.iter().map(snap).collect(),
                next_page_token: past::next_page(page.next, seq),
            });
        }
        let after = parse::handle("page_token", &request.page_token)?;
        let rights = self.app.rights(Some(client_id)).await?;
        let page = self.app.snapshot(&rights, stream, &prefixes, after, limit).await?;
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
        stream: parse::stream("feed_flag", &request.feed_flag)?,
        filter: Filter::new(parse::prefixes("prefixes", &request.prefixes)?),
        representation: parse::representation("representation", &request.representation)?,
        cursor: (!cursor.is_empty()).then(|| cursor.to_owned()),
        mode: match request.mode() {
            SubscribeMode::Unspecified | SubscribeMode::State => Mode::State,
            SubscribeMode::Every => Mode::Every,
        },
        expires_at: Some(actor.expires_at),
        client_id: Some(actor.client_id),
    })
}

/// A frame, and the cursor after it.
pub fn to_proto(cursor: Option<Cursor>, frame: Frame) -> FeedFrame {
    let frame = match frame {
        Frame::Hello { stream, cursor } => Kind::Hello(wire::Hello {
            stream,
            cursor: cursor.to_string(),
            heartbeat_seconds: HEARTBEAT_SECONDS,
        }),
        Frame::Snap { edition, raw } => document(&edition, raw.as_ref(), None),
        Frame::Live { cursor } => Kind::Live(wire::Live { cursor: cursor.to_string() }),
        Frame::Delta { edition, base_version, patch, previous } => Kind::Delta(wire::Delta {
            handle: edition.handle,
            base_version,
            version: edition.version,
            result_status: status(edition.status),
            seq: edition.seq,
            previous,
            patch,
            lane: number(Lane::of(edition.document_type)),
        }),
        Frame::Full { edition, previous, raw } => document(&edition, raw.as_ref(), Some(previous)),
        Frame::Gone { handle, seq, previous, lane, why } => {
            let (why, lane) = (why.name().to_owned(), number(lane));
            Kind::Gone(wire::Gone { handle, seq, previous, why, lane })
        }
        Frame::Superseded { handle, version, status: now, seq, previous, lane } => {
            let (result_status, lane) = (status(now), number(lane));
            Kind::Superseded(wire::Superseded { handle, version, result_status, seq, previous, lane })
        }
        Frame::Skip { previous, seq, count, lane } => {
            Kind::Skip(wire::Skip { previous, seq, count, lane: number(lane) })
        }
        Frame::Heartbeat { seq, at, lag_ms, stale } => {
            let stale = stale.iter().map(stale_venue).collect();
            Kind::Heartbeat(wire::Heartbeat { seq, at: Some(timestamp(at)), lag_ms, stale })
        }
        Frame::Reset { why, cursor } => {
            Kind::Reset(wire::Reset { why: why.name().to_owned(), cursor: cursor.to_string() })
        }
        Frame::Bye { why, retry_ms } => Kind::Bye(wire::Bye { why: why.name().to_owned(), retry_ms }),
    };
    let cursor = cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
    FeedFrame { cursor, frame: Some(frame) }
}

// A document of the snapshot, or behind `previous`.
fn document(edition: &Edition, raw: Option<&Raw>, previous: Option<i64>) -> Kind {
    let lane = number(Lane::of(edition.document_type));
    let body = match raw {
        Some(raw) => raw.body.clone(),
        None => edition.body_in_frame().cloned(),
    };
    let Some(body) = body else {
        return Kind::Reference(reference(edition, raw, previous.unwrap_or_default()));
    };
    match previous {
        None => Kind::Snap(wire::Snap { body, ..snap(edition) }),
        Some(previous) => Kind::Full(wire::Full {
            handle: edition.handle,
            key: Some(document_key(&edition.key)),
            version: edition.version,
            result_status: status(edition.status),
            seq: edition.seq,
            previous,
            body,
            lane,
        }),
    }
}

fn number(lane: Lane) -> u32 {
    u32::try_from(lane.index()).unwrap_or_default()
}

fn stale_venue(stale: &Stale) -> wire::StaleVenue {
    let Stale { venue, discipline, age_seconds } = stale.clone();
    wire::StaleVenue { venue, discipline, age_seconds }
}

// A page of many documents could outgrow a message: a large one is left to its address.
fn snap(edition: &Edition) -> wire::Snap {
    wire::Snap {
        handle: edition.handle,
        key: Some(document_key(&edition.key)),
        version: edition.version,
        result_status: status(edition.status),
        seq: edition.seq,
        body: edition.body_in_frame().cloned().unwrap_or_default(),
    }
}

fn reference(edition: &Edition, raw: Option<&Raw>, previous: i64) -> wire::Reference {
    let (size, sha256) = raw.map_or((edition.size, edition.sha256), |raw| (raw.size, raw.sha256));
    wire::Reference {
        handle: edition.handle,
        key: Some(document_key(&edition.key)),
        version: edition.version,
        result_status: status(edition.status),
        seq: edition.seq,
        previous,
        bytes: u64::try_from(size).unwrap_or(u64::MAX),
        sha256: hex(&sha256),
        href: href(edition, raw),
        lane: number(Lane::of(edition.document_type)),
    }
}
