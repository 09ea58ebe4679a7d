use proto::crmsync::v1::{
    ActivateAgreementRequest, ActivateAgreementResponse, GetAgreementRequest, GetAgreementResponse,
    ProposeAgreementRequest, ProposeAgreementResponse, SuspendAgreementRequest, SuspendAgreementResponse,
    agreement_service_server::AgreementService,
};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::app::App;

/// `kotinos.crmsync.v1.AgreementService`
#[derive(Clone)]
pub struct Agreements {
    app: App,
}

impl Agreements {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl AgreementService for Agreements {
    async fn propose_agreement(
        &self,
        request: Request<ProposeAgreementRequest>,
    ) -> Result<Response<ProposeAgreementResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let message = request.get_ref();
        let id = parse::id("destination_id", &message.destination_id).map_err(chassis::status)?;
        let write = parse::request(&message.request_id, message).map_err(chassis::status)?;
        let proposed =
            self.app.propose_agreement(&actor, write, id, &message.token).await.map_err(chassis::status)?;
        Ok(Response::new(ProposeAgreementResponse { agreement: Some(answer::agreement(&proposed)) }))
    }

    async fn activate_agreement(
        &self,
        request: Request<ActivateAgreementRequest>,
    ) -> Result<Response<ActivateAgreementResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let id = parse::id("agreement_id", &request.get_ref().agreement_id).map_err(chassis::status)?;
        let active = self.app.activate_agreement(&actor, id).await.map_err(chassis::status)?;
        Ok(Response::new(ActivateAgreementResponse { agreement: Some(answer::agreement(&active)) }))
    }

    async fn suspend_agreement(
        &self,
        request: Request<SuspendAgreementRequest>,
    ) -> Result<Response<SuspendAgreementResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let id = parse::id("agreement_id", &request.get_ref().agreement_id).map_err(chassis::status)?;
        let suspended = self.app.suspend_agreement(&actor, id).await.map_err(chassis::status)?;
        Ok(Response::new(SuspendAgreementResponse { agreement: Some(answer::agreement(&suspended)) }))
    }

    async fn get_agreement(
        &self,
        request: Request<GetAgreementRequest>,
    ) -> Result<Response<GetAgreementResponse>, Status> {
        let id = parse::id("agreement_id", &request.get_ref().agreement_id).map_err(chassis::status)?;
        let found = self.app.get_agreement(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetAgreementResponse { agreement: Some(answer::agreement(&found)) }))
    }
}
