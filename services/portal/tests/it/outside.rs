use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Form, Json, Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use domain::{TimeDelta, UserId};
use serde_json::{Value, json};
use testkit::{Claims, Issuer};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use url::Url;

type Fields = HashMap<String, String>;
/// What a test does to a token before it is signed.
pub type Change = fn(&mut Claims);

/// What the portal reaches over plain HTTP: identity's endpoints and results-feed's events, on one listener. Tokens are signed by
/// the app's own issuer, so that gRPC takes them.
#[derive(Clone)]
pub struct Outside {
    pub url: Url,
    state: Arc<Mutex<Outer>>,
    _task: Arc<Task>,
}

struct Task(JoinHandle<()>);

#[derive(Default)]
struct Outer {
    issuer: Option<Issuer>,
    /// Who signs in next.
    user: Option<UserId>,
    sid: String,
    grants: HashMap<String, Grant>,
    is_away: bool,
    refuses_refresh: bool,
    refreshes: usize,
    change_id_token: Option<Change>,
    /// Seconds of an access token's life.
    token_life: i64,
    feeds: Vec<Feed>,
    feed_status: Option<u16>,
}

#[derive(Clone)]
struct Grant {
    user: UserId,
    sid: String,
    request: Fields,
}

/// One live feed that the portal opened.
#[derive(Clone)]
pub struct Feed {
    pub query: Fields,
    pub prefixes: Vec<String>,
    pub headers: HeaderMap,
    pub events: mpsc::Sender<Bytes>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Outside {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state =
            Arc::new(Mutex::new(Outer { token_life: 300, sid: "session-1".to_owned(), ..Outer::default() }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/oauth2/keys.json", get(keys))
            .route("/authorize", get(authorize))
            .route("/oauth2/token", post(token))
            .route("/results/v1/feed", get(feed))
            .with_state((url.clone(), Arc::clone(&state)));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, _task: Arc::new(Task(task)) }
    }

    fn state(&self) -> MutexGuard<'_, Outer> {
        self.state.lock().unwrap()
    }

    pub fn trust(&self, issuer: &Issuer) {
        self.state().issuer = Some(issuer.clone());
    }

    /// Who signs in next, with a session of this id.
    pub fn user(&self, user: UserId, sid: &str) {
        let mut state = self.state();
        state.user = Some(user);
        state.sid = sid.to_owned();
    }

    pub fn go_away(&self) {
        self.state().is_away = true;
    }

    pub fn refuse_refresh(&self) {
        self.state().refuses_refresh = true;
    }

    pub fn refreshes(&self) -> usize {
        self.state().refreshes
    }

    pub fn change_id_tokens(&self, change: Change) {
        self.state().change_id_token = Some(change);
    }

    pub fn refuse_feeds(&self, status: u16) {
        self.state().feed_status = Some(status);
    }

    pub fn feeds(&self) -> Vec<Feed> {
        self.state().feeds.clone()
    }

    /// A logout token as identity sends it, after a change.
    pub fn logout_token(&self, user: UserId, sid: &str, change: Change) -> String {
        let issuer = self.state().issuer.clone().unwrap();
        let mut claims = issuer.claims(&user.to_string(), "portal", &[]);
        claims.audiences = vec!["portal".to_owned()];
        claims.typ = "logout+jwt".to_owned();
        claims.expires_at = claims.issued_at + TimeDelta::seconds(120);
        let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
        claims.others.insert("events".to_owned(), events);
        claims.others.insert("sid".to_owned(), sid.into());
        change(&mut claims);
        issuer.token(&claims)
    }
}

type Shared = State<(Url, Arc<Mutex<Outer>>)>;

fn issuer_of(outer: &Mutex<Outer>) -> Issuer {
    outer.lock().unwrap().issuer.clone().expect("the app has started")
}

fn name(issuer: &Issuer) -> String {
    issuer.url().as_str().trim_end_matches('/').to_owned()
}

async fn metadata(State((url, outer)): Shared) -> Response {
    if outer.lock().unwrap().is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let at = |path: &str| url.join(path).unwrap().to_string();
    Json(json!({
        "issuer": name(&issuer_of(&outer)),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/oauth2/token"),
        "jwks_uri": at("/oauth2/keys.json"),
        "end_session_endpoint": at("/logout"),
    }))
    .into_response()
}

async fn keys(State((_, outer)): Shared) -> Json<Value> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(issuer_of(&outer).keys_url()).send().await.unwrap();
    Json(serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

async fn authorize(State((_, outer)): Shared, Query(request): Query<Fields>) -> Redirect {
    let issuer = name(&issuer_of(&outer));
    let mut outer = outer.lock().unwrap();
    let code = domain::new_id().simple().to_string();
    let mut back: Url = request["redirect_uri"].parse().unwrap();
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &request["state"])
        .append_pair("iss", &issuer);
    let grant = Grant { user: outer.user.expect("somebody signs in"), sid: outer.sid.clone(), request };
    outer.grants.insert(code, grant);
    Redirect::to(back.as_str())
}

async fn token(State((_, outer)): Shared, Form(form): Form<Fields>) -> Response {
    let issuer = issuer_of(&outer);
    let mut outer = outer.lock().unwrap();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if text("client_id") != "portal" || text("client_assertion").split('.').count() != 3 {
        return refusal("invalid_client");
    }
    let grant = match text("grant_type") {
        "authorization_code" => {
            let Some(grant) = outer.grants.remove(text("code")) else { return refusal("invalid_grant") };
            let verifier =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text("code_verifier").as_bytes());
            let proved = URL_SAFE_NO_PAD.encode(verifier) == grant.request["code_challenge"]
                && text("redirect_uri") == grant.request["redirect_uri"];
            if !proved {
                return refusal("invalid_grant");
            }
            grant
        }
        "refresh_token" => {
            let Some(grant) = outer.grants.get(text("refresh_token")).cloned() else {
                return refusal("invalid_grant");
            };
            if outer.refuses_refresh {
                return refusal("invalid_grant");
            }
            outer.refreshes += 1;
            grant
        }
        _ => return refusal("unsupported_grant_type"),
    };
    let refresh_token = format!("refresh-{}", domain::new_id().simple());
    outer.grants.insert(refresh_token.clone(), grant.clone());
    let scopes: Vec<&str> = grant.request["scope"].split(' ').collect();
    let access_token = issuer.token(&issuer.claims(&grant.user.to_string(), "portal", &scopes));
    let mut id_token = issuer.claims(&grant.user.to_string(), "portal", &[]);
    id_token.audiences = vec!["portal".to_owned()];
    id_token.typ = "JWT".to_owned();
    id_token.others.insert("nonce".to_owned(), grant.request["nonce"].as_str().into());
    id_token.others.insert("sid".to_owned(), grant.sid.as_str().into());
    if let Some(change) = outer.change_id_token {
        change(&mut id_token);
    }
    Json(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": outer.token_life,
        "refresh_token": refresh_token,
        "id_token": issuer.token(&id_token),
    }))
    .into_response()
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

async fn feed(
    State((_, outer)): Shared,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let prefixes =
        pairs.iter().filter(|(name, _)| name == "prefix").map(|(_, value)| value.clone()).collect();
    let query = pairs.into_iter().collect();
    let (events, mut received) = mpsc::channel(16);
    let mut outer = outer.lock().unwrap();
    if let Some(status) = outer.feed_status {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    outer.feeds.push(Feed { query, prefixes, headers, events });
    let stream =
        futures::stream::poll_fn(move |context| received.poll_recv(context).map(|event| event.map(Ok)));
    let stream = futures::StreamExt::map(stream, |event: Result<Bytes, std::convert::Infallible>| event);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response()
}
