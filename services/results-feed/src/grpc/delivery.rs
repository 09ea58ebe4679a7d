use chassis::{Actor, Egress, FieldViolation};
use domain::Uuid;
use proto::results::v1::{
    self as wire, CreateDeliveryTargetRequest, CreateDeliveryTargetResponse, DeleteDeliveryTargetRequest,
    DeleteDeliveryTargetResponse, GetDeliveryTargetRequest, GetDeliveryTargetResponse,
    ListDeliveryTargetsRequest, ListDeliveryTargetsResponse, PauseDeliveryRequest, PauseDeliveryResponse,
    ResendDocumentsRequest, ResendDocumentsResponse, ResumeDeliveryRequest, ResumeDeliveryResponse,
    UpdateDeliveryTargetRequest, UpdateDeliveryTargetResponse, delivery_service_server::DeliveryService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{
    Error,
    app::{App, TargetOwner, TargetState},
    delivery_target::{DeliveryMode, DeliveryTarget, Draft, Filter},
    events::timestamp,
};

/// A token with it sees the targets of everybody.
const ADMIN: &str = "results.admin";

/// `kotinos.results.v1.DeliveryService`
#[derive(Debug, Clone)]
pub struct Delivery {
    app: App,
    egress: Egress,
}

impl Delivery {
    /// Over the use cases; addresses are judged by the way out that documents will take.
    #[must_use]
    pub const fn new(app: App, egress: Egress) -> Self {
        Self { app, egress }
    }

    async fn create(&self, actor: Actor, request: CreateDeliveryTargetRequest) -> Result<TargetState, Error> {
        let draft = Draft {
            name: parse::name("name", &request.name)?,
            url: request.url,
            api_key: Some(request.api_key),
            filter: filter(request.filter)?,
            mode: mode(request.mode)?,
        };
        self.admit(&draft).await?;
        self.app.create_delivery_target(&owner(actor), draft).await
    }

    async fn update(&self, actor: Actor, request: UpdateDeliveryTargetRequest) -> Result<TargetState, Error> {
        let target_id = parse::target_id(&request.target_id)?;
        let draft = Draft {
            name: parse::name("name", &request.name)?,
            url: request.url,
            api_key: Some(request.api_key).filter(|key| !key.is_empty()),
            filter: filter(request.filter)?,
            mode: mode(request.mode)?,
        };
        let owner = owner(actor);
        // Before the name is looked up: who may not know of the target does not make us ask around.
        self.app.get_delivery_target(&owner, target_id).await?;
        self.admit(&draft).await?;
        self.app.update_delivery_target(&owner, target_id, request.expected_version, draft).await
    }

    async fn admit(&self, draft: &Draft) -> Result<(), Error> {
        draft.check()?;
        if self.egress.may_call_now(&draft.url).await {
            return Ok(());
        }
        Err(FieldViolation::new("url", "must be https to a public address").into())
    }

    async fn resend(&self, actor: Actor, request: ResendDocumentsRequest) -> Result<u32, Error> {
        let target_id = parse::target_id(&request.target_id)?;
        let search = parse::search("search", &request.search.unwrap_or_default())?;
        let documents = self.app.resend_documents(&owner(actor), target_id, &search).await?;
        Ok(u32::try_from(documents).unwrap_or(u32::MAX))
    }
}

#[tonic::async_trait]
impl DeliveryService for Delivery {
    async fn create_delivery_target(
        &self,
        request: Request<CreateDeliveryTargetRequest>,
    ) -> Result<Response<CreateDeliveryTargetResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let state = self.create(actor, request.into_inner()).await.map_err(chassis::status)?;
        Ok(Response::new(CreateDeliveryTargetResponse { target: Some(to_proto(&state)) }))
    }

    async fn get_delivery_target(
        &self,
        request: Request<GetDeliveryTargetRequest>,
    ) -> Result<Response<GetDeliveryTargetResponse>, Status> {
        let (owner, target_id) = asked(&request, &request.get_ref().target_id)?;
        let state = self.app.get_delivery_target(&owner, target_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetDeliveryTargetResponse { target: Some(to_proto(&state)) }))
    }

    async fn list_delivery_targets(
        &self,
        request: Request<ListDeliveryTargetsRequest>,
    ) -> Result<Response<ListDeliveryTargetsResponse>, Status> {
        let owner = owner(chassis::actor(&request)?);
        let states = self.app.list_delivery_targets(&owner).await.map_err(chassis::status)?;
        Ok(Response::new(ListDeliveryTargetsResponse { targets: states.iter().map(to_proto).collect() }))
    }

    async fn update_delivery_target(
        &self,
        request: Request<UpdateDeliveryTargetRequest>,
    ) -> Result<Response<UpdateDeliveryTargetResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let state = self.update(actor, request.into_inner()).await.map_err(chassis::status)?;
        Ok(Response::new(UpdateDeliveryTargetResponse { target: Some(to_proto(&state)) }))
    }

    async fn delete_delivery_target(
        &self,
        request: Request<DeleteDeliveryTargetRequest>,
    ) -> Result<Response<DeleteDeliveryTargetResponse>, Status> {
        let (owner, target_id) = asked(&request, &request.get_ref().target_id)?;
        self.app.delete_delivery_target(&owner, target_id).await.map_err(chassis::status)?;
        Ok(Response::new(DeleteDeliveryTargetResponse {}))
    }

    async fn pause_delivery(
        &self,
        request: Request<PauseDeliveryRequest>,
    ) -> Result<Response<PauseDeliveryResponse>, Status> {
        let (owner, target_id) = asked(&request, &request.get_ref().target_id)?;
        let state = self.app.pause_delivery(&owner, target_id).await.map_err(chassis::status)?;
        Ok(Response::new(PauseDeliveryResponse { target: Some(to_proto(&state)) }))
    }

    async fn resume_delivery(
        &self,
        request: Request<ResumeDeliveryRequest>,
    ) -> Result<Response<ResumeDeliveryResponse>, Status> {
        let (owner, target_id) = asked(&request, &request.get_ref().target_id)?;
        let state = self.app.resume_delivery(&owner, target_id).await.map_err(chassis::status)?;
        Ok(Response::new(ResumeDeliveryResponse { target: Some(to_proto(&state)) }))
    }

    async fn resend_documents(
        &self,
        request: Request<ResendDocumentsRequest>,
    ) -> Result<Response<ResendDocumentsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let documents = self.resend(actor, request.into_inner()).await.map_err(chassis::status)?;
        Ok(Response::new(ResendDocumentsResponse { documents }))
    }
}

fn asked<T>(request: &Request<T>, target_id: &str) -> Result<(TargetOwner, Uuid), Status> {
    let owner = owner(chassis::actor(request)?);
    Ok((owner, parse::target_id(target_id).map_err(chassis::status)?))
}

fn owner(actor: Actor) -> TargetOwner {
    TargetOwner { is_admin: actor.has(ADMIN), client_id: actor.client_id }
}

fn mode(number: i32) -> Result<DeliveryMode, Error> {
    match wire::DeliveryMode::try_from(number) {
        Ok(wire::DeliveryMode::Unspecified | wire::DeliveryMode::Every) => Ok(DeliveryMode::Every),
        Ok(wire::DeliveryMode::State) => Ok(DeliveryMode::State),
        Err(_) => Err(FieldViolation::new("mode", "must be STATE or EVERY").into()),
    }
}

fn filter(asked: Option<wire::DeliveryFilter>) -> Result<Filter, Error> {
    let asked = asked.unwrap_or_default();
    Ok(Filter {
        prefixes: parse::prefixes("filter.prefixes", &asked.prefixes)?,
        types: parse::types("filter.types", &asked.types)?,
        statuses: parse::statuses("filter.statuses", &asked.statuses)?,
        feed_flag: parse::feed_flag("filter.feed_flag", &asked.feed_flag)?,
    })
}

fn to_proto(state: &TargetState) -> wire::DeliveryTarget {
    let target = &state.target;
    wire::DeliveryTarget {
        target_id: target.target_id.to_string(),
        client_id: target.client_id.clone(),
        name: target.name.clone(),
        url: target.url.clone(),
        filter: Some(wire::DeliveryFilter {
            prefixes: target.filter.prefixes.iter().map(|prefix| prefix.as_str().to_owned()).collect(),
            types: target.filter.types.iter().map(|one| one.name().to_owned()).collect(),
            statuses: target.filter.statuses.iter().map(|one| Filter::status_name(*one).to_owned()).collect(),
            feed_flag: target.filter.feed_flag.name().to_owned(),
        }),
        mode: match target.mode {
            DeliveryMode::State => wire::DeliveryMode::State.into(),
            DeliveryMode::Every => wire::DeliveryMode::Every.into(),
        },
        state: delivery_state(target).into(),
        version: target.version,
        created_at: Some(timestamp(target.created_at)),
        progress: state
            .progress
            .iter()
            .map(|(lane, progress)| wire::DeliveryProgress {
                lane: lane.name().to_owned(),
                acknowledged: progress.acknowledged,
                failing_since: progress.failing_since.map(timestamp),
            })
            .collect(),
    }
}

const fn delivery_state(target: &DeliveryTarget) -> wire::DeliveryState {
    match (target.paused_at, target.parked_at) {
        (Some(_), _) => wire::DeliveryState::Paused,
        (None, Some(_)) => wire::DeliveryState::Parked,
        (None, None) => wire::DeliveryState::Running,
    }
}
