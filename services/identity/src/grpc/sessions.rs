use domain::{SessionId, Uuid};
use proto::identity::v1::{
    self as wire, EndSessionRequest, EndSessionResponse, EndUserSessionsRequest, EndUserSessionsResponse,
    ListLogoutDeliveriesRequest, ListLogoutDeliveriesResponse, ListSessionsRequest, ListSessionsResponse,
    RetryLogoutDeliveryRequest, RetryLogoutDeliveryResponse, session_service_server::SessionService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, DeliveryChoice, DeliveryRow, ListedSession},
    error::Error,
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
        let request = request.into_inner();
        let size = parse::page_size(request.page_size);
        let choice = choice(&request).map_err(chassis::status)?;
        let rows = self.app.list_logout_deliveries(&choice, size).await.map_err(chassis::status)?;
        let next_page_token = parse::next_page(&rows, size, |row| row.delivery_id.to_string());
        let deliveries = rows.into_iter().map(delivery).collect();
        Ok(Response::new(ListLogoutDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn end_user_sessions(
        &self,
        request: Request<EndUserSessionsRequest>,
    ) -> Result<Response<EndUserSessionsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let user_id = parse::id("user_id", &request.get_ref().user_id).map_err(chassis::status)?;
        self.app.end_user_sessions(&actor, user_id).await.map_err(chassis::status)?;
        Ok(Response::new(EndUserSessionsResponse {}))
    }

    async fn retry_logout_delivery(
        &self,
        request: Request<RetryLogoutDeliveryRequest>,
    ) -> Result<Response<RetryLogoutDeliveryResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let mut wrong = Violations::default();
        let delivery_id = wrong.parse::<SessionId>("delivery_id", &request.get_ref().delivery_id);
        let delivery_id = wrong.done(delivery_id.map(Uuid::from)).map_err(chassis::status)?;
        let row = self.app.retry_logout_delivery(&actor, delivery_id).await.map_err(chassis::status)?;
        Ok(Response::new(RetryLogoutDeliveryResponse { delivery: Some(delivery(row)) }))
    }
}

fn choice(request: &ListLogoutDeliveriesRequest) -> Result<DeliveryChoice, Error> {
    let mut wrong = Violations::default();
    let after = match request.page_token.as_str() {
        "" => None,
        token => wrong.parse::<SessionId>("page_token", token).map(Uuid::from),
    };
    let client_id = match request.client_id.as_str() {
        "" => None,
        text => wrong.client_id(text).map(str::to_owned),
    };
    let state = match request.state.as_str() {
        "" => None,
        state @ ("pending" | "delivered" | "abandoned") => Some(state.to_owned()),
        _ => {
            wrong.add("state", "must be pending, delivered or abandoned");
            None
        }
    };
    wrong.done(Some(DeliveryChoice { client_id, state, after }))
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
        created_at: Some(events::timestamp(row.created_at)),
        next_at: Some(events::timestamp(row.next_at)),
    }
}
