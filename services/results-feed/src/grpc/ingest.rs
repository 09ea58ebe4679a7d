use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use chassis::FieldViolation;
use domain::Uuid;
use futures::{Stream, StreamExt as _};
use proto::results::v1::{
    DiscardQuarantinedRequest, DiscardQuarantinedResponse, ListQuarantinedRequest, ListQuarantinedResponse,
    PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, QuarantinedDocument,
    RequeueQuarantinedRequest, RequeueQuarantinedResponse, ingest_service_server::IngestService,
};
use tonic::{Request, Response, Status, Streaming};

use super::parse;
use crate::{
    Error,
    app::{App, Publisher},
    document_type::FeedFlag,
    events::timestamp,
    ledger::Receipt,
    store::Quarantined,
};

/// Longest document by gRPC; the transport's own limit is 4 MiB a message.
const LONGEST: usize = 3 << 20;
/// Documents of one stream that wait for their commit together.
const TOGETHER: usize = 64;

/// `kotinos.results.v1.IngestService`
#[derive(Debug, Clone)]
pub struct Ingest {
    app: App,
}

impl Ingest {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }

    async fn list(&self, request: &ListQuarantinedRequest) -> Result<ListQuarantinedResponse, Error> {
        let limit = parse::page_size("page_size", request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(chassis::parse("page_token", parse::bounded("page_token", token)?)?),
        };
        let reason = parse::bounded("reason", &request.reason)?;
        let publisher = parse::bounded("publisher", &request.publisher)?;
        let (page, next) = self.app.list_quarantined(reason, publisher, after, limit).await?;
        Ok(ListQuarantinedResponse {
            documents: page.into_iter().map(quarantined).collect(),
            next_page_token: next.map(|next: Uuid| next.to_string()).unwrap_or_default(),
        })
    }

    async fn requeue(&self, quarantine_id: &str) -> Result<RequeueQuarantinedResponse, Error> {
        let quarantine_id = chassis::parse("quarantine_id", quarantine_id)?;
        let receipt = self.app.requeue_quarantined(quarantine_id).await?;
        Ok(RequeueQuarantinedResponse { outcome: Some(response(&receipt)) })
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    type PublishStreamStream = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let publisher = Publisher::Client(chassis::actor(&request)?.client_id);
        let answer = publish(&self.app, &publisher, request.into_inner().odf).await;
        answer.map(Response::new).map_err(chassis::status)
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let actor = chassis::actor(&request)?;
        let (publisher, expires_at) = (Publisher::Client(actor.client_id), actor.expires_at);
        let app = self.app.clone();
        let answers = until_drain(&app, request.into_inner())
            .map(move |document| {
                let (app, publisher) = (app.clone(), publisher.clone());
                async move {
                    let document = document?;
                    if app.clock().now() >= expires_at {
                        return Err(chassis::status(Error::Expired));
                    }
                    let outcome = publish(&app, &publisher, document.odf).await.map_err(chassis::status)?;
                    Ok(PublishStreamResponse { outcome: Some(outcome) })
                }
            })
            .buffered(TOGETHER);
        // The first error ends the stream: what follows it was not answered, and its sender repeats it.
        let mut has_failed = false;
        let until_error = answers.take_while(move |answer| {
            std::future::ready(!std::mem::replace(&mut has_failed, answer.is_err()))
        });
        Ok(Response::new(Box::pin(until_error)))
    }

    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<ListQuarantinedResponse>, Status> {
        self.list(request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }

    async fn requeue_quarantined(
        &self,
        request: Request<RequeueQuarantinedRequest>,
    ) -> Result<Response<RequeueQuarantinedResponse>, Status> {
        let answer = self.requeue(&request.get_ref().quarantine_id).await;
        answer.map(Response::new).map_err(chassis::status)
    }

    async fn discard_quarantined(
        &self,
        request: Request<DiscardQuarantinedRequest>,
    ) -> Result<Response<DiscardQuarantinedResponse>, Status> {
        let by = chassis::actor(&request)?.client_id;
        let quarantine_id = chassis::parse("quarantine_id", &request.get_ref().quarantine_id);
        let quarantine_id = quarantine_id.map_err(|violation| chassis::status(Error::from(violation)))?;
        self.app.discard_quarantined(quarantine_id, &by).await.map_err(chassis::status)?;
        Ok(Response::new(DiscardQuarantinedResponse {}))
    }
}

// An idle stream holds up no shutdown: its client goes to another replica.
fn until_drain(
    app: &App,
    mut documents: Streaming<PublishStreamRequest>,
) -> impl Stream<Item = Result<PublishStreamRequest, Status>> + Send + use<> {
    let hub = Arc::clone(app.hub(FeedFlag::Production));
    async_stream::stream! {
        loop {
            let next = tokio::select! {
                biased;
                next = documents.next() => next,
                () = hub.wait_until_draining() => {
                    Some(Err(chassis::status(Error::Unavailable("going down"))))
                }
            };
            match next {
                Some(document) => yield document,
                None => break,
            }
        }
    }
}

async fn publish(app: &App, publisher: &Publisher, odf: Vec<u8>) -> Result<PublishResponse, Error> {
    if odf.is_empty() || odf.len() > LONGEST {
        return Err(FieldViolation::new("odf", "must be a document of 1 byte to 3 MiB").into());
    }
    let receipt = app.publish(publisher, Bytes::from(odf)).await?;
    Ok(response(&receipt))
}

fn response(receipt: &Receipt) -> PublishResponse {
    let reason = match receipt {
        Receipt::Quarantined(reason) => reason.to_string(),
        _ => String::new(),
    };
    PublishResponse { outcome: receipt.outcome().to_owned(), seq: receipt.seq(), reason }
}

fn quarantined(document: Quarantined) -> QuarantinedDocument {
    QuarantinedDocument {
        quarantine_id: document.quarantine_id.to_string(),
        reason: document.reason,
        publisher: document.publisher,
        received_at: Some(timestamp(document.received_at)),
        size: u64::try_from(document.size).unwrap_or_default(),
        head: document.head,
    }
}
