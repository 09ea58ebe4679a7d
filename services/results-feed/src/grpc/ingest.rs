use bytes::Bytes;
use chassis::FieldViolation;
use proto::results::v1::{PublishRequest, PublishResponse, ingest_service_server::IngestService};
use tonic::{Request, Response, Status};

use crate::{
    Error,
    app::{App, Publisher},
    ledger::Receipt,
};

/// Longest document by gRPC; the transport's own limit is 4 MiB a message.
const LONGEST: usize = 3 << 20;

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
}

#[tonic::async_trait]
impl IngestService for Ingest {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let publisher = Publisher::Client(chassis::actor(&request)?.client_id);
        let odf = request.into_inner().odf;
        if odf.is_empty() || odf.len() > LONGEST {
            let violation = FieldViolation::new("odf", "must be a document of 1 byte to 3 MiB");
            return Err(chassis::status(Error::from(violation)));
        }
        let receipt = self.app.publish(&publisher, Bytes::from(odf)).await.map_err(chassis::status)?;
        let reason = match &receipt {
            Receipt::Quarantined(reason) => reason.to_string(),
            _ => String::new(),
        };
        let (outcome, seq) = (receipt.outcome().to_owned(), receipt.seq());
        Ok(Response::new(PublishResponse { outcome, seq, reason }))
    }
}
