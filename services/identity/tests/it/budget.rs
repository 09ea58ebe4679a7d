//! Commits are what a busy evening is made of: each flow has its number, and reading costs none.

use std::path::Path;

use domain::TimeDelta;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{
    authenticator::Authenticator,
    browser::{Arrived, Asks, Browser, Page},
    clients::{MAILER_KEY, PORTAL_SCOPE, SHOP_CALLBACK, assertion, with_assertion},
    oidf::fapi2::{FIRST, relying_party::RelyingParty},
    tap::{Tap, Traffic},
    world::{ALICE, BOB, ISSUER, World, authorize_url, basic, param},
};

async fn world() -> (World, Tap) {
    let tap = Tap::start().await;
    (World::start_through(&tap).await, tap)
}

#[track_caller]
fn costs(what: &str, traffic: &Traffic, commits: usize, statements: usize) {
    let Traffic { commits: seen, statements: all, texts } = traffic;
    assert!(
        *seen == commits && *all <= statements,
        "{what}: {seen} commits (budget {commits}), {all} statements (budget {statements})\n{}",
        texts.join("\n--\n")
    );
}

async fn login_page(browser: &mut Browser<'_>) -> Page {
    browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "login")])).await.page()
}

async fn password(browser: &mut Browser<'_>, page: &Page, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

#[tokio::test]
async fn a_sign_up_to_tokens_takes_three_commits() {
    let (world, tap) = world().await;
    tap.take();
    let (_, code) = world.sign_up(ALICE).await;
    assert_eq!(world.redeem("portal", &code).await.status, StatusCode::OK);
    costs("sign-up", &tap.take(), 3, 45);
}

#[tokio::test]
async fn a_sign_in_to_tokens_takes_two_commits_and_a_wrong_password_one() {
    let (world, tap) = world().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    tap.take();
    let page = password(&mut browser, &page, "not the password").await.page();
    costs("wrong password", &tap.take(), 1, 12);
    world.advance(TimeDelta::seconds(5));
    let url = password(&mut browser, &page, ALICE.password).await.away();
    assert_eq!(world.redeem("portal", &param(&url, "code")).await.status, StatusCode::OK);
    costs("password to tokens", &tap.take(), 2, 18);
}

#[tokio::test]
async fn a_passkey_to_tokens_takes_two_commits() {
    let (world, tap) = world().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let page = browser.open("/account/security").await.page();
    let mut authenticator = Authenticator::new();
    authenticator.register(&mut browser, &page).await.page();
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    tap.take();
    let url = authenticator.sign_in(&mut browser, &page).await.away();
    assert_eq!(world.redeem("portal", &param(&url, "code")).await.status, StatusCode::OK);
    costs("passkey to tokens", &tap.take(), 2, 18);
}

#[tokio::test]
async fn a_pushed_request_takes_one_commit() {
    let (world, tap) = world().await;
    let form = [("response_type", "code"), ("redirect_uri", SHOP_CALLBACK), ("scope", "openid")];
    let push = async || world.post("/oauth2/par", basic("shop").as_deref(), &form).await.status;
    assert_eq!(push().await, StatusCode::CREATED);
    tap.take();
    assert_eq!(push().await, StatusCode::CREATED);
    costs("pushed request", &tap.take(), 1, 2);
}

#[tokio::test]
async fn going_on_to_another_site_takes_two_commits_also_when_the_session_was_idle() {
    let (world, tap) = world().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    for idle in [TimeDelta::zero(), TimeDelta::minutes(20)] {
        world.advance(idle);
        tap.take();
        let code = world.code(&mut browser, "portal", PORTAL_SCOPE).await;
        let tokens = world.redeem("portal", &code).await;
        assert_eq!(world.userinfo(tokens.text("access_token")).await.status, StatusCode::OK);
        costs("single sign-on", &tap.take(), 2, 6);
    }
    // It was in use twenty minutes after it began, and is told so by and by.
    testkit::eventually(crate::world::DEADLINE, || async {
        let late: bool = sqlx::query_scalar(
            "select exists (select from identity.browser_session where seen_at > created_at + interval '19 min')",
        )
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
        late.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refresh_and_a_sign_out_take_one_commit_each() {
    let (world, tap) = world().await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    tap.take();
    let next = world.refresh("portal", tokens.text("refresh_token")).await;
    assert_eq!(next.status, StatusCode::OK);
    costs("refresh", &tap.take(), 1, 2);
    // Asked again within the grace nothing is written.
    assert_eq!(world.refresh("portal", tokens.text("refresh_token")).await.status, StatusCode::OK);
    costs("repeated refresh", &tap.take(), 0, 1);
    browser.open(&format!("/logout?id_token_hint={}", next.text("id_token"))).await;
    costs("sign-out", &tap.take(), 1, 12);
}

#[tokio::test]
async fn a_refresh_under_fapi2_writes_nothing() {
    let (world, tap) = world().await;
    let mut browser = world.browser();
    let rp = RelyingParty::new(&world, FIRST);
    let tokens = rp.tokens(&mut browser, &rp.request().with("prompt", "consent")).await;
    tap.take();
    let answer = rp.refresh(tokens.text("refresh_token")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    costs("fapi2 refresh", &tap.take(), 0, 1);
}

#[tokio::test]
async fn clients_tokens_and_introspection_ask_the_database_nothing() {
    let (world, tap) = world().await;
    let (mut browser, portal) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "vault", "openid").await;
    let vault = world.redeem("vault", &code).await;
    let introspect = async |client_id: &str, token: &str| {
        let form = [("token", token)];
        let answer = world.post("/oauth2/introspect", basic(client_id).as_deref(), &form).await;
        assert_eq!(answer.body["active"], serde_json::json!(true), "{}", answer.body);
    };
    // The first time in a second a caller's counter is looked up.
    introspect("profile", portal.text("access_token")).await;
    introspect("vault", vault.text("access_token")).await;
    tap.take();
    introspect("profile", portal.text("access_token")).await;
    introspect("vault", vault.text("access_token")).await;
    costs("introspection", &tap.take(), 0, 0);

    let token = || with_assertion(&MAILER_KEY.sign(&assertion(world.app.clock.now())));
    assert_eq!(world.post("/oauth2/token", None, &token()).await.status, StatusCode::OK);
    tap.take();
    assert_eq!(world.post("/oauth2/token", None, &token()).await.status, StatusCode::OK);
    costs("client credentials", &tap.take(), 0, 0);
}

/// Every path that answers to GET, read from the routers' source: a new one is tried without anybody thinking of it.
fn paths() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                read(&std::fs::read_to_string(&path).unwrap(), found);
            }
        }
    }
    fn read(source: &str, found: &mut Vec<String>) {
        for route in source.split(".route(").skip(1) {
            let mut parts = route.splitn(3, '"');
            let (Some(path), Some(handlers)) = (parts.nth(1), parts.next()) else { continue };
            let handlers = handlers.split(".route").next().unwrap_or_default();
            if handlers.contains("get(") {
                found.push(path.replace("{client_id}", "portal"));
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    read(&std::fs::read_to_string(source.join("http.rs")).unwrap(), &mut found);
    walk(&source.join("http"), &mut found);
    found
}

#[tokio::test]
async fn a_get_without_a_session_writes_nothing() {
    let (world, tap) = world().await;
    let (_, tokens) = world.tokens(BOB).await;
    // A mail is on its way to Alice, and its link is in a scanner's hands.
    let mut browser = world.browser();
    let mut form = browser.open("/signup").await.page().form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    browser.submit(&form, None).await.page();
    let link = world.peers.mail_to(ALICE.email).await.variables["link"].clone();
    let link = Url::parse(&link).unwrap();
    let authorize = authorize_url("portal", PORTAL_SCOPE, &[]);
    let authorize = authorize.split_once('?').unwrap().1.to_owned();
    let queries = [
        String::new(),
        "ctx=x&ui_locales=fr".to_owned(),
        authorize,
        link.query().unwrap_or_default().to_owned(),
        format!("id_token_hint={}&client_id=portal", tokens.text("id_token")),
        "user_code=BCDF-GHJK&code=1&state=2&error=x".to_owned(),
    ];
    let paths = paths();
    for known in
        ["/authorize", "/login", "/signup/verify", "/logout", "/oauth2/userinfo", "/oauth2/keys.json"]
    {
        assert!(paths.iter().any(|path| path == known), "{known} is not among {paths:?}");
    }
    tap.take();
    for path in paths {
        for query in &queries {
            let url = Url::parse(&format!("{ISSUER}{path}?{query}")).unwrap();
            let response = world.browser().send(Method::GET, &url, &[]).await;
            assert!(!response.status().is_server_error(), "{url}: {}", response.status());
            let traffic = tap.take();
            assert_eq!(traffic.commits, 0, "{url}\n{}", traffic.texts.join("\n--\n"));
        }
    }
}
