use std::{pin::Pin, sync::Arc};

use chassis::FieldViolation;
use domain::Uuid;
use futures::{Stream, stream};
use proto::segmentation::v1::{
    self as wire, CreateFreezeRequest, CreateFreezeResponse, GetFreezeRequest, GetFreezeResponse,
    StreamFreezeRequest, StreamFreezeResponse, freeze_service_server::FreezeService,
};
use tonic::{Request, Response, Status};

use super::{parse, watermark};
use crate::{
    Error,
    app::App,
    events,
    freeze::{BLOCK, Freeze},
};

/// `kotinos.segmentation.v1.FreezeService`
#[derive(Debug, Clone)]
pub struct Freezes {
    app: App,
}

impl Freezes {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl FreezeService for Freezes {
    type StreamFreezeStream = Pin<Box<dyn Stream<Item = Result<StreamFreezeResponse, Status>> + Send>>;

    async fn create_freeze(
        &self,
        request: Request<CreateFreezeRequest>,
    ) -> Result<Response<CreateFreezeResponse>, Status> {
        let request = request.into_inner();
        let request_id = chassis::parse("request_id", &request.request_id).map_err(invalid)?;
        let purpose = parse::purpose(&request.purpose, &request.recipient).map_err(invalid)?;
        let purpose =
            purpose.ok_or_else(|| invalid(FieldViolation::new("purpose", "must name a purpose")))?;
        let freeze = self.app.create_freeze(request_id, &request.segment_id, purpose).await;
        let freeze = freeze.map_err(chassis::status)?;
        Ok(Response::new(CreateFreezeResponse { freeze: Some(to_proto(&freeze)) }))
    }

    async fn get_freeze(
        &self,
        request: Request<GetFreezeRequest>,
    ) -> Result<Response<GetFreezeResponse>, Status> {
        let freeze = self.load(&request.get_ref().freeze_id).await?;
        Ok(Response::new(GetFreezeResponse { freeze: Some(to_proto(&freeze)) }))
    }

    async fn stream_freeze(
        &self,
        request: Request<StreamFreezeRequest>,
    ) -> Result<Response<Self::StreamFreezeStream>, Status> {
        let from_block = request.get_ref().from_block;
        let freeze = Arc::new(self.load(&request.get_ref().freeze_id).await?);
        let blocks = u32::try_from(freeze.members.len().div_ceil(BLOCK)).unwrap_or(u32::MAX);
        let answer = move |block: u32| {
            let members = freeze.members.chunks(BLOCK).nth(block as usize).unwrap_or_default();
            Ok(StreamFreezeResponse { block, profile_ids: members.iter().map(ToString::to_string).collect() })
        };
        Ok(Response::new(Box::pin(stream::iter((from_block..blocks).map(answer)))))
    }
}

impl Freezes {
    async fn load(&self, freeze_id: &str) -> Result<Freeze, Status> {
        let freeze_id: domain::EventId = chassis::parse("freeze_id", freeze_id).map_err(invalid)?;
        self.app.get_freeze(Uuid::from(freeze_id)).await.map_err(chassis::status)
    }
}

fn invalid(violation: FieldViolation) -> Status {
    chassis::status(Error::from(violation))
}

fn to_proto(freeze: &Freeze) -> wire::Freeze {
    wire::Freeze {
        freeze_id: freeze.freeze_id.to_string(),
        segment_id: freeze.segment_id.to_string(),
        segment_version: freeze.version,
        purpose: freeze.purpose.purpose().name().to_owned(),
        recipient: freeze.purpose.recipient().to_owned(),
        count: freeze.members.len() as u64,
        content_hash: events::hex(&freeze.content_hash),
        proof_hash: events::hex(&freeze.proof_hash),
        watermark: Some(watermark(&freeze.watermark)),
        created_at: Some(events::timestamp(freeze.created_at)),
    }
}
