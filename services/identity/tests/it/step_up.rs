use domain::TimeDelta;
use serde_json::{Value, json};
use url::Url;

use crate::{
    app_codes::turn_on,
    authenticator::Authenticator,
    browser::{Arrived, Asks, Browser, Person},
    clients::{PORTAL_SCOPE, STAFF},
    world::{ALICE, BOB, ISSUER, STATE, World, authorize_url, param},
};

const ONE: &str = "urn:kotinos:acr:1";
const TWO: &str = "urn:kotinos:acr:2";
const COOKIE: &str = "__Host-kotinos-session";

fn essential(value: &str) -> String {
    json!({"id_token": {"acr": {"essential": true, "values": [value]}}}).to_string()
}

async fn ask(browser: &mut Browser<'_>, scope: &str, others: &[(&str, &str)]) -> Arrived {
    browser.open(&authorize_url("portal", scope, others)).await
}

async fn claims(world: &World, url: &Url) -> Value {
    let tokens = world.redeem("portal", &param(url, "code")).await;
    world.read(tokens.text("id_token"), "JWT", "portal").await
}

#[track_caller]
fn refused(url: &Url, error: &str) {
    assert_eq!(param(url, "error"), error);
    assert_eq!((param(url, "state"), param(url, "iss")), (STATE.to_owned(), ISSUER.to_owned()));
}

#[tokio::test]
async fn what_is_essential_and_cannot_be_shown_is_told_to_the_client() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let wish = essential(TWO);
    for others in [
        vec![("claims", wish.as_str())],
        vec![("claims", wish.as_str()), ("prompt", "none")],
        vec![("claims", r#"{"id_token":{"acr":{"essential":true,"value":"urn:other"}}}"#)],
    ] {
        let url = ask(&mut browser, PORTAL_SCOPE, &others).await.away();
        refused(&url, "unmet_authentication_requirements");
    }
    // A mere wish is no condition.
    let url = ask(&mut browser, PORTAL_SCOPE, &[("acr_values", TWO)]).await.away();
    let claims = claims(&world, &url).await;
    assert_eq!((claims["acr"].as_str(), &claims["amr"]), (Some(ONE), &json!(["pwd"])));
    // Somebody who signs in for it is told after that.
    let mut other = world.browser();
    let start = ask(&mut other, PORTAL_SCOPE, &[("claims", &wish)]).await;
    let url = other.go_through(Person { is_new: false, ..ALICE }, start).await;
    refused(&url, "unmet_authentication_requirements");
    assert!(other.cookies.contains_key(COOKIE), "the user is in all the same");
}

#[tokio::test]
async fn a_passkey_steps_a_session_up_under_a_new_cookie() {
    let world = World::start().await;
    let (mut browser, code) = world.sign_up(ALICE).await;
    let first = world.redeem("portal", &code).await;
    let first = world.read(first.text("id_token"), "JWT", "portal").await;
    let page = browser.open("/account/security").await.page();
    let mut authenticator = Authenticator::new();
    authenticator.register(&mut browser, &page).await.page();
    let old = browser.cookies[COOKIE].clone();
    world.advance(TimeDelta::seconds(5));

    let wish = essential(TWO);
    let url = ask(&mut browser, PORTAL_SCOPE, &[("claims", &wish), ("prompt", "none")]).await.away();
    refused(&url, "login_required");
    // A mere wish refuses nobody where no page may be shown.
    let url = ask(&mut browser, PORTAL_SCOPE, &[("acr_values", TWO), ("prompt", "none")]).await.away();
    assert_eq!(claims(&world, &url).await["acr"], ONE);
    let page = ask(&mut browser, PORTAL_SCOPE, &[("claims", &wish)]).await.page();
    assert_eq!(page.url.path(), "/login/passkey");
    assert!(page.text().contains("stronger sign-in"), "{}", page.text());
    let url = authenticator.sign_in(&mut browser, &page).await.away();
    let second = claims(&world, &url).await;
    assert_eq!(second["acr"], TWO);
    assert_eq!(second["sid"], first["sid"], "it is the same session");
    assert!(second["auth_time"].as_i64() > first["auth_time"].as_i64());
    assert_ne!(browser.cookies[COOKIE], old);
    // A cookie from before, planted or stolen, is dead.
    let mut planted = world.browser();
    planted.cookies.insert(COOKIE.to_owned(), old);
    assert_eq!(ask(&mut planted, PORTAL_SCOPE, &[]).await.page().url.path(), "/login");

    // The level stays with the session; a client that asks for less gets what it asked for.
    let url = ask(&mut browser, PORTAL_SCOPE, &[("claims", &wish)]).await.away();
    assert_eq!(claims(&world, &url).await["acr"], TWO);
    let url = ask(&mut browser, PORTAL_SCOPE, &[("acr_values", ONE)]).await.away();
    assert_eq!(claims(&world, &url).await["acr"], ONE);
    // Signing in by password alone afterwards is one factor again.
    let start = ask(&mut browser, PORTAL_SCOPE, &[("prompt", "login")]).await;
    let url = browser.go_through(Person { is_new: false, ..ALICE }, start).await;
    assert_eq!(claims(&world, &url).await["acr"], ONE);
}

#[tokio::test]
async fn a_wish_is_asked_for_once() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let page = browser.open("/account/security").await.page();
    Authenticator::new().register(&mut browser, &page).await.page();
    let page = ask(&mut browser, PORTAL_SCOPE, &[("acr_values", TWO)]).await.page();
    assert_eq!(page.url.path(), "/login/passkey");
    let page = browser.open(&page.link("/login").unwrap()).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    let url = browser.submit(&form, None).await.away();
    assert_eq!(claims(&world, &url).await["acr"], ONE);
}

#[tokio::test]
async fn a_code_adds_to_the_password_of_the_session() {
    let world = World::start().await;
    let (mut phone, _) = world.sign_up(ALICE).await;
    let (mut browser, code) = world.sign_in(ALICE).await;
    let first = world.redeem("portal", &code).await;
    let first = world.read(first.text("id_token"), "JWT", "portal").await;
    let (app, _) = turn_on(&world, &mut phone).await;
    world.advance(TimeDelta::seconds(30));

    let page = ask(&mut browser, PORTAL_SCOPE, &[("claims", &essential(TWO))]).await.page();
    assert_eq!(page.url.path(), "/login/totp");
    // The page is of this session: signed out, it lets nobody in.
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &app.code(world.app.clock.now()));
    let session = browser.cookies.remove(COOKIE).unwrap();
    assert_eq!(browser.submit(&form, None).await.page().status, 422);
    browser.cookies.insert(COOKIE.to_owned(), session.clone());
    let url = browser.submit(&form, None).await.away();
    let second = claims(&world, &url).await;
    assert_eq!((second["acr"].as_str(), &second["amr"]), (Some(TWO), &json!(["pwd", "otp", "mfa"])));
    assert_eq!((&second["sid"], &second["auth_time"]), (&first["sid"], &first["auth_time"]));
    assert_ne!(browser.cookies[COOKIE], session);
}

#[tokio::test]
async fn max_age_asks_for_the_factors_anew() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let (app, _) = turn_on(&world, &mut browser).await;
    world.advance(TimeDelta::minutes(5));
    let page = ask(&mut browser, PORTAL_SCOPE, &[("acr_values", TWO), ("max_age", "60")]).await.page();
    assert_eq!(page.url.path(), "/login");
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    let page = browser.submit(&form, None).await.page();
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &app.code(world.app.clock.now()));
    let url = browser.submit(&form, None).await.away();
    let claims = claims(&world, &url).await;
    assert_eq!(claims["acr"], TWO);
    assert_eq!(claims["auth_time"], world.app.clock.now().timestamp());
}

#[tokio::test]
async fn a_scope_of_staff_needs_two_factors() {
    let world = World::start().await;
    let asked = "openid offline_access segmentation.admin";
    let staff = Person { email: STAFF, ..BOB };
    let (mut browser, _) = world.sign_up(staff).await;
    let code = world.code(&mut browser, "portal", asked).await;
    assert_eq!(world.redeem("portal", &code).await.text("scope"), "openid offline_access");

    let (mut other, _) = world.sign_in(staff).await;
    turn_on(&world, &mut browser).await;
    let code = world.code(&mut browser, "portal", asked).await;
    let tokens = world.redeem("portal", &code).await;
    assert_eq!(tokens.text("scope"), asked);
    let later = world.refresh("portal", tokens.text("refresh_token")).await;
    assert_eq!(later.text("scope"), asked);
    // Who asks for one factor gets what one factor gives.
    let url = ask(&mut browser, asked, &[("acr_values", ONE)]).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    assert_eq!(tokens.text("scope"), "openid offline_access");
    // Where the holder has shown one factor only, the other is asked for.
    let page = ask(&mut other, asked, &[]).await.page();
    assert_eq!(page.url.path(), "/login/totp");
    // Nobody else is.
    let (mut alice, _) = world.sign_up(ALICE).await;
    turn_on(&world, &mut alice).await;
    let url = ask(&mut alice, asked, &[]).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    assert_eq!(tokens.text("scope"), "openid offline_access");
}
