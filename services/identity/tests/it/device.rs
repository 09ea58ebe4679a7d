//! A television signs in (RFC 8628): it asks, Alice decides on her telephone, it gets tokens.

use domain::TimeDelta;
use reqwest::{Method, StatusCode};
use serde_json::json;
use url::Url;

use crate::{
    browser::{Arrived, Browser, Page, Person},
    world::{ALICE, Answer, BOB, ISSUER, World, basic},
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SCOPE: &str = "openid email offline_access";

pub async fn begin(world: &World, scope: &str) -> Answer {
    let answer = world.post("/oauth2/device", None, &[("client_id", "tv"), ("scope", scope)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer
}

async fn poll(world: &World, device_code: &str) -> Answer {
    let form = [("client_id", "tv"), ("grant_type", DEVICE_CODE), ("device_code", device_code)];
    world.post("/oauth2/token", None, &form).await
}

/// Types the code and comes to the page that asks, by way of a sign-in if need be.
pub async fn type_code(browser: &mut Browser<'_>, person: Person, user_code: &str) -> Page {
    let mut arrived = enter(browser, user_code).await;
    for _ in 0..4 {
        let page = match arrived {
            Arrived::Page(page) => page,
            Arrived::Away(url) => panic!("sent away to {url}"),
        };
        if page.url.path() != "/login" {
            return page;
        }
        let mut form = page.form_asking(crate::browser::Asks::Password).unwrap();
        form.fill(crate::browser::Asks::Address, person.email);
        form.fill(crate::browser::Asks::Password, person.password);
        arrived = browser.submit(&form, None).await;
    }
    panic!("no end of signing in");
}

async fn enter(browser: &mut Browser<'_>, user_code: &str) -> Arrived {
    let page = browser.open("/device").await.page();
    let mut form = page.forms().into_iter().find(|form| form.post).unwrap();
    form.set("user_code", user_code);
    browser.submit(&form, None).await
}

async fn decide(browser: &mut Browser<'_>, page: &Page, decision: &str) -> Page {
    assert_eq!(page.url.path(), "/device/confirm", "{}", page.html);
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    browser.submit(&form, Some(decision)).await.page()
}

#[tokio::test]
async fn a_device_gets_tokens_once_its_user_allows_it() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let begun = begin(&world, SCOPE).await;
    let user_code = begun.text("user_code");
    assert_eq!((begun.body["expires_in"].as_i64(), begun.body["interval"].as_i64()), (Some(600), Some(5)));
    assert_eq!(begun.text("verification_uri"), format!("{ISSUER}/device"));
    assert_eq!(begun.text("verification_uri_complete"), format!("{ISSUER}/device?user_code={user_code}"));
    assert_eq!(begun.header("cache-control"), "no-store");
    poll(&world, begun.text("device_code")).await.refused_with(400, "authorization_pending");

    // She is not signed in on her telephone, and types as people do.
    let mut browser = world.browser();
    let page = type_code(&mut browser, ALICE, &user_code.to_lowercase().replace('-', " ")).await;
    let text = page.text();
    assert!(text.contains("Living room <TV>") && text.contains(user_code), "{text}");
    assert!(text.contains("see your e-mail address"), "{text}");
    let done = decide(&mut browser, &page, "allow").await;
    assert!(done.status == StatusCode::OK && done.text().contains("Living room <TV>"), "{}", done.html);
    let facts = testkit::records_in_outbox(&world.app.pool, domain::Service::Identity).await;
    assert!(facts.iter().any(|fact| fact.fact_type == "UserConsentGranted"), "it is a partner's device");

    world.advance(TimeDelta::seconds(5));
    let tokens = poll(&world, begun.text("device_code")).await;
    assert_eq!((tokens.status, tokens.text("scope")), (StatusCode::OK, SCOPE), "{}", tokens.body);
    let id = world.read(tokens.text("id_token"), "JWT", "tv").await;
    assert_eq!((id.get("nonce"), &id["amr"]), (None, &json!(["pwd"])));
    let claims = world.userinfo(tokens.text("access_token")).await;
    assert_eq!((claims.text("email"), &claims.body["sub"]), (ALICE.email, &id["sub"]));
    let form = [
        ("client_id", "tv"),
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text("refresh_token")),
    ];
    assert_eq!(world.post("/oauth2/token", None, &form).await.status, StatusCode::OK);
    // A device code is worth its tokens once; nobody can decide again.
    world.advance(TimeDelta::seconds(5));
    poll(&world, begun.text("device_code")).await.refused_with(400, "invalid_grant");
    let page = enter(&mut browser, user_code).await.page();
    assert_eq!((page.status, page.url.path()), (StatusCode::UNPROCESSABLE_ENTITY, "/device"));
}

#[tokio::test]
async fn a_hasty_device_is_told_to_slow_down_and_must() {
    let world = World::start().await;
    let begun = begin(&world, "openid").await;
    let device_code = begun.text("device_code");
    poll(&world, device_code).await.refused_with(400, "authorization_pending");
    world.advance(TimeDelta::seconds(4));
    poll(&world, device_code).await.refused_with(400, "slow_down");
    // Ten seconds from now on.
    world.advance(TimeDelta::seconds(9));
    poll(&world, device_code).await.refused_with(400, "slow_down");
    world.advance(TimeDelta::seconds(15));
    poll(&world, device_code).await.refused_with(400, "authorization_pending");
    world.advance(TimeDelta::minutes(10));
    poll(&world, device_code).await.refused_with(400, "expired_token");
}

#[tokio::test]
async fn a_device_learns_that_its_user_does_not_allow_it() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let begun = begin(&world, "openid").await;
    let page = type_code(&mut browser, ALICE, begun.text("user_code")).await;
    decide(&mut browser, &page, "deny").await;
    poll(&world, begun.text("device_code")).await.refused_with(400, "access_denied");
    // Neither the page that is still open nor a second look changes it.
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    let again = browser.submit(&form, Some("allow")).await.page();
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    poll(&world, begun.text("device_code")).await.refused_with(400, "access_denied");
}

#[tokio::test]
async fn codes_cannot_be_guessed_for_long() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let begun = begin(&world, "openid").await;
    for wrong in ["BCDF-GHJK", "BCDF", "🙂", "AEIO-UAEI", "' or 1=1 --"] {
        let page = enter(&mut browser, wrong).await.page();
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    for _ in 0..5 {
        enter(&mut browser, "BCDF-GHJK").await.page();
    }
    let page = enter(&mut browser, begun.text("user_code")).await.page();
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key("retry-after"));
    world.advance(TimeDelta::minutes(10));
    let begun = begin(&world, "openid").await;
    assert_eq!(enter(&mut browser, begun.text("user_code")).await.page().url.path(), "/device/confirm");
}

#[tokio::test]
async fn only_the_asked_user_decides_and_only_by_the_own_page() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let begun = begin(&world, "openid").await;
    let page = type_code(&mut browser, ALICE, begun.text("user_code")).await;
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    let pairs: Vec<(String, String)> = form
        .fields
        .iter()
        .map(|field| (field.name.clone(), field.value.clone()))
        .chain([("decision".to_owned(), "allow".to_owned())])
        .collect();
    let url = Url::parse(&format!("{ISSUER}/device/confirm")).unwrap();
    // Bob's browser cannot use what Alice's page holds, nor can a page of another site.
    let (mut other, _) = world.sign_up(BOB).await;
    let foreign = other.send(Method::POST, &url, &pairs).await;
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = world.app.http().post(world.app.http_url("/device/confirm")).form(&pairs);
    let request = request.header("cookie", cookies.join("; ")).header("origin", "https://evil.example");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    poll(&world, begun.text("device_code")).await.refused_with(400, "authorization_pending");
}

#[tokio::test]
async fn tokens_of_a_device_without_offline_access_end_with_the_session() {
    let world = World::start().await;
    let (mut browser, portal) = world.tokens(ALICE).await;
    let begun = begin(&world, "openid").await;
    let page = type_code(&mut browser, ALICE, begun.text("user_code")).await;
    decide(&mut browser, &page, "allow").await;
    let waiting = begin(&world, "openid").await;
    let page = type_code(&mut browser, ALICE, waiting.text("user_code")).await;
    decide(&mut browser, &page, "allow").await;
    let tokens = poll(&world, begun.text("device_code")).await;
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::OK);
    browser.open(&format!("/logout?id_token_hint={}", portal.text("id_token"))).await;
    assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::UNAUTHORIZED);
    poll(&world, waiting.text("device_code")).await.refused_with(400, "invalid_grant");
}

#[tokio::test]
async fn a_device_asks_within_its_registration() {
    let world = World::start().await;
    let ask = async |authorization: Option<String>, form: &[(&str, &str)]| {
        world.post("/oauth2/device", authorization.as_deref(), form).await
    };
    ask(None, &[]).await.refused_with(401, "invalid_client");
    ask(basic("shop"), &[("scope", "openid")]).await.refused_with(400, "unauthorized_client");
    ask(None, &[("client_id", "tv"), ("scope", "profile.read")]).await.refused_with(400, "invalid_scope");
    ask(None, &[("client_id", "tv"), ("scope", "a\"b")]).await.refused_with(400, "invalid_scope");
    ask(None, &[("client_id", "tv"), ("resource", "kotinos.mailer")])
        .await
        .refused_with(400, "invalid_target");
    for wrong in ["x", "kdc_x", "krt_AAAA"] {
        poll(&world, wrong).await.refused_with(400, "invalid_grant");
    }
    // Another client's device code is none.
    let begun = begin(&world, "openid").await;
    let form = [("grant_type", DEVICE_CODE), ("device_code", begun.text("device_code"))];
    world
        .post("/oauth2/token", basic("shop").as_deref(), &form)
        .await
        .refused_with(400, "unauthorized_client");
}

#[tokio::test]
async fn the_pages_speak_three_languages() {
    let world = World::start().await;
    let mut browser = world.browser();
    for (tag, words) in [("ja", "機器の接続"), ("en", "Connect a device"), ("fr", "Connecter un appareil")]
    {
        let page = browser.open(&format!("/device?ui_locales={tag}")).await.page();
        assert!(page.text().contains(words), "{tag}: {}", page.html);
    }
    // What the link on the device's screen carries stands in the field already.
    let page = browser.open("/device?user_code=BCDF-GHJK").await.page();
    assert!(page.forms().iter().any(|form| form.fields.iter().any(|field| field.value == "BCDF-GHJK")));
}
