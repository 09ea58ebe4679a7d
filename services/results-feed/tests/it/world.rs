use std::{collections::BTreeMap, time::Duration};

use domain::Service;
use proto::results::v1::{
    CreatePublisherKeyRequest, FeedFrame, SubscribeMode, SubscribeRequest,
    access_service_client::AccessServiceClient, feed_frame::Frame, feed_service_client::FeedServiceClient,
};
use serde_json::Value;
use testkit::{TestApp, races::OdfDocument};
use tonic::Streaming;

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
        Self::start_with(|_| {}).await
    }

    /// With other settings than the usual ones.
    pub async fn start_with(change: impl Fn(&mut results_feed::Config) + Send + 'static) -> Self {
        Self::start_on(None, change).await
    }

    /// The client that tests call as.
    pub fn client_id(&self) -> String {
        TestApp::CLIENT.to_owned()
    }

    /// Another replica over the same database.
    pub async fn beside(&self) -> Self {
        Self::start_on(Some(self.database_url.clone()), |_| {}).await
    }

    async fn start_on(
        shared: Option<String>,
        change: impl Fn(&mut results_feed::Config) + Send + 'static,
    ) -> Self {
        let (tell, told) = tokio::sync::oneshot::channel();
        let app = TestApp::start(Service::ResultsFeed, |process, own| async move {
            let database_url = shared.unwrap_or(own);
            let mut config = config(&database_url);
            change(&mut config);
            let component = results_feed::component(config, process).await?;
            tell.send(database_url).unwrap();
            Ok(vec![component])
        })
        .await;
        Self { app, database_url: told.await.unwrap() }
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

pub fn config(database_url: &str) -> results_feed::Config {
    results_feed::Config {
        database_url: database_url.parse().unwrap(),
        competition: "SYN2030".to_owned(),
        pepper: "pepper of a test".parse().unwrap(),
        max_connections: 100,
        publisher_rate: 1_000,
        body_seconds: 20,
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
    last: Option<i64>,
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
            feed_flag: String::new(),
        };
        self.last = self.cursor.split_once('.').map(|(_, seq)| seq.parse().unwrap());
        self.frames = Some(feed.subscribe(request).await.unwrap().into_inner());
    }

    pub fn drop_connection(&mut self) {
        self.frames = None;
    }

    /// The next frame but heartbeats.
    pub async fn next(&mut self) -> Frame {
        loop {
            let frames = self.frames.as_mut().expect("connected");
            let frame = tokio::time::timeout(DEADLINE, frames.message()).await.expect("a frame in time");
            let frame = frame.unwrap().expect("the stream goes on");
            if !frame.cursor.is_empty() {
                self.cursor.clone_from(&frame.cursor);
            }
            match frame.frame.unwrap() {
                Frame::Heartbeat(_) => {}
                other => {
                    self.take(&other);
                    return other;
                }
            }
        }
    }

    /// Reads until the change with this sequence number was taken.
    pub async fn read_to(&mut self, seq: i64) {
        while self.last.is_none_or(|last| last < seq) {
            self.next().await;
        }
    }

    /// Reads up to `live`.
    pub async fn read_snapshot(&mut self) {
        while !matches!(self.next().await, Frame::Live(_)) {}
    }

    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Snap(snap) => {
                self.hold(snap.handle, snap.version, serde_json::from_slice(&snap.body).unwrap());
            }
            Frame::Live(live) => self.last = live.cursor.split_once('.').map(|(_, seq)| seq.parse().unwrap()),
            Frame::Full(full) => {
                self.follow(full.previous, full.seq);
                let name = &full.key.as_ref().unwrap().document_type;
                self.seen.push(format!("full {name} {} {}", full.version, full.result_status));
                self.hold(full.handle, full.version, serde_json::from_slice(&full.body).unwrap());
            }
            Frame::Delta(delta) => {
                self.follow(delta.previous, delta.seq);
                self.seen.push(format!("delta {} {}", delta.version, delta.result_status));
                let (version, document) = self.documents.get_mut(&delta.handle).expect("a document to patch");
                if *version >= delta.version {
                    return;
                }
                assert_eq!(*version, delta.base_version);
                merge(document, &serde_json::from_slice(&delta.patch).unwrap());
                *version = delta.version;
            }
            Frame::Gone(gone) => {
                self.follow(gone.previous, gone.seq);
                self.seen.push("gone".to_owned());
                self.documents.remove(&gone.handle);
            }
            Frame::Superseded(superseded) => {
                self.follow(superseded.previous, superseded.seq);
                self.seen.push("superseded".to_owned());
                self.documents.remove(&superseded.handle);
            }
            Frame::Skip(skip) => {
                assert_eq!(Some(skip.previous), self.last);
                self.last = Some(skip.seq);
            }
            Frame::Reset(_) => {
                self.documents.clear();
                self.last = None;
            }
            _ => {}
        }
    }

    fn hold(&mut self, handle: i64, version: i32, document: Value) {
        self.documents.insert(handle, (version, document));
    }

    fn follow(&mut self, previous: i64, seq: i64) {
        if self.last.is_some() {
            assert_eq!(Some(previous), self.last, "a frame was lost");
        }
        self.last = Some(seq);
        self.seqs.push(seq);
    }
}

/// RFC 7396, written a second time.
fn merge(document: &mut Value, patch: &Value) {
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
