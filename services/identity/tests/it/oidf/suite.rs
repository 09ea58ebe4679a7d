//! What the modules have in common: a relying party of the suite, its requests, and what it checks of every answer.

mod checks;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use reqwest::header::LOCATION;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    browser::{Arrived, Asks, Browser, Person},
    clients::SECRET,
    world::{ALICE, Answer, DEADLINE, ISSUER, World},
};

pub use checks::{
    check_error, check_keys, check_response, check_token_error, check_userinfo, encoded, query,
};

pub const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A relying party as the suite registers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    pub client_id: String,
    pub secret: String,
    pub posts_secret: bool,
    pub redirect_uri: String,
}

/// The suite, with a provider to look at and its user.
pub struct Suite {
    pub world: World,
    pub metadata: Value,
    pub keys: JwkSet,
    /// As first parties know the user.
    pub user_id: String,
}

/// An authorization request.
#[derive(Debug, Clone)]
pub struct Request {
    pub rp: RelyingParty,
    pub params: BTreeMap<String, String>,
    verifier: Option<String>,
}

/// A successful answer of the token endpoint.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub body: Value,
    pub header: jsonwebtoken::Header,
    pub id: Value,
}

impl RelyingParty {
    /// One that the bootstrap file names.
    pub fn known(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            secret: SECRET.to_owned(),
            posts_secret: client_id == "suite-post",
            redirect_uri: format!("https://{client_id}.example/callback"),
        }
    }

    pub fn post_logout_redirect_uri(&self) -> String {
        self.redirect_uri.replace("/callback", "/post_logout_redirect")
    }
}

impl Suite {
    /// Reads metadata and keys as each module does first, with a user who has every claim.
    pub async fn start() -> Self {
        Self::at(World::start().await).await
    }

    /// With a provider at which clients register themselves. The suite reads the keys once, before it registers one.
    pub async fn start_registering() -> Self {
        let world = World::start_registering().await;
        await_key(&world, "RS256").await;
        Self::at(world).await
    }

    /// Reads the keys again, as soon as there is one of this algorithm.
    pub async fn await_key(&mut self, alg: &str) {
        self.keys = serde_json::from_value(await_key(&self.world, alg).await).unwrap();
    }

    async fn at(world: World) -> Self {
        let (_, tokens) = world.tokens(ALICE).await;
        let sub = world.read(tokens.text("id_token"), "JWT", "portal").await["sub"].clone();
        let user_id = sub.as_str().unwrap().to_owned();
        world.peers.set_profile(user_id.parse().unwrap(), crate::oidf::alice());
        let metadata = world.get(DISCOVERY, &[]).await;
        assert_eq!((metadata.status.as_u16(), metadata.text("issuer")), (200, ISSUER));
        let keys = world.get(metadata.text("jwks_uri").strip_prefix(ISSUER).unwrap(), &[]).await;
        check_keys(&keys.body);
        let keys = serde_json::from_value(keys.body).unwrap();
        Self { metadata: metadata.body, keys, user_id, world }
    }

    pub fn browser(&self) -> Browser<'_> {
        self.world.browser()
    }

    /// The path of an endpoint that the metadata names.
    #[track_caller]
    pub fn endpoint(&self, name: &str) -> String {
        let url = self.metadata[name].as_str().unwrap_or_else(|| panic!("no {name}"));
        url.strip_prefix(ISSUER).unwrap().to_owned()
    }

    /// A request for `openid` with a fresh state and nonce.
    pub fn request(&self, rp: &RelyingParty) -> Request {
        let random = || domain::new_id().simple().to_string();
        let params = [
            ("client_id", rp.client_id.clone()),
            ("redirect_uri", rp.redirect_uri.clone()),
            ("scope", "openid".to_owned()),
            ("state", random()),
            ("nonce", random()),
            ("response_type", "code".to_owned()),
        ];
        let params = params.map(|(name, value)| (name.to_owned(), value)).into();
        Request { rp: rp.clone(), params, verifier: None }
    }

    /// The URL to which the suite redirects the browser.
    pub fn url(&self, request: &Request) -> String {
        format!("{}?{}", self.endpoint("authorization_endpoint"), encoded(request.params.iter()))
    }

    /// Where the user ends who does whatever the pages ask for.
    pub async fn authorize(&self, browser: &mut Browser<'_>, request: &Request) -> Url {
        let start = browser.open(&self.url(request)).await;
        self.go_through(browser, start).await
    }

    pub async fn go_through(&self, browser: &mut Browser<'_>, start: Arrived) -> Url {
        browser.go_through(Person { is_new: false, ..ALICE }, start).await
    }

    /// As [`Self::authorize`], where the user has to be asked to sign in, a session or not.
    pub async fn authorize_by_login(&self, browser: &mut Browser<'_>, request: &Request) -> Url {
        let page = browser.open(&self.url(request)).await.page();
        assert!(page.form_asking(Asks::Password).is_some(), "no login page: {}", page.html);
        self.go_through(browser, Arrived::Page(page)).await
    }

    /// As [`Self::authorize`], where no page may be shown.
    pub async fn authorize_silently(&self, browser: &mut Browser<'_>, request: &Request) -> Url {
        browser.open(&self.url(request)).await.away()
    }

    /// A whole flow: authorization, code for tokens, userinfo.
    pub async fn sign_in(&self, browser: &mut Browser<'_>, request: &Request) -> Tokens {
        let callback = self.authorize(browser, request).await;
        self.complete(request, &callback).await
    }

    /// What follows an authorization response.
    pub async fn complete(&self, request: &Request, callback: &Url) -> Tokens {
        let code = check_response(request, callback);
        let tokens = self.check_tokens(request, &self.redeem(request, &code).await);
        self.userinfo(&tokens).await;
        tokens
    }

    pub async fn redeem(&self, request: &Request, code: &str) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", request.rp.redirect_uri.as_str()),
        ];
        form.extend(request.verifier.as_deref().map(|verifier| ("code_verifier", verifier)));
        self.token(&request.rp, form).await
    }

    pub async fn refresh(&self, rp: &RelyingParty, refresh_token: &str, scope: Option<&str>) -> Answer {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        form.extend(scope.map(|scope| ("scope", scope)));
        self.token(rp, form).await
    }

    async fn token(&self, rp: &RelyingParty, mut form: Vec<(&str, &str)>) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", rp.client_id, rp.secret)));
        if rp.posts_secret {
            form.extend([("client_id", rp.client_id.as_str()), ("client_secret", rp.secret.as_str())]);
        }
        let header = (!rp.posts_secret).then_some(basic.as_str());
        self.world.post(&self.endpoint("token_endpoint"), header, &form).await
    }

    /// A right answer of the token endpoint (OIDC Core 3.1.3.3) with a right ID token (3.1.3.7).
    #[track_caller]
    pub fn check_tokens(&self, request: &Request, answer: &Answer) -> Tokens {
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        assert!(answer.header("content-type").starts_with("application/json"));
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
        assert!(!answer.text("access_token").is_empty() && answer.body.get("error").is_none());
        assert!(answer.text("token_type").eq_ignore_ascii_case("bearer"));
        assert!((1..=31_536_000).contains(&answer.body["expires_in"].as_i64().unwrap()));
        let (header, id) = self.check_id_token(request, answer.text("id_token"));
        if let Some(at_hash) = id.get("at_hash") {
            let hash = digest(&SHA256, answer.text("access_token").as_bytes());
            assert_eq!(*at_hash, json!(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])));
        }
        Tokens { body: answer.body.clone(), header, id }
    }

    #[track_caller]
    fn check_id_token(&self, request: &Request, token: &str) -> (jsonwebtoken::Header, Value) {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let listed = self.metadata["id_token_signing_alg_values_supported"].as_array().unwrap();
        assert!(listed.contains(&json!(header.alg)), "{:?} is not listed", header.alg);
        let id = self.verify(token, header.alg, &request.rp.client_id);
        let now = self.world.app.clock.now().timestamp();
        let at = |name: &str| id[name].as_i64().unwrap_or_else(|| panic!("no {name} in {id}"));
        assert!(at("exp") > now && (now - 300..=now + 300).contains(&at("iat")));
        if id.get("auth_time").is_some() {
            assert!((now - 31_536_000..=now + 300).contains(&at("auth_time")));
        }
        assert!(!id["sub"].as_str().unwrap().is_empty() && id["sub"].as_str().unwrap().len() <= 255);
        assert_eq!(id.get("nonce").and_then(Value::as_str), request.params.get("nonce").map(String::as_str));
        assert!(id.get("acr").is_none_or(|acr| !acr.as_str().unwrap().is_empty()));
        (header, id)
    }

    /// The claims of a token that a published key signed for this audience.
    #[track_caller]
    pub fn verify(&self, token: &str, alg: Algorithm, audience: &str) -> Value {
        assert!([Algorithm::ES256, Algorithm::RS256, Algorithm::PS256].contains(&alg), "{alg:?}");
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.expect("a kid");
        let key = DecodingKey::from_jwk(self.keys.find(&kid).expect("a published key")).unwrap();
        let mut rules = Validation::new(alg);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["iss", "aud", "exp"]);
        // The clock of the test stands elsewhere.
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
    }

    /// The claims of the userinfo endpoint by GET (OIDC Core 5.3).
    pub async fn userinfo(&self, tokens: &Tokens) -> Map<String, Value> {
        let bearer = format!("Bearer {}", tokens.access_token());
        let answer = self.world.get(&self.endpoint("userinfo_endpoint"), &[("authorization", &bearer)]).await;
        check_userinfo(tokens, &answer)
    }

    /// A form that another site's page posts to the authorization endpoint: no cookie goes along.
    pub async fn post_from_elsewhere(&self, browser: &mut Browser<'_>, request: &Request) -> Arrived {
        let url = self.world.app.http_url(&self.endpoint("authorization_endpoint"));
        let post = self.world.app.http().post(url).header("sec-fetch-site", "cross-site");
        let post = post.header("origin", "https://suite.example").form(&request.params);
        let answer = post.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 303);
        let location = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        browser.open(&location).await
    }
}

impl Request {
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.params.insert(name.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.params.remove(name).expect("it was there");
        self
    }

    #[must_use]
    pub fn with_pkce(mut self) -> Self {
        let verifier =
            [domain::new_id().simple().to_string(), domain::new_id().simple().to_string()].concat();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        self.verifier = Some(verifier);
        self.with("code_challenge", &challenge).with("code_challenge_method", "S256")
    }
}

impl Tokens {
    pub fn access_token(&self) -> &str {
        self.body["access_token"].as_str().unwrap()
    }

    pub fn id_token(&self) -> &str {
        self.body["id_token"].as_str().unwrap()
    }
}

async fn await_key(world: &World, alg: &str) -> Value {
    testkit::eventually(DEADLINE, || async {
        let set = world.get("/oauth2/keys.json", &[]).await.body;
        let there = set["keys"].as_array().unwrap().iter().any(|key| key["alg"] == alg);
        there.then_some(set)
    })
    .await
}
