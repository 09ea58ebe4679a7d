use domain::CampaignId;
use proto::mailer::v1::{
    self as wire, CancelCampaignRequest, CancelCampaignResponse, CreateCampaignRequest,
    CreateCampaignResponse, GetCampaignRequest, GetCampaignResponse, PauseCampaignRequest,
    PauseCampaignResponse, ResumeCampaignRequest, ResumeCampaignResponse, ScheduleCampaignRequest,
    ScheduleCampaignResponse, campaign_service_server::CampaignService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{app::App, campaign::Campaign, events};

/// `kotinos.mailer.v1.CampaignService`
#[derive(Debug, Clone)]
pub struct Campaigns {
    app: App,
}

impl Campaigns {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

fn id(text: &str) -> Result<CampaignId, Status> {
    parse::id("campaign_id", text).map_err(chassis::status)
}

#[tonic::async_trait]
impl CampaignService for Campaigns {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<CreateCampaignResponse>, Status> {
        let command = parse::create_campaign(request.get_ref()).map_err(chassis::status)?;
        let campaign = self.app.create_campaign(command).await.map_err(chassis::status)?;
        Ok(Response::new(CreateCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }

    async fn schedule_campaign(
        &self,
        request: Request<ScheduleCampaignRequest>,
    ) -> Result<Response<ScheduleCampaignResponse>, Status> {
        let command = parse::schedule(request.get_ref(), self.app.clock().now()).map_err(chassis::status)?;
        let campaign = self.app.schedule_campaign(command).await.map_err(chassis::status)?;
        Ok(Response::new(ScheduleCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }

    async fn pause_campaign(
        &self,
        request: Request<PauseCampaignRequest>,
    ) -> Result<Response<PauseCampaignResponse>, Status> {
        let campaign_id = id(&request.get_ref().campaign_id)?;
        let campaign = self.app.pause_campaign(campaign_id).await.map_err(chassis::status)?;
        Ok(Response::new(PauseCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }

    async fn resume_campaign(
        &self,
        request: Request<ResumeCampaignRequest>,
    ) -> Result<Response<ResumeCampaignResponse>, Status> {
        let campaign_id = id(&request.get_ref().campaign_id)?;
        let campaign = self.app.resume_campaign(campaign_id).await.map_err(chassis::status)?;
        Ok(Response::new(ResumeCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }

    async fn cancel_campaign(
        &self,
        request: Request<CancelCampaignRequest>,
    ) -> Result<Response<CancelCampaignResponse>, Status> {
        let campaign_id = id(&request.get_ref().campaign_id)?;
        let campaign = self.app.cancel_campaign(campaign_id, "by hand").await.map_err(chassis::status)?;
        Ok(Response::new(CancelCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<GetCampaignResponse>, Status> {
        let campaign_id = id(&request.get_ref().campaign_id)?;
        let campaign = self.app.get_campaign(campaign_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetCampaignResponse { campaign: Some(to_proto(&campaign)) }))
    }
}

fn to_proto(campaign: &Campaign) -> wire::Campaign {
    let plan = &campaign.plan;
    let frozen = campaign.frozen.as_ref();
    wire::Campaign {
        campaign_id: campaign.campaign_id.to_string(),
        version: campaign.version,
        name: plan.name.clone(),
        sender_key: plan.sender_key.clone(),
        segment_id: plan.segment_id.to_string(),
        template_id: plan.template_id.to_string(),
        template_version: plan.template_version,
        class: plan.class.name().to_owned(),
        delivery: plan.delivery.name().to_owned(),
        state: campaign.state.name().to_owned(),
        send_at: campaign.send_at.map(events::timestamp),
        freeze_id: frozen.map(|frozen| frozen.freeze_id.to_string()).unwrap_or_default(),
        freeze_hash: frozen.map(|frozen| frozen.hash.clone()).unwrap_or_default(),
        frozen: frozen.map_or(0, |frozen| frozen.count),
        cancel_reason: campaign.cancel_reason.clone(),
    }
}
