use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::Uri, response::IntoResponse, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    browser::{Browser, Person},
    clients::ClientKey,
    world::{ALICE, Answer, ISSUER, World, answer, param},
};

pub const REGISTRATION: &str = "/oauth2/registration";
const CALLBACK: &str = "https://rp.example/callback";

/// A call of the endpoint.
pub async fn call(world: &World, method: Method, path: &str, token: &str, body: Option<&Value>) -> Answer {
    let mut request = world.app.http().request(method, world.app.http_url(path)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    answer(request.send().await.unwrap()).await
}

/// What an operator's verb answers, and its exit code.
async fn verb(world: &World, arguments: &[&str]) -> (String, u8) {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--operator", "olga"]).collect();
    let (text, ended) = world.operate(&arguments).await;
    (text, ended.map_or_else(|stop| stop.exit_code(), |()| 0))
}

/// An initial access token of a policy of the bootstrap file.
pub async fn initial_access_token(world: &World, policy: &str) -> String {
    let (text, code) = verb(world, &["registration", "token", policy, "--json"]).await;
    assert_eq!(code, 0, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    line["initial_access_token"].as_str().unwrap().to_owned()
}

pub fn metadata() -> Value {
    json!({
        "client_name": "Ticket exchange", "redirect_uris": [CALLBACK], "contacts": ["ops@rp.example"],
        "grant_types": ["authorization_code", "refresh_token"], "logo_uri": "https://rp.example/logo.png",
        "post_logout_redirect_uris": ["https://rp.example/bye"], "default_max_age": 3600,
    })
}

pub async fn registered(world: &World, metadata: &Value) -> Answer {
    let token = initial_access_token(world, "partners").await;
    let answer = call(world, Method::POST, REGISTRATION, &token, Some(metadata)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer
}

pub fn path_of(answer: &Answer) -> String {
    answer.text("registration_client_uri").strip_prefix(ISSUER).unwrap().to_owned()
}

/// Where a client that registered itself sends a browser.
fn authorization_of(client: &Answer) -> String {
    let query = [
        ("response_type", "code"),
        ("client_id", client.text("client_id")),
        ("redirect_uri", CALLBACK),
        ("scope", "openid"),
    ];
    format!(
        "/authorize?{}",
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
    )
}

fn basic_of(client: &Answer, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{secret}", client.text("client_id"))))
}

/// Tokens of a client that registered itself, for Alice; another secret gets none.
pub async fn tokens_of(world: &World, browser: &mut Browser<'_>, client: &Answer) -> Answer {
    let start = browser.open(&authorization_of(client)).await;
    let url = browser.go_through(Person { is_new: false, ..ALICE }, start).await;
    let code = param(&url, "code");
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    let wrong = basic_of(client, "x");
    world.post("/oauth2/token", Some(&wrong), &form).await.refused_with(401, "invalid_client");
    let basic = basic_of(client, client.text("client_secret"));
    let tokens = world.post("/oauth2/token", Some(&basic), &form).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    tokens
}

#[tokio::test]
async fn a_client_registers_itself_and_signs_users_in() {
    let world = World::start_registering().await;
    world.sign_up(ALICE).await;
    let client = registered(&world, &metadata()).await;
    assert_eq!((client.header("cache-control"), client.header("pragma")), ("no-store", "no-cache"));
    for (name, value) in metadata().as_object().unwrap() {
        assert_eq!(client.body[name], *value, "{name}");
    }
    assert_eq!(client.body["client_secret_expires_at"], json!(0));
    assert_eq!(client.body["client_id_issued_at"], json!(world.app.clock.now().timestamp()));
    assert_eq!(client.text("client_secret").len(), 43);

    let mut browser = world.browser();
    let tokens = tokens_of(&world, &mut browser, &client).await;
    // Its default_max_age asks for the password again.
    world.advance(TimeDelta::seconds(3_601));
    let page = browser.open(&authorization_of(&client)).await.page();
    assert_eq!(page.url.path(), "/login");

    // The client goes, and its tokens with it.
    let gone =
        call(&world, Method::DELETE, &path_of(&client), client.text("registration_access_token"), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.text("refresh_token"))];
    let basic = basic_of(&client, client.text("client_secret"));
    world.post("/oauth2/token", Some(&basic), &refresh).await.refused_with(401, "invalid_client");
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.open(&authorization_of(&client)).await.page().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_client_reads_and_replaces_its_registration() {
    let world = World::start_registering().await;
    let client = registered(&world, &metadata()).await;
    let (path, token) = (path_of(&client), client.text("registration_access_token").to_owned());
    let read = call(&world, Method::GET, &path, &token, None).await;
    assert_eq!(read.status, StatusCode::OK);
    let mut expected = client.body.clone();
    let secret = expected.as_object_mut().unwrap().remove("client_secret").unwrap();
    expected.as_object_mut().unwrap().remove("client_secret_expires_at");
    assert_eq!(read.body, expected);

    let mut change =
        json!({"client_id": client.text("client_id"), "redirect_uris": ["https://rp.example/new"]});
    change["client_secret"] = secret;
    let changed = call(&world, Method::PUT, &path, &token, Some(&change)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(changed.body["redirect_uris"], json!(["https://rp.example/new"]));
    // What it does not say again is gone.
    for name in ["contacts", "logo_uri", "default_max_age", "post_logout_redirect_uris", "client_secret"] {
        assert_eq!(changed.body.get(name), None, "{name}");
    }
    for (field, wrong) in [
        ("client_id", json!("suite")),
        ("client_id", json!(null)),
        ("client_secret", json!("wrong")),
        ("registration_access_token", json!("x")),
        ("client_secret_expires_at", json!(0)),
    ] {
        let mut change = change.clone();
        change[field] = wrong;
        let answer = call(&world, Method::PUT, &path, &token, Some(&change)).await;
        answer.refused_with(400, "invalid_client_metadata");
        assert!(answer.text("error_description").starts_with(field), "{}", answer.body);
    }
    // From no secret to one: it is made, and told once.
    let key = ClientKey::generate();
    let by_key = json!({
        "client_id": client.text("client_id"), "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.public()]},
    });
    let keyed = call(&world, Method::PUT, &path, &token, Some(&by_key)).await;
    assert_eq!((keyed.status, keyed.body.get("client_secret")), (StatusCode::OK, None), "{}", keyed.body);
    let back = json!({"client_id": client.text("client_id"), "redirect_uris": [CALLBACK]});
    let back = call(&world, Method::PUT, &path, &token, Some(&back)).await;
    assert!(
        back.text("client_secret").len() == 43 && back.text("client_secret") != client.text("client_secret")
    );
}

#[tokio::test]
async fn a_token_reaches_its_own_client_only() {
    let world = World::start_registering().await;
    let client = registered(&world, &metadata()).await;
    let other = registered(&world, &metadata()).await;
    let initial = initial_access_token(&world, "partners").await;
    let (token, foreign) =
        (client.text("registration_access_token"), other.text("registration_access_token"));
    let mut changed = token.to_owned();
    changed.replace_range(8..9, if &token[8..9] == "A" { "B" } else { "A" });
    for wrong in ["", "x", initial.as_str(), foreign, changed.as_str()] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = call(&world, method, &path_of(&client), wrong, Some(&metadata())).await;
            answer.refused_with(401, "invalid_token");
            assert!(answer.header("www-authenticate").starts_with("Bearer "));
        }
    }
    // A client of the bootstrap file has no registration.
    let answer = call(&world, Method::GET, &format!("{REGISTRATION}/shop"), token, None).await;
    answer.refused_with(401, "invalid_token");
    for wrong in ["", "x", token, &initial[..20]] {
        let answer = call(&world, Method::POST, REGISTRATION, wrong, Some(&metadata())).await;
        answer.refused_with(401, "invalid_token");
    }
    assert_eq!(call(&world, Method::GET, &path_of(&client), token, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_operator_gives_tokens_out_and_revokes_them() {
    let world = World::start_registering().await;
    let first = initial_access_token(&world, "narrow").await;
    assert_eq!(first, initial_access_token(&world, "narrow").await);
    for _ in 0..2 {
        let answer = call(&world, Method::POST, REGISTRATION, &first, Some(&metadata())).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    }
    // The policy takes two.
    let full = call(&world, Method::POST, REGISTRATION, &first, Some(&metadata())).await;
    full.refused_with(403, "access_denied");
    let (text, code) = verb(&world, &["registration", "policies", "--json"]).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let narrow = lines.iter().find(|line| line["policy"] == "narrow").unwrap();
    assert_eq!((code, &narrow["clients"], &narrow["most_clients"]), (0, &json!(2), &json!(2)));

    let (text, code) = verb(&world, &["registration", "revoke", "narrow"]).await;
    assert!(text.contains("would revoke") && code == 3, "{text}");
    assert_eq!(verb(&world, &["registration", "revoke", "narrow", "--yes"]).await.1, 0);
    call(&world, Method::POST, REGISTRATION, &first, Some(&metadata()))
        .await
        .refused_with(401, "invalid_token");
    let second = initial_access_token(&world, "narrow").await;
    call(&world, Method::POST, REGISTRATION, &second, Some(&metadata()))
        .await
        .refused_with(403, "access_denied");
    assert_eq!(verb(&world, &["registration", "token", "nobody"]).await.1, 1);
    // Whoever has such a token brings clients in: who gave it out stands in the audit.
    let (text, _) = verb(&world, &["audit", "list", "--actor", "operator:olga", "--json"]).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done: Vec<&str> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    let given = "give_initial_access_token";
    assert_eq!(done, [given, "revoke_initial_access_tokens", given, given]);
    assert!(lines.iter().all(|line| line["subject"] == "narrow") && !text.contains(&first));
}

#[tokio::test]
async fn as_many_at_once_as_the_policy_takes() {
    let world = World::start_registering().await;
    let token = initial_access_token(&world, "narrow").await;
    let metadata = metadata();
    let all = (0..8).map(|_| call(&world, Method::POST, REGISTRATION, &token, Some(&metadata)));
    let answers = futures::future::join_all(all).await;
    let taken = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(taken, 2);
    let rows =
        sqlx::query_scalar::<_, i64>("select count(*) from identity.client where client_id like 'dyn-%'");
    assert_eq!(rows.fetch_one(&world.app.pool).await.unwrap(), 2);
}

/// A relying party's documents by their paths.
#[derive(Clone, Default)]
struct Documents(Arc<Mutex<HashMap<String, (u16, String)>>>);

impl Documents {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = |State(this): State<Self>, uri: Uri| async move {
            let (status, text) =
                this.0.lock().unwrap().get(uri.path()).cloned().unwrap_or((404, String::new()));
            (StatusCode::from_u16(status).unwrap(), [("location", "/uris")], text).into_response()
        };
        let router = Router::new().route("/{name}", get(told)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn set(&self, path: &str, status: u16, text: impl Into<String>) {
        self.0.lock().unwrap().insert(path.to_owned(), (status, text.into()));
    }
}

#[tokio::test]
async fn a_sector_is_read_by_the_rules_of_the_way_out() {
    let world = World::start_registering().await;
    let documents = Documents::default();
    let url = documents.start().await;
    let token = initial_access_token(&world, "partners").await;
    let uris = json!(["https://a.example/cb", "https://b.example/cb"]);
    documents.set("/uris", 200, uris.to_string());
    documents.set("/less", 200, json!(["https://a.example/cb"]).to_string());
    documents.set("/moved", 302, uris.to_string());
    documents.set("/garbage", 200, "[");
    documents.set("/huge", 200, format!("[\"{}\"]", "x".repeat(70_000)));
    let ask = async |sector: String| {
        let metadata = json!({"redirect_uris": uris, "sector_identifier_uri": sector});
        call(&world, Method::POST, REGISTRATION, &token, Some(&metadata)).await
    };
    let right = ask(format!("{url}/uris")).await;
    assert_eq!(right.status, StatusCode::CREATED, "{}", right.body);
    assert_eq!(right.body["sector_identifier_uri"], json!(format!("{url}/uris")));
    let inside =
        ["https://127.0.0.1/uris", "https://10.0.0.1/uris", "http://rp.example/uris", "https://[::1]/"];
    let inside = inside.map(str::to_owned);
    let here = ["/less", "/moved", "/garbage", "/huge", "/none"].map(|path| format!("{url}{path}"));
    for wrong in here.into_iter().chain(inside) {
        let answer = ask(wrong.clone()).await;
        answer.refused_with(400, "invalid_client_metadata");
        assert!(answer.text("error_description").starts_with("sector_identifier_uri "), "{wrong}");
    }
}

#[tokio::test]
async fn keys_behind_a_uri_are_fetched_and_follow_a_rotation() {
    let world = World::start_registering().await;
    let documents = Documents::default();
    let url = documents.start().await;
    let (first, second) = (ClientKey::generate(), ClientKey::generate());
    documents.set("/keys", 200, json!({"keys": [first.public()]}).to_string());
    let client = registered(
        &world,
        &json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": format!("{url}/keys"),
        }),
    )
    .await;
    let id = client.text("client_id");
    let attempt = async |key: &ClientKey| {
        let now = world.app.clock.now().timestamp();
        let claims = json!({
            "iss": id, "sub": id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": domain::new_id().to_string(),
        });
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &key.sign(&claims)),
        ];
        world.post("/oauth2/token", None, &form).await.text("error").to_owned()
    };
    // A wrong code is what remains to be said to a client that is right.
    assert_eq!(attempt(&first).await, "invalid_grant");
    assert_eq!(attempt(&second).await, "invalid_client");
    documents.set("/keys", 200, json!({"keys": [second.public()]}).to_string());
    assert_eq!(attempt(&second).await, "invalid_client");
    world.advance(TimeDelta::minutes(10));
    assert_eq!(attempt(&second).await, "invalid_grant");
    assert_eq!(attempt(&first).await, "invalid_client");
    // The last keys serve while theirs cannot be had.
    documents.set("/keys", 500, "");
    world.advance(TimeDelta::minutes(11));
    assert_eq!(attempt(&second).await, "invalid_grant");
}

#[tokio::test]
async fn garbage_gets_a_right_answer_and_leaves_nothing() {
    let world = World::start_registering().await;
    let token = initial_access_token(&world, "partners").await;
    let url = world.app.http_url(REGISTRATION);
    let deep = format!("{{\"jwks\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let nul = json!({"redirect_uris": ["https://rp.example/\0"], "client_name": "\0"}).to_string();
    for body in [
        "",
        "null",
        "[]",
        "{",
        "{\"redirect_uris\":",
        "\u{feff}{}",
        &deep,
        &nul,
        "{}",
        "{\"redirect_uris\":{}}",
    ] {
        let post = world.app.http().post(&url).bearer_auth(&token).header("content-type", "application/json");
        let answer = answer(post.body(body.to_owned()).send().await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(
            ["invalid_client_metadata", "invalid_redirect_uri"].contains(&answer.text("error")),
            "{body}"
        );
    }
    let huge = json!({"redirect_uris": [CALLBACK], "client_name": "x".repeat(70_000)});
    let answer = call(&world, Method::POST, REGISTRATION, &token, Some(&huge)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let form = [("redirect_uris", CALLBACK)];
    let form = world.post(REGISTRATION, Some(&format!("Bearer {token}")), &form).await;
    form.refused_with(400, "invalid_client_metadata");
    let rows = sqlx::query_scalar::<_, i64>("select count(*) from identity.client_registration");
    assert_eq!(rows.fetch_one(&world.app.pool).await.unwrap(), 0);
}
