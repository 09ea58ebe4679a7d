use chassis::FieldViolation;
use proto::results::v1::{
    self as wire, CreatePublisherKeyRequest, CreatePublisherKeyResponse, ExplainAccessRequest,
    ExplainAccessResponse, GetEntitlementsRequest, GetEntitlementsResponse, ListDecisionsRequest,
    ListDecisionsResponse, ListEntitlementsRequest, ListEntitlementsResponse, ListPublisherKeysRequest,
    ListPublisherKeysResponse, RevokePublisherKeyRequest, RevokePublisherKeyResponse,
    UpdateEntitlementsRequest, UpdateEntitlementsResponse, access_service_server::AccessService,
};
use tonic::{Request, Response, Status};

use super::{parse, rights};
use crate::{
    Error,
    app::{App, NewKey},
    entitlement::Entitlement,
    events::timestamp,
    publisher_key::{ID_LENGTH, PublisherKey},
};

/// `kotinos.results.v1.AccessService`
#[derive(Debug, Clone)]
pub struct Access {
    app: App,
}

impl Access {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }

    async fn create(&self, request: &CreatePublisherKeyRequest) -> Result<CreatePublisherKeyResponse, Error> {
        let new = NewKey {
            name: parse::name("name", &request.name)?,
            feed_flag: parse::feed_flag("feed_flag", &request.feed_flag)?,
            prefixes: parse::prefixes("prefixes", &request.prefixes)?,
        };
        let (key, secret) = self.app.create_publisher_key(new).await?;
        Ok(CreatePublisherKeyResponse { key: Some(publisher_key(&key)), secret })
    }

    async fn revoke(&self, key_id: &str) -> Result<PublisherKey, Error> {
        if key_id.len() != ID_LENGTH || !key_id.is_ascii() {
            return Err(FieldViolation::new("key_id", "must be the 8 characters of a key's id").into());
        }
        self.app.revoke_publisher_key(key_id).await
    }

    async fn update(
        &self,
        actor: &chassis::Actor,
        request: UpdateEntitlementsRequest,
    ) -> Result<Entitlement, Error> {
        let client_id = parse::client_id("client_id", &request.client_id)?;
        let rules = parse::rules("rules", rights::texts("rules", request.rules)?)?;
        if request.expected_version < 0 {
            return Err(FieldViolation::new("expected_version", "must be 0 or more").into());
        }
        self.app.update_entitlements(&client_id, request.expected_version, rules, &actor.client_id).await
    }
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn create_publisher_key(
        &self,
        request: Request<CreatePublisherKeyRequest>,
    ) -> Result<Response<CreatePublisherKeyResponse>, Status> {
        self.create(request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }

    async fn revoke_publisher_key(
        &self,
        request: Request<RevokePublisherKeyRequest>,
    ) -> Result<Response<RevokePublisherKeyResponse>, Status> {
        let key = self.revoke(&request.get_ref().key_id).await.map_err(chassis::status)?;
        Ok(Response::new(RevokePublisherKeyResponse { key: Some(publisher_key(&key)) }))
    }

    async fn list_publisher_keys(
        &self,
        _request: Request<ListPublisherKeysRequest>,
    ) -> Result<Response<ListPublisherKeysResponse>, Status> {
        let keys = self.app.list_publisher_keys().await.map_err(chassis::status)?;
        Ok(Response::new(ListPublisherKeysResponse { keys: keys.iter().map(publisher_key).collect() }))
    }

    async fn update_entitlements(
        &self,
        request: Request<UpdateEntitlementsRequest>,
    ) -> Result<Response<UpdateEntitlementsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let changed = self.update(&actor, request.into_inner()).await.map_err(chassis::status)?;
        Ok(Response::new(UpdateEntitlementsResponse { entitlement: Some(rights::entitlement(&changed)) }))
    }

    async fn get_entitlements(
        &self,
        request: Request<GetEntitlementsRequest>,
    ) -> Result<Response<GetEntitlementsResponse>, Status> {
        let client_id =
            parse::client_id("client_id", &request.get_ref().client_id).map_err(chassis::status)?;
        let found = self.app.get_entitlements(&client_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetEntitlementsResponse { entitlement: Some(rights::entitlement(&found)) }))
    }

    async fn list_entitlements(
        &self,
        request: Request<ListEntitlementsRequest>,
    ) -> Result<Response<ListEntitlementsResponse>, Status> {
        let page = rights::list(&self.app, request.get_ref()).await;
        page.map(Response::new).map_err(chassis::status)
    }

    async fn explain_access(
        &self,
        request: Request<ExplainAccessRequest>,
    ) -> Result<Response<ExplainAccessResponse>, Status> {
        let answer = rights::explain(&self.app, request.into_inner()).await;
        answer.map(Response::new).map_err(chassis::status)
    }

    async fn list_decisions(
        &self,
        request: Request<ListDecisionsRequest>,
    ) -> Result<Response<ListDecisionsResponse>, Status> {
        let page = rights::decisions(&self.app, request.get_ref()).await;
        page.map(Response::new).map_err(chassis::status)
    }
}

fn publisher_key(key: &PublisherKey) -> wire::PublisherKey {
    wire::PublisherKey {
        key_id: key.key_id.clone(),
        name: key.name.clone(),
        feed_flag: key.feed_flag.name().to_owned(),
        prefixes: key.prefixes.iter().map(|prefix| prefix.as_str().to_owned()).collect(),
        created_at: Some(timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(timestamp),
    }
}
