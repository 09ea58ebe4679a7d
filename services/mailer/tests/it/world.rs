use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{Component, Grpc, Process, StartError};
use domain::{ProfileId, Service, TimeDelta, Uuid};
use futures::{Stream, stream};
use proto::{
    mailer::v1::{
        Campaign, CreateCampaignRequest, CreateSenderRequest, CreateTemplateRequest,
        GetCampaignReportRequest, GetCampaignReportResponse, GetCampaignRequest, LedgerMessage,
        ListMessagesRequest, PublishTemplateVersionRequest, SaveTemplateVersionRequest,
        ScheduleCampaignRequest, Sender, TemplateBlock, campaign_service_client::CampaignServiceClient,
        ledger_service_client::LedgerServiceClient, report_service_client::ReportServiceClient,
        sender_service_client::SenderServiceClient, template_service_client::TemplateServiceClient,
    },
    profile::v1::{
        self as profile,
        consent_service_server::{ConsentService, ConsentServiceServer},
    },
    segmentation::v1::{
        self as segmentation, CreateFreezeRequest, CreateFreezeResponse, Freeze, GetFreezeRequest,
        GetFreezeResponse, StreamFreezeRequest, StreamFreezeResponse,
        freeze_service_server::{FreezeService, FreezeServiceServer},
    },
};
use testkit::{SmtpSink, TestApp};
use tonic::{Request, Response, Status};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const ALICE: &str = "a..b@docomo.ne.jp";
pub const ALICE_ON_THE_WIRE: &str = "\"a..b\"@docomo.ne.jp";
pub const BOB: &str = "bob@example.fr";
pub const CHIE: &str = "chie@example.jp";

/// A running mailer, its relay, and the services that it calls.
pub struct World {
    pub app: TestApp,
    pub sink: SmtpSink,
    pub peers: Peers,
}

/// Segmentation and profile as mailer sees them, over real gRPC.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Who is in every freeze.
    people: Vec<ProfileId>,
    freezes: Vec<CreateFreezeRequest>,
    refuse_freezes: bool,
    withdrawals: Vec<profile::RecordConsentsRequest>,
}

/// A person to seed: what the facts of profile would have brought.
pub struct Person {
    pub email: &'static str,
    pub locale: &'static str,
    pub given_name: &'static str,
    /// Purposes that are given.
    pub given: &'static [&'static str],
}

pub fn alice() -> Person {
    Person {
        email: ALICE,
        locale: "ja",
        given_name: "アリス",
        given: &["committee_newsletter", "open_tracking"],
    }
}

pub fn bob() -> Person {
    Person { email: BOB, locale: "fr-CA", given_name: "Bob", given: &["committee_newsletter"] }
}

pub fn chie() -> Person {
    Person { email: CHIE, locale: "ja", given_name: "Chie", given: &[] }
}

impl World {
    pub async fn start() -> Self {
        let (sink, peers) = (SmtpSink::start().await, Peers::default());
        let (relay, fakes) = (sink.url(), peers.clone());
        let app = TestApp::start(Service::Mailer, move |process, database_url| async move {
            components(&relay, &database_url, fakes, process).await
        })
        .await;
        Self { app, sink, peers }
    }

    /// A person whose facts have arrived.
    pub async fn person(&self, person: &Person) -> ProfileId {
        let profile_id = ProfileId::new();
        seed(&self.app.pool, profile_id, person).await;
        profile_id
    }

    /// Changes the status of a consent, as a newer fact would.
    pub async fn consent(&self, profile_id: ProfileId, purpose: &str, status: &str) {
        sqlx::query(
            "update mailer.recipient set consent_version = consent_version + 1, heads = (
                 select coalesce(jsonb_agg(case when head ->> 'purpose' = $2
                     then jsonb_set(head, '{status}', to_jsonb($3::text)) else head end), '[]')
                 from jsonb_array_elements(heads) as head) where profile_id = $1",
        )
        .bind(profile_id.0)
        .bind(purpose)
        .bind(status)
        .execute(&self.app.pool)
        .await
        .unwrap();
    }

    /// The committee, in three languages.
    pub async fn sender(&self) {
        let footer =
            [("ja", "組織委員会\n東京都中央区"), ("en", "Committee, Tokyo"), ("fr", "Comité, Tokyo")];
        let sender = Sender {
            key: "committee".to_owned(),
            controller: "committee".to_owned(),
            from_name: "組織委員会".to_owned(),
            from_address: "news@committee.example".to_owned(),
            purpose: "committee_newsletter".to_owned(),
            recipient: String::new(),
            footer: footer.map(|(language, text)| (language.to_owned(), text.to_owned())).into(),
        };
        let mut senders = SenderServiceClient::new(self.app.grpc(&["mailer.admin"]));
        senders.create_sender(CreateSenderRequest { sender: Some(sender) }).await.unwrap();
    }

    /// A published version with two links, in ja, en and fr.
    pub async fn template(&self) -> (String, u32) {
        let mut templates = TemplateServiceClient::new(self.app.grpc(&["mailer.template"]));
        let key = format!("news-{}", domain::new_id().simple());
        let request = CreateTemplateRequest { key, name: "July".to_owned() };
        let template_id = templates.create_template(request).await.unwrap().into_inner().template_id;
        let request = SaveTemplateVersionRequest {
            template_id: template_id.clone(),
            blocks: vec![
                block("ja", "7月のお知らせ"),
                block("en", "News of July"),
                block("fr", "Nouvelles de juillet"),
            ],
            default_language: "en".to_owned(),
            variables: vec!["given_name".to_owned()],
        };
        let version = templates.save_template_version(request).await.unwrap().into_inner().version;
        let request = PublishTemplateVersionRequest { template_id: template_id.clone(), version };
        templates.publish_template_version(request).await.unwrap();
        (template_id, version)
    }

    /// A draft to everybody of the fake segment.
    pub async fn draft(&self, delivery: &str) -> Campaign {
        let (template_id, template_version) = self.template().await;
        let request = CreateCampaignRequest {
            request_id: domain::new_id().to_string(),
            name: "July".to_owned(),
            sender_key: "committee".to_owned(),
            segment_id: domain::new_id().to_string(),
            template_id,
            template_version,
            class: "news".to_owned(),
            delivery: delivery.to_owned(),
        };
        self.campaigns().create_campaign(request).await.unwrap().into_inner().campaign.unwrap()
    }

    pub async fn schedule(&self, campaign_id: &str) {
        let campaign_id = campaign_id.to_owned();
        let request = ScheduleCampaignRequest { campaign_id, ..ScheduleCampaignRequest::default() };
        self.campaigns().schedule_campaign(request).await.unwrap();
    }

    /// A campaign that is on its way.
    pub async fn send(&self, people: &[ProfileId], delivery: &str) -> String {
        self.peers.set_people(people);
        let campaign_id = self.draft(delivery).await.campaign_id;
        self.schedule(&campaign_id).await;
        campaign_id
    }

    /// A campaign that has ended.
    pub async fn send_all(&self, people: &[ProfileId]) -> String {
        let campaign_id = self.send(people, "at_least_once").await;
        self.reaches(&campaign_id, "finished").await;
        campaign_id
    }

    pub async fn campaign(&self, campaign_id: &str) -> Campaign {
        let request = GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        self.campaigns().get_campaign(request).await.unwrap().into_inner().campaign.unwrap()
    }

    pub async fn reaches(&self, campaign_id: &str, state: &str) -> Campaign {
        testkit::eventually(DEADLINE, || async {
            let campaign = self.campaign(campaign_id).await;
            (campaign.state == state).then_some(campaign)
        })
        .await
    }

    /// The ledger of a campaign, by person.
    pub async fn ledger(&self, campaign_id: &str) -> Vec<LedgerMessage> {
        let mut ledger = LedgerServiceClient::new(self.app.grpc(&["mailer.report"]));
        let request =
            ListMessagesRequest { campaign_id: campaign_id.to_owned(), ..ListMessagesRequest::default() };
        ledger.list_messages(request).await.unwrap().into_inner().messages
    }

    /// State and reason of a person's row, as soon as it is in this state.
    pub async fn row(&self, campaign_id: &str, profile_id: ProfileId, state: &str) -> LedgerMessage {
        let id = profile_id.to_string();
        testkit::eventually(DEADLINE, || async {
            let rows = self.ledger(campaign_id).await;
            rows.into_iter().find(|row| row.profile_id == id && row.state == state)
        })
        .await
    }

    pub async fn report(&self, campaign_id: &str) -> GetCampaignReportResponse {
        let mut reports = ReportServiceClient::new(self.app.grpc(&["mailer.report"]));
        let request = GetCampaignReportRequest { campaign_id: campaign_id.to_owned() };
        reports.get_campaign_report(request).await.unwrap().into_inner()
    }

    pub fn campaigns(&self) -> CampaignServiceClient<chassis::Peer> {
        CampaignServiceClient::new(self.app.grpc(&["mailer.campaign", "mailer.send"]))
    }

    pub fn advance(&self, by: TimeDelta) {
        self.app.clock.advance(by);
    }
}

pub fn config(relay: &str, database_url: &str) -> mailer::Config {
    const KEY: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    mailer::Config {
        database_url: database_url.parse().unwrap(),
        relay_url: relay.parse().unwrap(),
        public_url: "https://mail.committee.example".to_owned(),
        token_keys: Some(KEY.parse().unwrap()),
        kek: Some(KEY.parse().unwrap()),
        service_from: "no-reply@committee.example".to_owned(),
    }
}

/// mailer and the services that it calls, in one process.
pub async fn components(
    relay: &str,
    database_url: &str,
    peers: Peers,
    process: Process,
) -> Result<Vec<Component>, StartError> {
    let mailer = mailer::component(config(relay, database_url), process).await?;
    let segmentation =
        Component::new(Service::Segmentation).grpc(Grpc::new().add(FreezeServiceServer::new(peers.clone())));
    let profile = Component::new(Service::Profile).grpc(Grpc::new().add(ConsentServiceServer::new(peers)));
    Ok(vec![mailer, segmentation, profile])
}

pub async fn seed(pool: &sqlx::PgPool, profile_id: ProfileId, person: &Person) {
    let head = |purpose: &str| {
        let record_id = domain::new_id();
        format!(
            r#"{{"purpose": "{purpose}", "status": "given", "record_id": "{record_id}", "valid_until": null, "at": null}}"#
        )
    };
    let heads: Vec<String> = person.given.iter().map(|purpose| head(purpose)).collect();
    sqlx::query(
        "insert into mailer.recipient (profile_id, profile_version, consent_version, state, email, locale, fields, heads)
         values ($1, 1, 1, 'active', $2, $3, jsonb_build_object('given_name', $4), $5::jsonb)",
    )
    .bind(profile_id.0)
    .bind(person.email.as_bytes())
    .bind(person.locale)
    .bind(person.given_name)
    .bind(format!("[{}]", heads.join(",")))
    .execute(pool)
    .await
    .unwrap();
}

fn block(language: &str, subject: &str) -> TemplateBlock {
    TemplateBlock {
        language: language.to_owned(),
        subject: format!("{subject} {{{{ given_name }}}}"),
        preheader: "100 m".to_owned(),
        html: format!(
            "<p lang=\"{language}\">{{{{ given_name }}}}</p><a href=\"https://games.example/{language}/final\">1</a>\
             <a href=\"https://games.example/{language}/tickets?a=1&amp;b=2\">2</a>"
        ),
        text: "{{ given_name }}\n.\nhttps://games.example/".to_owned(),
    }
}

impl Peers {
    pub fn set_people(&self, people: &[ProfileId]) {
        let mut people = people.to_vec();
        people.sort_unstable();
        self.0.lock().unwrap().people = people;
    }

    pub fn refuse_freezes(&self) {
        self.0.lock().unwrap().refuse_freezes = true;
    }

    pub fn freezes(&self) -> Vec<CreateFreezeRequest> {
        self.0.lock().unwrap().freezes.clone()
    }

    pub fn withdrawals(&self) -> Vec<profile::RecordConsentsRequest> {
        self.0.lock().unwrap().withdrawals.clone()
    }
}

#[tonic::async_trait]
impl FreezeService for Peers {
    type StreamFreezeStream = Pin<Box<dyn Stream<Item = Result<StreamFreezeResponse, Status>> + Send>>;

    async fn create_freeze(
        &self,
        request: Request<CreateFreezeRequest>,
    ) -> Result<Response<CreateFreezeResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        if state.refuse_freezes {
            return Err(Status::failed_precondition("the segment is bound to another purpose"));
        }
        let freeze = Freeze {
            freeze_id: request.request_id.clone(),
            segment_id: request.segment_id.clone(),
            purpose: request.purpose.clone(),
            count: state.people.len() as u64,
            content_hash: "00".repeat(32),
            watermark: Some(segmentation::Watermark::default()),
            ..Freeze::default()
        };
        state.freezes.push(request);
        Ok(Response::new(CreateFreezeResponse { freeze: Some(freeze) }))
    }

    async fn get_freeze(&self, _: Request<GetFreezeRequest>) -> Result<Response<GetFreezeResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn stream_freeze(
        &self,
        request: Request<StreamFreezeRequest>,
    ) -> Result<Response<Self::StreamFreezeStream>, Status> {
        let people = self.0.lock().unwrap().people.clone();
        // Small blocks, so that a campaign has several chunks.
        let blocks = (0_u32..).zip(people.chunks(16)).skip(request.get_ref().from_block as usize);
        let blocks: Vec<_> = blocks
            .map(|(block, ids)| {
                Ok(StreamFreezeResponse { block, profile_ids: ids.iter().map(ToString::to_string).collect() })
            })
            .collect();
        Ok(Response::new(Box::pin(stream::iter(blocks))))
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

fn not_asked<T: 'static>() -> Answer<T> {
    Box::pin(async { Err(Status::unimplemented("not asked")) })
}

#[tonic::async_trait]
impl ConsentService for Peers {
    async fn record_consents(
        &self,
        request: Request<profile::RecordConsentsRequest>,
    ) -> Result<Response<profile::RecordConsentsResponse>, Status> {
        self.0.lock().unwrap().withdrawals.push(request.into_inner());
        Ok(Response::new(profile::RecordConsentsResponse::default()))
    }

    async fn get_consents(
        &self,
        _: Request<profile::GetConsentsRequest>,
    ) -> Result<Response<profile::GetConsentsResponse>, Status> {
        not_asked().await
    }

    async fn check_consents(
        &self,
        _: Request<profile::CheckConsentsRequest>,
    ) -> Result<Response<profile::CheckConsentsResponse>, Status> {
        not_asked().await
    }

    async fn list_consent_records(
        &self,
        _: Request<profile::ListConsentRecordsRequest>,
    ) -> Result<Response<profile::ListConsentRecordsResponse>, Status> {
        not_asked().await
    }

    async fn publish_notice(
        &self,
        _: Request<profile::PublishNoticeRequest>,
    ) -> Result<Response<profile::PublishNoticeResponse>, Status> {
        not_asked().await
    }

    async fn list_notices(
        &self,
        _: Request<profile::ListNoticesRequest>,
    ) -> Result<Response<profile::ListNoticesResponse>, Status> {
        not_asked().await
    }
}

/// Ids from text that is one.
pub fn uuid(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap()
}

/// Tears a process down between two instructions, and starts another one on the same database.
pub async fn kill_and_restart(app: TestApp, sink: &SmtpSink, peers: &Peers) -> TestApp {
    let (url, clock) = app.kill();
    let (relay, fakes) = (sink.url(), peers.clone());
    TestApp::start_at(Service::Mailer, url, clock, move |process, database_url| async move {
        components(&relay, &database_url, fakes, process).await
    })
    .await
}
