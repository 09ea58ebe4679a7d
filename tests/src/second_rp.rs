//! Another site of the event: signs its visitors in at identity, and hears when they sign out.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Form, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    CodeFlow, Provider,
    oauth::{self, Claims},
    suite::Keys,
};

/// Its name at identity.
pub const CLIENT_ID: &str = "second-rp";
/// Claim of a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The site. Dropped, it closes.
#[derive(Debug)]
pub struct SecondRp {
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
    site: Arc<Site>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Site {
    provider: OnceLock<Provider>,
    keys: OnceLock<Keys>,
    begun: Mutex<HashMap<String, CodeFlow>>,
    /// Sessions by their `sid` at identity: who is signed in here.
    sessions: Mutex<HashMap<String, Claims>>,
    /// What identity told of sessions that ended.
    ended: Mutex<Vec<Claims>>,
}

impl SecondRp {
    /// Takes a port; answers wait until [`SecondRp::serve`].
    pub(crate) async fn listen() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener: Mutex::new(Some(listener)),
            address,
            site: Arc::default(),
            stop: CancellationToken::new(),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn logout_uri(&self) -> String {
        format!("http://{}/backchannel-logout", self.address)
    }

    /// Its sign-in page.
    #[must_use]
    pub fn login_url(&self) -> String {
        format!("http://{}/login", self.address)
    }

    /// Where its visitors end up.
    #[must_use]
    pub fn home_url(&self) -> String {
        format!("http://{}/home", self.address)
    }

    /// Opens.
    pub(crate) fn serve(&self, provider: Provider, keys: &Keys) -> Result<()> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = listener.context("the second relying party is open already")?;
        let given = self.site.provider.set(provider).is_ok() && self.site.keys.set(keys.clone()).is_ok();
        ensure!(given, "the second relying party is open already");
        let router = Router::new()
            .route("/login", get(login))
            .route("/callback", get(callback))
            .route("/home", get(home))
            .route("/backchannel-logout", post(backchannel_logout))
            .with_state(Arc::clone(&self.site));
        let stopped = self.stop.clone().cancelled_owned();
        tokio::spawn(async move {
            // Whoever asks it sees when it does not answer.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
        });
        Ok(())
    }

    /// Sessions that are open here.
    #[must_use]
    pub fn sessions(&self) -> Vec<Claims> {
        lock(&self.site.sessions).values().cloned().collect()
    }

    /// Logout tokens that came and held.
    #[must_use]
    pub fn ended(&self) -> Vec<Claims> {
        lock(&self.site.ended).clone()
    }
}

impl Drop for SecondRp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Why a page is not shown.
struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{:?}", self.0)).into_response()
    }
}

type Here = State<Arc<Site>>;

impl Site {
    fn provider(&self) -> Result<&Provider> {
        self.provider.get().context("not open yet")
    }

    fn assertion(&self) -> Result<String> {
        let keys = self.keys.get().context("not open yet")?;
        oauth::assertion(keys, CLIENT_ID, &self.provider()?.issuer)
    }

    /// Checks a logout token (Back-Channel Logout 1.0, 2.6).
    async fn ended_session(&self, token: &str) -> Result<Claims> {
        let typ = jsonwebtoken::decode_header(token)?.typ.unwrap_or_default();
        ensure!(typ.eq_ignore_ascii_case("logout+jwt"), "typ is {typ}");
        let claims: Claims = self.provider()?.verify(token, CLIENT_ID, &["iss", "aud"]).await?;
        ensure!(claims.nonce.is_none(), "a logout token has no nonce");
        ensure!(claims.jti.is_some(), "a logout token has a jti");
        ensure!(
            claims.events.as_ref().is_some_and(|events| events[EVENT].is_object()),
            "events lacks {EVENT}"
        );
        let age = Clock::system().now().timestamp() - claims.iat;
        ensure!((-30..300).contains(&age), "a logout token of {age} s ago");
        if claims.sid.is_none() && claims.sub.is_none() {
            bail!("neither sid nor sub");
        }
        Ok(claims)
    }
}

async fn login(State(site): Here, headers: axum::http::HeaderMap) -> Result<Redirect, Failure> {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).context("no Host")?;
    // A loopback address may vary the port (RFC 8252 7.3).
    let flow = CodeFlow::begin(CLIENT_ID, &format!("http://{host}/callback"), "openid email")?;
    let url = site.provider()?.authorize_url(&flow)?;
    lock(&site.begun).insert(flow.state().to_owned(), flow);
    Ok(Redirect::to(url.as_str()))
}

async fn callback(
    State(site): Here,
    uri: axum::http::Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Redirect, Failure> {
    let state = query.get("state").context("no state")?;
    let flow = lock(&site.begun).remove(state).context("no such sign-in")?;
    let answer = url::Url::parse("http://127.0.0.1/")?.join(&uri.to_string())?;
    let (_, claims) = site.provider()?.redeem(&flow, &answer, Some(&site.assertion()?)).await?;
    let sid = claims.sid.clone().context("the ID token has no sid")?;
    lock(&site.sessions).insert(sid, claims);
    Ok(Redirect::to("/home"))
}

async fn home() -> &'static str {
    "Ticket shop"
}

#[derive(serde::Deserialize)]
struct LogoutForm {
    logout_token: String,
}

async fn backchannel_logout(State(site): Here, Form(form): Form<LogoutForm>) -> Result<StatusCode, Failure> {
    let claims = site.ended_session(&form.logout_token).await?;
    if let Some(sid) = &claims.sid {
        lock(&site.sessions).remove(sid);
    }
    lock(&site.ended).push(claims);
    Ok(StatusCode::OK)
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
