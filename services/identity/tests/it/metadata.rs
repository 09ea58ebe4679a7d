//! The metadata beside what the provider does: each member that it lists, and something that it does not list.

use std::collections::BTreeSet;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{
    browser::Arrived,
    clients::{ClientKey, MAILER_KEY, SECRET, assertion},
    oidf::suite::{RelyingParty, Request, Suite, query},
    registration::{call, initial_access_token},
    world::{ISSUER, basic},
};

fn listed<'a>(suite: &'a Suite, name: &str) -> Vec<&'a str> {
    suite.metadata[name].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect()
}

fn rp() -> RelyingParty {
    RelyingParty::known("suite")
}

/// The error that a request is answered with, or nothing where it is answered well or a page comes.
async fn error_of(suite: &Suite, request: &Request) -> Option<String> {
    match suite.browser().open(&suite.url(request)).await {
        Arrived::Away(url) => query(&url).get("error").cloned(),
        Arrived::Page(page) => {
            assert!(page.status.is_success(), "{}", page.html);
            None
        }
    }
}

#[tokio::test]
async fn every_listed_request_parameter_is_taken_and_no_other() {
    let suite = Suite::start().await;
    let essential = |acr: &str| json!({"id_token": {"acr": {"essential": true, "value": acr}}}).to_string();
    let with_claims = |values: Vec<&str>| values.into_iter().map(essential).collect::<Vec<_>>();
    let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let cases = [
        (
            "response_type",
            owned(listed(&suite, "response_types_supported")),
            "token",
            "unsupported_response_type",
        ),
        ("response_mode", owned(listed(&suite, "response_modes_supported")), "fragment", "invalid_request"),
        ("prompt", owned(listed(&suite, "prompt_values_supported")), "create", "invalid_request"),
        (
            "claims",
            with_claims(listed(&suite, "acr_values_supported")),
            &essential("urn:kotinos:acr:9"),
            "unmet_authentication_requirements",
        ),
    ];
    for (name, right, wrong, error) in cases {
        for value in &right {
            let told = error_of(&suite, &suite.request(&rp()).with(name, value)).await;
            let silent = value == "none" && told.as_deref() == Some("login_required");
            assert!(told.is_none() || silent, "{name}={value}: {told:?}");
        }
        let told = error_of(&suite, &suite.request(&rp()).with(name, wrong)).await;
        assert_eq!(told.as_deref(), Some(error), "{name}={wrong}");
    }
    let pkce = suite.request(&rp()).with_pkce();
    assert_eq!(listed(&suite, "code_challenge_methods_supported"), ["S256"]);
    assert_eq!(error_of(&suite, &pkce).await, None);
    let plain = error_of(&suite, &pkce.with("code_challenge_method", "plain")).await;
    assert_eq!(plain.as_deref(), Some("invalid_request"));
    for (flag, name, error) in [
        ("request_parameter_supported", "request", "request_not_supported"),
        ("request_uri_parameter_supported", "request_uri", "request_uri_not_supported"),
    ] {
        assert_eq!(suite.metadata[flag], json!(false));
        let told = error_of(&suite, &suite.request(&rp()).with(name, "https://suite.example/x")).await;
        assert_eq!(told.as_deref(), Some(error));
    }
}

#[tokio::test]
async fn every_listed_scope_claim_and_language_is_there() {
    let suite = Suite::start().await;
    let mut browser = suite.browser();
    for tag in listed(&suite, "ui_locales_supported") {
        let request = suite.request(&rp()).with("ui_locales", tag);
        let page = browser.open(&suite.url(&request)).await.page();
        assert!(page.html.contains(&format!("<html lang=\"{tag}\">")), "{tag}");
    }
    let scopes = listed(&suite, "scopes_supported");
    let request = suite.request(&rp()).with("scope", &scopes.join(" "));
    let tokens = suite.sign_in(&mut browser, &request).await;
    let granted: BTreeSet<&str> = tokens.body["scope"].as_str().unwrap().split(' ').collect();
    assert_eq!(granted, scopes.into_iter().collect());

    let told = suite.userinfo(&tokens).await;
    let there: BTreeSet<&str> =
        told.keys().chain(tokens.id.as_object().unwrap().keys()).map(String::as_str).collect();
    assert_eq!(there, listed(&suite, "claims_supported").into_iter().collect());
    assert_eq!(suite.metadata["claim_types_supported"], json!(["normal"]));
    assert!(told.get("_claim_names").is_none());
    // A first party knows the user by the public id, a partner by one of its own.
    assert_eq!(suite.metadata["subject_types_supported"], json!(["public", "pairwise"]));
    assert_ne!(told["sub"], json!(suite.user_id));
    // By the claims parameter each can be had in the ID token.
    let names: Vec<&str> = told.keys().map(String::as_str).filter(|name| *name != "sub").collect();
    let asked: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let request = suite.request(&rp()).with("claims", &json!({"id_token": asked}).to_string());
    let tokens = suite.sign_in(&mut browser, &request).await;
    for name in names {
        assert_eq!(tokens.id[name], told[name], "{name}");
    }
    assert_eq!(suite.userinfo(&tokens).await.len(), 1);
}

const DER_HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];

/// An RSA key of a client, with its public half as a JWK.
struct Rsa(RsaKeyPair, Value);

impl Rsa {
    fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // RFC 8017 A.1.1: a sequence of a modulus of 2048 bits and the exponent 65537 has everything at its place.
        let der = pair.public_key().as_ref().to_vec();
        assert_eq!((der.len(), &der[..9], &der[265..]), (270, &DER_HEAD[..], &[2, 3, 1, 0, 1][..]));
        let modulus = URL_SAFE_NO_PAD.encode(&der[9..265]);
        let jwk = json!({"kty": "RSA", "kid": "rsa", "use": "sig", "n": modulus, "e": "AQAB"});
        Self(pair, jwk)
    }

    fn sign(&self, alg: &str, claims: &Value) -> String {
        let padding: &'static dyn RsaEncoding =
            if alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let header = json!({"alg": alg, "kid": "rsa"});
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[tokio::test]
async fn every_listed_client_authentication_is_taken_where_it_is_listed() {
    let suite = Suite::start().await;
    let world = &suite.world;
    let post_secret = [("client_id", "suite-post"), ("client_secret", SECRET)];
    for (endpoint, list, form) in [
        (
            "token_endpoint",
            "token_endpoint_auth_methods_supported",
            [("grant_type", "authorization_code"), ("code", "x")],
        ),
        (
            "introspection_endpoint",
            "introspection_endpoint_auth_methods_supported",
            [("token", "x"), ("y", "z")],
        ),
        ("revocation_endpoint", "revocation_endpoint_auth_methods_supported", [("token", "x"), ("y", "z")]),
    ] {
        let path = suite.endpoint(endpoint);
        let methods = listed(&suite, list);
        for method in ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] {
            let signed = MAILER_KEY.sign(&assertion(world.app.clock.now()));
            let by_key = [("client_assertion_type", JWT_BEARER), ("client_assertion", signed.as_str())];
            let (header, proof): (Option<String>, Vec<(&str, &str)>) = match method {
                "client_secret_basic" => (basic("shop"), Vec::new()),
                "client_secret_post" => (None, post_secret.to_vec()),
                "private_key_jwt" => (None, by_key.to_vec()),
                _ => (None, vec![("client_id", "portal")]),
            };
            let answer = world.post(&path, header.as_deref(), &[form.as_slice(), &proof].concat()).await;
            let refused = answer.text("error") == "invalid_client";
            assert_eq!(refused, !methods.contains(&method), "{method} at {path}: {}", answer.body);
        }
        assert!(!methods.contains(&"client_secret_jwt") && !methods.contains(&"tls_client_auth"));
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[tokio::test]
async fn every_listed_algorithm_is_used_and_no_other() {
    let mut suite = Suite::start_registering().await;
    let token = initial_access_token(&suite.world, "partners").await;
    let path = suite.endpoint("registration_endpoint");
    let register = async |suite: &Suite, changes: Value| {
        let mut metadata = json!({"redirect_uris": ["https://dynamic.example/callback"]});
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        call(&suite.world, Method::POST, &path, &token, Some(&metadata)).await
    };
    let algorithms: Vec<String> =
        listed(&suite, "id_token_signing_alg_values_supported").into_iter().map(str::to_owned).collect();
    for alg in &algorithms {
        let client = register(&suite, json!({"id_token_signed_response_alg": alg})).await;
        assert_eq!(client.text("id_token_signed_response_alg"), alg, "{}", client.body);
        let rp = RelyingParty {
            client_id: client.text("client_id").to_owned(),
            secret: client.text("client_secret").to_owned(),
            posts_secret: false,
            redirect_uri: "https://dynamic.example/callback".to_owned(),
        };
        // Its key is made once a client asks for it.
        suite.await_key(alg).await;
        let tokens = suite.sign_in(&mut suite.browser(), &suite.request(&rp)).await;
        assert_eq!(json!(tokens.header.alg), json!(alg));
    }
    for alg in ["none", "HS256", "ES384"] {
        register(&suite, json!({"id_token_signed_response_alg": alg}))
            .await
            .refused_with(400, "invalid_client_metadata");
    }

    let (ec, rsa) = (ClientKey::generate(), Rsa::generate());
    let keys = json!({"keys": [ec.public(), rsa.1.clone()]});
    let client =
        register(&suite, json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": keys})).await;
    let id = client.text("client_id").to_owned();
    let claims = || {
        let now = suite.world.app.clock.now().timestamp();
        json!({"iss": id, "sub": id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": domain::new_id().to_string()})
    };
    let attempt = async |text: String| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", text.as_str()),
        ];
        suite.world.post(&suite.endpoint("token_endpoint"), None, &form).await.text("error").to_owned()
    };
    for alg in listed(&suite, "token_endpoint_auth_signing_alg_values_supported") {
        let text = if alg == "ES256" { ec.sign(&claims()) } else { rsa.sign(alg, &claims()) };
        // A wrong code is what remains to be said to a client that is right.
        assert_eq!(attempt(text).await, "invalid_grant", "{alg}");
    }
    assert_eq!(attempt(rsa.sign("RS384", &claims())).await, "invalid_client");
}

#[tokio::test]
async fn every_listed_grant_is_known_and_every_endpoint_answers() {
    let suite = Suite::start().await;
    let grants = listed(&suite, "grant_types_supported");
    for grant in
        grants.iter().chain(&["password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer"])
    {
        let answer = suite
            .world
            .post(&suite.endpoint("token_endpoint"), basic("shop").as_deref(), &[("grant_type", *grant)])
            .await;
        assert_eq!(answer.text("error") == "unsupported_grant_type", !grants.contains(grant), "{grant}");
    }
    for (name, url) in suite.metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let path = Url::parse(url.as_str().unwrap()).unwrap().path().to_owned();
            let status = suite.world.get(&path, &[]).await.status.as_u16();
            assert!(status != 404 && status < 500, "{name}: {status}");
        }
    }
}
