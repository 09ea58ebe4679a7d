//! What a user changes of the own sign-in, and who learns of it.

use domain::TimeDelta;
use proto::identity::v1::UserConsent;

use crate::{
    app_codes::turn_on,
    authenticator::Authenticator,
    browser::{Asks, Browser, Form, Page, Person},
    clients::PORTAL_SCOPE,
    pages::{keeps_the_rules, select},
    told::{audited, facts, states},
    world::{ALICE, BOB, World, authorize_url, param},
};

const SECURITY: &str = "/account/security";
const PASSWORD: &str = "/account/security/password";
const NEW: Person = Person { password: "quite another horse battery", ..ALICE };

async fn done(world: &World, action: &str) -> i64 {
    audited(world, action, "done").await
}

/// The mail about this change, as soon as there is one.
async fn told(world: &World, words: &str) {
    testkit::eventually(crate::world::DEADLINE, || async {
        let mails = world.peers.mails();
        let found =
            mails.iter().find(|mail| mail.variables.get("change").is_some_and(|own| own.contains(words)));
        found.map(|mail| assert_eq!(mail.template, "identity.sign_in_changed"))
    })
    .await;
}

fn form_with_button(page: &Page, value: &str) -> Form {
    let mut forms = page.forms().into_iter();
    forms
        .find(|form| form.buttons.iter().any(|(_, own)| own == value))
        .unwrap_or_else(|| panic!("{}", page.html))
}

async fn choose(browser: &mut Browser<'_>, password: &str, again: &str) -> Page {
    let page = browser.open(PASSWORD).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.set("password", password);
    form.set("password_again", again);
    browser.submit(&form, None).await.page()
}

#[tokio::test]
async fn a_new_password_ends_the_other_sign_ins_and_the_user_is_told() {
    let world = World::start().await;
    let (mut browser, code) = world.sign_up(ALICE).await;
    let own = world.redeem("portal", &code).await;
    let (mut other, code) = world.sign_in(ALICE).await;
    let foreign = world.redeem("portal", &code).await;
    let cookie = browser.cookies["__Host-kotinos-session"].clone();

    let page = choose(&mut browser, "short", "short").await;
    assert!(page.status == 422 && page.text().contains("at least 8 characters"), "{}", page.text());
    let page = choose(&mut browser, NEW.password, "something else").await;
    assert!(page.status == 422 && page.text().contains("not the same"), "{}", page.text());
    assert_eq!(done(&world, "change_password").await, 0);
    let page = choose(&mut browser, NEW.password, NEW.password).await;
    assert!(page.text().contains("Your new password is set"), "{}", page.text());

    assert_eq!(facts(&world).await, ["UserRegistered", "UserPasswordChanged"]);
    assert_eq!(done(&world, "change_password").await, 1);
    testkit::eventually(crate::world::DEADLINE, || async {
        let mails = world.peers.mails();
        let told = mails.iter().find(|mail| mail.template == "identity.password_changed");
        told.map(|mail| assert_eq!(mail.address, ALICE.email.as_bytes()))
    })
    .await;
    let page = other.open(SECURITY).await.page();
    assert_eq!(page.url.path(), "/login");
    world.refresh("portal", foreign.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.refresh("portal", own.text("refresh_token")).await.status, 200);
    let told: i64 =
        sqlx::query_scalar("select count(*) from identity.revocation where family_id is not null")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
    assert_eq!(told, 1, "every instance learns of it");
    // The session that changed it goes on, under a new cookie alone.
    assert_eq!(browser.open(SECURITY).await.page().url.path(), SECURITY);
    let mut planted = world.browser();
    planted.cookies.insert("__Host-kotinos-session".to_owned(), cookie);
    assert_eq!(planted.open(SECURITY).await.page().url.path(), "/login");

    let page = world.browser().open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    assert!(page.form_asking(Asks::Password).is_some());
    let mut again = world.browser();
    let page = again.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    assert_eq!(again.submit(&form, None).await.page().status, 422);
    form.fill(Asks::Password, NEW.password);
    let url = again.submit(&form, None).await.away();
    assert!(param(&url, "code").starts_with("kac_"));
}

#[tokio::test]
async fn each_change_is_mailed_audited_and_published() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let page = browser.open(SECURITY).await.page();
    Authenticator::new().register(&mut browser, &page).await.page();
    told(&world, "passkey was added").await;
    turn_on(&world, &mut browser).await;
    told(&world, "were turned on").await;
    let page = browser.open(SECURITY).await.page();
    let to = |page: &Page, path: &str| page.forms().into_iter().find(|form| form.action == path).unwrap();
    browser.submit(&to(&page, "/account/security/recovery-codes"), None).await.page();
    told(&world, "New recovery codes").await;
    browser.submit(&form_with_button(&page, "remove"), Some("remove")).await.page();
    told(&world, "passkey was removed").await;
    browser.submit(&to(&page, "/account/security/totp"), Some("remove")).await.page();
    told(&world, "were turned off").await;

    let (added, removed) = ("UserCredentialAdded", "UserCredentialRemoved");
    let told = states(&world).await;
    let told: Vec<_> =
        told.iter().map(|(fact, state)| (fact.as_str(), state.credential_kind.as_str())).collect();
    let kinds = [(added, "passkey"), (added, "totp"), (added, "recovery_code")];
    assert_eq!(told[0], ("UserRegistered", ""));
    assert_eq!(told[1..], [kinds.as_slice(), &[(removed, "passkey"), (removed, "totp")]].concat());
    for action in ["add_passkey", "turn_codes_on", "renew_recovery_codes", "remove_passkey", "turn_codes_off"]
    {
        assert_eq!(done(&world, action).await, 1, "{action}");
    }
}

#[tokio::test]
async fn nothing_changes_for_a_user_who_signed_in_long_ago() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    turn_on(&world, &mut browser).await;
    let page = browser.open(SECURITY).await.page();
    let forms: Vec<Form> = page.forms().into_iter().filter(|form| form.action != SECURITY).collect();
    assert!(forms.len() >= 3, "{}", page.html);
    world.advance(TimeDelta::minutes(11));
    for form in forms.iter().filter(|form| form.passkey.is_none()) {
        let page = browser.submit(form, None).await.page();
        assert_eq!(page.url.path(), "/login", "{}", form.action);
    }
    for path in [PASSWORD, "/account/security/totp", "/account/security/confirm"] {
        assert_eq!(browser.open(path).await.page().url.path(), "/login", "{path}");
    }
    assert_eq!(facts(&world).await, ["UserRegistered", "UserCredentialAdded"]);
    let page = browser.open(SECURITY).await.page();
    assert!(page.forms().iter().all(|form| form.action == SECURITY), "{}", page.html);
}

#[tokio::test]
async fn a_consent_that_is_taken_back_ends_the_clients_tokens_and_is_asked_for_again() {
    let world = World::start().await;
    let (mut browser, portal) = world.sign_up(ALICE).await;
    let portal = world.redeem("portal", &portal).await;
    let code = world.code(&mut browser, "shop", "openid email").await;
    let shop = world.redeem("shop", &code).await;
    let page = browser.open(SECURITY).await.page();
    assert!(
        page.text().contains("Shop") && page.text().contains("see your e-mail address"),
        "{}",
        page.text()
    );
    let form = form_with_button(&page, "shop");
    let page = browser.submit(&form, Some("shop")).await.page();
    assert!(page.text().contains("The site may do this no more"), "{}", page.text());
    assert!(page.text().contains("allowed no site anything"), "{}", page.text());

    let told: Vec<_> = states(&world).await.into_iter().map(|(fact, state)| (fact, state.consent)).collect();
    let scopes = ["openid", "email"].map(str::to_owned).to_vec();
    let consent = Some(UserConsent { client_id: "shop".to_owned(), scopes });
    let expected = [
        ("UserRegistered", None),
        ("UserConsentGranted", consent.clone()),
        ("UserConsentWithdrawn", consent),
    ];
    assert_eq!(told, expected.map(|(fact, consent)| (fact.to_owned(), consent)));
    for action in ["grant_consent", "withdraw_consent"] {
        assert_eq!(done(&world, action).await, 1, "{action}");
    }
    world.refresh("shop", shop.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.refresh("portal", portal.text("refresh_token")).await.status, 200);
    let page = browser.open(&authorize_url("shop", "openid email", &[])).await.page();
    assert_eq!(page.url.path(), "/consent");
    assert_eq!(browser.submit(&form, Some("shop")).await.page().status, 404, "it is gone");
}

#[tokio::test]
async fn the_pages_of_the_own_sign_in_keep_the_rules_in_every_language() {
    let world = World::start().await;
    for (language, person) in
        [("ja", ALICE), ("en", BOB), ("fr", Person { email: "chie@example.jp", ..ALICE })]
    {
        let mut browser = world.browser();
        browser.language = language.to_owned();
        let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        browser.go_through(Person { is_new: true, ..person }, start).await;
        let page = browser.open(SECURITY).await.page();
        keeps_the_rules(&page, language);
        let page = Authenticator::new().register(&mut browser, &page).await.page();
        keeps_the_rules(&page, language);
        for path in [PASSWORD, "/account/security/totp"] {
            keeps_the_rules(&browser.open(path).await.page(), language);
        }
        let page = choose(&mut browser, "short", "short").await;
        keeps_the_rules(&page, language);
        turn_on(&world, &mut browser).await;
        keeps_the_rules(&browser.open(SECURITY).await.page(), language);

        let mut other = world.browser();
        other.language = language.to_owned();
        keeps_the_rules(&other.open("/login/passkey").await.page(), language);
        let page = other.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
        let mut form = page.form_asking(Asks::Password).unwrap();
        form.fill(Asks::Address, person.email);
        form.fill(Asks::Password, person.password);
        let page = other.submit(&form, None).await.page();
        assert_eq!(page.url.path(), "/login/totp");
        keeps_the_rules(&page, language);
        let page = other.open(&page.link("/login/recovery-code").unwrap()).await.page();
        keeps_the_rules(&page, language);
        let mut form = page.forms().remove(0);
        form.set("code", "0000-0000-0000");
        keeps_the_rules(&other.submit(&form, None).await.page(), language);
    }
}

#[tokio::test]
async fn a_user_sees_and_ends_the_own_sessions_only() {
    let world = World::start().await;
    let (mut first, _) = world.sign_up(ALICE).await;
    let (mut second, _) = world.sign_in(ALICE).await;
    let (mut bob, _) = world.sign_up(BOB).await;
    let page = first.open("/account/security").await.page();
    assert_eq!(page.headers["cross-origin-opener-policy"], "same-origin");
    assert_eq!(select(&page.html, "ul.sessions > li").len(), 2, "{}", page.html);
    assert!(page.text().contains("My Page"), "{}", page.text());

    let of_bob: uuid::Uuid = sqlx::query_scalar(
        "select session_id from identity.browser_session order by created_at desc, session_id desc limit 1",
    )
    .fetch_one(&world.app.pool)
    .await
    .unwrap();
    let mut form = page.forms_to("/account/security").remove(0);
    form.buttons.clear();
    for (session_id, status) in [(of_bob.to_string(), 404), ("'; --".to_owned(), 400), (String::new(), 400)] {
        form.set("session_id", &session_id);
        assert_eq!(first.submit(&form, None).await.page().status.as_u16(), status, "{session_id}");
    }
    assert_eq!(bob.open("/account/security").await.page().url.path(), "/account/security");

    // The newest one stands first: the second browser's.
    first.submit(&page.forms_to("/account/security")[0], None).await.page();
    assert_eq!(second.open("/account/security").await.page().url.path(), "/login");
    let page = first.open("/account/security").await.page();
    assert_eq!(select(&page.html, "ul.sessions > li").len(), 1);
    let everywhere =
        page.forms().into_iter().find(|form| form.buttons.iter().any(|(name, _)| name == "everywhere"));
    first.submit(&everywhere.unwrap(), None).await.page();
    assert_eq!(first.open("/account/security").await.page().url.path(), "/login");
}
