use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{Router, extract, http::Uri, routing::post};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{Component, Grpc, Process, StartError};
use domain::{Clock, Service, TimeDelta, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use proto::{
    mailer::v1::{
        GetTransactionalRequest, GetTransactionalResponse, SendTransactionalRequest,
        SendTransactionalResponse,
        transactional_service_server::{TransactionalService, TransactionalServiceServer},
    },
    profile::v1::{
        self as profile, BatchGetProfilesRequest, BatchGetProfilesResponse, FindProfileRequest,
        FindProfileResponse, GetProfileRequest, GetProfileResponse, Profile, UpdateProfileRequest,
        UpdateProfileResponse,
        profile_service_server::{ProfileService, ProfileServiceServer},
    },
};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::Value;
use testkit::TestApp;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use url::{Url, form_urlencoded};

use crate::{
    browser::{Browser, Person},
    clients::{
        BootstrapFile, FORUM_CALLBACK, PORTAL_CALLBACK, PORTAL_SCOPE, SECRET, SHOP_CALLBACK, VAULT_CALLBACK,
    },
    tap::Tap,
};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const ISSUER: &str = "https://id.example";
pub const KEK: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const NONCE: &str = "n-0S6_WzA2Mj";
pub const STATE: &str = "af0ifjsldkj &=?";

pub const ALICE: Person =
    Person { email: "alice@example.jp", password: "correct horse battery staple", is_new: true };
pub const BOB: Person =
    Person { email: "bob@example.fr", password: "cheval correct pile agrafe", is_new: true };

/// A running identity, the services that it calls, and the relying parties that it tells of ended sessions.
pub struct World {
    pub app: TestApp,
    pub peers: Peers,
    pub relying_parties: RelyingParties,
    file: BootstrapFile,
    kek: String,
}

/// An answer of an endpoint.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn refused_with(&self, status: u16, error: &str) {
        assert_eq!((self.status.as_u16(), self.text("error")), (status, error), "{}", self.body);
        assert_eq!(self.header("cache-control"), "no-store");
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl World {
    pub async fn start() -> Self {
        Self::start_changed(KEK, false, |_| {}, |_| {}).await
    }

    /// With other settings than usual.
    pub async fn start_with(change: impl Fn(&mut identity::Config) + Send + Sync + 'static) -> Self {
        Self::start_changed(KEK, false, change, |_| {}).await
    }

    /// With other settings of the process than a test's usual ones.
    pub async fn start_set(set: impl FnOnce(&mut chassis::Settings) + Send + 'static) -> Self {
        Self::start_changed(KEK, false, |_| {}, set).await
    }

    /// With policies under which clients register themselves.
    pub async fn start_registering() -> Self {
        Self::start_changed(KEK, true, |_| {}, |_| {}).await
    }

    /// With a tap on the line to the database.
    pub async fn start_through(tap: &Tap) -> Self {
        let tap = tap.clone();
        Self::start_with(move |config| {
            config.database_url = tap.lead(&config.database_url.expose()).parse().unwrap();
        })
        .await
    }

    /// Under these key encryption keys: lines, or `file:` and the path of a file.
    pub async fn start_under(kek: &str) -> Self {
        Self::start_changed(kek, false, |_| {}, |_| {}).await
    }

    async fn start_changed(
        kek: &str,
        registers: bool,
        change: impl Fn(&mut identity::Config) + Send + Sync + 'static,
        set: impl FnOnce(&mut chassis::Settings) + Send + 'static,
    ) -> Self {
        let (peers, relying_parties) = (Peers::default(), RelyingParties::start().await);
        let (file, kek) = (BootstrapFile::write(&relying_parties.url, registers), kek.to_owned());
        let config = Config { file: file.0.clone(), kek: kek.clone(), change: Arc::new(change) };
        let fakes = peers.clone();
        let app = TestApp::start_with(Service::Identity, set, move |process, database_url| async move {
            config.components(&database_url, fakes, process).await
        })
        .await;
        Self { app, peers, relying_parties, file, kek }
    }

    /// A second process beside the first, on its database and by its clock.
    pub async fn beside(&self) -> TestApp {
        let (url, clock) = (self.app.database_url().to_owned(), self.app.clock.clone());
        self.config().start_at(url, clock, self.peers.clone()).await
    }

    /// Another process on the same database, after the first one was killed between two instructions.
    pub async fn killed_and_restarted(self) -> Self {
        let kek = self.kek.clone();
        self.killed_and_restarted_under(&kek).await
    }

    /// The same under other key encryption keys.
    pub async fn killed_and_restarted_under(self, kek: &str) -> Self {
        let Self { app, peers, relying_parties, file, .. } = self;
        let ((url, clock), kek) = (app.kill(), kek.to_owned());
        let config = Config { file: file.0.clone(), kek: kek.clone(), change: Arc::new(|_| {}) };
        let app = config.start_at(url, clock, peers.clone()).await;
        Self { app, peers, relying_parties, file, kek }
    }

    pub fn bootstrap_file(&self) -> &std::path::Path {
        &self.file.0
    }

    pub fn config(&self) -> Config {
        Config { file: self.file.0.clone(), kek: self.kek.clone(), change: Arc::new(|_| {}) }
    }

    /// A verb of the command line, beside the process that runs: what it answers and how it ends.
    pub async fn operate(&self, arguments: &[&str]) -> (String, Result<(), chassis::Stop>) {
        self.operate_in(Service::Identity, arguments).await
    }

    /// The same by the program of a service: all-in-one has another one beside identity.
    pub async fn operate_in(
        &self,
        program: Service,
        arguments: &[&str],
    ) -> (String, Result<(), chassis::Stop>) {
        let config = self.config();
        let (url, fakes) = (self.app.database_url().to_owned(), self.peers.clone());
        let with = (chassis::Settings::default(), self.app.clock.clone());
        chassis::operate(&identity::VERBS, arguments, program, with, move |process| async move {
            let mut components = config.components(&url, fakes, process).await?;
            components.truncate(1);
            if program == Service::AllInOne {
                components.push(Component::new(Service::Profile).attach("what the outbox works on"));
            }
            Ok(components)
        })
        .await
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser::new(&self.app, &self.peers)
    }

    pub fn advance(&self, by: TimeDelta) {
        self.app.clock.advance(by);
    }

    /// A person who has just signed up on the way to the portal, and the code that the portal got.
    pub async fn sign_up(&self, person: Person) -> (Browser<'_>, String) {
        let mut browser = self.browser();
        let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        let url = browser.go_through(Person { is_new: true, ..person }, start).await;
        (browser, param(&url, "code"))
    }

    /// A person who has a user signs in at another browser, on the way to the portal.
    pub async fn sign_in(&self, person: Person) -> (Browser<'_>, String) {
        let mut browser = self.browser();
        let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        let url = browser.go_through(Person { is_new: false, ..person }, start).await;
        (browser, param(&url, "code"))
    }

    /// A code for a client, by the session of this browser; a partner's page for consent is agreed to.
    pub async fn code(&self, browser: &mut Browser<'_>, client_id: &str, scope: &str) -> String {
        let start = browser.open(&authorize_url(client_id, scope, &[])).await;
        let url = browser.go_through(Person { is_new: false, ..ALICE }, start).await;
        param(&url, "code")
    }

    /// Tokens of the portal for a person who has just signed up.
    pub async fn tokens(&self, person: Person) -> (Browser<'_>, Answer) {
        let (browser, code) = self.sign_up(person).await;
        let answer = self.redeem("portal", &code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        (browser, answer)
    }

    pub async fn redeem(&self, client_id: &str, code: &str) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback(client_id)),
            ("code_verifier", VERIFIER),
        ];
        let basic = basic(client_id);
        prove(client_id, &mut form);
        self.post("/oauth2/token", basic.as_deref(), &form).await
    }

    pub async fn refresh(&self, client_id: &str, refresh_token: &str) -> Answer {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let basic = basic(client_id);
        prove(client_id, &mut form);
        self.post("/oauth2/token", basic.as_deref(), &form).await
    }

    /// Posts a form to an endpoint.
    pub async fn post<N: AsRef<str>, V: AsRef<str>>(
        &self,
        path: &str,
        authorization: Option<&str>,
        form: &[(N, V)],
    ) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.post_raw(path, authorization, body.into_bytes()).await
    }

    pub async fn post_raw(&self, path: &str, authorization: Option<&str>, body: Vec<u8>) -> Answer {
        let mut request = self.app.http().post(self.app.http_url(path));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let form = "application/x-www-form-urlencoded";
        answer(request.header("content-type", form).body(body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.app.http().get(self.app.http_url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.unwrap()).await
    }

    pub async fn userinfo(&self, access_token: &str) -> Answer {
        self.get("/oauth2/userinfo", &[("authorization", &format!("Bearer {access_token}"))]).await
    }

    /// The claims of a token, read as a relying party reads it: with the published key, for this audience.
    pub async fn read(&self, token: &str, typ: &str, audience: &str) -> Value {
        let keys: JwkSet = serde_json::from_value(self.get("/oauth2/keys.json", &[]).await.body).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ));
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[audience]);
        // The clock of the test stands elsewhere.
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
    }
}

pub async fn answer(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

fn callback(client_id: &str) -> &'static str {
    match client_id {
        "shop" => SHOP_CALLBACK,
        "forum" => FORUM_CALLBACK,
        "vault" => VAULT_CALLBACK,
        _ => PORTAL_CALLBACK,
    }
}

/// The Authorization header of a client that has one.
pub fn basic(client_id: &str) -> Option<String> {
    use base64::engine::general_purpose::STANDARD;
    matches!(client_id, "shop" | "profile" | "vault")
        .then(|| format!("Basic {}", STANDARD.encode(format!("{client_id}:{SECRET}"))))
}

fn prove<'a>(client_id: &'a str, form: &mut Vec<(&'a str, &'a str)>) {
    match client_id {
        "portal" => form.push(("client_id", client_id)),
        "forum" => form.extend([("client_id", client_id), ("client_secret", SECRET)]),
        _ => {}
    }
}

/// An authorization request with state, nonce and challenge.
pub fn authorize_url(client_id: &str, scope: &str, others: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let mut url = Url::parse(ISSUER).unwrap();
    url.set_path("/authorize");
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", callback(client_id))
        .append_pair("scope", scope)
        .append_pair("state", STATE)
        .append_pair("nonce", NONCE)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(others);
    url.into()
}

/// A parameter of the URL that a client is answered at.
#[track_caller]
pub fn param(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(own, _)| own == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_else(|| panic!("no {name} in {url}"))
}

/// What a service of the test is made of.
#[derive(Clone)]
pub struct Config {
    file: std::path::PathBuf,
    change: Arc<dyn Fn(&mut identity::Config) + Send + Sync>,
    kek: String,
}

impl Config {
    pub fn identity(&self, database_url: &str) -> identity::Config {
        let mut config = identity::Config {
            database_url: database_url.parse().unwrap(),
            kek: Some(self.kek.parse().unwrap()),
            issuer: ISSUER.to_owned(),
            bootstrap_file: Some(self.file.clone()),
            breached_file: None,
            hash_threads: 2,
            access_token_seconds: 300,
        };
        (self.change)(&mut config);
        config
    }

    // A process on a database that is there.
    async fn start_at(self, url: String, clock: Clock, peers: Peers) -> TestApp {
        TestApp::start_at(Service::Identity, url, clock, move |process, database_url| async move {
            self.components(&database_url, peers, process).await
        })
        .await
    }

    async fn components(
        &self,
        database_url: &str,
        peers: Peers,
        process: Process,
    ) -> Result<Vec<Component>, StartError> {
        let identity = identity::component(self.identity(database_url), process).await?;
        let mailer = Component::new(Service::Mailer)
            .grpc(Grpc::new().add(TransactionalServiceServer::new(peers.clone())));
        let profile =
            Component::new(Service::Profile).grpc(Grpc::new().add(ProfileServiceServer::new(peers)));
        Ok(vec![identity, mailer, profile])
    }
}

/// Mailer and profile as identity sees them, over real gRPC.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mails: Vec<SendTransactionalRequest>,
    profiles: HashMap<String, Profile>,
    profile_is: ProfileIs,
    mailer_is_down: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ProfileIs {
    #[default]
    Up,
    Down,
    Silent,
}

impl Peers {
    pub fn mails(&self) -> Vec<SendTransactionalRequest> {
        self.0.lock().unwrap().mails.clone()
    }

    /// The newest mail to an address, as soon as there is one.
    pub async fn mail_to(&self, email: &str) -> SendTransactionalRequest {
        testkit::eventually(DEADLINE, || async {
            self.mails().into_iter().rev().find(|mail| mail.address == email.as_bytes())
        })
        .await
    }

    /// The digits of the newest mail to an address.
    pub async fn code_for(&self, email: &str) -> String {
        self.mail_to(email).await.variables["code"].clone()
    }

    pub fn mailer_is_down(&self, down: bool) {
        self.0.lock().unwrap().mailer_is_down = down;
    }

    pub fn profile_is(&self, is: ProfileIs) {
        self.0.lock().unwrap().profile_is = is;
    }

    pub fn forget_profile(&self, user_id: UserId) {
        self.0.lock().unwrap().profiles.remove(&user_id.to_string());
    }

    pub fn set_profile(&self, user_id: UserId, profile: Profile) {
        self.0.lock().unwrap().profiles.insert(user_id.to_string(), profile);
    }
}

#[tonic::async_trait]
impl TransactionalService for Peers {
    async fn send_transactional(
        &self,
        request: Request<SendTransactionalRequest>,
    ) -> Result<Response<SendTransactionalResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        if state.mailer_is_down {
            return Err(Status::unavailable("down"));
        }
        let transactional_id = request.request_id.clone();
        if state.mails.iter().all(|mail| mail.request_id != request.request_id) {
            state.mails.push(request);
        }
        Ok(Response::new(SendTransactionalResponse { transactional_id }))
    }

    async fn get_transactional(
        &self,
        _: Request<GetTransactionalRequest>,
    ) -> Result<Response<GetTransactionalResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

#[tonic::async_trait]
impl ProfileService for Peers {
    async fn find_profile(
        &self,
        request: Request<FindProfileRequest>,
    ) -> Result<Response<FindProfileResponse>, Status> {
        let profile_is = self.0.lock().unwrap().profile_is;
        match profile_is {
            ProfileIs::Up => {}
            ProfileIs::Down => return Err(Status::unavailable("down")),
            ProfileIs::Silent => std::future::pending().await,
        }
        let asked = request.into_inner().external_id.unwrap_or_default();
        assert_eq!(asked.r#type, "user");
        let profile = self.0.lock().unwrap().profiles.get(&asked.value).cloned();
        let profile = profile.ok_or_else(|| Status::not_found("nobody"))?;
        Ok(Response::new(FindProfileResponse { profile: Some(profile) }))
    }

    async fn get_profile(
        &self,
        _: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn batch_get_profiles(
        &self,
        _: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<BatchGetProfilesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn update_profile(
        &self,
        _: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

/// A profile with names, a birth date and a language.
pub fn profile_of(given_name: &str, family_name: &str, birth_date: &str, locale: &str) -> Profile {
    use profile::trait_value::Kind;
    let one = |name: &str, kind: Kind| profile::Trait {
        name: name.to_owned(),
        value: Some(profile::TraitValue { kind: Some(kind) }),
        ..profile::Trait::default()
    };
    Profile {
        profile_id: domain::new_id().to_string(),
        version: 1,
        state: "active".to_owned(),
        traits: vec![
            one("given_name", Kind::Text(given_name.to_owned())),
            one("family_name", Kind::Text(family_name.to_owned())),
            one("birth_date", Kind::Date(birth_date.to_owned())),
        ],
        locale: locale.to_owned(),
        ..Profile::default()
    }
}

/// The back-channel logout endpoints of the relying parties: one listener, a path for each.
#[derive(Debug, Clone)]
pub struct RelyingParties {
    pub url: String,
    told: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<AtomicU16>,
}

impl RelyingParties {
    async fn start() -> Self {
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
