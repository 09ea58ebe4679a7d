use proto::identity::v1::{
    self as wire, BatchGetSubjectsRequest, BatchGetSubjectsResponse, ChangeEmailRequest, ChangeEmailResponse,
    CreateUserRequest, CreateUserResponse, DeleteCredentialRequest, DeleteCredentialResponse,
    DisableUserRequest, DisableUserResponse, EnableUserRequest, EnableUserResponse, EraseUserRequest,
    EraseUserResponse, FindUserByEmailRequest, FindUserByEmailResponse, GetUserRequest, GetUserResponse,
    ListConsentsRequest, ListConsentsResponse, ListCredentialsRequest, ListCredentialsResponse,
    ListUsersRequest, ListUsersResponse, ResolveSubjectRequest, ResolveSubjectResponse, RevokeConsentRequest,
    RevokeConsentResponse, StartRecoveryRequest, StartRecoveryResponse, user_service_server::UserService,
};
use tonic::{Request, Response, Status};

use super::{
    parse::{self, Violations},
    user_parts,
};
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

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let request = request.into_inner();
        let size = parse::page_size(request.page_size);
        let choice = user_parts::choice(&request).map_err(chassis::status)?;
        let users = self.app.list_users(&choice, size).await.map_err(chassis::status)?;
        let next_page_token = parse::next_page(&users, size, |user| user.user_id.to_string());
        Ok(Response::new(ListUsersResponse { users: users.iter().map(to_proto).collect(), next_page_token }))
    }

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let (request_id, email, locale) = user_parts::new_user(request.get_ref()).map_err(chassis::status)?;
        let user = self.app.create_user(&actor, request_id, email, locale).await.map_err(chassis::status)?;
        Ok(Response::new(CreateUserResponse { user: Some(to_proto(&user)) }))
    }

    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let (user_id, version, email) = user_parts::new_email(&request).map_err(chassis::status)?;
        let changed = self.app.change_email(&actor, user_id, version, email, &request.reason).await;
        let user = changed.map_err(chassis::status)?;
        Ok(Response::new(ChangeEmailResponse { user: Some(to_proto(&user)) }))
    }

    async fn erase_user(
        &self,
        request: Request<EraseUserRequest>,
    ) -> Result<Response<EraseUserResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let (user_id, version, request_id) = user_parts::erasure(&request).map_err(chassis::status)?;
        let erased = self.app.erase_user(&actor, user_id, version, (request_id, &request.reason)).await;
        erased.map_err(chassis::status)?;
        Ok(Response::new(EraseUserResponse {}))
    }

    async fn list_credentials(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let user_id = parse::id("user_id", &request.get_ref().user_id).map_err(chassis::status)?;
        let credentials = self.app.list_credentials(&actor, user_id).await.map_err(chassis::status)?;
        let credentials = credentials.into_iter().map(user_parts::credential).collect();
        Ok(Response::new(ListCredentialsResponse { credentials }))
    }

    async fn delete_credential(
        &self,
        request: Request<DeleteCredentialRequest>,
    ) -> Result<Response<DeleteCredentialResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let (user_id, kind, credential_id) =
            user_parts::of_user(request.get_ref()).map_err(chassis::status)?;
        let deleted = self.app.delete_credential(&actor, user_id, kind, credential_id.as_deref()).await;
        deleted.map_err(chassis::status)?;
        Ok(Response::new(DeleteCredentialResponse {}))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let user_id = parse::id("user_id", &request.get_ref().user_id).map_err(chassis::status)?;
        let consents = self.app.list_consents(&actor, user_id).await.map_err(chassis::status)?;
        let consents = consents.into_iter().map(user_parts::consent).collect();
        Ok(Response::new(ListConsentsResponse { consents }))
    }

    async fn revoke_consent(
        &self,
        request: Request<RevokeConsentRequest>,
    ) -> Result<Response<RevokeConsentResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let user_id = wrong.parse("user_id", &request.user_id);
        let client_id = wrong.client_id(&request.client_id);
        let (user_id, client_id) = wrong.done(user_id.zip(client_id)).map_err(chassis::status)?;
        self.app.revoke_consent(&actor, user_id, client_id).await.map_err(chassis::status)?;
        Ok(Response::new(RevokeConsentResponse {}))
    }

    async fn batch_get_subjects(
        &self,
        request: Request<BatchGetSubjectsRequest>,
    ) -> Result<Response<BatchGetSubjectsResponse>, Status> {
        let (client_id, users) = user_parts::batch(request.get_ref()).map_err(chassis::status)?;
        let subjects = self.app.subjects(client_id, &users).await.map_err(chassis::status)?;
        Ok(Response::new(BatchGetSubjectsResponse { subjects }))
    }

    async fn resolve_subject(
        &self,
        request: Request<ResolveSubjectRequest>,
    ) -> Result<Response<ResolveSubjectResponse>, Status> {
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let client_id = wrong.client_id(&request.client_id);
        if !(1..=255).contains(&request.subject.len()) {
            wrong.add("subject", "must be 1 to 255 bytes");
        }
        let client_id = wrong.done(client_id).map_err(chassis::status)?;
        let user_id = self.app.resolve_subject(client_id, &request.subject).await.map_err(chassis::status)?;
        Ok(Response::new(ResolveSubjectResponse { user_id: user_id.to_string() }))
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
