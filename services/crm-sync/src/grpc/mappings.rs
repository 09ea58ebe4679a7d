use proto::crmsync::v1::{
    GetMappingVersionRequest, GetMappingVersionResponse, PublishMappingVersionRequest,
    PublishMappingVersionResponse, SaveMappingVersionRequest, SaveMappingVersionResponse,
    mapping_service_server::MappingService,
};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::app::App;

/// `kotinos.crmsync.v1.MappingService`
#[derive(Clone)]
pub struct Mappings {
    app: App,
}

impl Mappings {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl MappingService for Mappings {
    async fn save_mapping_version(
        &self,
        request: Request<SaveMappingVersionRequest>,
    ) -> Result<Response<SaveMappingVersionResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let message = request.get_ref();
        let id = parse::id("destination_id", &message.destination_id).map_err(chassis::status)?;
        let write = parse::request(&message.request_id, message).map_err(chassis::status)?;
        let mapping = parse::mapping(message).map_err(chassis::status)?;
        let saved = self.app.save_mapping(&actor, write, id, &mapping).await.map_err(chassis::status)?;
        Ok(Response::new(SaveMappingVersionResponse {
            mapping_version: Some(answer::mapping_version(&saved)),
        }))
    }

    async fn publish_mapping_version(
        &self,
        request: Request<PublishMappingVersionRequest>,
    ) -> Result<Response<PublishMappingVersionResponse>, Status> {
        let id = parse::id("mapping_version_id", &request.get_ref().mapping_version_id)
            .map_err(chassis::status)?;
        let published = self.app.publish_mapping(id).await.map_err(chassis::status)?;
        Ok(Response::new(PublishMappingVersionResponse {
            mapping_version: Some(answer::mapping_version(&published)),
        }))
    }

    async fn get_mapping_version(
        &self,
        request: Request<GetMappingVersionRequest>,
    ) -> Result<Response<GetMappingVersionResponse>, Status> {
        let id = parse::id("mapping_version_id", &request.get_ref().mapping_version_id)
            .map_err(chassis::status)?;
        let found = self.app.get_mapping(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetMappingVersionResponse {
            mapping_version: Some(answer::mapping_version(&found)),
        }))
    }
}
