//! When the user is asked, what for, and in which language.

use domain::TimeDelta;

use super::rp;
use crate::{
    browser::{Arrived, Browser},
    oidf::suite::{Request, Suite, Tokens, check_error},
};

/// Two authorizations by one sign-in tell of the same user and the same moment.
fn same_sign_in(first: &Tokens, second: &Tokens) {
    assert_eq!(first.id["sub"], second.id["sub"]);
    assert!(first.id["auth_time"].is_i64());
    assert_eq!(first.id["auth_time"], second.id["auth_time"]);
}

async fn displays(value: &str) {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("display", value);
    let mut browser = suite.browser();
    let callback = suite.authorize_by_login(&mut browser, &request).await;
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_display_page() {
    displays("page").await;
}

#[tokio::test]
async fn oidcc_display_popup() {
    displays("popup").await;
}

/// A second authorization for which the user has to sign in again.
async fn signs_in_again(wait: i64, name: &str, value: &str) -> (Suite, Tokens, Tokens) {
    let suite = Suite::start().await;
    let (first, second) = {
        let mut browser = suite.browser();
        let request = suite.request(&rp());
        let first = suite.sign_in(&mut browser, &request).await;
        suite.world.advance(TimeDelta::seconds(wait));
        let request = suite.request(&rp()).with(name, value);
        let callback = suite.authorize_by_login(&mut browser, &request).await;
        (first, suite.complete(&request, &callback).await)
    };
    (suite, first, second)
}

#[tokio::test]
async fn oidcc_prompt_login() {
    let (_, first, second) = signs_in_again(1, "prompt", "login").await;
    assert_eq!(first.id["sub"], second.id["sub"]);
    assert!(second.id["auth_time"].as_i64() > first.id["auth_time"].as_i64());
}

#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() {
    let suite = Suite::start().await;
    // Every character that a URL may have unescaped.
    let state = format!("{}-._~", "aZ09".repeat(31));
    let request = suite.request(&rp()).with("prompt", "none").with("state", &state);
    let callback = suite.authorize_silently(&mut suite.browser(), &request).await;
    let codes = ["interaction_required", "login_required", "account_selection_required", "consent_required"];
    check_error(&request, &callback, &codes);
}

/// A second authorization by the first one's sign-in, without a page.
async fn goes_on_silently(
    suite: &Suite,
    browser: &mut Browser<'_>,
    first: Request,
    second: impl FnOnce(Request, &Tokens) -> Request,
) {
    let first = suite.sign_in(browser, &first).await;
    suite.world.advance(TimeDelta::seconds(2));
    let request = second(suite.request(&rp()), &first);
    let callback = suite.authorize_silently(browser, &request).await;
    same_sign_in(&first, &suite.complete(&request, &callback).await);
}

#[tokio::test]
async fn oidcc_prompt_none_logged_in() {
    let suite = Suite::start().await;
    let first = suite.request(&rp());
    goes_on_silently(&suite, &mut suite.browser(), first, |request, _| request.with("prompt", "none")).await;
}

#[tokio::test]
async fn oidcc_max_age_1() {
    let (suite, first, second) = signs_in_again(2, "max_age", "1").await;
    let at = second.id["auth_time"].as_i64().unwrap();
    assert!(at > first.id["auth_time"].as_i64().unwrap());
    assert!(at >= suite.world.app.clock.now().timestamp() - 1);
}

#[tokio::test]
async fn oidcc_max_age_10000() {
    let suite = Suite::start().await;
    let first = suite.request(&rp()).with("max_age", "15000");
    let second = |request: Request, _: &Tokens| request.with("max_age", "10000");
    goes_on_silently(&suite, &mut suite.browser(), first, second).await;
}

#[tokio::test]
async fn oidcc_id_token_hint() {
    let suite = Suite::start().await;
    let first = suite.request(&rp());
    let second = |request: Request, tokens: &Tokens| {
        request.with("prompt", "none").with("id_token_hint", tokens.id_token())
    };
    goes_on_silently(&suite, &mut suite.browser(), first, second).await;
}

#[tokio::test]
async fn oidcc_login_hint() {
    let suite = Suite::start().await;
    let request = suite.request(&rp()).with("login_hint", "buffy@id.example");
    let mut browser = suite.browser();
    let page = browser.open(&suite.url(&request)).await.page();
    assert!(page.html.contains("buffy@id.example"), "{}", page.html);
    let callback = suite.go_through(&mut browser, Arrived::Page(page)).await;
    suite.complete(&request, &callback).await;
}

#[tokio::test]
async fn oidcc_ui_locales() {
    let suite = Suite::start().await;
    // The suite asks for Sámi first, which we do not speak.
    let request = suite.request(&rp()).with("ui_locales", "se fr ja");
    let mut browser = suite.browser();
    let page = browser.open(&suite.url(&request)).await.page();
    assert!(page.html.contains("<html lang=\"fr\">"), "{}", page.html);
    let callback = suite.go_through(&mut browser, Arrived::Page(page)).await;
    suite.complete(&request, &callback).await;
}
