use proto::identity::v1::{
    self as wire, EndSessionRequest, EndSessionResponse, ListLogoutDeliveriesRequest,
    ListLogoutDeliveriesResponse, ListSessionsRequest, ListSessionsResponse,
    session_service_server::SessionService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, DeliveryRow, ListedSession},
    events,
};

/// `kotinos.identity.v1.SessionService`
#[derive(Clone)]
pub struct Sessions {
    app: App,
}

impl Sessions {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let user_id = parse::id("user_id", &request.get_ref().user_id).map_err(chassis::status)?;
        let sessions = self.app.list_sessions(&actor, user_id).await.map_err(chassis::status)?;
        Ok(Response::new(ListSessionsResponse { sessions: sessions.into_iter().map(session).collect() }))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let user_id = wrong.parse("user_id", &request.user_id);
        let session_id = wrong.parse("session_id", &request.session_id);
        let (user_id, session_id) = wrong.done(user_id.zip(session_id)).map_err(chassis::status)?;
        self.app.end_session_of(&actor, user_id, session_id).await.map_err(chassis::status)?;
        Ok(Response::new(EndSessionResponse {}))
    }

    async fn list_logout_deliveries(
        &self,
        request: Request<ListLogoutDeliveriesRequest>,
    ) -> Result<Response<ListLogoutDeliveriesResponse>, Status> {
        let size = parse::page_size(request.get_ref().page_size);
        let deliveries = self.app.list_logout_deliveries(size).await.map_err(chassis::status)?;
        let deliveries = deliveries.into_iter().map(delivery).collect();
        Ok(Response::new(ListLogoutDeliveriesResponse { deliveries }))
    }
}

fn session(listed: ListedSession) -> wire::Session {
    wire::Session {
        session_id: listed.session.session_id.to_string(),
        authenticated_at: Some(events::timestamp(listed.session.pwd_at)),
        seen_at: Some(events::timestamp(listed.session.seen_at)),
        expires_at: Some(events::timestamp(listed.session.expires_at)),
        client_ids: listed.client_ids,
    }
}

fn delivery(row: DeliveryRow) -> wire::LogoutDelivery {
    wire::LogoutDelivery {
        delivery_id: row.delivery_id.to_string(),
        session_id: row.session_id.to_string(),
        client_id: row.client_id,
        state: row.state,
        attempts: row.attempts.unsigned_abs(),
        last_status: row.last_status.unsigned_abs(),
    }
}
