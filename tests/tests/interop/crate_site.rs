//! The crate `openidconnect` as a relying party's site. HTTP is done by our own client: the crate brings none.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use e2e::{Claims, Provider};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl,
    Scope, TokenResponse,
    core::{CoreAuthenticationFlow, CoreClient, CoreTokenResponse, CoreUserInfoClaims},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::registered::{Registered, SCOPES};

type Library = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

struct Site {
    http: reqwest::Client,
    library: Library,
    metadata: ProviderMetadataWithLogout,
    provider: Provider,
    client_id: &'static str,
    signed_out_uri: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    begun: Option<(CsrfToken, Nonce, PkceCodeVerifier)>,
    session: Option<Session>,
    told: Vec<Claims>,
}

#[derive(Clone)]
struct Session {
    sid: String,
    tokens: CoreTokenResponse,
    shown: Value,
}

/// Serves the site until the handle is aborted.
pub async fn serve(site: &Registered, provider: Provider) -> Result<JoinHandle<()>> {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let issuer = IssuerUrl::new(provider.issuer.clone())?;
    let metadata = ProviderMetadataWithLogout::discover_async(issuer, &calling(&http)).await?;
    let (id, secret) = (ClientId::new(site.name.to_owned()), ClientSecret::new(site.secret.clone()));
    let library = CoreClient::from_provider_metadata(metadata.clone(), id, Some(secret))
        .set_redirect_uri(RedirectUrl::new(site.url("/callback"))?);
    let (client_id, signed_out_uri) = (site.name, site.url("/signed-out"));
    let held = Mutex::default();
    let here = Site { http, library, metadata, provider, client_id, signed_out_uri, held };
    let router = Router::new()
        .route("/login", get(login))
        .route("/callback", get(callback))
        .route("/me", get(me))
        .route("/refresh", get(refresh))
        .route("/logout", get(logout))
        .route("/signed-out", get(async || Json(json!({}))))
        .route("/told", get(told))
        .route("/backchannel-logout", post(backchannel_logout))
        .with_state(Arc::new(here));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], site.port))).await?;
    Ok(tokio::spawn(async move {
        // Whoever asks it sees when it does not answer.
        let _ = axum::serve(listener, router).await;
    }))
}

/// The crate's idea of an HTTP client, as a function of ours.
fn calling(
    http: &reqwest::Client,
) -> impl Fn(HttpRequest) -> futures::future::BoxFuture<'static, Result<HttpResponse, reqwest::Error>> {
    let http = http.clone();
    move |request| {
        let http = http.clone();
        Box::pin(async move {
            let answer = http.execute(request.try_into()?).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = HttpResponse::new(answer.bytes().await?.to_vec());
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        })
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
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:?}", self.0)).into_response()
    }
}

type Here = State<Arc<Site>>;

impl Site {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Result<Session> {
        self.held().session.clone().context("nobody is signed in")
    }

    async fn userinfo(&self, tokens: &CoreTokenResponse) -> Result<CoreUserInfoClaims> {
        let request = self.library.user_info(tokens.access_token().clone(), None)?;
        Ok(request.request_async(&calling(&self.http)).await?)
    }
}

async fn login(State(site): Here) -> Redirect {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let request = site.library.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    // The crate adds `openid` itself.
    let scopes =
        SCOPES.iter().filter(|scope| **scope != "openid").map(|scope| Scope::new((*scope).to_owned()));
    let (url, state, nonce) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
    site.held().begun = Some((state, nonce, verifier));
    Redirect::to(url.as_str())
}

#[derive(Deserialize)]
struct Answer {
    code: String,
    state: String,
}

async fn callback(State(site): Here, Query(answer): Query<Answer>) -> Result<Redirect, Failure> {
    let (state, nonce, verifier) = site.held().begun.take().context("no sign-in was begun")?;
    ensure_same(&answer.state, state.secret())?;
    let request = site.library.exchange_code(AuthorizationCode::new(answer.code))?;
    let tokens = request.set_pkce_verifier(verifier).request_async(&calling(&site.http)).await?;
    let id_token = tokens.id_token().context("no ID token")?;
    let judge = site.library.id_token_verifier();
    let claims = id_token.claims(&judge, &nonce)?;
    let hash = claims.access_token_hash().context("the ID token has no at_hash")?;
    let (algorithm, key) = (id_token.signing_alg()?, id_token.signing_key(&judge)?);
    let own = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)?;
    ensure_same(own.as_str(), hash.as_str())?;
    let userinfo = site.userinfo(&tokens).await?;
    ensure_same(userinfo.subject().as_str(), claims.subject().as_str())?;
    let more: Claims = site.provider.verify(&id_token.to_string(), site.client_id, &["exp"]).await?;
    let sid = more.sid.context("the ID token has no sid")?;
    let scopes: Vec<&str> = tokens.scopes().into_iter().flatten().map(|scope| scope.as_str()).collect();
    let shown = json!({
        "signed_in": true, "sub": userinfo.subject().as_str(), "sid": sid,
        "email": userinfo.email().map(|email| email.as_str()), "email_verified": userinfo.email_verified(),
        "expires_in": tokens.expires_in().map(|life| life.as_secs()), "scope": scopes.join(" "),
    });
    site.held().session = Some(Session { sid, tokens: tokens.clone(), shown });
    Ok(Redirect::to("/me"))
}

fn ensure_same(given: &str, own: &str) -> Result<()> {
    ensure!(given == own, "{given} is not {own}");
    Ok(())
}

async fn me(State(site): Here) -> Json<Value> {
    Json(site.session().map_or_else(|_| json!({ "signed_in": false }), |session| session.shown))
}

async fn refresh(State(site): Here) -> Result<Json<Value>, Failure> {
    let session = site.session()?;
    let token = session.tokens.refresh_token().context("no refresh token")?;
    let request = site.library.exchange_refresh_token(token)?;
    let fresh = request.request_async(&calling(&site.http)).await?;
    let userinfo = site.userinfo(&fresh).await?;
    let changed = fresh.access_token().secret() != session.tokens.access_token().secret();
    Ok(Json(json!({ "sub": userinfo.subject().as_str(), "changed": changed })))
}

async fn logout(State(site): Here) -> Result<Redirect, Failure> {
    let session = site.held().session.take().context("nobody is signed in")?;
    let endpoint = site.metadata.additional_metadata().end_session_endpoint.clone();
    let request = LogoutRequest::from(endpoint.context("no end_session_endpoint")?)
        .set_id_token_hint(session.tokens.id_token().context("no ID token")?)
        .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(site.signed_out_uri.clone())?);
    Ok(Redirect::to(request.http_get_url().as_str()))
}

async fn told(State(site): Here) -> Json<Value> {
    Json(json!({ "told": site.held().told }))
}

#[derive(Deserialize)]
struct LogoutForm {
    logout_token: String,
}

// The crate knows nothing of logout tokens.
async fn backchannel_logout(State(site): Here, Form(form): Form<LogoutForm>) -> Result<StatusCode, Failure> {
    let required = ["exp", "iss", "aud"];
    let claims: Claims = site.provider.verify(&form.logout_token, site.client_id, &required).await?;
    ensure_same(&claims.events.clone().context("no events")?.to_string(), EVENTS)?;
    let mut held = site.held();
    if held.session.as_ref().is_some_and(|session| Some(&session.sid) == claims.sid.as_ref()) {
        held.session = None;
    }
    held.told.push(claims);
    Ok(StatusCode::OK)
}

const EVENTS: &str = r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#;
