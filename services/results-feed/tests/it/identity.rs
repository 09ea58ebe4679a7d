//! Identity as the desk reaches it over plain HTTP: metadata, keys, sign-in, tokens. They are signed by the app's own issuer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::UserId;
use serde_json::{Value, json};
use testkit::Issuer;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

type Fields = HashMap<String, String>;

/// Who signs in next, and with what.
#[derive(Clone)]
pub struct Person {
    pub user_id: UserId,
    /// Staff scopes that this person holds.
    pub scopes: &'static [&'static str],
    /// Said in the place of the sign-in's own nonce.
    pub nonce: Option<&'static str>,
}

#[derive(Default)]
struct Inside {
    issuer: Option<Issuer>,
    person: Option<Person>,
    requests: HashMap<String, Fields>,
}

/// One that a test starts.
pub struct Identity {
    pub url: Url,
    inside: Arc<Mutex<Inside>>,
    task: JoinHandle<()>,
}

type Shared = State<(Url, Arc<Mutex<Inside>>)>;

impl Drop for Identity {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Identity {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let inside = Arc::<Mutex<Inside>>::default();
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/oauth2/keys.json", get(keys))
            .route("/authorize", get(authorize))
            .route("/oauth2/token", post(token))
            .with_state((url.clone(), Arc::clone(&inside)));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inside, task }
    }

    pub fn trust(&self, issuer: &Issuer) {
        self.inside.lock().unwrap().issuer = Some(issuer.clone());
    }

    pub fn person(&self, person: Person) {
        self.inside.lock().unwrap().person = Some(person);
    }
}

fn issuer_of(inside: &Mutex<Inside>) -> Issuer {
    inside.lock().unwrap().issuer.clone().expect("the app has started")
}

fn name(issuer: &Issuer) -> String {
    issuer.url().as_str().trim_end_matches('/').to_owned()
}

async fn metadata(State((url, inside)): Shared) -> Json<Value> {
    let at = |path: &str| url.join(path).unwrap().to_string();
    Json(json!({
        "issuer": name(&issuer_of(&inside)), "authorization_endpoint": at("/authorize"), "token_endpoint": at("/oauth2/token"),
        "jwks_uri": at("/oauth2/keys.json"), "end_session_endpoint": at("/logout"),
    }))
}

async fn keys(State((_, inside)): Shared) -> Json<Value> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(issuer_of(&inside).keys_url()).send().await.unwrap();
    Json(serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

async fn authorize(State((_, inside)): Shared, Query(request): Query<Fields>) -> Redirect {
    let issuer = name(&issuer_of(&inside));
    let code = domain::new_id().simple().to_string();
    let mut back: Url = request["redirect_uri"].parse().unwrap();
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &request["state"])
        .append_pair("iss", &issuer);
    inside.lock().unwrap().requests.insert(code, request);
    Redirect::to(back.as_str())
}

async fn token(State((_, inside)): Shared, Form(form): Form<Fields>) -> Response {
    let issuer = issuer_of(&inside);
    let mut inside = inside.lock().unwrap();
    let refusal = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if text("client_id") != "results" || text("client_assertion").split('.').count() != 3 {
        return refusal("invalid_client");
    }
    let Some(request) = inside.requests.remove(text("code")) else { return refusal("invalid_grant") };
    let verifier = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text("code_verifier").as_bytes());
    let challenge = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, verifier);
    if challenge != request["code_challenge"] || text("redirect_uri") != request["redirect_uri"] {
        return refusal("invalid_grant");
    }
    let person = inside.person.clone().expect("somebody signs in");
    let subject = person.user_id.to_string();
    let mut id_token = issuer.claims(&subject, "results", &[]);
    id_token.audiences = vec!["results".to_owned()];
    id_token.typ = "JWT".to_owned();
    id_token.others.insert("nonce".to_owned(), person.nonce.unwrap_or(&request["nonce"]).into());
    id_token.others.insert("sid".to_owned(), "session-1".into());
    Json(json!({
        "access_token": issuer.token(&issuer.claims(&subject, "results", person.scopes)), "token_type": "Bearer",
        "expires_in": 300, "id_token": issuer.token(&id_token),
    }))
    .into_response()
}
