//! Claims asked for by name (OIDC Core 5.5).

use serde_json::{Value, json};

use crate::{
    browser::{Browser, Page},
    oidf::suite::{RelyingParty, Request, Suite, Tokens, check_error, check_response, query},
    world::{ALICE, BOB, ProfileIs},
};

fn rp() -> RelyingParty {
    RelyingParty::known("suite")
}

fn asking(suite: &Suite, claims: &Value) -> Request {
    suite.request(&rp()).with("claims", &claims.to_string())
}

async fn consent_page(suite: &Suite, browser: &mut Browser<'_>, request: &Request) -> Page {
    let page = browser.open(&suite.url(request)).await.page();
    assert_eq!(page.url.path(), "/consent", "{}", page.html);
    page
}

async fn signed_in(suite: &Suite) -> (Browser<'_>, Tokens) {
    let mut browser = suite.browser();
    let tokens = suite.sign_in(&mut browser, &suite.request(&rp())).await;
    (browser, tokens)
}

#[tokio::test]
async fn the_user_allows_each_thing_that_is_asked_for_by_name() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    let request = asking(
        &suite,
        &json!({
            "userinfo": {"given_name": null, "family_name": {"essential": true}},
            "id_token": {"birthdate": null, "phone_number": null, "shoe_size": {"essential": true}},
        }),
    );
    let silent = request.clone().with("prompt", "none");
    let url = suite.authorize_silently(&mut browser, &silent).await;
    check_error(&silent, &url, &["consent_required"]);

    let page = consent_page(&suite, &mut browser, &request).await;
    let text = page.text();
    for words in ["see your name", "see your birth date", "see your telephone number"] {
        assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    }
    // What was allowed before is not asked again, and what nobody knows is not asked at all.
    assert!(!text.contains("know who you are") && !text.contains("shoe"), "{text}");
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    let denied = browser.submit(&form, Some("deny")).await.away();
    check_error(&request, &denied, &["access_denied"]);

    let tokens = suite.sign_in(&mut browser, &request).await;
    let told = suite.userinfo(&tokens).await;
    assert_eq!((&told["given_name"], &told["family_name"]), (&json!("Alice"), &json!("Tanaka")));
    assert_eq!(told.len(), 3);
    assert_eq!(
        (&tokens.id["birthdate"], &tokens.id["phone_number"]),
        (&json!("1990-02-28"), &json!("+81312345678"))
    );
    assert!(tokens.id.get("given_name").is_none());
    // A part of it needs no page any more, and says no more than it asks.
    let part = asking(&suite, &json!({"userinfo": {"given_name": null}})).with("prompt", "none");
    let url = suite.authorize_silently(&mut browser, &part).await;
    let tokens = suite.complete(&part, &url).await;
    assert_eq!(suite.userinfo(&tokens).await.len(), 2);
}

#[tokio::test]
async fn a_refresh_keeps_what_was_asked_for() {
    let suite = Suite::start().await;
    let claims = json!({"userinfo": {"email": null}, "id_token": {"gender": null}});
    let request = asking(&suite, &claims).with("scope", "openid offline_access").with("prompt", "consent");
    let first = suite.sign_in(&mut suite.browser(), &request).await;
    let answer = suite.refresh(&rp(), first.body["refresh_token"].as_str().unwrap(), None).await;
    let second = suite.check_tokens(&request.without("nonce"), &answer);
    assert_eq!((&first.id["gender"], &second.id["gender"]), (&json!("female"), &json!("female")));
    assert_eq!(suite.userinfo(&second).await["email"], ALICE.email);
}

#[tokio::test]
async fn a_claim_is_told_only_with_a_value_that_was_asked_for() {
    let suite = Suite::start().await;
    let claims = json!({
        "userinfo": {"email": {"value": ALICE.email}, "name": {"values": ["Bob", "Alice Tanaka"]}},
        "id_token": {"email": {"value": BOB.email}, "gender": {"values": ["male", "other"]}},
    });
    let tokens = suite.sign_in(&mut suite.browser(), &asking(&suite, &claims)).await;
    let told = suite.userinfo(&tokens).await;
    assert_eq!((&told["email"], &told["name"]), (&json!(ALICE.email), &json!("Alice Tanaka")));
    assert!(tokens.id.get("email").is_none() && tokens.id.get("gender").is_none());
}

#[tokio::test]
async fn no_client_gets_by_name_what_its_scopes_do_not_open() {
    let suite = Suite::start().await;
    let world = &suite.world;
    let claims = json!({"userinfo": {"email": null, "address": null}}).to_string();
    // The forum is registered for `openid` alone.
    let mut browser = suite.browser();
    let url = crate::world::authorize_url("forum", "openid", &[("claims", &claims)]);
    let start = browser.open(&url).await;
    let url = suite.go_through(&mut browser, start).await;
    let tokens = world.redeem("forum", &query(&url)["code"]).await;
    let told = world.userinfo(tokens.text("access_token")).await;
    assert_eq!(told.body.as_object().unwrap().len(), 1, "{}", told.body);
}

#[tokio::test]
async fn the_user_who_is_named_and_no_other() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let named =
        |sub: &Value| asking(&suite, &json!({"id_token": {"sub": {"value": sub}}})).with("prompt", "none");
    let right = named(&tokens.id["sub"]);
    let url = suite.authorize_silently(&mut browser, &right).await;
    suite.complete(&right, &url).await;
    // Even the same person by the name that another client has for her.
    for wrong in [json!(suite.user_id), json!("bob")] {
        let request = named(&wrong);
        let url = suite.authorize_silently(&mut browser, &request).await;
        check_error(&request, &url, &["login_required"]);
        let hinted = request.with("id_token_hint", tokens.id_token());
        let url = suite.authorize_silently(&mut browser, &hinted).await;
        check_error(&hinted, &url, &["login_required"]);
    }
}

#[tokio::test]
async fn an_essential_acr_is_met_or_refused() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    let acr = |wish: Value| asking(&suite, &json!({"id_token": {"acr": wish}})).with("prompt", "none");
    let one = "urn:kotinos:acr:1";
    for wish in [
        json!({"essential": true, "values": ["urn:example:x", one]}),
        json!({"essential": true}),
        json!({"values": ["urn:example:x"]}),
        json!(null),
    ] {
        let request = acr(wish);
        let url = suite.authorize_silently(&mut browser, &request).await;
        assert_eq!(suite.complete(&request, &url).await.id["acr"], one);
    }
    let request = acr(json!({"essential": true, "values": ["urn:example:x"]}));
    let url = suite.authorize_silently(&mut browser, &request).await;
    check_error(&request, &url, &["unmet_authentication_requirements"]);
}

#[tokio::test]
async fn without_profile_a_code_is_not_spent_on_half_an_id_token() {
    let suite = Suite::start().await;
    let request = asking(&suite, &json!({"id_token": {"name": null}}));
    let url = suite.authorize(&mut suite.browser(), &request).await;
    let code = check_response(&request, &url);
    suite.world.peers.profile_is(ProfileIs::Down);
    suite.redeem(&request, &code).await.refused_with(503, "temporarily_unavailable");
    suite.world.peers.profile_is(ProfileIs::Up);
    let tokens = suite.check_tokens(&request, &suite.redeem(&request, &code).await);
    assert_eq!(tokens.id["name"], "Alice Tanaka");
}

#[tokio::test]
async fn a_hostile_claims_parameter_gets_a_right_answer() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    let deep = format!("{{\"userinfo\":{}{}}}", "{\"a\":".repeat(400), "}".repeat(400));
    let wide = json!({"userinfo": {"name": {"values": vec!["x"; 17]}}}).to_string();
    let long = format!("{{\"userinfo\":{{\"{}\":null}}}}", "x".repeat(5_000));
    for wrong in ["{", "[]", "null", "1", "\"", "{\"userinfo\":[]}", "\u{1f3c5}", &deep, &wide, &long] {
        let request = suite.request(&rp()).with("claims", wrong).with("prompt", "none");
        let url = suite.authorize_silently(&mut browser, &request).await;
        check_error(&request, &url, &["invalid_request"]);
    }
    // As much as fits is carried through the pages by a browser that has yet to sign in.
    let names: serde_json::Map<String, Value> = (0..100)
        .map(|n| (format!("claim_{n}"), json!({"value": "v"})))
        .chain([("name".to_owned(), json!({"values": vec!["x".repeat(80); 16]}))])
        .collect();
    let request = asking(&suite, &json!({"userinfo": names, "\"><script>alert(1)</script>": {"a": null}}));
    assert!(request.params["claims"].len() > 3_500);
    let tokens = suite.sign_in(&mut suite.browser(), &request).await;
    assert_eq!(suite.userinfo(&tokens).await.len(), 1);
}
