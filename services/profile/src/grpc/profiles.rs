use proto::profile::v1::{
    self as wire, BatchGetProfilesRequest, BatchGetProfilesResponse, FindProfileRequest, FindProfileResponse,
    GetProfileRequest, GetProfileResponse, UpdateProfileRequest, UpdateProfileResponse,
    profile_service_server::ProfileService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{Error, app::App, events, profile::Profile};

const MOST_IDS: usize = 500;

/// `kotinos.profile.v1.ProfileService`
#[derive(Debug, Clone)]
pub struct Profiles {
    app: App,
}

impl Profiles {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl ProfileService for Profiles {
    async fn get_profile(
        &self,
        request: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let id = chassis::parse("profile_id", &request.get_ref().profile_id).map_err(invalid)?;
        let profile = self.app.get_profile(&actor, id).await.map_err(chassis::status)?;
        let redirected_from = String::new();
        Ok(Response::new(GetProfileResponse { profile: Some(to_proto(&profile)), redirected_from }))
    }

    async fn batch_get_profiles(
        &self,
        request: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<BatchGetProfilesResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let ids = parse::profile_ids("profile_ids", &request.get_ref().profile_ids, MOST_IDS)
            .map_err(chassis::status)?;
        let profiles = self.app.list_profiles(&actor, &ids).await.map_err(chassis::status)?;
        Ok(Response::new(BatchGetProfilesResponse { profiles: profiles.iter().map(to_proto).collect() }))
    }

    async fn find_profile(
        &self,
        request: Request<FindProfileRequest>,
    ) -> Result<Response<FindProfileResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let key = parse::external_id(request.into_inner().external_id).map_err(chassis::status)?;
        let profile = self.app.find_profile(&actor, &key).await.map_err(chassis::status)?;
        Ok(Response::new(FindProfileResponse { profile: Some(to_proto(&profile)) }))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let today = self.app.clock().now().date_naive();
        let command = parse::update_profile(request.get_ref(), today).map_err(chassis::status)?;
        let profile = self.app.update_profile(&actor, command).await.map_err(chassis::status)?;
        Ok(Response::new(UpdateProfileResponse { profile: Some(to_proto(&profile)) }))
    }
}

fn invalid(violation: chassis::FieldViolation) -> Status {
    chassis::status(Error::from(violation))
}

fn to_proto(profile: &Profile) -> wire::Profile {
    wire::Profile {
        profile_id: profile.profile_id.to_string(),
        version: profile.version,
        state: profile.state.name().to_owned(),
        traits: events::traits(profile),
        external_ids: events::external_ids(profile),
        email: profile.email.as_ref().map(events::email),
        locale: profile.locale.tag().to_owned(),
        time_zone: profile.time_zone.clone().unwrap_or_default(),
        changed_at: Some(events::timestamp(profile.changed_at)),
    }
}
