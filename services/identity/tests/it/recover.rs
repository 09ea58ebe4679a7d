use std::time::{Duration, Instant};

use domain::{Service, TimeDelta};
use prost::Message as _;
use proto::{
    identity::v1::{
        DisableUserRequest, FindUserByEmailRequest, SessionEnded, StartRecoveryRequest, UserState,
        user_service_client::UserServiceClient,
    },
    mailer::v1::SendTransactionalRequest,
};
use reqwest::StatusCode;
use tonic::Code;

use crate::{
    app_codes::turn_on,
    browser::{Arrived, Asks, Browser, Page},
    clients::PORTAL_SCOPE,
    pages::keeps_the_rules,
    world::{ALICE, BOB, DEADLINE, ISSUER, World, authorize_url, param},
};

const NEW: &str = "an entirely new sentence";

/// The page that waits for a mail to this address.
async fn ask(browser: &mut Browser<'_>, email: &str) -> Page {
    let page = browser.open("/recover").await.page();
    fill(browser, &page, Asks::Address, email).await.page()
}

async fn fill(browser: &mut Browser<'_>, page: &Page, asks: Asks, text: &str) -> Arrived {
    let mut form = page.form_asking(asks).unwrap();
    form.fill(asks, text);
    browser.submit(&form, None).await
}

async fn sign_in(browser: &mut Browser<'_>, page: &Page, email: &str, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

async fn mails(world: &World, template: &str, most: usize) -> Vec<SendTransactionalRequest> {
    testkit::eventually(DEADLINE, || async {
        let mails: Vec<_> =
            world.peers.mails().into_iter().filter(|mail| mail.template == template).collect();
        (mails.len() >= most).then_some(mails)
    })
    .await
}

async fn link_of(world: &World, nth: usize) -> String {
    mails(world, "identity.recover", nth).await[nth - 1].variables["link"].clone()
}

/// From a mail's link to the page that asks for the new password.
async fn follow(browser: &mut Browser<'_>, link: &str) -> Page {
    let page = browser.open(link).await.page();
    browser.submit(&page.forms()[0], None).await.page()
}

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn a_new_password_by_mail_ends_everything_that_was_signed_in() {
    let world = World::start().await;
    let (mut laptop, tokens) = world.tokens(ALICE).await;
    let (mut phone, _) = world.sign_in(ALICE).await;
    world.advance(TimeDelta::minutes(1));
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    assert_eq!((page.url.path(), page.status), ("/recover/reset", StatusCode::OK));
    let link = link_of(&world, 1).await;
    assert!(link.starts_with(&format!("{ISSUER}/recover/reset?t=kml_")), "{link}");

    // A scanner comes first, without cookies: nothing is consumed by looking.
    for _ in 0..3 {
        assert_eq!(world.browser().open(&link).await.page().status, StatusCode::OK);
    }
    let page = browser.open(&link).await.page();
    assert!(page.text().contains("a•••@example.jp") && !page.text().contains(ALICE.email), "{}", page.text());
    laptop.open("/account/security").await.page();
    let page = follow(&mut browser, &link).await;
    let login = fill(&mut browser, &page, Asks::Password, NEW).await.page();
    assert_eq!((login.url.path(), login.status), ("/login", StatusCode::OK));
    assert!(login.text().contains("new password is set"), "{}", login.text());

    for browser in [&mut laptop, &mut phone] {
        assert_eq!(browser.open("/account/security").await.page().url.path(), "/login");
    }
    world.refresh("portal", tokens.text("refresh_token")).await.refused_with(400, "invalid_grant");
    assert_eq!(world.relying_parties.told_times("portal", 2).await.len(), 2);
    let wrong = sign_in(&mut browser, &login, ALICE.email, ALICE.password).await.page();
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let own = sign_in(&mut browser, &login, ALICE.email, NEW).await.page();
    assert_eq!((own.url.path(), own.status), ("/account/security", StatusCode::OK));

    let notice = mails(&world, "identity.password_changed", 1).await.remove(0);
    assert_eq!(notice.address, ALICE.email.as_bytes());
    assert!(!notice.variables.contains_key("code") && !notice.variables["link"].contains("?t="));
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    let changed = rows.iter().find(|row| row.fact_type == "UserPasswordChanged").unwrap();
    let state = UserState::decode(changed.payload.as_deref().unwrap()).unwrap();
    assert_eq!((changed.version, state.version, state.cause.as_str()), (2, 2, "recovery"));
    let ended: Vec<String> = rows
        .iter()
        .filter(|row| row.fact_type == "SessionEnded")
        .map(|row| SessionEnded::decode(row.payload.as_deref().unwrap()).unwrap().cause)
        .collect();
    assert_eq!(ended, ["password_change", "password_change"]);
    let sql = "select count(*) from identity.audit_record where action = 'recover' and outcome = 'done'";
    assert_eq!(count(&world, sql).await, 1);

    // Used up, for the mail and for whoever kept the page open.
    assert_eq!(browser.open(&link).await.page().status, StatusCode::BAD_REQUEST);
    assert_eq!(fill(&mut browser, &page, Asks::Password, NEW).await.page().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_request_of_a_client_goes_on_after_the_new_password() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let login = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let page = browser.open(&login.link("/recover").unwrap()).await.page();
    fill(&mut browser, &page, Asks::Address, ALICE.email).await.page();
    let page = follow(&mut browser, &link_of(&world, 1).await).await;
    let login = fill(&mut browser, &page, Asks::Password, NEW).await.page();
    let away = sign_in(&mut browser, &login, ALICE.email, NEW).await.away();
    assert!(param(&away, "code").starts_with("kac_"), "{away}");
}

#[tokio::test]
async fn six_digits_do_as_well_and_five_wrong_ones_end_them() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    let code = mails(&world, "identity.recover", 1).await[0].variables["code"].clone();
    let reset = fill(&mut browser, &page, Asks::Code, &code).await.page();
    assert!(reset.form_asking(Asks::Password).is_some(), "{}", reset.html);
    let number: u32 = code.parse().unwrap();
    let wrong = format!("{:06}", (number + 1) % 1_000_000);
    for _ in 0..5 {
        let refused = fill(&mut browser, &page, Asks::Code, &wrong).await.page();
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let late = fill(&mut browser, &page, Asks::Code, &code).await.page();
    assert_eq!((late.url.path(), late.status), ("/recover/reset", StatusCode::UNPROCESSABLE_ENTITY));
    assert!(late.form_asking(Asks::Code).is_some());
    // They are over for guessing; who entered them right goes on.
    let login = fill(&mut browser, &reset, Asks::Password, NEW).await.page();
    assert_eq!(login.url.path(), "/login");
}

#[tokio::test]
async fn known_unknown_and_disabled_users_get_the_same_pages() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    world.sign_up(BOB).await;
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let request = FindUserByEmailRequest { address: BOB.email.as_bytes().to_vec() };
    let bob = users.find_user_by_email(request).await.unwrap().into_inner().user.unwrap();
    let request = DisableUserRequest { user_id: bob.user_id, ..DisableUserRequest::default() };
    users.disable_user(request).await.unwrap();
    let mut pages = Vec::new();
    for email in [ALICE.email, BOB.email, "nobody@example.org"] {
        let mut browser = world.browser();
        let page = browser.open("/recover").await.page();
        let begun = Instant::now();
        let page = fill(&mut browser, &page, Asks::Address, email).await.page();
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        let wrong = fill(&mut browser, &page, Asks::Code, "000000").await.page();
        let shown = [page, wrong].map(|page| {
            let names: Vec<String> = page.headers.keys().map(ToString::to_string).collect();
            (page.status, names, page.text().replace(email, "-"))
        });
        pages.push(shown);
    }
    // 000000 may be Alice's code, once in a million runs.
    assert_eq!(pages[0][1].0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(pages.iter().all(|shown| *shown == pages[0]), "{pages:?}");
    link_of(&world, 1).await;
    let mailed = world.peers.mails().into_iter().filter(|mail| mail.template == "identity.recover");
    assert!(mailed.into_iter().all(|mail| mail.address == ALICE.email.as_bytes()));
    let sql = "select count(*) from identity.email_challenge where purpose = 'no_recovery' and mail_state = 'expired'";
    assert_eq!(count(&world, sql).await, 2);
}

#[tokio::test]
async fn a_mail_serves_its_own_purpose_and_the_newest_password_only() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    world.advance(TimeDelta::minutes(1));
    let mut browser = world.browser();
    for _ in 0..2 {
        ask(&mut browser, ALICE.email).await;
    }
    let (first, second) = (link_of(&world, 1).await, link_of(&world, 2).await);
    let handle = first.split("?t=").nth(1).unwrap();
    let elsewhere = browser.open(&format!("/signup/verify?t={handle}")).await.page();
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST);
    let page = browser.open("/signup").await.page();
    fill(&mut browser, &page, Asks::Address, BOB.email).await.page();
    let of_bob = world.peers.mail_to(BOB.email).await.variables["link"].clone();
    let handle = of_bob.split("?t=").nth(1).unwrap();
    let elsewhere = browser.open(&format!("/recover/reset?t={handle}")).await.page();
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST);

    let other = follow(&mut browser, &second).await;
    world.advance(TimeDelta::minutes(1));
    let page = follow(&mut browser, &first).await;
    assert_eq!(fill(&mut browser, &page, Asks::Password, NEW).await.page().url.path(), "/login");
    // Both were asked for before the password changed.
    let refused = fill(&mut browser, &other, Asks::Password, "yet another sentence").await.page();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let facts = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    assert_eq!(facts.iter().filter(|row| row.fact_type == "UserPasswordChanged").count(), 1);
}

#[tokio::test]
async fn a_weak_password_is_refused_and_may_be_mended() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    ask(&mut browser, ALICE.email).await;
    let page = follow(&mut browser, &link_of(&world, 1).await).await;
    for weak in ["", "1234567", ALICE.email] {
        let refused = fill(&mut browser, &page, Asks::Password, weak).await.page();
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{weak}");
    }
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Password, NEW);
    form.set("password_again", "another sentence");
    assert_eq!(browser.submit(&form, None).await.page().status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fill(&mut browser, &page, Asks::Password, NEW).await.page().url.path(), "/login");
}

#[tokio::test]
async fn the_pages_keep_the_rules_in_every_language() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for (nth, language) in ["ja", "en", "fr"].into_iter().enumerate() {
        let mut browser = world.browser();
        browser.language = format!("{language},en;q=0.5");
        let page = browser.open("/recover").await.page();
        keeps_the_rules(&page, language);
        keeps_the_rules(&fill(&mut browser, &page, Asks::Address, "nobody").await.page(), language);
        let page = fill(&mut browser, &page, Asks::Address, ALICE.email).await.page();
        keeps_the_rules(&page, language);
        keeps_the_rules(&fill(&mut browser, &page, Asks::Code, "x").await.page(), language);
        let link = link_of(&world, nth + 1).await;
        keeps_the_rules(&browser.open(&link).await.page(), language);
        let page = follow(&mut browser, &link).await;
        keeps_the_rules(&page, language);
        keeps_the_rules(&fill(&mut browser, &page, Asks::Password, "short").await.page(), language);
        let password = format!("{NEW} {language}");
        keeps_the_rules(&fill(&mut browser, &page, Asks::Password, &password).await.page(), language);
        world.advance(TimeDelta::minutes(1));
    }
}

#[tokio::test]
async fn staff_may_start_a_recovery_once_for_each_request() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let request = FindUserByEmailRequest { address: ALICE.email.as_bytes().to_vec() };
    let alice = users.find_user_by_email(request).await.unwrap().into_inner().user.unwrap();
    let request =
        StartRecoveryRequest { request_id: domain::new_id().to_string(), user_id: alice.user_id.clone() };
    for _ in 0..3 {
        users.start_recovery(request.clone()).await.unwrap();
    }
    let link = link_of(&world, 1).await;
    assert_eq!(
        count(&world, "select count(*) from identity.email_challenge where purpose = 'recover'").await,
        1
    );
    let mut browser = world.browser();
    let page = follow(&mut browser, &link).await;
    assert_eq!(fill(&mut browser, &page, Asks::Password, NEW).await.page().url.path(), "/login");

    let with = |request_id: &str, user_id: &str| StartRecoveryRequest {
        request_id: request_id.to_owned(),
        user_id: user_id.to_owned(),
    };
    let fresh = || domain::new_id().to_string();
    let unknown = users.start_recovery(with(&fresh(), &fresh())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    for (request_id, user_id) in [
        ("", alice.user_id.as_str()),
        ("00000000-0000-0000-0000-000000000000", &alice.user_id),
        ("'; drop table identity.user; --", &alice.user_id),
        (&fresh(), "'; --"),
    ] {
        let refused = users.start_recovery(with(request_id, user_id)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{request_id} {user_id}");
    }
    // The proof of the sign-up and the first recovery count.
    for _ in 0..3 {
        users.start_recovery(with(&fresh(), &alice.user_id)).await.unwrap();
    }
    let sixth = users.start_recovery(with(&fresh(), &alice.user_id)).await.unwrap_err();
    assert_eq!(sixth.code(), Code::ResourceExhausted);
    let request = DisableUserRequest { user_id: alice.user_id.clone(), ..DisableUserRequest::default() };
    users.disable_user(request).await.unwrap();
    let disabled = users.start_recovery(with(&fresh(), &alice.user_id)).await.unwrap_err();
    assert_eq!(disabled.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_second_factor_stays_and_is_asked_for_with_the_new_password() {
    let world = World::start().await;
    let (mut own, _) = world.sign_up(ALICE).await;
    let (app, _) = turn_on(&world, &mut own).await;
    world.advance(TimeDelta::minutes(1));
    let mut browser = world.browser();
    ask(&mut browser, ALICE.email).await;
    let page = follow(&mut browser, &link_of(&world, 1).await).await;
    let login = fill(&mut browser, &page, Asks::Password, NEW).await.page();
    let page = sign_in(&mut browser, &login, ALICE.email, NEW).await.page();
    assert_eq!(page.url.path(), "/login/totp");
    assert!(!browser.cookies.contains_key("__Host-kotinos-session"), "the mailbox alone lets nobody in");
    let code = app.code(world.app.clock.now());
    let own = fill(&mut browser, &page, Asks::Code, &code).await.page();
    assert_eq!((own.url.path(), own.status), ("/account/security", StatusCode::OK));
}
