//! One database and one service a test, and identity's side of the topic that profile follows.

use std::time::Duration;

use chassis::{Component, Peer, PeerError};
use domain::{EventId, ProfileId, Service, UserId};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use prost_types::Timestamp;
use proto::{
    identity::v1 as identity,
    profile::v1::{
        self as wire, ConsentAnswer, ConsentRecord, ExternalId, FindProfileRequest, GetProfileRequest,
        Profile, PublishNoticeRequest, RecordConsentsRequest, StringSet, TraitUpdate, TraitValue,
        UpdateProfileRequest, consent_service_client::ConsentServiceClient,
        profile_service_client::ProfileServiceClient, trait_value::Kind,
    },
};
use testkit::{OutboxRow, TestApp, eventually};
use tonic::Status;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const PROFILES: &str = "kotinos.profile.profile.v1";
pub const CONSENTS: &str = "kotinos.profile.consent.v1";
const OUTBOX: &str = include_str!("../../../../crates/outbox/schema.sql");

static USERS: Topic = Topic::state("kotinos.identity.user.v1", Partitions::PERSON);
static TOPICS: &[&Topic] = &[&USERS];

/// A running profile of one test.
pub struct World {
    pub app: TestApp,
}

/// A user as identity tells of them.
#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub version: i64,
    pub email: &'static str,
    pub locale: &'static str,
    pub verified: bool,
    pub status: identity::UserStatus,
}

fn user(email: &'static str, locale: &'static str) -> User {
    let status = identity::UserStatus::Active;
    User { id: UserId::new(), version: 1, email, locale, verified: true, status }
}

/// Alice, in Tokyo.
pub fn alice() -> User {
    user("alice@example.org", "ja")
}

/// Bob, in Paris.
pub fn bob() -> User {
    user("bob@example.fr", "fr")
}

impl User {
    /// The user after a change.
    pub fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    fn state(&self) -> identity::UserState {
        let verified_at = self.verified.then_some(Timestamp { seconds: 1_900_000_000, nanos: 0 });
        identity::UserState {
            user_id: self.id.to_string(),
            version: self.version,
            status: self.status.into(),
            locale: self.locale.to_owned(),
            email: Some(identity::UserEmail {
                address: self.email.as_bytes().to_vec(),
                class: String::new(),
                verified_at,
            }),
            ..identity::UserState::default()
        }
    }
}

impl World {
    pub async fn start() -> Self {
        let app = TestApp::start(Service::Profile, |process, url| async move {
            let config = profile::Config { database_url: url.parse()? };
            // The other end of the topic that is followed: an outbox of identity's name.
            let publisher = process.of(Service::Identity);
            let pool = publisher.database(&config.database_url);
            let schema = format!("create schema identity; {}", OUTBOX.replace("SCHEMA", "identity"));
            sqlx::raw_sql(sqlx::AssertSqlSafe(schema)).execute(&pool).await?;
            let publisher = outbox::publish(Component::new(Service::Identity), &publisher, &pool, TOPICS);
            Ok(vec![profile::component(config, process).await?, publisher])
        })
        .await;
        Self { app }
    }

    /// Publishes a user as identity does.
    pub async fn publish(&self, user: &User) {
        self.publish_payload(user, user.state().encode_to_vec()).await;
    }

    pub async fn publish_payload(&self, user: &User, payload: Vec<u8>) {
        let fact = Fact {
            topic: &USERS,
            key: user.id.to_string(),
            fact_type: "UserEmailVerified",
            payload: Some(payload),
            version: user.version,
            occurred_at: self.app.clock.now(),
            event_id: EventId::new(),
        };
        let mut tx = self.app.pool.begin().await.unwrap();
        outbox::append(&mut tx, Service::Identity, &fact).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Publishes a user, waits until profile has followed, and gives the user's profile.
    pub async fn follow(&self, user: &User) -> Profile {
        self.publish(user).await;
        self.followed(user).await
    }

    /// Waits until profile has followed a user up to this version.
    pub async fn followed(&self, user: &User) -> Profile {
        eventually(DEADLINE, || async {
            sqlx::query("select 1 from profile.user_link where user_id = $1 and version >= $2")
                .bind(user.id.0)
                .bind(user.version)
                .fetch_optional(&self.app.pool)
                .await
                .unwrap()
        })
        .await;
        self.find("user", &user.id.to_string()).await.unwrap()
    }

    /// A service's calls, which reach everybody.
    pub fn profiles(&self) -> ProfileServiceClient<Peer> {
        ProfileServiceClient::new(self.app.grpc(&["profile.read", "profile.write"]))
    }

    pub fn profiles_as(&self, user: &User) -> ProfileServiceClient<Peer> {
        ProfileServiceClient::new(self.app.grpc_as(user.id, &["profile.read", "profile.write"]))
    }

    pub fn consents(&self) -> ConsentServiceClient<Peer> {
        ConsentServiceClient::new(self.app.grpc(&["consent.read", "consent.write", "consent.admin"]))
    }

    pub fn consents_as(&self, user: &User) -> ConsentServiceClient<Peer> {
        ConsentServiceClient::new(self.app.grpc_as(user.id, &["consent.read", "consent.write"]))
    }

    pub async fn find(&self, kind: &str, value: &str) -> Result<Profile, Status> {
        let external_id = Some(ExternalId { r#type: kind.to_owned(), value: value.to_owned() });
        let found = self.profiles().find_profile(FindProfileRequest { external_id }).await?;
        Ok(found.into_inner().profile.unwrap())
    }

    pub async fn profile(&self, profile_id: &str) -> Profile {
        let request = GetProfileRequest { profile_id: profile_id.to_owned() };
        self.profiles().get_profile(request).await.unwrap().into_inner().profile.unwrap()
    }

    /// Publishes the words of a purpose.
    pub async fn notice(&self, purpose: &str, language: &str, version: u32) -> wire::PublishedNotice {
        let request = notice(purpose, language, version);
        self.consents().publish_notice(request).await.unwrap().into_inner().notice.unwrap()
    }

    /// Records answers in the name of a user, and gives the records.
    pub async fn record(
        &self,
        user: &User,
        profile_id: &str,
        answers: &[ConsentAnswer],
    ) -> Result<Vec<ConsentRecord>, Status> {
        let recorded = self.consents_as(user).record_consents(answering(profile_id, answers)).await?;
        Ok(recorded.into_inner().records)
    }

    /// What was told on a topic, in order.
    pub async fn told(&self, topic: &str) -> Vec<OutboxRow> {
        let rows = testkit::records_in_outbox(&self.app.pool, Service::Profile).await;
        rows.into_iter().filter(|row| row.topic == topic).collect()
    }

    /// Rows of a table; for looking, never for doing.
    pub async fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from profile.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.app.pool).await.unwrap()
    }
}

/// A new id on the wire.
pub fn id() -> String {
    domain::new_id().to_string()
}

pub fn unknown_profile() -> String {
    ProfileId::new().to_string()
}

/// An edit that touches nothing yet.
pub fn update(profile_id: &str) -> UpdateProfileRequest {
    UpdateProfileRequest {
        profile_id: profile_id.to_owned(),
        request_id: id(),
        ..UpdateProfileRequest::default()
    }
}

pub fn text(name: &str, value: &str) -> TraitUpdate {
    one(name, Kind::Text(value.to_owned()))
}

pub fn date(name: &str, value: &str) -> TraitUpdate {
    one(name, Kind::Date(value.to_owned()))
}

pub fn set(name: &str, values: &[&str]) -> TraitUpdate {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    one(name, Kind::Set(StringSet { values }))
}

pub fn one(name: &str, kind: Kind) -> TraitUpdate {
    TraitUpdate { name: name.to_owned(), value: Some(TraitValue { kind: Some(kind) }) }
}

/// A trait as it is held.
pub fn held(profile: &Profile, name: &str) -> Option<Kind> {
    let found = profile.traits.iter().find(|held| held.name == name)?;
    found.value.clone()?.kind
}

pub fn notice(purpose: &str, language: &str, version: u32) -> PublishNoticeRequest {
    PublishNoticeRequest {
        purpose: purpose.to_owned(),
        recipient: String::new(),
        language: language.to_owned(),
        version,
        text: format!("{purpose}, {language}, version {version}"),
    }
}

/// Yes, to the first version of the words in Japanese.
pub fn gives(purpose: &str) -> ConsentAnswer {
    ConsentAnswer { notice_version: 1, notice_language: "ja".to_owned(), ..says(purpose, "given") }
}

/// An answer without any words.
pub fn says(purpose: &str, status: &str) -> ConsentAnswer {
    ConsentAnswer { purpose: purpose.to_owned(), status: status.to_owned(), ..ConsentAnswer::default() }
}

pub fn answering(profile_id: &str, answers: &[ConsentAnswer]) -> RecordConsentsRequest {
    RecordConsentsRequest {
        profile_id: profile_id.to_owned(),
        request_id: id(),
        answers: answers.to_vec(),
        method: "portal /account/consents".to_owned(),
    }
}

/// Why a call was refused.
pub fn reason(status: &Status) -> String {
    PeerError::from(status.clone()).reason_of_peer().unwrap_or_default().to_owned()
}

/// The fields that a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    chassis::fields_of(status).into_iter().map(|violation| violation.field).collect()
}
