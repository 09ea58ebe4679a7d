//! One database and one service a test, and profile as segmentation sees it: two topics, and the schema of traits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chassis::{Component, Grpc, Peer, PeerError, Process, StartError};
use domain::{Clock, ProfileId, Service};
use outbox::{Fact, Partitions, Topic};
use prost::Message;
use proto::{
    profile::v1::{
        self as profile, GetTraitSchemaRequest, GetTraitSchemaResponse,
        schema_service_server::{SchemaService, SchemaServiceServer},
    },
    segmentation::v1::{
        AttributeLeaf, CheckMembershipRequest, CheckMembershipResponse, CountRuleRequest,
        CreateFreezeRequest, CreateSegmentRequest, ExplainRequest, ExplainResponse, ExplainedNode,
        ListMembersRequest, MembershipChanged, RuleList, Segment, SegmentRule, SetLeaf,
        freeze_service_client::FreezeServiceClient, query_service_client::QueryServiceClient,
        segment_rule::Node, segment_service_client::SegmentServiceClient,
    },
};
use testkit::{OutboxRow, TestApp, eventually};
use tonic::{Request, Response, Status};

use crate::people::Person;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const MEMBERSHIPS: &str = "kotinos.segmentation.membership.v1";
pub const SEGMENTS: &str = "kotinos.segmentation.segment.v1";
const OUTBOX: &str = include_str!("../../../../crates/outbox/schema.sql");

pub static PROFILES: Topic = Topic::state("kotinos.profile.profile.v1", Partitions::PERSON);
pub static CONSENTS: Topic = Topic::state("kotinos.profile.consent.v1", Partitions::PERSON);
static TOPICS: &[&Topic] = &[&PROFILES, &CONSENTS];

/// A running segmentation of one test.
pub struct World {
    pub app: TestApp,
    pub profile: Profile,
}

/// profile's published schema, over real gRPC.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    away: Arc<AtomicBool>,
}

impl Profile {
    /// Whether it refuses to answer from now on.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl SchemaService for Profile {
    async fn get_trait_schema(
        &self,
        _: Request<GetTraitSchemaRequest>,
    ) -> Result<Response<GetTraitSchemaResponse>, Status> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let one = |name: &str, category: &str, r#type: &str, allowed: &[&str]| profile::TraitDefinition {
            name: name.to_owned(),
            category: category.to_owned(),
            r#type: r#type.to_owned(),
            max_length: 0,
            allowed_values: allowed.iter().map(|value| (*value).to_owned()).collect(),
        };
        let traits = vec![
            one("given_name", "basic", "text", &[]),
            one("birth_date", "basic", "date", &[]),
            one("gender", "basic", "enum", &["female", "male"]),
            one("prefecture", "basic", "prefecture", &[]),
            one("favourite_olympic_sports", "preference", "sport_set", &[]),
        ];
        Ok(Response::new(GetTraitSchemaResponse {
            schema: Some(profile::TraitSchema { version: 1, traits }),
        }))
    }
}

impl World {
    /// Segmentation with an index that has read everything.
    pub async fn start() -> Self {
        let world = Self::start_without_waiting(true).await;
        world.ready().await;
        world
    }

    /// Segmentation before profile's topics exist.
    pub async fn start_without_topics() -> Self {
        Self::start_without_waiting(false).await
    }

    async fn start_without_waiting(topics: bool) -> Self {
        let profile = Profile::default();
        let schema = profile.clone();
        let build = move |process, url| components(process, url, schema, topics);
        let app = TestApp::start(Service::Segmentation, build).await;
        Self { app, profile }
    }

    /// Segmentation whose topics outlast it.
    pub async fn start_to_end() -> Self {
        let database = testkit::Db::empty().await;
        let left = Stopped {
            url: database.url,
            clock: Clock::fixed(Clock::system().now()),
            profile: Profile::default(),
        };
        let world = left.start_again().await;
        world.ready().await;
        world
    }

    /// Another replica over the same database and topics.
    pub async fn beside(&self) -> Self {
        self.left().start_again().await
    }

    /// Ends the process as an upgrade does.
    pub async fn stop(self) -> Stopped {
        let left = self.left();
        self.app.stop().await;
        left
    }

    /// Tears the process down between two instructions.
    pub fn kill(self) -> Stopped {
        let (url, clock) = self.app.kill();
        Stopped { url, clock, profile: self.profile }
    }

    fn left(&self) -> Stopped {
        let (url, clock) = (self.app.database_url().to_owned(), self.app.clock.clone());
        Stopped { url, clock, profile: self.profile.clone() }
    }

    /// Waits until the index has read everything that was there at its start.
    pub async fn ready(&self) {
        eventually(DEADLINE, || async { self.count(everyone()).await.ok() }).await;
    }

    /// Publishes a person's profile as profile does.
    pub async fn publish_profile(&self, person: &Person) {
        let payload = Some(person.profile_state().encode_to_vec());
        self.publish(&[person.fact(&PROFILES, person.profile_version, payload, self.app.clock.now())]).await;
    }

    /// Publishes a person's answers as profile does.
    pub async fn publish_consents(&self, person: &Person) {
        let payload = Some(person.consent_state(self.app.clock.now()).encode_to_vec());
        self.publish(&[person.fact(&CONSENTS, person.consent_version, payload, self.app.clock.now())]).await;
    }

    pub async fn publish_person(&self, person: &Person) {
        self.publish_profile(person).await;
        self.publish_consents(person).await;
    }

    pub async fn publish(&self, facts: &[Fact]) {
        let mut tx = self.app.pool.begin().await.unwrap();
        for fact in facts {
            outbox::append(&mut tx, Service::Profile, fact).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub fn segments(&self) -> SegmentServiceClient<Peer> {
        SegmentServiceClient::new(self.app.grpc(&["segmentation.read", "segmentation.write"]))
    }

    pub fn queries(&self) -> QueryServiceClient<Peer> {
        let scopes =
            ["segmentation.read", "segmentation.members", "segmentation.check", "segmentation.exact"];
        QueryServiceClient::new(self.app.grpc(&scopes))
    }

    pub fn freezes(&self) -> FreezeServiceClient<Peer> {
        FreezeServiceClient::new(self.app.grpc(&["segmentation.freeze"]))
    }

    pub async fn create(&self, request: CreateSegmentRequest) -> Segment {
        self.segments().create_segment(request).await.unwrap().into_inner().segment.unwrap()
    }

    /// The exact number of people for whom a rule holds.
    pub async fn count(&self, rule: SegmentRule) -> Result<u64, Status> {
        Ok(self.queries().count_rule(CountRuleRequest { rule: Some(rule) }).await?.into_inner().count)
    }

    pub async fn members(&self, segment: &str) -> Vec<String> {
        let request = ListMembersRequest { segment_id: segment.to_owned(), ..ListMembersRequest::default() };
        self.queries().list_members(request).await.unwrap().into_inner().profile_ids
    }

    pub async fn check(&self, person: ProfileId, segments: &[&str]) -> CheckMembershipResponse {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        let request = CheckMembershipRequest { profile_id: person.to_string(), segments };
        self.queries().check_membership(request).await.unwrap().into_inner()
    }

    pub async fn explain(&self, segment: &str, person: ProfileId) -> ExplainResponse {
        let request = ExplainRequest { segment_id: segment.to_owned(), profile_id: person.to_string() };
        self.queries().explain(request).await.unwrap().into_inner()
    }

    /// Waits until the index knows a person's profile, told by the sports.
    pub async fn knows(&self, segment: &str, person: &Person) {
        let expected = person.sports.join(", ");
        eventually(DEADLINE, || async {
            let explained = self.explain(segment, person.id).await;
            (leaf(&explained, "favourite_olympic_sports has any of ATH").value == expected).then_some(())
        })
        .await;
    }

    /// What was told on a topic, in order.
    pub async fn told(&self, topic: &str) -> Vec<OutboxRow> {
        let rows = testkit::records_in_outbox(&self.app.pool, Service::Segmentation).await;
        rows.into_iter().filter(|row| row.topic == topic).collect()
    }

    /// Membership changes of one person in one segment, in order.
    pub async fn changes(&self, segment: &Segment, person: ProfileId) -> Vec<MembershipChanged> {
        let rows = self.told(MEMBERSHIPS).await;
        let changes = rows.iter().map(|row| {
            let change = MembershipChanged::decode(row.payload.as_deref().unwrap()).unwrap();
            let name = if change.entered { "MembershipEntered" } else { "MembershipExited" };
            assert_eq!((row.fact_type.as_str(), row.version), (name, 0));
            assert_eq!(row.key, change.profile_id);
            change
        });
        let person = person.to_string();
        changes
            .filter(|change| change.segment_id == segment.segment_id && change.profile_id == person)
            .collect()
    }

    /// Waits until a person entered and left a segment so often, and gives the last change.
    pub async fn changed(&self, segment: &Segment, person: ProfileId, times: usize) -> MembershipChanged {
        eventually(DEADLINE, || async {
            let changes = self.changes(segment, person).await;
            changes.get(times - 1).cloned()
        })
        .await
    }

    /// Rows of a table; for looking, never for doing.
    pub async fn rows(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from segmentation.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.app.pool).await.unwrap()
    }
}

/// What is left of a process that ended.
pub struct Stopped {
    url: String,
    clock: Clock,
    pub profile: Profile,
}

impl Stopped {
    /// Starts another process on the same database and topics.
    pub async fn start_again(self) -> World {
        let Self { url, clock, profile } = self;
        let schema = profile.clone();
        let build = move |process, url| components(process, url, schema, true);
        let app = TestApp::start_at(Service::Segmentation, url, clock, build).await;
        World { app, profile }
    }
}

/// Segmentation, and profile as it sees it.
async fn components(
    process: Process,
    url: String,
    schema: Profile,
    topics: bool,
) -> Result<Vec<Component>, StartError> {
    let config = segmentation::Config { database_url: url.parse()? };
    let profile = Component::new(Service::Profile).grpc(Grpc::new().add(SchemaServiceServer::new(schema)));
    // The other end of the topics that are followed: an outbox of profile's name.
    let publisher = process.of(Service::Profile);
    let pool = publisher.database(&config.database_url);
    let made: bool =
        sqlx::query_scalar("select to_regclass('profile.outbox') is not null").fetch_one(&pool).await?;
    if !made {
        let schema = format!("create schema profile; {}", OUTBOX.replace("SCHEMA", "profile"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema)).execute(&pool).await?;
    }
    let profile = if topics { outbox::publish(profile, &publisher, &pool, TOPICS) } else { profile };
    Ok(vec![segmentation::component(config, process).await?, profile])
}

/// A new id on the wire.
pub fn id() -> String {
    domain::new_id().to_string()
}

pub fn rule(node: Node) -> SegmentRule {
    SegmentRule { node: Some(node) }
}

pub fn all(rules: Vec<SegmentRule>) -> SegmentRule {
    rule(Node::All(RuleList { rules }))
}

pub fn everyone() -> SegmentRule {
    all(Vec::new())
}

pub fn is(name: &str, values: &[&str]) -> SegmentRule {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    rule(Node::Attribute(AttributeLeaf { r#trait: name.to_owned(), values }))
}

pub fn has(name: &str, values: &[&str]) -> SegmentRule {
    let any_of = values.iter().map(|value| (*value).to_owned()).collect();
    rule(Node::Set(SetLeaf { r#trait: name.to_owned(), any_of, ..SetLeaf::default() }))
}

pub fn lives_in_tokyo() -> SegmentRule {
    is("prefecture", &["JP-13"])
}

pub fn likes_athletics() -> SegmentRule {
    has("favourite_olympic_sports", &["ATH"])
}

/// Lives in Tokyo and likes athletics, for the committee's magazine.
pub fn tokyo_athletics() -> CreateSegmentRequest {
    CreateSegmentRequest {
        key: "tokyo-athletics".to_owned(),
        name: "Tokyo, athletics".to_owned(),
        rule: Some(all(vec![lives_in_tokyo(), likes_athletics()])),
        purpose: "committee_newsletter".to_owned(),
        recipient: String::new(),
    }
}

/// Lives in Tokyo, for what people asked for: no consent is needed.
pub fn tokyo_service(key: &str) -> CreateSegmentRequest {
    CreateSegmentRequest {
        key: key.to_owned(),
        rule: Some(lives_in_tokyo()),
        purpose: "service".to_owned(),
        ..tokyo_athletics()
    }
}

/// A freeze of a segment for the committee's magazine.
pub fn freeze(segment: &str) -> CreateFreezeRequest {
    CreateFreezeRequest {
        request_id: id(),
        segment_id: segment.to_owned(),
        purpose: "committee_newsletter".to_owned(),
        recipient: String::new(),
    }
}

/// The leaf of an explanation with this text.
#[track_caller]
pub fn leaf(explained: &ExplainResponse, text: &str) -> ExplainedNode {
    fn find(node: &ExplainedNode, text: &str) -> Option<ExplainedNode> {
        if node.kind == "leaf" && node.text == text {
            return Some(node.clone());
        }
        node.children.iter().find_map(|child| find(child, text))
    }
    find(explained.root.as_ref().unwrap(), text).unwrap()
}

/// Why a call was refused.
pub fn reason(status: &Status) -> String {
    PeerError::from(status.clone()).reason_of_peer().unwrap_or_default().to_owned()
}

/// The fields that a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    chassis::fields_of(status).into_iter().map(|violation| violation.field).collect()
}
