use proto::crmsync::v1::{
    ApplyPlanRequest, ApplyPlanResponse, CreatePlanRequest, CreatePlanResponse, GetRunRequest,
    GetRunResponse, ListFailuresRequest, ListFailuresResponse, run_service_server::RunService,
};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::app::App;

/// `kotinos.crmsync.v1.RunService`
#[derive(Clone)]
pub struct Runs {
    app: App,
}

impl Runs {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl RunService for Runs {
    async fn create_plan(
        &self,
        request: Request<CreatePlanRequest>,
    ) -> Result<Response<CreatePlanResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let message = request.get_ref();
        let id = parse::id("destination_id", &message.destination_id).map_err(chassis::status)?;
        let write = parse::request(&message.request_id, message).map_err(chassis::status)?;
        let run = self.app.create_plan(&actor, write, id).await.map_err(chassis::status)?;
        Ok(Response::new(CreatePlanResponse { run: Some(answer::run(&run)) }))
    }

    async fn apply_plan(
        &self,
        request: Request<ApplyPlanRequest>,
    ) -> Result<Response<ApplyPlanResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let message = request.get_ref();
        let id = parse::id("run_id", &message.run_id).map_err(chassis::status)?;
        let hash = parse::plan_hash(&message.plan_hash).map_err(chassis::status)?;
        let run = self.app.apply_plan(&actor, id, hash).await.map_err(chassis::status)?;
        Ok(Response::new(ApplyPlanResponse { run: Some(answer::run(&run)) }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let id = parse::id("run_id", &request.get_ref().run_id).map_err(chassis::status)?;
        let run = self.app.get_run(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetRunResponse { run: Some(answer::run(&run)) }))
    }

    async fn list_failures(
        &self,
        request: Request<ListFailuresRequest>,
    ) -> Result<Response<ListFailuresResponse>, Status> {
        let message = request.get_ref();
        let id = parse::id("run_id", &message.run_id).map_err(chassis::status)?;
        let found =
            self.app.list_failures(id, parse::page_size(message.page_size)).await.map_err(chassis::status)?;
        Ok(Response::new(ListFailuresResponse { failures: found.iter().map(answer::failure).collect() }))
    }
}
