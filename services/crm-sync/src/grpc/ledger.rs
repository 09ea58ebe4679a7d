use proto::crmsync::v1::{
    GetDecisionRequest, GetDecisionResponse, ListDeliveriesOfProfileRequest, ListDeliveriesOfProfileResponse,
    ledger_service_server::LedgerService,
};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::app::App;

/// `kotinos.crmsync.v1.LedgerService`
#[derive(Clone)]
pub struct Ledger {
    app: App,
}

impl Ledger {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn list_deliveries_of_profile(
        &self,
        request: Request<ListDeliveriesOfProfileRequest>,
    ) -> Result<Response<ListDeliveriesOfProfileResponse>, Status> {
        let message = request.get_ref();
        let id = parse::id("profile_id", &message.profile_id).map_err(chassis::status)?;
        let size = parse::page_size(message.page_size);
        let lines = self.app.list_deliveries(id.into(), size).await.map_err(chassis::status)?;
        Ok(Response::new(ListDeliveriesOfProfileResponse {
            deliveries: lines.iter().map(answer::delivery).collect(),
        }))
    }

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let id = parse::decision_id(&request.get_ref().decision_id).map_err(chassis::status)?;
        let lines = self.app.get_decision(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetDecisionResponse { deliveries: lines.iter().map(answer::delivery).collect() }))
    }
}
