use proto::mailer::v1::{
    self as wire, GetCampaignReportRequest, GetCampaignReportResponse, ListMessagesRequest,
    ListMessagesResponse, ledger_service_server::LedgerService, report_service_server::ReportService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{Error, app::App, events, store::LedgerLine};

/// `kotinos.mailer.v1.ReportService`
#[derive(Debug, Clone)]
pub struct Reports {
    app: App,
}

/// `kotinos.mailer.v1.LedgerService`
#[derive(Debug, Clone)]
pub struct Ledger {
    app: App,
}

impl Reports {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

impl Ledger {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl ReportService for Reports {
    async fn get_campaign_report(
        &self,
        request: Request<GetCampaignReportRequest>,
    ) -> Result<Response<GetCampaignReportResponse>, Status> {
        let campaign_id =
            parse::id("campaign_id", &request.get_ref().campaign_id).map_err(chassis::status)?;
        let (campaign, report) = self.app.get_report(campaign_id).await.map_err(chassis::status)?;
        let of = |state: &str| report.by_state.get(state).copied().unwrap_or_default();
        Ok(Response::new(GetCampaignReportResponse {
            frozen: campaign.frozen.as_ref().map_or(0, |frozen| frozen.count),
            sent: report.sent,
            accepted: of("accepted"),
            deferred: of("deferred"),
            bounced: of("bounced"),
            opens_human: report.opens.0,
            opens_machine: report.opens.1,
            clicks_human: report.clicks.0,
            clicks_machine: report.clicks.1,
            unsubscribed: report.unsubscribed,
            tracked: report.tracked,
            skipped: report.skipped.into_iter().collect(),
        }))
    }
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let request = request.into_inner();
        let lines = match (request.campaign_id.as_str(), request.profile_id.as_str()) {
            (campaign_id, "") => {
                let campaign_id = parse::id("campaign_id", campaign_id).map_err(chassis::status)?;
                self.app.list_messages(campaign_id).await
            }
            ("", profile_id) => {
                let profile_id = parse::id("profile_id", profile_id).map_err(chassis::status)?;
                self.app.list_messages_of(profile_id).await
            }
            _ => {
                let rule = "must be empty where campaign_id is given";
                Err(Error::from(chassis::FieldViolation::new("profile_id", rule)))
            }
        };
        let messages = lines.map_err(chassis::status)?.iter().map(to_proto).collect();
        Ok(Response::new(ListMessagesResponse { messages }))
    }
}

fn to_proto(line: &LedgerLine) -> wire::LedgerMessage {
    wire::LedgerMessage {
        campaign_id: line.key.0.to_string(),
        profile_id: line.key.1.to_string(),
        state: line.state.name().to_owned(),
        reason: line.reason.clone(),
        message_id: line.message_id.clone(),
        relay_code: line.relay_code.and_then(|code| code.try_into().ok()).unwrap_or_default(),
        language: line.language.clone(),
        consent_record_id: line.consent_record_id.map(|id| id.to_string()).unwrap_or_default(),
        at: Some(events::timestamp(line.at)),
    }
}
