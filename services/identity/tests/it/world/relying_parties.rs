//! Relying parties as far as identity calls them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{Router, extract, http::Uri, routing::post};
use reqwest::StatusCode;
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::DEADLINE;

/// The back-channel logout endpoints of the relying parties: one listener, a path for each.
#[derive(Debug, Clone)]
pub struct RelyingParties {
    pub url: String,
    told: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<AtomicU16>,
}

impl RelyingParties {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { url, told: Arc::default(), status: Arc::new(AtomicU16::new(204)) };
        let told = |extract::State(this): extract::State<Self>, uri: Uri, body: String| async move {
            let token = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "logout_token");
            let token = token.map(|(_, value)| value.into_owned()).unwrap_or_default();
            let client_id = uri.path().trim_start_matches('/').to_owned();
            this.told.lock().unwrap().push((client_id, token));
            let status = this.status.load(Ordering::Relaxed);
            // A redirect leads back here: whoever follows it is seen.
            (StatusCode::from_u16(status).unwrap(), [("location", format!("{}/followed", this.url))])
        };
        let router = Router::new().route("/{client_id}", post(told).get(told)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    /// With which status they answer from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The logout tokens of a client, in their order.
    pub fn told(&self, client_id: &str) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(own, _)| own == client_id).map(|(_, token)| token.clone()).collect()
    }

    /// As soon as a client got so many.
    pub async fn told_times(&self, client_id: &str, times: usize) -> Vec<String> {
        testkit::eventually(DEADLINE, || async {
            Some(self.told(client_id)).filter(|told| told.len() >= times)
        })
        .await
    }
}
