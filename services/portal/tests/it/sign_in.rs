//! Signing in: the code flow, and every way in which an answer may not be ours.

use std::collections::HashMap;

use domain::{TimeDelta, UserId};
use url::Url;

use crate::{
    browser::Browser,
    outside::Change,
    world::{ORIGIN, World},
};

#[tokio::test]
async fn a_fan_signs_in_with_pkce_and_lands_where_they_wanted_to_go() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.language = "fr-CA,fr;q=0.9";
    let asked = browser.get("/my/results?sports=all").await;
    assert_eq!(asked.status, 303);
    assert_eq!(asked.location(), "/portal/login?return_to=%2Fmy%2Fresults%3Fsports%3Dall");
    let begun = browser.get(asked.location()).await;
    let url: Url = begun.location().parse().unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["redirect_uri"], format!("{ORIGIN}/portal/callback"));
    assert_eq!(query["ui_locales"], "fr");
    assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
    assert!(query["state"].len() >= 43 && query["nonce"].len() >= 43 && query["code_challenge"].len() == 43);
    let cookie = begun.headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-portal-signin=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    for secret in [&query["state"], &query["nonce"]] {
        assert!(!cookie.contains(secret.as_str()), "the sign-in travels sealed");
    }

    assert_eq!(browser.sign_in("/my/results?sports=all").await, "/my/results?sports=all");
    assert!(!browser.cookies.contains_key("__Host-portal-signin"), "one sign-in, one cookie");
    assert_eq!(browser.get("/my").await.status, 200);
    assert!(world.peers.held().subjects.contains(&world.alice.to_string()), "gRPC is on the fan's behalf");
    let session = browser.session().unwrap();
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select session_hash || tokens from portal.web_session")
        .fetch_all(&world.app.pool)
        .await
        .unwrap();
    let text = rows.iter().map(|row| String::from_utf8_lossy(row)).collect::<String>();
    assert!(!text.contains("eyJ") && !text.contains(session.as_str()), "a stolen database signs nobody in");
    world.app.stop().await;
}

#[tokio::test]
async fn an_answer_that_this_browser_did_not_ask_for_is_refused() {
    let world = World::start().await;
    let (mut alice, mut mallory) = (world.browser(), world.browser());
    let answer = alice.authorize("/my").await;
    let foreign = mallory.authorize("/my").await;
    let state = query(&answer)["state"].clone();
    let cases = [
        // Mallory's code and state in Alice's browser: she would work in his account.
        foreign.clone(),
        // Mallory's code under Alice's state: PKCE gives it away.
        format!("/portal/callback?code={}&state={state}", query(&foreign)["code"]),
        format!("/portal/callback?code=x&state={state}&state={state}"),
        format!("/portal/callback?code=x&code=y&state={state}"),
        format!("/portal/callback?code=x&state={state}&iss=https%3A%2F%2Fevil.example"),
        format!("/portal/callback?code=x&error=y&state={state}"),
        format!("/portal/callback?state={state}"),
        "/portal/callback".to_owned(),
        "/portal/callback?code=%00%ff'%3B--&state=%F0".to_owned(),
        format!("/portal/callback?code={}&state={state}", "x".repeat(10_000)),
    ];
    for case in cases {
        let refused = alice.get(&case).await;
        assert_eq!(refused.status, 400, "{case}");
        assert!(refused.texts("h1")[0].contains("sign-in"), "{case}");
    }
    let mut stranger = world.browser();
    assert_eq!(stranger.get(&answer).await.status, 400, "no sign-in began in this browser");
    stranger.cookies.insert("__Host-portal-signin".to_owned(), "AAAA.BBBB".to_owned());
    assert_eq!(stranger.get(&answer).await.status, 400);
    assert_eq!((world.sessions().await, stranger.session(), alice.session()), (0, None, None));
    assert_eq!(alice.get(&answer).await.status, 303, "her own answer is still good");
    world.app.stop().await;
}

#[tokio::test]
async fn a_code_is_good_once() {
    let world = World::start().await;
    let mut browser = world.browser();
    let answer = browser.authorize("/my").await;
    let sign_in = browser.cookies["__Host-portal-signin"].clone();
    assert_eq!(browser.get(&answer).await.status, 303);
    browser.cookies.insert("__Host-portal-signin".to_owned(), sign_in);
    assert_eq!(browser.get(&answer).await.status, 400);
    assert_eq!(world.sessions().await, 1);
    assert_eq!(browser.get("/my").await.status, 200, "the session stands");
    world.app.stop().await;
}

#[tokio::test]
async fn an_id_token_that_is_not_for_us_signs_nobody_in() {
    let changes: [(&str, Change); 9] = [
        ("another nonce", |claims| {
            claims.others.insert("nonce".to_owned(), "x".into());
        }),
        ("no nonce", |claims| {
            claims.others.remove("nonce");
        }),
        ("another audience", |claims| claims.audiences = vec!["shop".to_owned()]),
        ("several audiences, for another", |claims| {
            claims.audiences = vec!["portal".to_owned(), "shop".to_owned()];
            claims.others.insert("azp".to_owned(), "shop".into());
        }),
        ("another issuer", |claims| claims.issuer = "https://evil.example".to_owned()),
        ("expired", |claims| claims.expires_at = claims.issued_at - TimeDelta::seconds(31)),
        ("from the future", |claims| claims.issued_at += TimeDelta::seconds(61)),
        ("nobody", |claims| claims.subject = "'; drop table portal.web_session; --".to_owned()),
        ("empty subject", |claims| claims.subject = String::new()),
    ];
    for (name, change) in changes {
        let world = World::start().await;
        world.outside.change_id_tokens(change);
        let mut browser = world.browser();
        let answer = browser.authorize("/my").await;
        assert_eq!(browser.get(&answer).await.status, 400, "{name}");
        assert_eq!((world.sessions().await, browser.session()), (0, None), "{name}");
    }
}

#[tokio::test]
async fn no_return_path_leads_to_another_site() {
    let world = World::start().await;
    for path in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\r\nlocation: https://evil.example",
        "%2F%2Fevil.example",
        "",
    ] {
        let mut browser = world.browser();
        assert_eq!(browser.sign_in(path).await, "/my", "{path:?}");
    }
    assert_eq!(world.browser().sign_in("/account?x=//evil.example").await, "/account?x=//evil.example");
    world.app.stop().await;
}

#[tokio::test]
async fn tokens_are_renewed_until_identity_refuses() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    assert_eq!((browser.get("/my").await.status, world.outside.refreshes()), (200, 0));
    world.app.clock.advance(TimeDelta::seconds(280));
    assert_eq!((browser.get("/my").await.status, world.outside.refreshes()), (200, 1));
    assert_eq!((browser.get("/my").await.status, world.outside.refreshes()), (200, 1));
    world.outside.refuse_refresh();
    world.app.clock.advance(TimeDelta::seconds(280));
    let sent = browser.get("/my").await;
    assert_eq!((sent.status, sent.location()), (303, "/portal/login?return_to=%2Fmy"));
    assert_eq!(world.sessions().await, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_and_with_the_next_sign_in() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let first = browser.session().unwrap().clone();
    browser.sign_in("/my").await;
    assert_ne!(browser.session().unwrap(), &first, "a planted cookie does not survive a sign-in");
    assert_eq!(world.sessions().await, 1);
    world.app.clock.advance(TimeDelta::days(30));
    assert_eq!(browser.get("/my").await.status, 303);
    let mut guess: Browser<'_> = world.browser();
    for cookie in [&first, "", "AAAA", &"A".repeat(43), "'; --"] {
        guess.cookies.insert("__Host-portal".to_owned(), cookie.to_owned());
        assert_eq!(guess.get("/my").await.status, 303, "{cookie}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn who_says_no_at_identity_is_back_at_the_start() {
    let world = World::start().await;
    let mut browser = world.browser();
    let state = query(&browser.authorize("/my").await)["state"].clone();
    let back = browser.get(&format!("/portal/callback?error=access_denied&state={state}")).await;
    assert_eq!((back.status, back.location()), (303, "/portal/"));
    assert_eq!(browser.session(), None);
    world.app.stop().await;
}

#[tokio::test]
async fn without_identity_the_page_says_to_come_back() {
    let world = World::start().await;
    world.outside.go_away();
    let answer = world.browser().get("/portal/login").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "2"));
    assert!(answer.texts("h1")[0].contains("Not available"));
    world.app.stop().await;
}

#[tokio::test]
async fn two_fans_see_each_their_own() {
    let world = World::start().await;
    let mut alice = world.alice().await;
    let bob = UserId::new();
    world.outside.user(bob, "session-2");
    let mut other = world.browser();
    other.sign_in("/my").await;
    world.peers.held().subjects.clear();
    alice.get("/my").await;
    assert!(!world.peers.held().subjects.contains(&bob.to_string()));
    world.peers.held().subjects.clear();
    other.get("/my").await;
    assert!(world.peers.held().subjects.contains(&bob.to_string()));
    world.app.stop().await;
}

fn query(path: &str) -> HashMap<String, String> {
    let url: Url = format!("{ORIGIN}{path}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}
