use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use proto::results::v1::{
    FeedFrame, GetSnapshotRequest, SubscribeMode, SubscribeRequest, feed_frame::Frame,
    feed_service_client::FeedServiceClient,
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::{
    Suite,
    patience::PATIENCE,
    staff::{Bearer, Channel},
};

/// Its client at identity.
const CLIENT_ID: &str = "broadcaster";

/// A broadcaster on the gRPC feed, who keeps what the partner's guide tells to keep and checks what it promises. When its
/// connection breaks, it comes back with its cursor.
#[derive(Debug)]
pub struct Partner {
    feed: FeedServiceClient<Channel>,
    frames: Option<Streaming<FeedFrame>>,
    /// Where to go on.
    pub cursor: String,
    /// Documents by handle: version and content.
    pub documents: BTreeMap<i64, (i32, Value)>,
    /// Every change in order: sequence number and what it was.
    pub changes: Vec<(i64, String)>,
    /// Connections so far.
    pub connections: usize,
    last: Option<i64>,
    names: BTreeMap<i64, String>,
}

impl Partner {
    /// A broadcaster with a token of its own (client credentials, signed proof).
    ///
    /// # Errors
    /// Identity refuses.
    pub async fn new(suite: &Suite) -> Result<Self> {
        let audience = Service::ResultsFeed.audience();
        let tokens = suite.provider().await?.client_token(&suite.keys, CLIENT_ID, audience).await?;
        let channel = Bearer::new(&tokens.access_token)?.channel(suite, Service::ResultsFeed)?;
        Ok(Self {
            feed: FeedServiceClient::new(channel),
            frames: None,
            cursor: String::new(),
            documents: BTreeMap::new(),
            changes: Vec::new(),
            connections: 0,
            last: None,
            names: BTreeMap::new(),
        })
    }

    /// Reads until the snapshot is complete. Returns how many documents it holds.
    ///
    /// # Errors
    /// The feed breaks a promise, or says nothing.
    pub async fn read_snapshot(&mut self) -> Result<usize> {
        while !matches!(self.next().await?, Frame::Live(_)) {}
        Ok(self.documents.len())
    }

    /// Reads until the change with this sequence number was taken.
    ///
    /// # Errors
    /// The feed breaks a promise, or says nothing.
    pub async fn read_to(&mut self, seq: i64) -> Result<()> {
        while self.last.is_none_or(|last| last < seq) {
            self.next().await?;
        }
        Ok(())
    }

    /// Loses its connection.
    pub fn drop_connection(&mut self) {
        self.frames = None;
    }

    /// The whole present state, asked for page by page.
    ///
    /// # Errors
    /// The feed does not answer.
    pub async fn snapshot(&mut self) -> Result<BTreeMap<i64, (i32, Value)>> {
        let mut documents = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let request = GetSnapshotRequest { page_size: 2, page_token, ..GetSnapshotRequest::default() };
            let page = self.feed.get_snapshot(request).await?.into_inner();
            for snap in page.documents {
                documents.insert(snap.handle, (snap.version, serde_json::from_slice(&snap.body)?));
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(documents);
            }
        }
    }

    async fn next(&mut self) -> Result<Frame> {
        let until = Instant::now() + PATIENCE;
        loop {
            ensure!(Instant::now() < until, "the feed said nothing for {} s", PATIENCE.as_secs());
            let Some(frames) = &mut self.frames else {
                self.connect().await;
                continue;
            };
            let frame = match timeout(PATIENCE, frames.message()).await.context("the feed is silent")? {
                Ok(Some(frame)) => frame,
                // It says goodbye, or the process behind it is gone: come back with the cursor.
                Ok(None) | Err(_) => {
                    self.frames = None;
                    continue;
                }
            };
            if !frame.cursor.is_empty() {
                self.cursor = frame.cursor;
            }
            match frame.frame.context("a frame without content")? {
                Frame::Heartbeat(_) | Frame::Bye(_) => {}
                other => {
                    self.take(&other)?;
                    return Ok(other);
                }
            }
        }
    }

    // One try; without success the next one follows a moment later.
    async fn connect(&mut self) {
        let request = SubscribeRequest {
            prefixes: Vec::new(),
            cursor: self.cursor.clone(),
            mode: SubscribeMode::Every.into(),
            feed_flag: String::new(),
        };
        match self.feed.subscribe(request).await {
            Ok(frames) => {
                self.frames = Some(frames.into_inner());
                self.connections += 1;
                self.last = self.cursor.split_once('.').and_then(|(_, seq)| seq.parse().ok());
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<()> {
        match frame {
            Frame::Snap(snap) => {
                self.name(snap.handle, snap.key.as_ref().map(|key| key.document_type.as_str()));
                self.documents.insert(snap.handle, (snap.version, serde_json::from_slice(&snap.body)?));
            }
            Frame::Live(live) => {
                self.last = live.cursor.split_once('.').and_then(|(_, seq)| seq.parse().ok());
            }
            Frame::Full(full) => {
                self.name(full.handle, full.key.as_ref().map(|key| key.document_type.as_str()));
                let what =
                    format!("full  {} v{} {}", self.names[&full.handle], full.version, full.result_status);
                self.follow(full.previous, full.seq, what)?;
                self.documents.insert(full.handle, (full.version, serde_json::from_slice(&full.body)?));
            }
            Frame::Delta(delta) => {
                let name = self.names.get(&delta.handle).map_or("?", String::as_str);
                let bytes = delta.patch.len();
                let what = format!("delta {name} v{} {} ({bytes} bytes)", delta.version, delta.result_status);
                self.follow(delta.previous, delta.seq, what)?;
                let held = self
                    .documents
                    .get_mut(&delta.handle)
                    .context("a patch of a document that is not held")?;
                ensure!(
                    held.0 == delta.base_version,
                    "a patch of version {} while {} is held",
                    delta.base_version,
                    held.0
                );
                merge(&mut held.1, &serde_json::from_slice(&delta.patch)?);
                held.0 = delta.version;
            }
            Frame::Hello(_) => {}
            other => bail!("an unexpected frame: {other:?}"),
        }
        Ok(())
    }

    fn name(&mut self, handle: i64, document_type: Option<&str>) {
        self.names.insert(handle, document_type.unwrap_or_default().to_owned());
    }

    fn follow(&mut self, previous: i64, seq: i64, what: String) -> Result<()> {
        ensure!(
            self.last.is_none_or(|last| last == previous),
            "{:?} was followed by {seq} after {previous}",
            self.last
        );
        self.last = Some(seq);
        self.changes.push((seq, what));
        Ok(())
    }
}

/// RFC 7396.
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
