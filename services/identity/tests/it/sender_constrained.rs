//! DPoP (RFC 9449) with clients of the plain profile, who may use it or not.

use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    clients::{MAILER_KEY, PORTAL_CALLBACK, PORTAL_SCOPE, assertion, with_assertion},
    oidf::fapi2::signer::{Signer, sha256},
    world::{ALICE, Answer, ISSUER, VERIFIER, World, answer, authorize_url, basic, param},
};

const TOKEN: &str = "/oauth2/token";

/// Somebody with a key and the server's newest nonce.
struct Holder<'w> {
    world: &'w World,
    key: Signer,
    nonce: String,
}

impl<'w> Holder<'w> {
    async fn new(world: &'w World) -> Self {
        let mut this = Self { world, key: Signer::p256(), nonce: String::new() };
        let refused = this.post(TOKEN, &[("client_id", "portal"), ("grant_type", "refresh_token")]).await;
        refused.refused_with(400, "use_dpop_nonce");
        this.nonce = refused.header("dpop-nonce").to_owned();
        assert!(!this.nonce.is_empty());
        this
    }

    fn proof(&self, method: &str, path: &str, access_token: Option<&str>) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.public_jwk()});
        let mut claims = json!({
            "jti": domain::new_id(), "htm": method, "htu": format!("{ISSUER}{path}"),
            "iat": self.world.app.clock.now().timestamp(),
        });
        if !self.nonce.is_empty() {
            claims["nonce"] = Value::from(self.nonce.as_str());
        }
        if let Some(token) = access_token {
            claims["ath"] = Value::from(sha256(token));
        }
        self.key.jws(&header, &claims)
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &self.proof("POST", path, None)).await
    }

    async fn post_with(&self, path: &str, form: &[(&str, &str)], proof: &str) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.world.app.http().post(self.world.app.http_url(path)).header("dpop", proof);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        answer(request.body(body).send().await.unwrap()).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        let form = [
            ("client_id", "portal"),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", PORTAL_CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post(TOKEN, &form).await
    }

    async fn refresh(&self, refresh_token: &str) -> Answer {
        let form =
            [("client_id", "portal"), ("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.post(TOKEN, &form).await
    }

    async fn userinfo(&self, token: &str) -> Answer {
        let proof = self.proof("GET", "/oauth2/userinfo", Some(token));
        let headers = [("authorization", &*format!("DPoP {token}")), ("dpop", &proof)];
        self.world.get("/oauth2/userinfo", &headers).await
    }
}

#[tokio::test]
async fn a_public_clients_tokens_count_with_its_key_only() {
    let world = World::start().await;
    let (owner, thief) = (Holder::new(&world).await, Holder::new(&world).await);
    let (_, code) = world.sign_up(ALICE).await;
    let tokens = owner.redeem(&code).await;
    assert_eq!((tokens.status, tokens.text("token_type")), (StatusCode::OK, "DPoP"));
    let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));

    assert_eq!(owner.userinfo(access).await.status, StatusCode::OK);
    let stolen = thief.userinfo(access).await;
    assert_eq!((stolen.status, stolen.text("error")), (StatusCode::UNAUTHORIZED, "invalid_token"));
    assert!(stolen.header("www-authenticate").starts_with("DPoP "));
    assert_eq!(world.userinfo(access).await.status, StatusCode::UNAUTHORIZED);

    thief.refresh(refresh).await.refused_with(400, "invalid_grant");
    world.refresh("portal", refresh).await.refused_with(400, "invalid_grant");
    // Neither counts as a use: the family is as it was.
    let next = owner.refresh(refresh).await;
    assert_eq!((next.status, next.text("token_type")), (StatusCode::OK, "DPoP"), "{}", next.body);
    assert_eq!(owner.userinfo(next.text("access_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_api_learns_to_which_key_a_token_is_bound() {
    let world = World::start().await;
    let owner = Holder::new(&world).await;
    let (_, code) = world.sign_up(ALICE).await;
    let tokens = owner.redeem(&code).await;
    let form = [("token", tokens.text("access_token"))];
    let told = world.post("/oauth2/introspect", basic("profile").as_deref(), &form).await;
    assert_eq!((told.body["active"].as_bool(), told.text("token_type")), (Some(true), "DPoP"));
    assert_eq!(told.body["cnf"], json!({"jkt": owner.key.thumbprint()}));
}

#[tokio::test]
async fn a_token_without_a_key_stays_a_bearers() {
    let world = World::start().await;
    let holder = Holder::new(&world).await;
    let (_, tokens) = world.tokens(ALICE).await;
    let access = tokens.text("access_token");
    assert_eq!(holder.userinfo(access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.userinfo(access).await.status, StatusCode::OK);
    // It may become bound later, and the grant of a client that proves nothing then is not.
    let next = holder.refresh(tokens.text("refresh_token")).await;
    assert_eq!(next.text("token_type"), "DPoP");
    let last = world.refresh("portal", next.text("refresh_token")).await;
    assert_eq!(last.text("token_type"), "Bearer");
}

#[tokio::test]
async fn a_code_is_bound_to_the_key_that_the_request_names() {
    let world = World::start().await;
    let (owner, thief) = (Holder::new(&world).await, Holder::new(&world).await);
    let (mut browser, _) = world.sign_up(ALICE).await;
    let jkt = owner.key.thumbprint();
    let url = authorize_url("portal", PORTAL_SCOPE, &[("dpop_jkt", &jkt)]);
    let code = param(&browser.open(&url).await.away(), "code");
    world.redeem("portal", &code).await.refused_with(400, "invalid_grant");
    thief.redeem(&code).await.refused_with(400, "invalid_grant");
    assert_eq!(owner.redeem(&code).await.status, StatusCode::OK);
    let away = browser.open(&authorize_url("portal", "openid", &[("dpop_jkt", "x")])).await.away();
    assert_eq!(param(&away, "error"), "invalid_request");
}

#[tokio::test]
async fn a_nonce_is_asked_for_and_gets_old() {
    let world = World::start().await;
    let holder = Holder::new(&world).await;
    let (_, code) = world.sign_up(ALICE).await;
    world.advance(TimeDelta::seconds(1));
    let first = holder.redeem(&code).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_ne!(first.header("dpop-nonce"), holder.nonce, "each answer brings the next one");
    world.advance(TimeDelta::minutes(5));
    holder.refresh(first.text("refresh_token")).await.refused_with(400, "use_dpop_nonce");
    let refused = holder.userinfo(first.text("access_token")).await;
    assert_eq!((refused.status, refused.text("error")), (StatusCode::UNAUTHORIZED, "use_dpop_nonce"));
    assert!(refused.header("www-authenticate").contains("error=\"use_dpop_nonce\""));
    assert!(!refused.header("dpop-nonce").is_empty());
    // Who shows no proof needs none.
    let plain = world.post(TOKEN, None, &[("client_id", "portal")]).await;
    assert_eq!(plain.header("dpop-nonce"), "");
}

#[tokio::test]
async fn a_proof_counts_once_also_for_many_at_once() {
    let world = World::start().await;
    let holder = Holder::new(&world).await;
    let proof = holder.proof("POST", TOKEN, None);
    let form = with_assertion("x");
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // Who is not who it says never gets as far as its proof.
    holder.post_with(TOKEN, &form, &proof).await.refused_with(401, "invalid_client");
    let wrong_token = [("client_id", "portal"), ("grant_type", "refresh_token"), ("refresh_token", "x")];
    let answers =
        futures::future::join_all((0..10).map(|_| holder.post_with(TOKEN, &wrong_token, &proof))).await;
    let count = |error: &str| answers.iter().filter(|answer| answer.text("error") == error).count();
    assert_eq!((count("invalid_grant"), count("invalid_dpop_proof")), (1, 9));
}

#[tokio::test]
async fn a_services_own_token_can_be_bound_too() {
    let world = World::start().await;
    let holder = Holder::new(&world).await;
    let form = with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = holder.post(TOKEN, &form).await;
    assert_eq!((answer.status, answer.text("token_type")), (StatusCode::OK, "DPoP"));
    let claims = world.read(answer.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!(claims["cnf"]["jkt"], json!(holder.key.thumbprint()));
}
