//! A client of Salesforce's REST, Collections and Bulk API 2.0. Replies are bounded; a session is renewed once after a
//! 401 and the step repeated; nothing else is repeated here, since only the caller knows what a lost reply may have done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use domain::{Clock, DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::sync::Mutex;
use tracing::Instrument;

mod auth;
mod bulk;
mod collections;
mod describe;

use crate::{bulk_csv::safe_code, destination};

pub use auth::SigningKey;
pub use bulk::{Job, ResultFile};
pub use collections::{MOST_ROWS, RowResult};
pub use describe::Finding;

/// Version of the API (`v58.0` to `v67.0` know everything that is used here).
const VERSION: &str = "v62.0";
/// Largest JSON reply.
const MAX_JSON: usize = 4 << 20;
/// Share of the daily calls from which on lanes wait, in thousandths.
const HIGH_USE: u32 = 800;
const QUICK: Duration = Duration::from_secs(30);

/// A session at one org. Cheap to clone; clones share the session.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    settings: destination::Salesforce,
    key: SigningKey,
    clock: Clock,
    session: Mutex<Option<Arc<auth::Session>>>,
    // Seconds by which the org's clock is ahead of ours, from the `Date` of its replies.
    skew: AtomicI64,
    // How much of the org's daily calls is used by everybody, in thousandths.
    used: AtomicU32,
    // When a reply told it last, in seconds of our clock.
    told: AtomicI64,
}

/// Why a call did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No reply came: whether the call had its effect is unknown.
    #[error("no reply from the recipient")]
    Unanswered(#[source] reqwest::Error),
    /// It asks for patience: nothing was done.
    #[error("the recipient is busy: {code}")]
    Busy {
        /// Its code.
        code: String,
        /// How long.
        retry_after: Option<Duration>,
    },
    /// It refused: nothing was done.
    #[error("the recipient refused with {status} {code}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its code.
        code: String,
    },
    /// No session was given.
    #[error("the recipient refused the sign-in: {code}")]
    SignIn {
        /// Its code.
        code: String,
    },
    /// A reply that is not what the guides promise, or too large.
    #[error("the recipient's {what} cannot be read")]
    Malformed {
        /// Which reply.
        what: &'static str,
    },
    /// No private key is set, or it cannot sign.
    #[error("the private key of the connected app is missing or cannot sign")]
    Key,
}

/// A reply whose status is a success.
struct Reply {
    body: Bytes,
}

/// What goes along with a call.
#[derive(Clone)]
enum Content {
    None,
    Json(Bytes),
    Csv(Bytes),
}

struct Call<'a> {
    method: Method,
    /// Below the instance's URL.
    path: &'a str,
    content: Content,
    timeout: Duration,
    limit: usize,
}

impl Client {
    /// A client; it signs in with its first call.
    #[must_use]
    pub fn new(
        http: reqwest::Client,
        settings: destination::Salesforce,
        key: SigningKey,
        clock: Clock,
    ) -> Self {
        let session = Mutex::new(None);
        let (skew, used, told) = (AtomicI64::new(0), AtomicU32::new(0), AtomicI64::new(0));
        Self { shared: Arc::new(Shared { http, settings, key, clock, session, skew, used, told }) }
    }

    /// How much of the org's daily calls is used, by us and by others, in thousandths; 0 before the first reply.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Asks for the use of the budget, where it is high and was not told for a minute: lanes that wait for it make no
    /// calls, so no reply would tell them that a new day has begun.
    ///
    /// # Errors
    /// The recipient's.
    pub async fn refresh_budget(&self) -> Result<(), Error> {
        let age = self.shared.clock.now().timestamp() - self.shared.told.load(Ordering::Relaxed);
        if self.used() >= HIGH_USE && age >= 60 {
            self.get(&format!("/services/data/{VERSION}/limits")).await?;
        }
        Ok(())
    }

    /// Signs in, if that has not been done.
    ///
    /// # Errors
    /// Whatever keeps a session from us.
    pub async fn sign_in(&self) -> Result<(), Error> {
        self.session().await.map(|_| ())
    }

    /// Id of the user that we are there.
    ///
    /// # Errors
    /// As [`Client::sign_in`].
    pub async fn user_id(&self) -> Result<String, Error> {
        self.session().await.map(|session| session.user_id.clone())
    }

    // The org's time in ours.
    fn ours(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at - TimeDelta::seconds(self.shared.skew.load(Ordering::Relaxed))
    }

    async fn get(&self, path: &str) -> Result<Reply, Error> {
        self.call(Call { method: Method::GET, path, content: Content::None, timeout: QUICK, limit: MAX_JSON })
            .await
    }

    async fn send_json(&self, method: Method, path: &str, body: &serde_json::Value) -> Result<Reply, Error> {
        let content = Content::Json(body.to_string().into());
        self.call(Call { method, path, content, timeout: QUICK, limit: MAX_JSON }).await
    }

    async fn call(&self, call: Call<'_>) -> Result<Reply, Error> {
        let session = self.session().await?;
        match self.attempt(&call, &session).await {
            Err(Error::Refused { status: 401, .. }) => {
                self.forget(&session).await;
                let session = self.session().await?;
                self.attempt(&call, &session).await
            }
            other => other,
        }
    }

    async fn attempt(&self, call: &Call<'_>, session: &auth::Session) -> Result<Reply, Error> {
        let span = tracing::info_span!(
            "crm call",
            otel.name = format!("{} {}", call.method, route(call.path)),
            otel.kind = "client",
            http.request.method = %call.method,
            http.response.status_code = tracing::field::Empty,
            server.address = session.host.as_str(),
        );
        let reply = self.exchange(call, session).instrument(span.clone()).await;
        match &reply {
            Ok(_) => span.record("http.response.status_code", 200),
            Err(Error::Refused { status, .. }) => span.record("http.response.status_code", *status),
            Err(_) => &span,
        };
        reply
    }

    async fn exchange(&self, call: &Call<'_>, session: &auth::Session) -> Result<Reply, Error> {
        let url = format!("{}{}", session.instance_url, call.path);
        let mut request = self.shared.http.request(call.method.clone(), url);
        request = request.bearer_auth(&session.token).timeout(call.timeout);
        if let Some(traceparent) = outbox::trace::traceparent() {
            request = request.header("traceparent", traceparent);
        }
        request = match call.content.clone() {
            Content::None => request,
            Content::Json(body) => {
                request.header(header::CONTENT_TYPE, "application/json; charset=UTF-8").body(body)
            }
            Content::Csv(body) => request.header(header::CONTENT_TYPE, "text/csv; charset=UTF-8").body(body),
        };
        let response = request.send().await.map_err(|error| Error::Unanswered(error.without_url()))?;
        self.note(response.headers());
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = read(response, call.limit).await?;
        if status.is_success() {
            return Ok(Reply { body });
        }
        Err(refusal(status, retry_after, &body))
    }

    // What each reply tells of the org's clock and of its budget.
    fn note(&self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(date) = text("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let skew = (date.to_utc() - self.shared.clock.now()).num_seconds();
            self.shared.skew.store(skew, Ordering::Relaxed);
        }
        if let Some(used) = text("sforce-limit-info").and_then(thousandths) {
            self.shared.used.store(used, Ordering::Relaxed);
            self.shared.told.store(self.shared.clock.now().timestamp(), Ordering::Relaxed);
        }
    }
}

/// Reads a body up to a limit.
async fn read(mut response: reqwest::Response, limit: usize) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Error::Unanswered(error.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(Error::Malformed { what: "reply" });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item {
        error_code: String,
    }
    let items: Vec<Item> = serde_json::from_slice(body).unwrap_or_default();
    let code = safe_code(items.first().map_or("", |item| item.error_code.as_str()));
    let busy = status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error()
        || matches!(code.as_str(), "REQUEST_LIMIT_EXCEEDED" | "SERVER_UNAVAILABLE");
    if busy { Error::Busy { code, retry_after } } else { Error::Refused { status: status.as_u16(), code } }
}

// RFC 9110 section 10.2.3, in seconds; at most an hour.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3_600)))
}

// `api-usage=25/100000`
fn thousandths(text: &str) -> Option<u32> {
    let usage = text.split(',').find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, most) = usage.split_once('/')?;
    let (used, most): (u64, u64) = (used.parse().ok()?, most.parse().ok()?);
    let share = used.checked_mul(1_000)?.checked_div(most)?;
    Some(u32::try_from(share).unwrap_or(u32::MAX))
}

// The path without ids and query, for the name of a span.
fn route(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let is_id = |part: &str| matches!(part.len(), 15 | 18) && part.bytes().any(|byte| byte.is_ascii_digit());
    path.split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect::<Vec<_>>().join("/")
}

impl Error {
    /// Whether the call may have had its effect.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Malformed { .. })
    }

    /// A code for logs, facts and callers.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unanswered(_) => "UNANSWERED",
            Self::Busy { .. } => "BUSY",
            Self::Refused { code, .. } | Self::SignIn { code } => code,
            Self::Malformed { .. } => "MALFORMED_REPLY",
            Self::Key => "PRIVATE_KEY",
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("login_url", &self.shared.settings.login_url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_use_of_the_budget_is_read() {
        assert_eq!(thousandths("api-usage=25/100"), Some(250));
        assert_eq!(thousandths("per-app-api-usage=17/250(appName=x), api-usage=80/100"), Some(800));
        for garbage in
            ["", "api-usage=", "api-usage=1/0", "api-usage=99999999999999999999/1", "api-usage=-1/5"]
        {
            assert_eq!(thousandths(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_and_never_its_text() {
        let body = br#"[{"message":"alice@example.org is wrong","errorCode":"INVALID_FIELD"}]"#;
        let error = refusal(StatusCode::BAD_REQUEST, None, body);
        assert_eq!(error.code(), "INVALID_FIELD");
        assert!(!format!("{error} {error:?}").contains("alice"));
        let garbage = refusal(StatusCode::BAD_GATEWAY, None, b"<html>");
        assert!(matches!(garbage, Error::Busy { .. }));
    }

    #[test]
    fn the_name_of_a_span_has_no_ids() {
        assert_eq!(
            route("/services/data/v62.0/jobs/ingest/7505g0000000012AAA/batches?x=1"),
            "/services/data/v62.0/jobs/ingest/{id}/batches"
        );
        assert_eq!(
            route("/services/data/v62.0/composite/sobjects"),
            "/services/data/v62.0/composite/sobjects"
        );
    }
}
