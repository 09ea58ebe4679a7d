use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::TimeDelta;
use serde_json::json;

use crate::{
    authenticator::{Authenticator, ELIGIBLE, Manner, PRESENT, VERIFIED, data, form_with},
    browser::{Asks, Browser, Page},
    clients::PORTAL_SCOPE,
    told::{audited, facts},
    world::{ALICE, BOB, World, authorize_url, param},
};

const SECURITY: &str = "/account/security";

/// A person who has just signed up with a password and added a passkey.
async fn with_passkey(world: &World) -> (Browser<'_>, Authenticator) {
    let (mut browser, _) = world.sign_up(ALICE).await;
    let page = browser.open(SECURITY).await.page();
    let mut authenticator = Authenticator::new();
    let page = authenticator.register(&mut browser, &page).await.page();
    assert!(page.text().contains("The passkey was added"), "{}", page.text());
    (browser, authenticator)
}

async fn login_page(browser: &mut Browser<'_>) -> Page {
    browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page()
}

#[tokio::test]
async fn a_passkey_signs_in_with_two_factors_and_without_a_hash() {
    let world = World::start().await;
    let (_, mut authenticator) = with_passkey(&world).await;
    assert_eq!(facts(&world).await, ["UserRegistered", "UserCredentialAdded"]);
    assert_eq!(audited(&world, "add_passkey", "done").await, 1);

    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    let url = authenticator.sign_in(&mut browser, &page).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!(claims["acr"], "urn:kotinos:acr:2");
    assert_eq!(claims["amr"], json!(["pop", "user", "mfa"]));
    let access = world.read(tokens.text("access_token"), "at+jwt", "kotinos.profile").await;
    assert_eq!(access["acr"], "urn:kotinos:acr:2");
    world.advance(TimeDelta::minutes(4));
    let later = world.refresh("portal", tokens.text("refresh_token")).await;
    let later = world.read(later.text("id_token"), "JWT", "portal").await;
    assert_eq!((&later["acr"], &later["auth_time"]), (&claims["acr"], &claims["auth_time"]));

    // By its own page, too, and to the user's own page.
    let mut browser = world.browser();
    let page = browser.open("/login/passkey").await.page();
    let page = authenticator.sign_in(&mut browser, &page).await.page();
    assert_eq!(page.url.path(), SECURITY);
    assert!(!page.text().contains("not yet"), "its last use is shown: {}", page.text());
}

#[tokio::test]
async fn a_new_user_needs_no_password() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    let page = browser.open(&page.link("/signup").unwrap()).await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    let page = browser.submit(&form, None).await.page();
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &world.peers.code_for(ALICE.email).await);
    let page = browser.submit(&form, None).await.page();
    assert_eq!(data(&page, "create", "user-name"), ALICE.email);

    let mut authenticator = Authenticator::new();
    let unverified = Manner { flags: PRESENT, ..Manner::default() };
    let page = authenticator.register_as(&mut browser, &page, &unverified).await.page();
    assert!(page.status == 422 && page.text().contains("No passkey was created"), "{}", page.text());
    let url = authenticator.register(&mut browser, &page).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!(claims["acr"], "urn:kotinos:acr:2");

    // The only way in stays; no password opens the door.
    let page = browser.open(SECURITY).await.page();
    let remove =
        page.forms().into_iter().find(|form| form.buttons.iter().any(|(_, value)| value == "remove"));
    let page = browser.submit(&remove.unwrap(), Some("remove")).await.page();
    assert!(page.text().contains("only way to sign in"), "{}", page.text());
    let mut other = world.browser();
    let page = login_page(&mut other).await;
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    assert_eq!(other.submit(&form, None).await.page().status, 422);
    let page = login_page(&mut other).await;
    authenticator.sign_in(&mut other, &page).await.away();
}

#[tokio::test]
async fn an_answer_that_breaks_a_rule_signs_nobody_in() {
    let world = World::start().await;
    let (_, mut authenticator) = with_passkey(&world).await;
    let challenge = URL_SAFE_NO_PAD.encode([7; 32]);
    let right = Manner::default;
    let manners = [
        Manner { origin: "https://evil.example", ..right() },
        Manner { rp: "evil.example", ..right() },
        Manner { flags: PRESENT, ..right() },
        Manner { flags: VERIFIED, ..right() },
        Manner { flags: PRESENT | VERIFIED | ELIGIBLE, ..right() },
        Manner { kind: Some("webauthn.create"), ..right() },
        Manner { challenge: Some(challenge), ..right() },
        Manner { count: Some(1), ..right() },
        Manner { count: Some(0), ..right() },
        Manner { user: Some(domain::new_id().as_bytes().to_vec()), ..right() },
    ];
    for manner in manners {
        let mut browser = world.browser();
        let page = login_page(&mut browser).await;
        let page = authenticator.sign_in_as(&mut browser, &page, &manner).await.page();
        assert_eq!(page.status, 422, "{manner:?}");
        assert!(page.text().contains("could not be confirmed"), "{}", page.text());
        assert!(!browser.cookies.contains_key("__Host-kotinos-session"));
    }
    // Another key signs for a passkey of another user.
    let (mut browser, mut stranger) = (world.browser(), Authenticator::new());
    stranger.credential_id.clone_from(&authenticator.credential_id);
    stranger.user.clone_from(&authenticator.user);
    stranger.count = 100;
    let page = login_page(&mut browser).await;
    assert_eq!(stranger.sign_in(&mut browser, &page).await.page().status, 422);
    // An unknown passkey gets the same page.
    let page = login_page(&mut browser).await;
    let unknown = Manner { user: Some(authenticator.user.clone()), ..right() };
    let page = Authenticator::new().sign_in_as(&mut browser, &page, &unknown).await.page();
    assert!(page.status == 422 && page.text().contains("could not be confirmed"));
    assert_eq!(audited(&world, "sign_in", "refused").await, 12);
    // Then the right one.
    authenticator.count = 50;
    authenticator.sign_in(&mut browser, &page).await.away();
}

#[tokio::test]
async fn an_answer_counts_once_in_its_own_browser_and_in_time() {
    let world = World::start().await;
    let (_, mut authenticator) = with_passkey(&world).await;
    // An authenticator that does not count: nothing but the challenge tells two answers apart.
    sqlx::query("update identity.passkey set sign_count = 0").execute(&world.app.pool).await.unwrap();
    let uncounted = Manner { count: Some(0), ..Manner::default() };
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    let form = form_with(&page, "get", &authenticator.signed(&page, &uncounted));
    let mut thief = world.browser();
    assert_eq!(thief.submit(&form, None).await.page().status, 400, "another browser");
    browser.submit(&form, None).await.away();
    assert_eq!(browser.submit(&form, None).await.page().status, 422, "a second time");

    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    let form = form_with(&page, "get", &authenticator.signed(&page, &uncounted));
    let mut forged = form.clone();
    forged.set("ceremony", "garbage");
    assert_eq!(browser.submit(&forged, None).await.page().status, 422, "a challenge of nobody");
    world.advance(TimeDelta::hours(2));
    assert_eq!(browser.submit(&form, None).await.page().status, 400, "too late");
}

#[tokio::test]
async fn a_disabled_user_stays_out_with_a_right_passkey() {
    let world = World::start().await;
    let (_, mut authenticator) = with_passkey(&world).await;
    sqlx::query("update identity.user set status = 'disabled'").execute(&world.app.pool).await.unwrap();
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    let page = authenticator.sign_in(&mut browser, &page).await.page();
    assert!(page.status == 422 && page.text().contains("could not be confirmed"), "{}", page.text());
}

#[tokio::test]
async fn passkeys_are_named_and_removed_by_a_user_who_has_just_signed_in() {
    let world = World::start().await;
    let (mut browser, mut authenticator) = with_passkey(&world).await;
    let page = browser.open(SECURITY).await.page();
    let known = URL_SAFE_NO_PAD.encode(&authenticator.credential_id);
    assert_eq!(data(&page, "create", "exclude"), known, "the device is told what it holds");
    let twice = authenticator.register(&mut browser, &page).await.page();
    assert_eq!(twice.status, 422, "an id is taken once");

    let with = |page: &Page, value: &str| {
        let has = |form: &crate::browser::Form| form.buttons.iter().any(|(_, own)| own == value);
        page.forms().into_iter().find(has)
    };
    let mut form = with(&page, "rename").unwrap();
    form.set("name", "  <b>仕事用</b> ");
    let page = browser.submit(&form, Some("rename")).await.page();
    assert!(page.text().contains("<b>仕事用</b>"), "{}", page.text());
    form.set("name", &"x".repeat(61));
    assert_eq!(browser.submit(&form, Some("rename")).await.page().status, 422);
    // Another user's passkey is none.
    let (mut other, _) = world.sign_up(BOB).await;
    let page = other.open(SECURITY).await.page();
    let mut theirs = form_with(&page, "create", &[]);
    theirs.set("action", "remove");
    theirs.set("credential_id", &known);
    assert_eq!(other.submit(&theirs, None).await.page().status, 404);

    world.advance(TimeDelta::minutes(11));
    let page = browser.open(SECURITY).await.page();
    assert!(with(&page, "remove").is_none() && page.link("/account/security/confirm").is_some());
    let again = browser.submit(&form, Some("remove")).await.page();
    assert_eq!(again.url.path(), "/login", "the user confirms first");
    let mut password = again.form_asking(Asks::Password).unwrap();
    assert!(password.fields.iter().any(|field| field.value == ALICE.email), "the address stands there");
    password.fill(Asks::Password, ALICE.password);
    let page = browser.submit(&password, None).await.page();
    let page = browser.submit(&with(&page, "remove").unwrap(), Some("remove")).await.page();
    assert!(page.text().contains("The passkey was removed"), "{}", page.text());
    assert_eq!(
        facts(&world).await,
        ["UserRegistered", "UserCredentialAdded", "UserRegistered", "UserCredentialRemoved"]
    );
    let mut browser = world.browser();
    let page = login_page(&mut browser).await;
    assert_eq!(
        authenticator.sign_in(&mut browser, &page).await.page().status,
        422,
        "it signs nobody in any more"
    );
}
