//! One org, one database and one service a test.

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::Component;
use domain::{Clock, ProfileId, Service, UserId};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use proto::crmsync::v1::{
    self as crm, agreement_service_client::AgreementServiceClient,
    destination_service_client::DestinationServiceClient, ledger_service_client::LedgerServiceClient,
    mapping_service_client::MappingServiceClient, run_service_client::RunServiceClient,
};
use salesforce_simulator::{Config, Running, Simulator};
use serde_json::Value;
use testkit::{TestApp, eventually};

use crate::{
    agreements::{agreement, agreement_keys, id, sign},
    people::Person,
};

pub const CLIENT_ID: &str = "kotinos-consumer-key";
pub const USERNAME: &str = "integration@example.org";
pub const DEADLINE: Duration = Duration::from_secs(30);
const KEK: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OUTBOX: &str = include_str!("../../../../crates/outbox/schema.sql");

static PROFILES: Topic = Topic::state("kotinos.profile.profile.v1", Partitions::PERSON);
static CONSENTS: Topic = Topic::state("kotinos.profile.consent.v1", Partitions::PERSON);
static TOPICS: &[&Topic] = &[&PROFILES, &CONSENTS];

/// The connected app's key: (private, public), PEM.
static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("RSA PUBLIC KEY", key.public_key().as_ref()))
});

fn pem(tag: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

/// Everything that a test needs.
pub struct World {
    pub app: TestApp,
    pub org: Running,
    pub http: reqwest::Client,
    pub destination_id: String,
    /// Chie proposes, Daniel activates.
    pub chie: UserId,
    pub daniel: UserId,
    database: testkit::Db,
}

impl World {
    /// The service and an org; no destination yet.
    pub async fn bare() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(KEY.1.clone(), CLIENT_ID, USERNAME);
        change(&mut config);
        let org = Simulator::start(config).await.unwrap();
        let database = testkit::Db::fresh(&sqlx::migrate!("./migrations")).await;
        let schema = format!("create schema profile; {}", OUTBOX.replace("SCHEMA", "profile"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema)).execute(&database.pool).await.unwrap();
        let app = start(&database.url).await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (chie, daniel) = (UserId::new(), UserId::new());
        Self { app, org, http, destination_id: String::new(), chie, daniel, database }
    }

    /// A destination that is sent to, under an agreement of all nineteen fields.
    pub async fn sending() -> Self {
        Self::with(|_| {}).await.activated().await
    }

    pub async fn activated(mut self) -> Self {
        self.create_destination().await;
        self.publish_mapping().await;
        let agreement_id = self.propose(&agreement(), self.chie).await;
        let request = crm::ActivateAgreementRequest { agreement_id };
        self.agreements_as(self.daniel).activate_agreement(request).await.unwrap();
        let request = crm::ResumeDestinationRequest { destination_id: self.destination_id.clone() };
        let resumed = self.destinations().resume_destination(request).await.unwrap().into_inner();
        assert_eq!(resumed.destination.unwrap().state, "active");
        self
    }

    pub async fn create_destination(&mut self) {
        let made = self.destinations().create_destination(self.destination()).await.unwrap();
        self.destination_id = made.into_inner().destination.unwrap().destination_id;
    }

    pub fn destination(&self) -> crm::CreateDestinationRequest {
        crm::CreateDestinationRequest {
            request_id: id(),
            name: "ioc-crm".to_owned(),
            recipient: "ioc".to_owned(),
            salesforce: Some(crm::Salesforce {
                login_url: self.org.base_url.clone(),
                client_id: CLIENT_ID.to_owned(),
                username: USERNAME.to_owned(),
                audience: String::new(),
            }),
            ..Default::default()
        }
    }

    pub async fn publish_mapping(&self) -> String {
        let request = crm::SaveMappingVersionRequest {
            request_id: id(),
            destination_id: self.destination_id.clone(),
            built_in: "ioc_contact".to_owned(),
            fields: Vec::new(),
        };
        let saved = self.mappings().save_mapping_version(request).await.unwrap().into_inner();
        let mapping_version_id = saved.mapping_version.unwrap().mapping_version_id;
        let request = crm::PublishMappingVersionRequest { mapping_version_id: mapping_version_id.clone() };
        self.mappings().publish_mapping_version(request).await.unwrap();
        mapping_version_id
    }

    pub async fn propose(&self, claims: &Value, by: UserId) -> String {
        let request = crm::ProposeAgreementRequest {
            request_id: id(),
            destination_id: self.destination_id.clone(),
            token: sign(claims),
        };
        let proposed = self.agreements_as(by).propose_agreement(request).await.unwrap().into_inner();
        proposed.agreement.unwrap().agreement_id
    }

    /// Stops the service and starts it again on the same database.
    pub async fn restart(self) -> Self {
        let Self { app, org, http, destination_id, chie, daniel, database } = self;
        app.stop().await;
        let app = start(&database.url).await;
        Self { app, org, http, destination_id, chie, daniel, database }
    }

    pub fn destinations(&self) -> DestinationServiceClient<chassis::Peer> {
        DestinationServiceClient::new(self.app.grpc(&["crmsync.admin", "crmsync.read"]))
    }

    pub fn mappings(&self) -> MappingServiceClient<chassis::Peer> {
        MappingServiceClient::new(self.app.grpc(&["crmsync.admin", "crmsync.read"]))
    }

    pub fn agreements_as(&self, user_id: UserId) -> AgreementServiceClient<chassis::Peer> {
        AgreementServiceClient::new(self.app.grpc_as(user_id, &["crmsync.agreement", "crmsync.read"]))
    }

    pub fn runs(&self) -> RunServiceClient<chassis::Peer> {
        RunServiceClient::new(self.app.grpc(&["crmsync.plan", "crmsync.apply", "crmsync.read"]))
    }

    pub fn ledger(&self) -> LedgerServiceClient<chassis::Peer> {
        LedgerServiceClient::new(self.app.grpc(&["crmsync.ledger"]))
    }

    pub async fn plan(&self) -> crm::Run {
        let request =
            crm::CreatePlanRequest { request_id: id(), destination_id: self.destination_id.clone() };
        self.runs().create_plan(request).await.unwrap().into_inner().run.unwrap()
    }

    pub async fn apply(&self, run: &crm::Run) {
        let plan_hash = run.plan.as_ref().unwrap().hash.clone();
        let request = crm::ApplyPlanRequest { run_id: run.run_id.clone(), plan_hash };
        self.runs().apply_plan(request).await.unwrap();
    }

    pub async fn run(&self, run_id: &str) -> crm::Run {
        let request = crm::GetRunRequest { run_id: run_id.to_owned() };
        self.runs().get_run(request).await.unwrap().into_inner().run.unwrap()
    }

    pub async fn ended(&self, run_id: &str) -> crm::Run {
        eventually(DEADLINE, || async { Some(self.run(run_id).await).filter(|run| run.ended_at.is_some()) })
            .await
    }

    /// Plans, applies, waits.
    pub async fn load(&self) -> crm::Run {
        let run = self.plan().await;
        self.apply(&run).await;
        self.ended(&run.run_id).await
    }

    pub async fn deliveries(&self, person: ProfileId) -> Vec<crm::Delivery> {
        let request = crm::ListDeliveriesOfProfileRequest { profile_id: person.to_string(), page_size: 0 };
        self.ledger().list_deliveries_of_profile(request).await.unwrap().into_inner().deliveries
    }

    /// Publishes a profile as the service profile does, and waits until the projection has it.
    pub async fn profile(&self, person: &Person) {
        let fact = person.fact(&PROFILES, "ProfileUpdated", person.profile_state().encode_to_vec());
        self.publish(&fact).await;
        self.projected("profile_version", person).await;
    }

    /// Publishes a person's consents, and waits until the projection has them.
    pub async fn consents(&self, person: &Person) {
        let fact = person.fact(&CONSENTS, "ConsentGiven", person.consent_state().encode_to_vec());
        self.publish(&fact).await;
        self.projected("consent_version", person).await;
    }

    pub async fn person(&self, person: &Person) {
        self.profile(person).await;
        self.consents(person).await;
    }

    async fn publish(&self, fact: &Fact) {
        let mut tx = self.database.pool.begin().await.unwrap();
        outbox::append(&mut tx, Service::Profile, fact).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn projected(&self, column: &str, person: &Person) {
        let sql = format!("select 1 from crmsync.subject where profile_id = $1 and {column} >= $2");
        eventually(DEADLINE, || async {
            let row = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).bind(person.id.0).bind(person.version);
            row.fetch_optional(&self.database.pool).await.unwrap()
        })
        .await;
    }

    /// One text or number of the service's tables; for looking, never for doing.
    pub async fn sql<T>(&self, sql: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    pub async fn waits_for(&self, sql: &'static str) {
        eventually(DEADLINE, || async { self.sql::<bool>(sql).await.then_some(()) }).await;
    }

    pub async fn dump(&self) -> Value {
        let url = format!("{}/_sim/dump", self.org.control_url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// The contacts that the org holds.
    pub async fn contacts(&self) -> Vec<Value> {
        let dump = self.dump().await;
        dump["objects"]["Contact"].as_array().cloned().unwrap_or_default()
    }

    pub async fn contact(&self, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(DEADLINE, || async { self.contacts().await.into_iter().find(|contact| fits(contact)) })
            .await
    }

    pub async fn fault(&self, fault: Value) {
        let url = format!("{}/_sim/faults", self.org.control_url());
        let status = self.http.post(url).json(&fault).send().await.unwrap().status();
        assert!(status.is_success(), "{status} {fault}");
    }

    pub async fn no_faults(&self) {
        self.http.delete(format!("{}/_sim/faults", self.org.control_url())).send().await.unwrap();
    }

    pub async fn end_sessions(&self) {
        self.http.delete(format!("{}/_sim/sessions", self.org.control_url())).send().await.unwrap();
    }
}

async fn start(database_url: &str) -> TestApp {
    let (url, clock) = (database_url.to_owned(), Clock::fixed(Clock::system().now()));
    TestApp::start_at(Service::CrmSync, url, clock, |process, database_url| async move {
        let config = crm_sync::Config {
            database_url: database_url.parse().unwrap(),
            kek: Some(KEK.parse().unwrap()),
            agreement_keys: Some(agreement_keys().parse().unwrap()),
            salesforce_key: Some(KEY.0.parse().unwrap()),
        };
        // The other end of the topics that are followed: an outbox of profile's name.
        let publisher = process.of(Service::Profile);
        let pool = publisher.database(&database_url.parse().unwrap());
        let publisher = outbox::publish(Component::new(Service::Profile), &publisher, &pool, TOPICS);
        Ok(vec![crm_sync::component(config, process).await?, publisher])
    })
    .await
}
