use proto::crmsync::v1::{
    CreateDestinationRequest, CreateDestinationResponse, GetDestinationRequest, GetDestinationResponse,
    ListDestinationsRequest, ListDestinationsResponse, PauseDestinationRequest, PauseDestinationResponse,
    ResumeDestinationRequest, ResumeDestinationResponse, TestDestinationRequest, TestDestinationResponse,
    destination_service_server::DestinationService,
};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::app::App;

/// `kotinos.crmsync.v1.DestinationService`
#[derive(Clone)]
pub struct Destinations {
    app: App,
}

impl Destinations {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl DestinationService for Destinations {
    async fn create_destination(
        &self,
        request: Request<CreateDestinationRequest>,
    ) -> Result<Response<CreateDestinationResponse>, Status> {
        let command = parse::create_destination(request.get_ref()).map_err(chassis::status)?;
        let made = self.app.create_destination(command).await.map_err(chassis::status)?;
        Ok(Response::new(CreateDestinationResponse { destination: Some(answer::destination(&made)) }))
    }

    async fn get_destination(
        &self,
        request: Request<GetDestinationRequest>,
    ) -> Result<Response<GetDestinationResponse>, Status> {
        let id = parse::id("destination_id", &request.get_ref().destination_id).map_err(chassis::status)?;
        let found = self.app.get_destination(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetDestinationResponse { destination: Some(answer::destination(&found)) }))
    }

    async fn list_destinations(
        &self,
        request: Request<ListDestinationsRequest>,
    ) -> Result<Response<ListDestinationsResponse>, Status> {
        let ListDestinationsRequest {} = request.get_ref();
        let found = self.app.list_destinations().await.map_err(chassis::status)?;
        Ok(Response::new(ListDestinationsResponse {
            destinations: found.iter().map(answer::destination).collect(),
        }))
    }

    async fn test_destination(
        &self,
        request: Request<TestDestinationRequest>,
    ) -> Result<Response<TestDestinationResponse>, Status> {
        let id = parse::id("destination_id", &request.get_ref().destination_id).map_err(chassis::status)?;
        let findings = self.app.test_destination(id).await.map_err(chassis::status)?;
        Ok(Response::new(TestDestinationResponse {
            findings: findings.iter().map(answer::finding).collect(),
        }))
    }

    async fn pause_destination(
        &self,
        request: Request<PauseDestinationRequest>,
    ) -> Result<Response<PauseDestinationResponse>, Status> {
        let id = parse::id("destination_id", &request.get_ref().destination_id).map_err(chassis::status)?;
        let paused = self.app.pause_destination(id).await.map_err(chassis::status)?;
        Ok(Response::new(PauseDestinationResponse { destination: Some(answer::destination(&paused)) }))
    }

    async fn resume_destination(
        &self,
        request: Request<ResumeDestinationRequest>,
    ) -> Result<Response<ResumeDestinationResponse>, Status> {
        let id = parse::id("destination_id", &request.get_ref().destination_id).map_err(chassis::status)?;
        let resumed = self.app.resume_destination(id).await.map_err(chassis::status)?;
        Ok(Response::new(ResumeDestinationResponse { destination: Some(answer::destination(&resumed)) }))
    }
}
