//! OIDCCRpInitiatedLogoutTestPlan: 11 modules.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use url::Url;

use super::{
    config,
    suite::{DISCOVERY, RelyingParty, Suite, Tokens, check_error, encoded, query},
};
use crate::{
    browser::{Arrived, Browser, Page},
    clients::ClientKey,
    world::{ISSUER, World},
};

/// Every character that a URL may have unescaped.
pub const STATE: &str = "aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09-._~";

pub fn rp() -> RelyingParty {
    RelyingParty::known("suite")
}

/// A whole request to end the session, less the parameters that a module leaves out.
pub fn logout_url(suite: &Suite, id_token: &str, without: &[&str]) -> String {
    let uri = rp().post_logout_redirect_uri();
    let params = [("id_token_hint", id_token), ("post_logout_redirect_uri", &uri), ("state", STATE)];
    let kept = params.into_iter().filter(|(name, _)| !without.contains(name));
    format!("{}?{}", suite.endpoint("end_session_endpoint"), encoded(kept))
}

/// Whether a silent authorization still finds the user, as the suite asks last.
pub async fn is_signed_in(suite: &Suite, browser: &mut Browser<'_>) -> bool {
    let request = suite.request(&rp()).with("prompt", "none");
    let callback = suite.authorize_silently(browser, &request).await;
    if query(&callback).contains_key("code") {
        return true;
    }
    check_error(&request, &callback, &["login_required", "interaction_required"]);
    false
}

/// A user who came by the relying party.
pub async fn signed_in(suite: &Suite) -> (Browser<'_>, Tokens) {
    let mut browser = suite.browser();
    let request = suite.request(&rp());
    let tokens = suite.sign_in(&mut browser, &request).await;
    (browser, tokens)
}

/// The user is asked first, is signed out by the page's button, and stays at the provider.
async fn asks_and_stays(suite: &Suite, browser: &mut Browser<'_>, url: &str) {
    let page = browser.open(url).await.page();
    assert!(is_signed_in(suite, browser).await, "signed out before the answer");
    let form = page.forms().into_iter().find(|form| form.post).expect("a question");
    let done = browser.submit(&form, None).await.page();
    is_signed_out_page(&done);
    assert!(!is_signed_in(suite, browser).await);
}

#[track_caller]
fn is_signed_out_page(page: &Page) {
    assert_eq!(page.status.as_u16(), 200);
    assert!(page.text().contains("signed out"), "{}", page.html);
}

/// The user is signed out at once, and stays at the provider.
async fn stays(suite: &Suite, browser: &mut Browser<'_>, url: &str) {
    is_signed_out_page(&browser.open(url).await.page());
    assert!(!is_signed_in(suite, browser).await);
}

#[track_caller]
pub fn is_sent_back(url: &Url, state: Option<&str>) {
    assert_eq!(url.as_str().split('?').next(), Some(rp().post_logout_redirect_uri().as_str()));
    let query = query(url);
    assert_eq!(query.get("state").map(String::as_str), state);
    assert_eq!(query.len(), usize::from(state.is_some()));
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_discovery_endpoint_verification() {
    let world = World::start().await;
    let metadata = world.get(DISCOVERY, &[]).await.body;
    config::endpoints_are_https(&metadata);
    assert!(metadata["end_session_endpoint"].as_str().unwrap().starts_with(ISSUER));
}

#[tokio::test]
async fn oidcc_rp_initiated_logout() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let away = browser.open(&logout_url(&suite, tokens.id_token(), &[])).await.away();
    is_sent_back(&away, Some(STATE));
    assert!(!is_signed_in(&suite, &mut browser).await);
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let url = logout_url(&suite, tokens.id_token(), &["post_logout_redirect_uri"]);
    let bad = encoded(
        [("post_logout_redirect_uri", "https://suite.example/bad_post_logout_redirect_uri")].into_iter(),
    );
    stays(&suite, &mut browser, &format!("{url}&{bad}")).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_modified_id_token_hint() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let claims = tokens.id_token().split('.').nth(1).unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    let unsigned = format!("{header}.{claims}.");
    asks_and_stays(&suite, &mut browser, &logout_url(&suite, &unsigned, &[])).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_id_token_hint() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    asks_and_stays(&suite, &mut browser, &logout_url(&suite, "", &["id_token_hint"])).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_params() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    let none = ["id_token_hint", "post_logout_redirect_uri", "state"];
    asks_and_stays(&suite, &mut browser, &logout_url(&suite, "", &none)).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let url = logout_url(&suite, tokens.id_token(), &["post_logout_redirect_uri"]);
    stays(&suite, &mut browser, &url).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_state() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let away = browser.open(&logout_url(&suite, tokens.id_token(), &["state"])).await.away();
    is_sent_back(&away, None);
    assert!(!is_signed_in(&suite, &mut browser).await);
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_only_state() {
    let suite = Suite::start().await;
    let (mut browser, _) = signed_in(&suite).await;
    let only = ["id_token_hint", "post_logout_redirect_uri"];
    asks_and_stays(&suite, &mut browser, &logout_url(&suite, "", &only)).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let url = logout_url(&suite, tokens.id_token(), &["post_logout_redirect_uri"]);
    let added = format!("{}?foo=bar", rp().post_logout_redirect_uri());
    let added = encoded([("post_logout_redirect_uri", added)].into_iter());
    stays(&suite, &mut browser, &format!("{url}&{added}")).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_id_token_hint() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let now = suite.world.app.clock.now().timestamp();
    // As the module has it, the wrong way round, and the right claims under a key that is not ours.
    let reversed = json!({
        "iss": rp().client_id, "sub": "SubjectID", "aud": ISSUER, "nonce": "flibble", "iat": now, "exp": now + 300,
    });
    for claims in [reversed, tokens.id.clone()] {
        let forged = ClientKey::generate().sign(&claims);
        let page = browser.open(&logout_url(&suite, &forged, &[])).await;
        assert!(matches!(page, Arrived::Page(_)));
        assert!(is_signed_in(&suite, &mut browser).await);
    }
    let forged = ClientKey::generate().sign(&tokens.id);
    asks_and_stays(&suite, &mut browser, &logout_url(&suite, &forged, &[])).await;
}
