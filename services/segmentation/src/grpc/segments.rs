use domain::SegmentId;
use proto::segmentation::v1::{
    self as wire, ArchiveSegmentRequest, ArchiveSegmentResponse, CreateSegmentRequest, CreateSegmentResponse,
    GetSegmentRequest, GetSegmentResponse, ListSegmentsRequest, ListSegmentsResponse,
    UpdateSegmentRuleRequest, UpdateSegmentRuleResponse, segment_service_server::SegmentService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{Error, app::App, events, segment::Segment};

const LARGEST_PAGE: u32 = 200;
const DEFAULT_PAGE: u32 = 50;

/// `kotinos.segmentation.v1.SegmentService`
#[derive(Debug, Clone)]
pub struct Segments {
    app: App,
}

impl Segments {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl SegmentService for Segments {
    async fn create_segment(
        &self,
        request: Request<CreateSegmentRequest>,
    ) -> Result<Response<CreateSegmentResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let command = parse::create_segment(request.into_inner()).map_err(chassis::status)?;
        let segment = self.app.create_segment(&actor, command).await.map_err(chassis::status)?;
        Ok(Response::new(CreateSegmentResponse { segment: Some(to_proto(&segment)) }))
    }

    async fn update_segment_rule(
        &self,
        request: Request<UpdateSegmentRuleRequest>,
    ) -> Result<Response<UpdateSegmentRuleResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let id = segment_id(&request.segment_id)?;
        let rule = parse::rule(request.rule).map_err(|violation| chassis::status(Error::from(violation)))?;
        let updated = self.app.update_rule(&actor, id, request.expected_version, rule).await;
        let segment = updated.map_err(chassis::status)?;
        Ok(Response::new(UpdateSegmentRuleResponse { segment: Some(to_proto(&segment)) }))
    }

    async fn archive_segment(
        &self,
        request: Request<ArchiveSegmentRequest>,
    ) -> Result<Response<ArchiveSegmentResponse>, Status> {
        let request = request.into_inner();
        let id = segment_id(&request.segment_id)?;
        self.app.archive_segment(id, request.expected_version).await.map_err(chassis::status)?;
        Ok(Response::new(ArchiveSegmentResponse {}))
    }

    async fn get_segment(
        &self,
        request: Request<GetSegmentRequest>,
    ) -> Result<Response<GetSegmentResponse>, Status> {
        let segment = self.app.get_segment(&request.get_ref().segment).await.map_err(chassis::status)?;
        Ok(Response::new(GetSegmentResponse { segment: Some(to_proto(&segment)) }))
    }

    async fn list_segments(
        &self,
        request: Request<ListSegmentsRequest>,
    ) -> Result<Response<ListSegmentsResponse>, Status> {
        let request = request.into_inner();
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(
                chassis::parse("page_token", token)
                    .map_err(|violation| chassis::status(Error::from(violation)))?,
            ),
        };
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size => size.min(LARGEST_PAGE),
        };
        let segments = self.app.list_segments(after, size).await.map_err(chassis::status)?;
        let full = segments.len() == size as usize;
        let next_page_token = match segments.last() {
            Some(last) if full => last.segment_id.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(ListSegmentsResponse {
            segments: segments.iter().map(to_proto).collect(),
            next_page_token,
        }))
    }
}

fn segment_id(text: &str) -> Result<SegmentId, Status> {
    chassis::parse("segment_id", text).map_err(|violation| chassis::status(Error::from(violation)))
}

fn to_proto(segment: &Segment) -> wire::Segment {
    let purpose = segment.purpose.as_ref();
    wire::Segment {
        segment_id: segment.segment_id.to_string(),
        key: segment.key.as_str().to_owned(),
        name: segment.name.clone(),
        mode: "live".to_owned(),
        state: segment.state.name().to_owned(),
        version: segment.version,
        rule: Some(parse::to_wire(&segment.rule)),
        rule_hash: events::hex(&segment.rule_hash),
        purpose: purpose.map(|key| key.purpose().name().to_owned()).unwrap_or_default(),
        recipient: purpose.map(|key| key.recipient().to_owned()).unwrap_or_default(),
        created_at: Some(events::timestamp(segment.created_at)),
    }
}
