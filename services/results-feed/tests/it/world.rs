use std::{collections::BTreeMap, time::Duration};

use domain::Service;
use proto::results::v1::{
    CreatePublisherKeyRequest, EntitlementRule, FeedFrame, GetEntitlementsRequest, SubscribeMode,
    SubscribeRequest, UpdateEntitlementsRequest, access_service_client::AccessServiceClient,
    feed_frame::Frame, feed_service_client::FeedServiceClient,
};
use serde_json::Value;
use testkit::{
    TestApp,
    races::{OdfDocument, hundred_metres_final},
};
use tonic::Streaming;
use url::Url;

/// Where the staff at the desk believe to be.
pub const ORIGIN: &str = "https://results.example";
/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A running results-feed of one test.
pub struct World {
    pub app: TestApp,
    database_url: String,
}

/// What a sender was told.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    pub outcome: String,
    pub seq: i64,
    pub reason: String,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    /// With documents in its rows as they came, for those who compute with the rows.
    pub async fn with_plain_rows() -> Self {
        Self::start_with(|_| {}, |config| config.log_zstd = results_feed::LogZstd::Off).await
    }

    /// Another replica over the same database and topics.
    pub async fn beside(&self) -> Self {
        Self::successor(self.database_url.clone(), self.app.clock.clone()).await
    }

    /// Where its database is.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// With other settings than usual.
    pub async fn start_with(
        change: impl FnOnce(&mut chassis::Settings) + Send + 'static,
        configure: impl FnOnce(&mut results_feed::Config) + Send + 'static,
    ) -> Self {
        let change = |settings: &mut chassis::Settings| {
            allow_this_machine(settings);
            change(settings);
        };
        let app = TestApp::start_with(Service::ResultsFeed, change, |process, own| async move {
            let mut config = config(&own);
            configure(&mut config);
            Ok(vec![results_feed::component(config, process).await?])
        })
        .await;
        Self { database_url: app.database_url().to_owned(), app }
    }

    /// Another replica over the same database, with a broker that nobody reaches.
    pub async fn beside_without_broker(&self) -> Self {
        let database_url = self.database_url.clone();
        let shared = database_url.clone();
        let nobody = |settings: &mut chassis::Settings| "127.0.0.1:1".clone_into(&mut settings.kafka_brokers);
        let app = TestApp::start_with(Service::ResultsFeed, nobody, |process, _| async move {
            Ok(vec![results_feed::component(config(&shared), process).await?])
        })
        .await;
        Self { app, database_url }
    }

    /// What started on this database after the process that this one was.
    pub async fn successor(database_url: String, clock: domain::Clock) -> Self {
        let app = TestApp::succeed(
            Service::ResultsFeed,
            database_url.clone(),
            clock,
            allow_this_machine,
            |process, url| async move { Ok(vec![results_feed::component(config(&url), process).await?]) },
        )
        .await;
        Self { app, database_url }
    }

    /// One that reaches identity there.
    pub async fn start_at(identity_url: Url) -> Self {
        Self::start_with(|_| {}, move |config| config.identity_url = Some(identity_url)).await
    }

    /// The client that tests call as.
    pub fn client_id(&self) -> String {
        TestApp::CLIENT.to_owned()
    }

    /// A figure of the operators' page; 0 where it is not there yet.
    pub async fn figure(&self, name: &str) -> f64 {
        let page =
            self.app.http().get(self.app.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or("0");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// So many seconds later.
    pub fn clock_forward(&self, seconds: i64) {
        self.app.clock.advance(domain::TimeDelta::seconds(seconds));
    }

    /// Other rules for a client.
    pub async fn entitle(&self, client_id: &str, rules: Vec<EntitlementRule>) {
        let mut access = AccessServiceClient::new(self.app.grpc(&["results.admin"]));
        let client_id = client_id.to_owned();
        let get = GetEntitlementsRequest { client_id: client_id.clone() };
        let held = access.get_entitlements(get).await.unwrap().into_inner().entitlement.unwrap();
        let request = UpdateEntitlementsRequest { client_id, expected_version: held.version, rules };
        access.update_entitlements(request).await.unwrap();
    }

    /// An id and an API key for documents of this flag and these prefixes.
    pub async fn key(&self, feed_flag: &str, prefixes: &[&str]) -> (String, String) {
        let request = CreatePublisherKeyRequest {
            name: "timing".to_owned(),
            feed_flag: feed_flag.to_owned(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        };
        let mut access = AccessServiceClient::new(self.app.grpc(&["results.admin"]));
        let created = access.create_publisher_key(request).await.unwrap().into_inner();
        (created.key.unwrap().key_id, created.secret)
    }

    pub async fn post(&self, key: &str, body: impl Into<reqwest::Body>) -> Told {
        self.post_encoded(key, body, None).await
    }

    pub async fn post_encoded(
        &self,
        key: &str,
        body: impl Into<reqwest::Body>,
        encoding: Option<&str>,
    ) -> Told {
        let mut request =
            self.app.http().post(self.app.http_url("/results/v1/odf")).header("x-api-key", key).body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let json: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Told {
            status,
            outcome: text("outcome"),
            seq: json["seq"].as_i64().unwrap_or_default(),
            reason: text("reason"),
        }
    }

    /// Posts documents that must all be accepted; gives the sequence number of the last one.
    pub async fn send(&self, key: &str, documents: &[OdfDocument]) -> i64 {
        let mut seq = 0;
        for document in documents {
            let told = self.post(key, document.xml.clone()).await;
            assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{told:?}");
            seq = told.seq;
        }
        seq
    }
}

/// Documents of a race as they were sent, which is not the public's.
pub fn originals() -> EntitlementRule {
    let types: std::collections::BTreeSet<_> =
        hundred_metres_final(1).into_iter().map(|document| document.document_type.to_owned()).collect();
    EntitlementRule {
        types: types.into_iter().collect(),
        representations: vec!["odf".to_owned()],
        ..EntitlementRule::default()
    }
}

// Partners' servers of tests are on this machine.
fn allow_this_machine(settings: &mut chassis::Settings) {
    settings.egress_allow = vec!["127.0.0.1:*".to_owned()];
}

pub fn config(database_url: &str) -> results_feed::Config {
    results_feed::Config {
        database_url: database_url.parse().unwrap(),
        competition: "SYN2030".to_owned(),
        pepper: "pepper of a test".parse().unwrap(),
        max_connections: 100,
        delivery_retry_ms: 50,
        public_url: ORIGIN.parse().unwrap(),
        identity_url: None,
        publisher_rate: 1_000,
        body_seconds: 20,
        ka_timeout: 30,
        log_zstd: results_feed::LogZstd::All,
        log_days: 60,
        log_part_entries: 1_000_000,
        time_zone: chrono_tz::Asia::Tokyo,
    }
}

/// A partner on the gRPC stream that reads as the guide tells it to, and checks what the guide promises.
#[derive(Default)]
pub struct Partner {
    frames: Option<Streaming<FeedFrame>>,
    /// The newest one it was given.
    pub cursor: String,
    /// What it holds: version and document by handle.
    pub documents: BTreeMap<i64, (i32, Value)>,
    /// `delta DT_RESULT 2` and the like, in order.
    pub seen: Vec<String>,
    /// Sequence numbers of changes, in order.
    pub seqs: Vec<i64>,
    /// By document, also of those that are gone: its newest frame. After a loss some frames come again.
    newest: BTreeMap<i64, i64>,
    /// By lane: of the last frame on this connection.
    last: [Option<i64>; 3],
    /// By lane: where this connection began.
    began: [i64; 3],
}

/// The places that a cursor names, by lane.
pub fn places(cursor: &str) -> [i64; 3] {
    let Some((_, places)) = cursor.split_once('.') else { return [0; 3] };
    let mut numbers = places.split('-').map(|number| number.parse::<i64>().unwrap());
    let base = numbers.next().unwrap();
    let mut at = [base; 3];
    at.iter_mut().zip(numbers).for_each(|(at, offset)| *at -= offset);
    at
}

/// Up to where a reader with this cursor has everything.
pub fn lowest(cursor: &str) -> i64 {
    places(cursor).into_iter().min().unwrap()
}

impl Partner {
    /// One that was given a cursor before.
    pub fn with_cursor(cursor: &str) -> Self {
        Self { cursor: cursor.to_owned(), ..Self::default() }
    }

    /// Connects, or connects again with its cursor.
    pub async fn connect(&mut self, world: &World, mode: SubscribeMode, prefixes: &[&str]) {
        let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
        let request = SubscribeRequest {
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            cursor: self.cursor.clone(),
            mode: mode.into(),
            ..SubscribeRequest::default()
        };
        self.last = [None; 3];
        self.began = places(&self.cursor);
        self.frames = Some(feed.subscribe(request).await.unwrap().into_inner());
    }

    pub fn drop_connection(&mut self) {
        self.frames = None;
    }

    /// The next frame but heartbeats.
    pub async fn next(&mut self) -> Frame {
        loop {
            match self.any().await {
                Frame::Heartbeat(_) => {}
                other => return other,
            }
        }
    }

    async fn any(&mut self) -> Frame {
        let frames = self.frames.as_mut().expect("connected");
        let frame = tokio::time::timeout(DEADLINE, frames.message()).await.expect("a frame in time");
        let frame = frame.unwrap().expect("the stream goes on");
        if !frame.cursor.is_empty() {
            self.cursor.clone_from(&frame.cursor);
        }
        let frame = frame.frame.unwrap();
        self.take(&frame);
        frame
    }

    /// Reads until it has everything up to this sequence number.
    pub async fn read_to(&mut self, seq: i64) {
        while lowest(&self.cursor) < seq {
            self.any().await;
        }
    }

    /// Reads up to `live`.
    pub async fn read_snapshot(&mut self) {
        while !matches!(self.next().await, Frame::Live(_)) {}
    }

    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Snap(snap) => {
                self.newest.insert(snap.handle, snap.seq);
                self.hold(snap.handle, snap.version, serde_json::from_slice(&snap.body).unwrap());
            }
            Frame::Live(live) => self.began = places(&live.cursor),
            Frame::Full(full) => {
                self.follow(full.lane, full.previous, full.seq);
                let name = &full.key.as_ref().unwrap().document_type;
                self.seen.push(format!("full {name} {} {}", full.version, full.result_status));
                if self.is_news(full.handle, full.seq) {
                    self.hold(full.handle, full.version, serde_json::from_slice(&full.body).unwrap());
                }
            }
            Frame::Delta(delta) => {
                self.follow(delta.lane, delta.previous, delta.seq);
                self.seen.push(format!("delta {} {}", delta.version, delta.result_status));
                if !self.is_news(delta.handle, delta.seq) {
                    return;
                }
                let (version, document) = self.documents.get_mut(&delta.handle).expect("a document to patch");
                assert_eq!(*version, delta.base_version);
                merge(document, &serde_json::from_slice(&delta.patch).unwrap());
                *version = delta.version;
            }
            Frame::Gone(gone) => {
                self.follow(gone.lane, gone.previous, gone.seq);
                self.seen.push("gone".to_owned());
                if self.is_news(gone.handle, gone.seq) {
                    self.documents.remove(&gone.handle);
                }
            }
            Frame::Superseded(superseded) => {
                self.follow(superseded.lane, superseded.previous, superseded.seq);
                self.seen.push("superseded".to_owned());
                if self.is_news(superseded.handle, superseded.seq) {
                    self.documents.remove(&superseded.handle);
                }
            }
            Frame::Skip(skip) => {
                self.follow(skip.lane, skip.previous, skip.seq);
                self.seqs.pop();
            }
            Frame::Reset(_) => {
                self.documents.clear();
                self.newest.clear();
                self.last = [None; 3];
            }
            _ => {}
        }
    }

    fn is_news(&mut self, handle: i64, seq: i64) -> bool {
        let newest = self.newest.entry(handle).or_default();
        let is_news = *newest < seq;
        *newest = seq.max(*newest);
        is_news
    }

    fn hold(&mut self, handle: i64, version: i32, document: Value) {
        self.documents.insert(handle, (version, document));
    }

    // Within a connection each frame names the one before in its lane; the first one does not go beyond the cursor.
    fn follow(&mut self, lane: u32, previous: i64, seq: i64) {
        let lane = usize::try_from(lane).unwrap();
        match self.last[lane] {
            Some(last) => assert_eq!(previous, last, "a frame was lost"),
            None => assert!(previous <= self.began[lane], "a frame was lost"),
        }
        self.last[lane] = Some(seq);
        self.seqs.push(seq);
    }
}

/// RFC 7396, written a second time.
pub fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = document else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}
