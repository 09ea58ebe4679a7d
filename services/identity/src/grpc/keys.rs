use proto::identity::v1::{
    self as wire, ListKeysRequest, ListKeysResponse, PromoteKeyRequest, PromoteKeyResponse, RetireKeyRequest,
    RetireKeyResponse, StageKeyRequest, StageKeyResponse, key_service_server::KeyService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, KeyRow},
    error::Error,
    events,
};

/// `kotinos.identity.v1.KeyService`
#[derive(Clone)]
pub struct Keys {
    app: App,
}

impl Keys {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let rows = self.app.list_keys().await.map_err(chassis::status)?;
        Ok(Response::new(ListKeysResponse { keys: rows.into_iter().map(to_proto).collect() }))
    }

    async fn stage_key(
        &self,
        request: Request<StageKeyRequest>,
    ) -> Result<Response<StageKeyResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let algorithm = parse::id("alg", &request.get_ref().alg).map_err(chassis::status)?;
        let row = self.app.stage_key(&actor, algorithm).await.map_err(chassis::status)?;
        Ok(Response::new(StageKeyResponse { key: Some(to_proto(row)) }))
    }

    async fn promote_key(
        &self,
        request: Request<PromoteKeyRequest>,
    ) -> Result<Response<PromoteKeyResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let kid = kid(&request.kid).map_err(chassis::status)?;
        let row = self.app.promote_key(&actor, kid, request.at_once).await.map_err(chassis::status)?;
        Ok(Response::new(PromoteKeyResponse { key: Some(to_proto(row)) }))
    }

    async fn retire_key(
        &self,
        request: Request<RetireKeyRequest>,
    ) -> Result<Response<RetireKeyResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let kid = kid(&request.kid).map_err(chassis::status)?;
        self.app.retire_key(&actor, kid).await.map_err(chassis::status)?;
        Ok(Response::new(RetireKeyResponse {}))
    }
}

// A SHA-256 thumbprint in base64url.
fn kid(text: &str) -> Result<&str, Error> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let right = text.len() == 43 && text.bytes().all(letters);
    let mut wrong = Violations::default();
    if !right {
        wrong.add("kid", "must be the kid of a key of ListKeys");
    }
    wrong.done(Some(text))
}

fn to_proto(row: KeyRow) -> wire::Key {
    wire::Key {
        kid: row.kid,
        alg: row.algorithm.name().to_owned(),
        state: row.state.name().to_owned(),
        kek_id: row.kek_id.unwrap_or_default(),
        created_at: Some(events::timestamp(row.created_at)),
        activated_at: row.activated_at.map(events::timestamp),
        retired_at: row.retired_at.map(events::timestamp),
    }
}
