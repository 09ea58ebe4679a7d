use domain::TimeDelta;
use prost::Message as _;
use proto::identity::v1::{
    EndSessionRequest, ListLogoutDeliveriesRequest, LogoutDelivery, SessionEnded,
    session_service_client::SessionServiceClient,
};
use reqwest::StatusCode;
use serde_json::json;
use url::form_urlencoded;

use crate::{
    browser::{Arrived, Browser},
    clients::PORTAL_SCOPE,
    world::{ALICE, BOB, DEADLINE, World, authorize_url, param},
};

const BYE: &str = "https://portal.example/";

fn logout(params: &[(&str, &str)]) -> String {
    format!("/logout?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish())
}

/// Alice at the portal and at the shop: her browser and both ID tokens.
async fn at_two_sites(world: &World) -> (Browser<'_>, String, String) {
    let (mut browser, portal) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let shop = world.redeem("shop", &code).await;
    (browser, portal.text("id_token").to_owned(), shop.text("id_token").to_owned())
}

async fn is_signed_in(browser: &mut Browser<'_>) -> bool {
    let url = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")])).await.away();
    url.query_pairs().any(|(name, _)| name == "code")
}

async fn deliveries(world: &World) -> Vec<LogoutDelivery> {
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let request = ListLogoutDeliveriesRequest { page_size: 200, ..ListLogoutDeliveriesRequest::default() };
    sessions.list_logout_deliveries(request).await.unwrap().into_inner().deliveries
}

async fn delivery_to(world: &World, client_id: &str, state: &str, attempts: u32) -> LogoutDelivery {
    testkit::eventually(DEADLINE, || async {
        let of = |delivery: &LogoutDelivery| {
            delivery.client_id == client_id && delivery.state == state && delivery.attempts >= attempts
        };
        deliveries(world).await.into_iter().find(of)
    })
    .await
}

#[tokio::test]
async fn a_sign_out_at_one_site_ends_the_session_and_reaches_the_other() {
    let world = World::start().await;
    let (mut browser, portal, shop) = at_two_sites(&world).await;
    let url = logout(&[("id_token_hint", &portal), ("post_logout_redirect_uri", BYE), ("state", "a&b=c")]);
    let away = browser.open(&url).await.away();
    assert_eq!((away.as_str().split('?').next(), param(&away, "state").as_str()), (Some(BYE), "a&b=c"));
    assert!(!is_signed_in(&mut browser).await);

    for (client_id, id_token) in [("portal", &portal), ("shop", &shop)] {
        let token = world.relying_parties.told_times(client_id, 1).await.remove(0);
        let claims = world.read(&token, "logout+jwt", client_id).await;
        let id = world.read(id_token, "JWT", client_id).await;
        assert_eq!((&claims["sub"], &claims["sid"]), (&id["sub"], &id["sid"]));
        assert_eq!(claims["events"], json!({"http://schemas.openid.net/event/backchannel-logout": {}}));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
        assert!(claims["jti"].is_string() && claims.get("nonce").is_none());
        assert_eq!(delivery_to(&world, client_id, "delivered", 1).await.last_status, 204);
    }
    let rows = testkit::records_in_outbox(&world.app.pool, domain::Service::Identity).await;
    let ended = rows.iter().find(|row| row.fact_type == "SessionEnded").unwrap();
    let ended = SessionEnded::decode(ended.payload.as_deref().unwrap()).unwrap();
    assert_eq!(ended.cause, "logout");
}

#[tokio::test]
async fn without_a_token_of_this_session_the_user_is_asked() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    let (_, other) = world.tokens(BOB).await;
    for params in [
        vec![],
        vec![("id_token_hint", "x"), ("post_logout_redirect_uri", BYE)],
        vec![("id_token_hint", other.text("id_token"))],
        vec![("id_token_hint", other.text("access_token"))],
        vec![("id_token_hint", portal.as_str()), ("client_id", "shop")],
        vec![("id_token_hint", portal.as_str()), ("id_token_hint", portal.as_str())],
        vec![("client_id", "portal"), ("post_logout_redirect_uri", BYE)],
    ] {
        let page = browser.open(&logout(&params)).await.page();
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.forms().iter().any(|form| form.post), "{params:?}");
        assert!(is_signed_in(&mut browser).await, "{params:?}");
    }
    let page = browser.open("/logout").await.page();
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    browser.submit(&form, None).await.page();
    assert!(!is_signed_in(&mut browser).await);
}

#[tokio::test]
async fn the_browser_is_sent_only_where_the_client_registered() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for wrong in [
        "https://portal.example",
        "https://portal.example/bye",
        "https://evil.example/",
        "https://shop.example/bye?x=1",
        "//evil.example/",
        "javascript:alert(1)",
        "https://portal.example/\r\nLocation: https://evil.example",
    ] {
        let (mut browser, code) = world.sign_in(ALICE).await;
        let tokens = world.redeem("portal", &code).await;
        let url = logout(&[("id_token_hint", tokens.text("id_token")), ("post_logout_redirect_uri", wrong)]);
        assert!(matches!(browser.open(&url).await, Arrived::Page(_)), "{wrong}");
        assert!(!is_signed_in(&mut browser).await);
    }
    // A query that the client registered gets our parameter behind it.
    let (mut browser, _) = world.sign_in(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let shop = world.redeem("shop", &code).await;
    let uri = ("post_logout_redirect_uri", "https://shop.example/bye?x=1");
    let url = logout(&[("id_token_hint", shop.text("id_token")), uri, ("state", "s")]);
    assert_eq!(browser.open(&url).await.away().as_str(), "https://shop.example/bye?x=1&state=s");
}

#[tokio::test]
async fn an_old_id_token_still_names_its_session() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    world.advance(TimeDelta::hours(5));
    let url = logout(&[("id_token_hint", &portal), ("post_logout_redirect_uri", BYE)]);
    browser.open(&url).await.away();
    assert!(!is_signed_in(&mut browser).await);
    // Again, with nothing left to end: the site still gets its user back.
    assert_eq!(browser.open(&url).await.away().as_str(), BYE);
}

#[tokio::test]
async fn a_client_that_fails_is_told_again_with_the_same_id() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    world.relying_parties.answer(500);
    browser.open(&logout(&[("id_token_hint", &portal)])).await;
    delivery_to(&world, "shop", "pending", 1).await;
    // A redirect is no consent, and nobody follows it.
    world.relying_parties.answer(302);
    world.advance(TimeDelta::seconds(2));
    assert_eq!(delivery_to(&world, "shop", "pending", 2).await.last_status, 302);
    world.relying_parties.answer(200);
    world.advance(TimeDelta::seconds(4));
    delivery_to(&world, "shop", "delivered", 3).await;
    let told = world.relying_parties.told_times("shop", 3).await;
    let mut ids = Vec::new();
    for token in &told {
        ids.push(world.read(token, "logout+jwt", "shop").await["jti"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!((told.len(), ids.len()), (3, 1));
    assert!(world.relying_parties.told("followed").is_empty());
}

#[tokio::test]
async fn a_client_that_fails_for_a_day_is_given_up() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    world.relying_parties.answer(400);
    browser.open(&logout(&[("id_token_hint", &portal)])).await;
    delivery_to(&world, "shop", "pending", 1).await;
    world.advance(TimeDelta::hours(24));
    delivery_to(&world, "shop", "abandoned", 2).await;
}

#[tokio::test]
async fn a_sign_out_survives_a_kill() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    world.relying_parties.answer(503);
    browser.open(&logout(&[("id_token_hint", &portal)])).await;
    drop(browser);
    delivery_to(&world, "shop", "pending", 1).await;
    let world = world.killed_and_restarted().await;
    world.relying_parties.answer(204);
    // Past the lease of a process that died in the middle of a call.
    world.advance(TimeDelta::seconds(61));
    for client_id in ["portal", "shop"] {
        delivery_to(&world, client_id, "delivered", 1).await;
    }
}

#[tokio::test]
async fn a_session_ended_from_elsewhere_is_told_too() {
    let world = World::start().await;
    let (mut browser, portal, _) = at_two_sites(&world).await;
    let id = world.read(&portal, "JWT", "portal").await;
    let text = |name: &str| id[name].as_str().unwrap().to_owned();
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let request = EndSessionRequest { user_id: text("sub"), session_id: text("sid") };
    sessions.end_session(request.clone()).await.unwrap();
    sessions.end_session(request).await.unwrap();
    assert!(!is_signed_in(&mut browser).await);
    world.relying_parties.told_times("shop", 1).await;
    delivery_to(&world, "shop", "delivered", 1).await;
    assert_eq!(deliveries(&world).await.len(), 2);
}

#[tokio::test]
async fn another_user_at_the_same_browser_ends_the_first_ones_session() {
    let world = World::start().await;
    let (mut browser, _, _) = at_two_sites(&world).await;
    let (_, _) = world.sign_up(BOB).await;
    let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "login")])).await;
    browser.go_through(crate::browser::Person { is_new: false, ..BOB }, start).await;
    world.relying_parties.told_times("shop", 1).await;
    assert!(is_signed_in(&mut browser).await);
}
