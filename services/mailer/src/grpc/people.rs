use proto::mailer::v1::{
    self as wire, AddSuppressionRequest, AddSuppressionResponse, GetTransactionalRequest,
    GetTransactionalResponse, ListSuppressionsRequest, ListSuppressionsResponse, SendTransactionalRequest,
    SendTransactionalResponse, suppression_service_server::SuppressionService,
    transactional_service_server::TransactionalService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{
    app::App,
    events,
    suppression::{Scope, Suppression},
};

/// `kotinos.mailer.v1.TransactionalService`
#[derive(Debug, Clone)]
pub struct Transactionals {
    app: App,
}

/// `kotinos.mailer.v1.SuppressionService`
#[derive(Debug, Clone)]
pub struct Suppressions {
    app: App,
}

impl Transactionals {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

impl Suppressions {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl TransactionalService for Transactionals {
    async fn send_transactional(
        &self,
        request: Request<SendTransactionalRequest>,
    ) -> Result<Response<SendTransactionalResponse>, Status> {
        let now = self.app.clock().now();
        let command = parse::transactional(request.into_inner(), now).map_err(chassis::status)?;
        let transactional_id = self.app.send_transactional(command).await.map_err(chassis::status)?;
        Ok(Response::new(SendTransactionalResponse { transactional_id: transactional_id.to_string() }))
    }

    async fn get_transactional(
        &self,
        request: Request<GetTransactionalRequest>,
    ) -> Result<Response<GetTransactionalResponse>, Status> {
        let id =
            parse::uuid("transactional_id", &request.get_ref().transactional_id).map_err(chassis::status)?;
        let (state, message_id) = self.app.get_transactional(id).await.map_err(chassis::status)?;
        Ok(Response::new(GetTransactionalResponse { state: state.name().to_owned(), message_id }))
    }
}

#[tonic::async_trait]
impl SuppressionService for Suppressions {
    async fn add_suppression(
        &self,
        request: Request<AddSuppressionRequest>,
    ) -> Result<Response<AddSuppressionResponse>, Status> {
        let (profile_id, sender_key) = parse::suppression(request.get_ref()).map_err(chassis::status)?;
        let added = self.app.add_suppression(profile_id, sender_key.as_deref()).await;
        let suppression = Some(to_proto(&added.map_err(chassis::status)?));
        Ok(Response::new(AddSuppressionResponse { suppression }))
    }

    async fn list_suppressions(
        &self,
        request: Request<ListSuppressionsRequest>,
    ) -> Result<Response<ListSuppressionsResponse>, Status> {
        let profile_id = parse::id("profile_id", &request.get_ref().profile_id).map_err(chassis::status)?;
        let suppressions = self.app.list_suppressions(profile_id).await.map_err(chassis::status)?;
        let suppressions = suppressions.iter().map(to_proto).collect();
        Ok(Response::new(ListSuppressionsResponse { suppressions }))
    }
}

fn to_proto(suppression: &Suppression) -> wire::Suppression {
    let sender_key = match &suppression.scope {
        Scope::All => String::new(),
        Scope::Sender { key, .. } => key.clone(),
    };
    wire::Suppression {
        suppression_id: suppression.suppression_id.to_string(),
        profile_id: suppression.profile_id.to_string(),
        scope: suppression.scope.name().to_owned(),
        sender_key,
        reason: suppression.reason.name().to_owned(),
        at: Some(events::timestamp(suppression.at)),
        ended_at: suppression.ended_at.map(events::timestamp),
    }
}
