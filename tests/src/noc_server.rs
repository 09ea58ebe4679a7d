//! The server of a National Olympic Committee: takes original ODF documents by POST (Foundation Principles 8.2).

use std::{
    collections::HashMap,
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use flate2::read::GzDecoder;
use testkit::races::OdfDocument;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{secret, until};

/// Characters of a key (Foundation Principles 8.2).
const KEY: usize = 32;

/// The server. Dropped, it closes.
#[derive(Debug)]
pub struct NocServer {
    address: SocketAddr,
    desk: Arc<Desk>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Desk {
    key: String,
    taken: Mutex<Vec<String>>,
    refused: Mutex<Vec<StatusCode>>,
}

impl NocServer {
    /// Takes a port and opens, with a key of its own.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let key = secret()?.chars().take(KEY).collect();
        let desk = Arc::new(Desk { key, taken: Mutex::default(), refused: Mutex::default() });
        let router = Router::new().route("/odf", post(take)).with_state(Arc::clone(&desk));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            // Whoever waits for a document sees when none comes.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
        });
        Ok(Self { address, desk, stop })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where documents are posted to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/odf", self.address)
    }

    /// What senders show as `X-API-KEY`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.desk.key
    }

    /// How many documents it took; one may have come twice.
    #[must_use]
    pub fn taken(&self) -> usize {
        lock(&self.desk.taken).len()
    }

    /// Waits until it has each of these documents, byte for byte, and checks that there is nothing else, that the versions of
    /// a document came in their order, and that nothing was refused.
    ///
    /// # Errors
    /// One that does not come, comes changed or too late, or another one that comes.
    pub async fn has_each_of(&self, documents: &[&OdfDocument]) -> Result<()> {
        until(&format!("{} documents at the NOC's server", documents.len()), async || {
            let taken = lock(&self.desk.taken);
            let is_there = |document: &&OdfDocument| taken.contains(&document.xml);
            let missing = documents.iter().filter(|document| !is_there(document)).count();
            ensure!(missing == 0, "{missing} of them are missing, {} came", taken.len());
            Ok(Some(()))
        })
        .await?;
        let mut newest = HashMap::new();
        for xml in lock(&self.desk.taken).iter() {
            let document = documents.iter().find(|document| document.xml == *xml);
            let document = document.with_context(|| format!("the NOC's server was sent: {xml}"))?;
            let before = newest.insert(document.document_type, document.version).unwrap_or_default();
            // What was under way when its sender was killed comes again.
            ensure!(
                before <= document.version,
                "{} version {} came after version {before}",
                document.document_type,
                document.version
            );
        }
        let refused = lock(&self.desk.refused);
        ensure!(refused.is_empty(), "the NOC's server refused: {refused:?}");
        Ok(())
    }
}

impl Drop for NocServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = match desk.open(&headers, &body) {
        Ok(xml) => {
            lock(&desk.taken).push(xml);
            return StatusCode::OK;
        }
        Err(status) => status,
    };
    lock(&desk.refused).push(status);
    status
}

impl Desk {
    fn open(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, StatusCode> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if header("x-api-key") != Some(self.key.as_str()) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        if header("content-encoding") != Some("gzip") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let mut xml = String::new();
        GzDecoder::new(body).read_to_string(&mut xml).map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok(xml)
    }
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use testkit::races::hundred_metres_final;

    use super::*;

    async fn send(server: &NocServer, key: &str, document: &OdfDocument) -> u16 {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(document.xml.as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(server.url()).header("x-api-key", key).header("content-encoding", "gzip");
        request.body(gzip.finish().unwrap()).send().await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn it_tells_what_came_twice_from_what_came_late_or_is_not_wanted() {
        let race = hundred_metres_final(1);
        let results: Vec<&OdfDocument> = race.iter().filter(|one| one.document_type == "DT_RESULT").collect();
        let server = NocServer::start().await.unwrap();
        for document in [results[0], results[1], results[1]] {
            assert_eq!(send(&server, server.key(), document).await, 200);
        }
        server.has_each_of(&results[..2]).await.unwrap();
        assert_eq!(server.taken(), 3);
        server.has_each_of(&results[..1]).await.unwrap_err();
        assert_eq!(send(&server, server.key(), results[0]).await, 200);
        server.has_each_of(&results[..2]).await.unwrap_err();

        let server = NocServer::start().await.unwrap();
        assert_eq!(send(&server, server.key(), results[0]).await, 200);
        assert_eq!(send(&server, "another", results[0]).await, 401);
        server.has_each_of(&results[..1]).await.unwrap_err();
    }
}
