use proto::identity::v1::{
    self as wire, GrantStaffScopeRequest, GrantStaffScopeResponse, ListStaffGrantsRequest,
    ListStaffGrantsResponse, RevokeStaffScopeRequest, RevokeStaffScopeResponse,
    staff_service_server::StaffService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, StaffGrant},
    error::Error,
    events,
};

/// `kotinos.identity.v1.StaffService`
#[derive(Clone)]
pub struct Staff {
    app: App,
}

impl Staff {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl StaffService for Staff {
    async fn grant_staff_scope(
        &self,
        request: Request<GrantStaffScopeRequest>,
    ) -> Result<Response<GrantStaffScopeResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let (user_id, scope) = holder(&request.user_id, &request.scope).map_err(chassis::status)?;
        let granted = self.app.grant_staff_scope(&actor, user_id, &scope).await.map_err(chassis::status)?;
        Ok(Response::new(GrantStaffScopeResponse { grant: Some(to_proto(granted)) }))
    }

    async fn revoke_staff_scope(
        &self,
        request: Request<RevokeStaffScopeRequest>,
    ) -> Result<Response<RevokeStaffScopeResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let (user_id, scope) = holder(&request.user_id, &request.scope).map_err(chassis::status)?;
        self.app.revoke_staff_scope(&actor, user_id, &scope).await.map_err(chassis::status)?;
        Ok(Response::new(RevokeStaffScopeResponse {}))
    }

    async fn list_staff_grants(
        &self,
        request: Request<ListStaffGrantsRequest>,
    ) -> Result<Response<ListStaffGrantsResponse>, Status> {
        let text = &request.get_ref().user_id;
        let user_id = match text.as_str() {
            "" => None,
            text => Some(parse::id("user_id", text).map_err(chassis::status)?),
        };
        let grants = self.app.list_staff_grants(user_id).await.map_err(chassis::status)?;
        Ok(Response::new(ListStaffGrantsResponse { grants: grants.into_iter().map(to_proto).collect() }))
    }
}

fn holder(user_id: &str, scope: &str) -> Result<(domain::UserId, String), Error> {
    let mut wrong = Violations::default();
    let user_id = wrong.parse("user_id", user_id);
    let scope = wrong.staff_scope(scope);
    wrong.done(user_id.zip(scope))
}

fn to_proto(grant: StaffGrant) -> wire::StaffGrant {
    wire::StaffGrant {
        user_id: grant.user_id.to_string(),
        scope: grant.scope,
        granted_by: grant.granted_by,
        granted_at: Some(events::timestamp(grant.granted_at)),
    }
}
