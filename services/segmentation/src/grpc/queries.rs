use chassis::{Actor, FieldViolation};
use domain::ProfileId;
use proto::segmentation::v1::{
    CheckMembershipRequest, CheckMembershipResponse, CountRuleRequest, CountRuleResponse, ExplainRequest,
    ExplainResponse, ExplainedNode, ListMembersRequest, ListMembersResponse,
    query_service_server::QueryService,
};
use tonic::{Request, Response, Status};

use super::{parse, watermark};
use crate::{Error, app::App, explain::Explained};

const MOST_SEGMENTS: usize = 500;
const LARGEST_PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 100;
/// Counts below this are hidden from whoever may not see exact ones.
const SMALL_CELL: usize = 20;

/// `kotinos.segmentation.v1.QueryService`
#[derive(Debug, Clone)]
pub struct Queries {
    app: App,
}

impl Queries {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl QueryService for Queries {
    async fn count_rule(
        &self,
        request: Request<CountRuleRequest>,
    ) -> Result<Response<CountRuleResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let rule = parse::rule(request.into_inner().rule)
            .map_err(|violation| chassis::status(Error::from(violation)))?;
        let (count, read) = self.app.count_rule(rule).await.map_err(chassis::status)?;
        let (count, hidden) = shown(count, &actor);
        Ok(Response::new(CountRuleResponse { count, hidden, watermark: Some(watermark(&read)) }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let request = request.into_inner();
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(profile_id("page_token", token)?),
        };
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size => size.min(LARGEST_PAGE),
        } as usize;
        let listed = self.app.list_members(&request.segment_id, after, size).await;
        let (members, read) = listed.map_err(chassis::status)?;
        let next_page_token = match members.last() {
            Some(last) if members.len() == size => last.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(ListMembersResponse {
            profile_ids: members.iter().map(ToString::to_string).collect(),
            next_page_token,
            watermark: Some(watermark(&read)),
        }))
    }

    async fn check_membership(
        &self,
        request: Request<CheckMembershipRequest>,
    ) -> Result<Response<CheckMembershipResponse>, Status> {
        let request = request.into_inner();
        let profile_id = profile_id("profile_id", &request.profile_id)?;
        if request.segments.len() > MOST_SEGMENTS {
            let violation = FieldViolation::new("segments", "must hold at most 500 segments");
            return Err(chassis::status(Error::from(violation)));
        }
        let checked = self.app.check_membership(profile_id, &request.segments).await;
        let (segments, known) = checked.map_err(chassis::status)?;
        Ok(Response::new(CheckMembershipResponse { segments, known }))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let profile_id = profile_id("profile_id", &request.profile_id)?;
        let explained = self.app.explain(&request.segment_id, profile_id).await;
        let (explained, read) = explained.map_err(chassis::status)?;
        Ok(Response::new(ExplainResponse {
            member: explained.holds,
            root: Some(to_proto(explained)),
            watermark: Some(watermark(&read)),
        }))
    }
}

// Small counts could single a person out.
fn shown(count: usize, actor: &Actor) -> (u64, bool) {
    if actor.has("segmentation.exact") {
        return (count as u64, false);
    }
    if count < SMALL_CELL {
        return (0, true);
    }
    (((count + 5) / 10 * 10) as u64, false)
}

fn profile_id(field: &str, text: &str) -> Result<ProfileId, Status> {
    chassis::parse(field, text).map_err(|violation| chassis::status(Error::from(violation)))
}

fn to_proto(explained: Explained) -> ExplainedNode {
    ExplainedNode {
        kind: explained.kind.to_owned(),
        holds: explained.holds,
        text: explained.text,
        value: explained.value,
        consent_record_id: explained.consent_record_id,
        children: explained.children.into_iter().map(to_proto).collect(),
    }
}
