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
    /// By lane: the number of the last frame on this connection.
    last: [Option<i64>; LANES],
    /// By lane: where this connection began.
    began: [i64; LANES],
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
            last: [None; LANES],
            began: [0; LANES],
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

    /// Reads until it has everything up to this sequence number.
    ///
    /// # Errors
    /// The feed breaks a promise, or says nothing.
    pub async fn read_to(&mut self, seq: i64) -> Result<()> {
        while places(&self.cursor).into_iter().any(|at| at < seq) {
            self.any().await?;
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
            match self.any().await? {
                Some(Frame::Heartbeat(_)) | None => {}
                Some(other) => return Ok(other),
            }
        }
    }

    // The next frame, a heartbeat too; none where the connection was lost, and made or tried again.
    async fn any(&mut self) -> Result<Option<Frame>> {
        let Some(frames) = &mut self.frames else {
            self.connect().await;
            return Ok(None);
        };
        let frame = match timeout(PATIENCE, frames.message()).await.context("the feed is silent")? {
            Ok(Some(frame)) => frame,
            // It says goodbye, or the process behind it is gone: come back with the cursor.
            Ok(None) | Err(_) => {
                self.frames = None;
                return Ok(None);
            }
        };
        if !frame.cursor.is_empty() {
            self.cursor = frame.cursor;
        }
        let frame = frame.frame.context("a frame without content")?;
        self.take(&frame)?;
        Ok(Some(frame))
    }

    // One try; without success the next one follows a moment later.
    async fn connect(&mut self) {
        let request = SubscribeRequest {
            cursor: self.cursor.clone(),
            mode: SubscribeMode::Every.into(),
            ..SubscribeRequest::default()
        };
        match self.feed.subscribe(request).await {
            Ok(frames) => {
                self.frames = Some(frames.into_inner());
                self.connections += 1;
                self.last = [None; LANES];
                self.began = places(&self.cursor);
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
            Frame::Live(live) => self.began = places(&live.cursor),
            Frame::Full(full) => {
                self.name(full.handle, full.key.as_ref().map(|key| key.document_type.as_str()));
                let what =
                    format!("full  {} v{} {}", self.names[&full.handle], full.version, full.result_status);
                self.follow(full.lane, full.previous, full.seq, what)?;
                self.documents.insert(full.handle, (full.version, serde_json::from_slice(&full.body)?));
            }
            Frame::Delta(delta) => {
                let name = self.names.get(&delta.handle).map_or("?", String::as_str);
                let bytes = delta.patch.len();
                let what = format!("delta {name} v{} {} ({bytes} bytes)", delta.version, delta.result_status);
                self.follow(delta.lane, delta.previous, delta.seq, what)?;
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
            Frame::Hello(_) | Frame::Heartbeat(_) | Frame::Bye(_) => {}
            // It was not here when they came.
            Frame::Skip(skip) if skip.count == 0 => {
                let lane = usize::try_from(skip.lane)?;
                *self.last.get_mut(lane).context("a lane that is none")? = Some(skip.seq);
            }
            other => bail!("an unexpected frame: {other:?}"),
        }
        Ok(())
    }

    fn name(&mut self, handle: i64, document_type: Option<&str>) {
        self.names.insert(handle, document_type.unwrap_or_default().to_owned());
    }

    fn follow(&mut self, lane: u32, previous: i64, seq: i64, what: String) -> Result<()> {
        let lane = usize::try_from(lane)?;
        let last = self.last.get_mut(lane).context("a lane that is none")?;
        let is_next = last.map_or(previous <= self.began[lane], |last| last == previous);
        ensure!(is_next, "{last:?} was followed by {seq} after {previous} in lane {lane}");
        *last = Some(seq);
        self.changes.push((seq, what));
        Ok(())
    }
}

/// Urgent, derived, bulk.
const LANES: usize = 3;

/// Where a cursor is in each lane: a reader has no need to know, a test has.
fn places(cursor: &str) -> [i64; LANES] {
    let Some((_, text)) = cursor.split_once('.') else { return [0; LANES] };
    let mut numbers = text.split('-').map(|number| number.parse::<i64>().unwrap_or_default());
    let mut at = [numbers.next().unwrap_or_default(); LANES];
    at.iter_mut().zip(numbers).for_each(|(at, behind)| *at -= behind);
    at
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
