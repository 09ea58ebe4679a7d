use proto::profile::v1::{
    CheckConsentsRequest, CheckConsentsResponse, GetConsentsRequest, GetConsentsResponse,
    ListConsentRecordsRequest, ListConsentRecordsResponse, ListNoticesRequest, ListNoticesResponse,
    PublishNoticeRequest, PublishNoticeResponse, PublishedNotice, RecordConsentsRequest,
    RecordConsentsResponse, consent_service_server::ConsentService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{Error, app::App, events, store::Published};

const MOST_IDS: usize = 10_000;
const LARGEST_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;

/// `kotinos.profile.v1.ConsentService`
#[derive(Debug, Clone)]
pub struct Consents {
    app: App,
}

impl Consents {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl ConsentService for Consents {
    async fn get_consents(
        &self,
        request: Request<GetConsentsRequest>,
    ) -> Result<Response<GetConsentsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let id = chassis::parse("profile_id", &request.get_ref().profile_id)
            .map_err(|violation| chassis::status(Error::from(violation)))?;
        let ledger = self.app.get_consents(&actor, id).await.map_err(chassis::status)?;
        let heads = ledger.heads.iter().map(|(key, head)| events::consent_head(key, head)).collect();
        Ok(Response::new(GetConsentsResponse { heads, version: ledger.version }))
    }

    async fn record_consents(
        &self,
        request: Request<RecordConsentsRequest>,
    ) -> Result<Response<RecordConsentsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let command = parse::record_consents(request.get_ref()).map_err(chassis::status)?;
        let records = self.app.record_consents(&actor, command).await.map_err(chassis::status)?;
        Ok(Response::new(RecordConsentsResponse {
            records: records.iter().map(events::consent_record).collect(),
        }))
    }

    async fn check_consents(
        &self,
        request: Request<CheckConsentsRequest>,
    ) -> Result<Response<CheckConsentsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let ids =
            parse::profile_ids("profile_ids", &request.profile_ids, MOST_IDS).map_err(chassis::status)?;
        let key = parse::consent_key(&request.purpose, &request.recipient).map_err(chassis::status)?;
        let at = parse::time("at", request.at).map_err(chassis::status)?;
        let permitted = self.app.check_consents(&actor, &ids, &key, at).await.map_err(chassis::status)?;
        let permitted_profile_ids = permitted.iter().map(ToString::to_string).collect();
        Ok(Response::new(CheckConsentsResponse { permitted_profile_ids }))
    }

    async fn list_consent_records(
        &self,
        request: Request<ListConsentRecordsRequest>,
    ) -> Result<Response<ListConsentRecordsResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let id = chassis::parse("profile_id", &request.profile_id)
            .map_err(|violation| chassis::status(Error::from(violation)))?;
        let size = match request.page_size {
            0 => DEFAULT_PAGE,
            size => size.min(LARGEST_PAGE),
        };
        let records = self.app.list_consent_records(&actor, id, size).await.map_err(chassis::status)?;
        Ok(Response::new(ListConsentRecordsResponse {
            records: records.iter().map(events::consent_record).collect(),
        }))
    }

    async fn publish_notice(
        &self,
        request: Request<PublishNoticeRequest>,
    ) -> Result<Response<PublishNoticeResponse>, Status> {
        let command = parse::notice(request.get_ref()).map_err(chassis::status)?;
        let published = self.app.publish_notice(command).await.map_err(chassis::status)?;
        Ok(Response::new(PublishNoticeResponse { notice: Some(to_proto(&published)) }))
    }

    async fn list_notices(
        &self,
        request: Request<ListNoticesRequest>,
    ) -> Result<Response<ListNoticesResponse>, Status> {
        let language = request.into_inner().language;
        let language = Some(language.as_str()).filter(|language| !language.is_empty());
        let notices = self.app.list_notices(language).await.map_err(chassis::status)?;
        Ok(Response::new(ListNoticesResponse { notices: notices.iter().map(to_proto).collect() }))
    }
}

fn to_proto(published: &Published) -> PublishedNotice {
    PublishedNotice {
        purpose: published.key.purpose().name().to_owned(),
        recipient: published.key.recipient().to_owned(),
        language: published.notice.language.clone(),
        version: published.notice.version,
        text: published.text.clone(),
        sha256: events::hex(&published.notice.sha256),
        published_at: Some(events::timestamp(published.published_at)),
    }
}
