use proto::identity::v1::{
    self as wire, DisableUserRequest, DisableUserResponse, EnableUserRequest, EnableUserResponse,
    FindUserByEmailRequest, FindUserByEmailResponse, GetUserRequest, GetUserResponse, StartRecoveryRequest,
    StartRecoveryResponse, user_service_server::UserService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{app::App, error::Error, events, user::User};

/// `kotinos.identity.v1.UserService`
#[derive(Clone)]
pub struct Users {
    app: App,
}

impl Users {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let user_id = parse::id("user_id", &request.get_ref().user_id).map_err(chassis::status)?;
        let user = self.app.get_user(&actor, user_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetUserResponse { user: Some(to_proto(&user)) }))
    }

    async fn find_user_by_email(
        &self,
        request: Request<FindUserByEmailRequest>,
    ) -> Result<Response<FindUserByEmailResponse>, Status> {
        let address = parse::address(&request.get_ref().address).map_err(chassis::status)?;
        let user = self.app.find_user_by_email(&address).await.map_err(chassis::status)?;
        Ok(Response::new(FindUserByEmailResponse { user: Some(to_proto(&user)) }))
    }

    async fn disable_user(
        &self,
        request: Request<DisableUserRequest>,
    ) -> Result<Response<DisableUserResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let (user_id, version) = disabling(&request).map_err(chassis::status)?;
        let disabled = self.app.disable_user(&actor, user_id, version, &request.reason).await;
        let user = disabled.map_err(chassis::status)?;
        Ok(Response::new(DisableUserResponse { user: Some(to_proto(&user)) }))
    }

    async fn enable_user(
        &self,
        request: Request<EnableUserRequest>,
    ) -> Result<Response<EnableUserResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let user_id = wrong.parse("user_id", &request.user_id);
        let version = wrong.version(request.expected_version);
        let user_id = wrong.done(user_id).map_err(chassis::status)?;
        let user = self.app.enable_user(&actor, user_id, version).await.map_err(chassis::status)?;
        Ok(Response::new(EnableUserResponse { user: Some(to_proto(&user)) }))
    }

    async fn start_recovery(
        &self,
        request: Request<StartRecoveryRequest>,
    ) -> Result<Response<StartRecoveryResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let request_id = wrong.parse("request_id", &request.request_id);
        let user_id = wrong.parse("user_id", &request.user_id);
        let (request_id, user_id) = wrong.done(request_id.zip(user_id)).map_err(chassis::status)?;
        self.app.start_recovery(&actor, request_id, user_id).await.map_err(chassis::status)?;
        Ok(Response::new(StartRecoveryResponse {}))
    }
}

fn disabling(request: &DisableUserRequest) -> Result<(domain::UserId, Option<i64>), Error> {
    let mut wrong = Violations::default();
    let user_id = wrong.parse("user_id", &request.user_id);
    let version = wrong.version(request.expected_version);
    wrong.reason(&request.reason);
    Ok((wrong.done(user_id)?, version))
}

fn to_proto(user: &User) -> wire::User {
    wire::User {
        user_id: user.user_id.to_string(),
        version: user.version,
        status: events::status(user.status).into(),
        locale: user.locale.tag().to_owned(),
        email: Some(events::email(user)),
        created_at: Some(events::timestamp(user.created_at)),
    }
}
