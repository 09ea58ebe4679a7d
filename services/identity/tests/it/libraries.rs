//! What relying parties' libraries have stumbled over at other providers: content types, kinds of values, names of keys,
//! challenges, spellings.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    clients::{PORTAL_CALLBACK, SECRET},
    world::{ALICE, Answer, VERIFIER, World, authorize_url, basic, param},
};

/// No null, no fraction, anywhere.
fn check_values(path: &str, value: &Value) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::Number(number) => assert!(number.is_i64(), "{path} is {number}"),
        Value::Array(values) => values.iter().for_each(|one| check_values(path, one)),
        Value::Object(members) => {
            members.iter().for_each(|(name, one)| check_values(&format!("{path}.{name}"), one));
        }
        Value::Bool(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_answer_is_plain_json_of_whole_numbers() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let access_token = tokens.text("access_token");
    let refreshed = world.refresh("portal", tokens.text("refresh_token")).await;
    let shop = basic("shop");
    let introspected = world.post("/oauth2/introspect", shop.as_deref(), &[("token", access_token)]).await;
    let answers: [(&str, Answer); 7] = [
        ("metadata", world.get("/.well-known/openid-configuration", &[]).await),
        ("keys", world.get("/oauth2/keys.json", &[]).await),
        ("userinfo", world.userinfo(access_token).await),
        ("introspection", introspected),
        ("refusal", world.post("/oauth2/token", basic("shop").as_deref(), &[("grant_type", "none")]).await),
        ("refresh", refreshed),
        ("tokens", tokens),
    ];
    for (name, answer) in &answers {
        // Some compare the whole text, without parameters.
        assert_eq!(answer.header("content-type"), "application/json", "{name}");
        check_values(name, &answer.body);
    }
    let [_, _, userinfo, _, _, refreshed, tokens] = &answers;
    assert!(tokens.1.body["expires_in"].is_u64() && userinfo.1.body["email_verified"].is_boolean());
    assert!(refreshed.1.body["expires_in"].is_u64() && !refreshed.1.text("scope").is_empty());
}

#[tokio::test]
async fn an_id_token_has_one_audience_as_a_text_and_names_its_key() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    // Reading it checks `kid` against the published keys.
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!((&claims["aud"], claims.get("azp")), (&"portal".into(), None));
    check_values("claims", &claims);
    for name in ["iat", "exp", "auth_time"] {
        assert!(claims[name].is_u64(), "{name} is {}", claims[name]);
    }
    let keys = world.get("/oauth2/keys.json", &[]).await.body;
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        for name in ["kty", "kid", "use", "alg"] {
            assert!(key[name].is_string(), "a key without {name}");
        }
    }
}

#[tokio::test]
async fn headers_and_parameters_are_read_in_every_right_spelling() {
    let world = World::start().await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    let lower = format!("bearer {}", tokens.text("access_token"));
    let answer = world.get("/oauth2/userinfo", &[("authorization", &lower)]).await;
    assert_eq!(answer.status, StatusCode::OK);

    // RFC 6749 2.3.1: id and secret are form-encoded first, which some do to every letter.
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let encoded = STANDARD.encode(format!("{}:{}", encode("shop"), encode(SECRET)));
    for header in [format!("Basic {encoded}"), format!("BASIC {encoded}")] {
        let answer = world.post("/oauth2/introspect", Some(&header), &[("token", "none")]).await;
        assert_eq!((answer.status, &answer.body["active"]), (StatusCode::OK, &false.into()));
    }

    // RFC 6749 3.2: no value is no parameter, and what is not known does not matter.
    let url =
        authorize_url("portal", "openid", &[("resource", ""), ("claims_locales", ""), ("audience", "x")]);
    let answered = browser.open(&url).await.away();
    let code = param(&answered, "code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", PORTAL_CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "portal"),
        ("client_secret", ""),
        ("scope", ""),
        ("state", "x"),
        ("session_state", ""),
    ];
    assert_eq!(world.post("/oauth2/token", None, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn challenges_are_schemes_and_their_parameters() {
    let world = World::start().await;
    let wrong = format!("Basic {}", STANDARD.encode("shop:wrong"));
    let challenges = [
        world.userinfo("nonsense").await,
        world.get("/oauth2/userinfo", &[]).await,
        world.post("/oauth2/token", Some(&wrong), &[("grant_type", "client_credentials")]).await,
        world.post("/oauth2/introspect", Some(&wrong), &[("token", "x")]).await,
    ];
    for answer in challenges {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let header = answer.header("www-authenticate");
        for part in header.split(", ") {
            // A scheme stands before the first of its parameters (RFC 9110 11.6.1).
            let (scheme, parameter) = part.split_once(' ').filter(|(left, _)| !left.contains('=')).unzip();
            assert!(scheme.is_none_or(|scheme| ["Basic", "Bearer", "DPoP"].contains(&scheme)), "{header}");
            let parameter = parameter.unwrap_or(part);
            let (name, value) = parameter.split_once('=').unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{header}");
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
            assert!(!inner.contains(['"', '\\']), "{header}");
        }
    }
}
