//! What identity calls: a mailer whose codes are read, and relying parties that are told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Result;
use axum::{Router, extract, http::StatusCode, routing::post};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::mailer::v1::{
    GetTransactionalRequest, GetTransactionalResponse, SendTransactionalRequest, SendTransactionalResponse,
    transactional_service_server::{TransactionalService, TransactionalServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use url::form_urlencoded;

/// Mailer, over gRPC.
#[derive(Clone, Default)]
pub struct Mailer(Arc<Mutex<HashMap<Vec<u8>, String>>>);

impl Mailer {
    /// On a port of its own.
    pub async fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server =
            tonic::transport::Server::builder().add_service(TransactionalServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(address)
    }

    /// The digits that were mailed to an address.
    pub fn code_for(&self, address: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(address.as_bytes()).cloned()
    }
}

#[tonic::async_trait]
impl TransactionalService for Mailer {
    async fn send_transactional(
        &self,
        request: Request<SendTransactionalRequest>,
    ) -> Result<Response<SendTransactionalResponse>, Status> {
        let request = request.into_inner();
        if let Some(code) = request.variables.get("code") {
            let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            codes.insert(request.address, code.clone());
        }
        Ok(Response::new(SendTransactionalResponse { transactional_id: request.request_id }))
    }

    async fn get_transactional(
        &self,
        _: Request<GetTransactionalRequest>,
    ) -> Result<Response<GetTransactionalResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

/// Relying parties that hear of ended sessions. The last one of twenty may be away.
#[derive(Clone, Default)]
pub struct RelyingParties {
    told: Arc<Mutex<HashMap<String, Instant>>>,
    pub away: Arc<AtomicBool>,
}

/// How many there are.
pub const PARTIES: usize = 20;

impl RelyingParties {
    pub async fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/{number}", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    /// When each delivery first came, by its id.
    pub fn told(&self) -> HashMap<String, Instant> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn count(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn take(
    extract::State(parties): extract::State<RelyingParties>,
    extract::Path(number): extract::Path<usize>,
    body: String,
) -> StatusCode {
    if number == PARTIES - 1 && parties.away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let token = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "logout_token");
    let Some(jti) = token.and_then(|(_, token)| jti_of(&token)) else { return StatusCode::BAD_REQUEST };
    parties.told.lock().unwrap_or_else(PoisonError::into_inner).entry(jti).or_insert_with(Instant::now);
    StatusCode::OK
}

// Unverified: who measures knows who sends.
fn jti_of(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["jti"].as_str().map(str::to_owned)
}
