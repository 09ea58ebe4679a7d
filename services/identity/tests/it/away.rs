//! What each flow answers while the database is away: 503 and when to come back, in the form that its caller reads, soon;
//! never 500. Afterwards everything goes on as if nothing had been asked.

use std::time::{Duration, Instant};

use proto::identity::v1::{ListLogoutDeliveriesRequest, session_service_client::SessionServiceClient};
use reqwest::{Method, StatusCode};
use tonic::Code;
use url::Url;

use crate::{
    browser::{Asks, Browser},
    clients::{PORTAL_SCOPE, SHOP_CALLBACK},
    tap::Tap,
    world::{ALICE, Answer, BOB, DEADLINE, ISSUER, Instance, World, authorize_url, param},
};

/// Longest time until an answer: a pool is waited for 3 seconds, and a request may take 30.
const SOON: Duration = Duration::from_secs(10);

fn is_oauth(answer: &Answer, what: &str) {
    assert_eq!(answer.text("error"), "temporarily_unavailable", "{what}: {}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert!(answer.header("content-type").starts_with("application/json"), "{what}");
}

fn says_when(answer: &Answer, what: &str) {
    let seconds: u64 = answer.header("retry-after").parse().unwrap_or_default();
    assert!((1..=60).contains(&seconds), "{what}: retry-after {}", answer.header("retry-after"));
}

type Form<'a> = &'a [(&'a str, &'a str)];

/// What is asked by clients. A token may still be judged from memory for a second; the others cannot.
async fn ask_as_client(instance: &Instance, tokens: &Answer, shop_code: &str) {
    let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
    let redirect = ("redirect_uri", SHOP_CALLBACK);
    let code = [("grant_type", "authorization_code"), ("code", shop_code), redirect];
    let pushed = [("client_id", "shop"), ("response_type", "code"), ("scope", "openid"), redirect];
    let refreshing = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let device = [("client_id", "tv"), ("scope", "openid")];
    let asked: [(&str, &str, Form<'_>, bool); 8] = [
        ("shop", "/oauth2/token", &code, true),
        ("portal", "/oauth2/token", &refreshing, true),
        ("shop", "/oauth2/par", &pushed, true),
        ("tv", "/oauth2/device", &device, true),
        ("shop", "/oauth2/revoke", &[("token", shop_code)], false),
        ("portal", "/oauth2/revoke", &[("token", refresh)], true),
        ("profile", "/oauth2/introspect", &[("token", access)], false),
        ("profile", "/oauth2/token", &[("grant_type", "client_credentials")], false),
    ];
    for (client_id, path, form, needs_database) in asked {
        let begun = Instant::now();
        let answer = instance.post_as(client_id, path, form).await.unwrap();
        let what = format!("{client_id} at {path} with {form:?}");
        assert!(begun.elapsed() < SOON, "{what}: after {:?}", begun.elapsed());
        if answer.status == StatusCode::OK && !needs_database {
            continue;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {}", answer.body);
        is_oauth(&answer, &what);
        says_when(&answer, &what);
    }
    let authorization = format!("Bearer {access}");
    let headers = [("authorization", authorization.as_str())];
    let userinfo = instance.get("/oauth2/userinfo", &headers).await.unwrap();
    assert_eq!(userinfo.status, StatusCode::SERVICE_UNAVAILABLE, "{}", userinfo.body);
    is_oauth(&userinfo, "userinfo");
    says_when(&userinfo, "userinfo");
    for path in ["/oauth2/keys.json", "/.well-known/openid-configuration"] {
        let answer = instance.get(path, &[]).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
}

/// One exchange of a browser that must end in a page which says so.
async fn is_told_on_a_page(browser: &mut Browser<'_>, method: Method, path: &str, form: &[(String, String)]) {
    let url = Url::parse(ISSUER).unwrap().join(path).unwrap();
    let begun = Instant::now();
    let response = browser.send(method, &url, form).await;
    assert!(begun.elapsed() < SOON, "{path}: after {:?}", begun.elapsed());
    let answer = crate::world::answer(response).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.body);
    says_when(&answer, path);
    assert!(answer.header("content-type").starts_with("text/html"), "{path}");
    let page = answer.body.as_str().unwrap_or_default();
    assert!(page.contains("<html") && page.contains("<h1"), "{path}: {page}");
}

#[tokio::test]
async fn without_the_database_every_flow_says_when_to_come_back() {
    let tap = Tap::start().await;
    let world = World::start_through(&tap).await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    world.sign_up(BOB).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let mut stranger = world.browser();
    let login = stranger.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut password = login.form_asking(Asks::Password).unwrap();
    password.fill(Asks::Address, BOB.email);
    password.fill(Asks::Password, BOB.password);
    let fields: Vec<(String, String)> =
        password.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    let here = Instance::of(&world.app);

    tap.cut();
    ask_as_client(&here, &tokens, &code).await;
    let authorize = authorize_url("portal", PORTAL_SCOPE, &[]);
    let logout = format!("/logout?id_token_hint={}", tokens.text("id_token"));
    for path in [authorize.as_str(), logout.as_str(), "/account/security"] {
        is_told_on_a_page(&mut browser, Method::GET, path, &[]).await;
    }
    is_told_on_a_page(&mut stranger, Method::POST, &password.action, &fields).await;
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let refused = sessions.list_logout_deliveries(ListLogoutDeliveriesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    tap.mend();

    // Nothing of it counted: the code, the token, the session and the password are as they were.
    let redeemed = testkit::eventually(DEADLINE, || async {
        let answer = world.redeem("shop", &code).await;
        (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    assert_eq!(redeemed.status, StatusCode::OK, "{}", redeemed.body);
    let refreshed = world.refresh("portal", tokens.text("refresh_token")).await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.body);
    let silent = authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")]);
    param(&browser.open(&silent).await.away(), "code");
    stranger.submit(&password, None).await.away();
}
