//! A partner's server: takes ODF by POST, and says what it is told to say.

use std::{
    io::Read as _,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use flate2::read::GzDecoder;
use proto::results::v1::{
    CreateDeliveryTargetRequest, DeliveryFilter, DeliveryMode, DeliveryTarget, GetDeliveryTargetRequest,
    delivery_service_client::DeliveryServiceClient,
};
use testkit::eventually;

use crate::world::{DEADLINE, World, originals};

/// What it lets through as its key.
pub const KEY: &str = "noc-key-0123456789abcdef01234567";

/// One POST.
#[derive(Debug, Clone)]
pub struct Post {
    pub xml: String,
    pub headers: HeaderMap,
    pub status: u16,
}

impl Post {
    fn attribute(&self, name: &str) -> String {
        let begin = self.xml.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        self.xml[begin..].split('"').next().unwrap().to_owned()
    }

    pub fn document_type(&self) -> String {
        self.attribute("DocumentType")
    }

    /// Type and code, and the version.
    pub fn document(&self) -> (String, u32) {
        let version = self.attribute("Version").parse().unwrap();
        (format!("{} {}", self.document_type(), self.attribute("DocumentCode")), version)
    }
}

type Judge = Box<dyn FnMut(&Post) -> u16 + Send>;

struct Shared {
    posts: Mutex<Vec<Post>>,
    judge: Mutex<Judge>,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// One that answers what `judge` says.
    pub async fn start(judge: impl FnMut(&Post) -> u16 + Send + 'static) -> Self {
        let shared = Arc::new(Shared { posts: Mutex::default(), judge: Mutex::new(Box::new(judge)) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/odf", listener.local_addr().unwrap());
        let router = Router::new().route("/odf", post(take)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// From now on it answers this.
    pub fn judge(&self, judge: impl FnMut(&Post) -> u16 + Send + 'static) {
        *self.shared.judge.lock().unwrap() = Box::new(judge);
    }

    /// Every POST so far, in order.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    /// Those that it took.
    pub fn taken(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|post| post.status == 200).collect()
    }

    /// Waits until it took so many, and gives them.
    pub async fn wait_for(&self, most: usize) -> Vec<Post> {
        eventually(DEADLINE, async || Some(self.taken()).filter(|taken| taken.len() >= most)).await
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut xml = String::new();
    GzDecoder::new(&*body).read_to_string(&mut xml).unwrap();
    let mut post = Post { xml, headers, status: 0 };
    post.status = (shared.judge.lock().unwrap())(&post);
    let status = post.status;
    shared.posts.lock().unwrap().push(post);
    StatusCode::from_u16(status).unwrap()
}

pub fn deliveries(world: &World) -> DeliveryServiceClient<chassis::Peer> {
    DeliveryServiceClient::new(world.app.grpc(&["results.deliver"]))
}

/// What a partner asks for that wants everything.
pub fn wish(url: &str) -> CreateDeliveryTargetRequest {
    CreateDeliveryTargetRequest {
        name: "Paris".to_owned(),
        url: url.to_owned(),
        api_key: KEY.to_owned(),
        filter: Some(DeliveryFilter::default()),
        mode: DeliveryMode::Every.into(),
    }
}

pub async fn target(world: &World, request: CreateDeliveryTargetRequest) -> DeliveryTarget {
    world.entitle(&world.client_id(), vec![originals()]).await;
    deliveries(world).create_delivery_target(request).await.unwrap().into_inner().target.unwrap()
}

pub async fn get(world: &World, target_id: &str) -> DeliveryTarget {
    let request = GetDeliveryTargetRequest { target_id: target_id.to_owned() };
    deliveries(world).get_delivery_target(request).await.unwrap().into_inner().target.unwrap()
}

/// Waits until everything up to there was taken, or is not for the target.
pub async fn wait_for_progress(world: &World, target_id: &str, lane: &str, seq: i64) {
    eventually(DEADLINE, async || {
        let target = get(world, target_id).await;
        let progress = target.progress.iter().find(|progress| progress.lane == lane)?;
        (progress.acknowledged >= seq).then_some(())
    })
    .await;
}

/// That the versions of each document came in their order, none twice.
pub fn assert_in_order(posts: &[Post]) {
    let mut newest = std::collections::HashMap::new();
    for post in posts {
        let (document, version) = post.document();
        let before = newest.insert(document.clone(), version).unwrap_or(0);
        assert!(version > before, "{document} {version} after {before}");
    }
}
