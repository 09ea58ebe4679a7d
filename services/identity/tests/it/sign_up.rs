use std::time::{Duration, Instant};

use domain::{Service, TimeDelta};
use prost::Message as _;
use proto::identity::v1::{FindUserByEmailRequest, UserState, user_service_client::UserServiceClient};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{
    browser::{Arrived, Asks, Browser, Page, Person},
    clients::{PORTAL_SCOPE, STAFF},
    world::{ALICE, BOB, DEADLINE, ISSUER, World, authorize_url, param},
};

const RIGHT: &str = "a good long password";

/// The page that waits for a mail to this address.
async fn ask(browser: &mut Browser<'_>, email: &str) -> Page {
    let page = browser.open("/signup").await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, email);
    browser.submit(&form, None).await.page()
}

async fn enter_code(browser: &mut Browser<'_>, page: &Page, code: &str) -> Page {
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, code);
    browser.submit(&form, None).await.page()
}

async fn choose(browser: &mut Browser<'_>, page: &Page, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

/// Six digits that are wrong.
fn other_than(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

async fn count(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap()
}

async fn users(world: &World) -> i64 {
    count(world, "select count(*) from identity.user").await
}

#[tokio::test]
async fn a_proved_address_and_a_password_make_a_user_with_its_fact() {
    let world = World::start().await;
    let (_, code) = world.sign_up(ALICE).await;
    assert!(code.starts_with("kac_"), "{code}");
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    let facts: Vec<&str> = rows.iter().map(|row| row.fact_type.as_str()).collect();
    assert_eq!(facts, ["UserRegistered", "UserSeen"]);
    let state = UserState::decode(rows[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((rows[0].topic.as_str(), rows[0].version), ("kotinos.identity.user.v1", 1));
    assert_eq!((rows[0].key.as_str(), state.client_id.as_str()), (state.user_id.as_str(), "portal"));
    let email = state.email.unwrap();
    assert!(email.address == ALICE.email.as_bytes() && email.verified_at.is_some());
    let phc: String =
        sqlx::query_scalar("select phc from identity.password").fetch_one(&world.app.pool).await.unwrap();
    assert!(phc.starts_with("$argon2id$"), "{phc}");
}

#[tokio::test]
async fn looking_at_a_link_does_not_consume_it_and_its_button_does() {
    let world = World::start().await;
    let mut browser = world.browser();
    let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let page = browser.open(&start.link("/signup").unwrap()).await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    browser.submit(&form, None).await.page();
    let link = world.peers.mail_to(ALICE.email).await.variables["link"].clone();
    assert!(link.starts_with(&format!("{ISSUER}/signup/verify?t=")), "{link}");

    // A scanner comes first, without cookies.
    for _ in 0..3 {
        assert_eq!(world.browser().open(&link).await.page().status, StatusCode::OK);
    }
    let page = browser.open(&link).await.page();
    assert!(page.text().contains("a•••@example.jp") && !page.text().contains(ALICE.email), "{}", page.text());
    let page = browser.submit(&page.forms()[0], None).await.page();
    assert_eq!(page.url.path(), "/signup/complete");
    let away = choose(&mut browser, &page, RIGHT).await.away();
    assert!(param(&away, "code").starts_with("kac_"), "the request went on in its own browser");

    // The user is made: link and digits are over, also for whoever kept the pages open.
    for _ in 0..2 {
        assert_eq!(world.browser().open(&link).await.page().status, StatusCode::BAD_REQUEST);
    }
    let page = browser.open(page.url.as_str()).await.page();
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(users(&world).await, 1);
}

#[tokio::test]
async fn a_link_in_another_browser_makes_the_user_and_does_not_take_the_request_along() {
    let world = World::start().await;
    let mut first = world.browser();
    let start = first.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let page = first.open(&start.link("/signup").unwrap()).await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    first.submit(&form, None).await.page();
    let link = world.peers.mail_to(ALICE.email).await.variables["link"].clone();

    let mut phone = world.browser();
    let page = phone.open(&link).await.page();
    let page = phone.submit(&page.forms()[0], None).await.page();
    let page = choose(&mut phone, &page, RIGHT).await.page();
    assert_eq!((page.url.path(), page.status), ("/account/security", StatusCode::OK));
    assert_eq!(users(&world).await, 1);
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer_but_another_mail() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut pages = Vec::new();
    for email in [ALICE.email, BOB.email] {
        let mut browser = world.browser();
        let page = browser.open("/signup").await.page();
        let mut form = page.form_asking(Asks::Address).unwrap();
        form.fill(Asks::Address, email);
        let begun = Instant::now();
        let page = browser.submit(&form, None).await.page();
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        let wrong = enter_code(&mut browser, &page, "000000").await;
        for page in [page, wrong] {
            let names: Vec<String> = page.headers.keys().map(ToString::to_string).collect();
            pages.push((page.status, names, page.text().replace(email, "-")));
        }
    }
    // 000000 may be Bob's code, once in a million runs.
    assert_eq!(pages[0], pages[2]);
    assert_eq!(pages[1], pages[3]);
    assert_eq!(pages[1].0, StatusCode::UNPROCESSABLE_ENTITY);

    let taken = testkit::eventually(DEADLINE, || async {
        world.peers.mails().into_iter().find(|mail| mail.template == "identity.address_taken")
    })
    .await;
    assert_eq!(taken.address, ALICE.email.as_bytes());
    assert!(!taken.variables.contains_key("code") && !taken.variables["link"].contains("?t="));
    assert_eq!(world.peers.mail_to(BOB.email).await.template, "identity.verify_email");
}

#[tokio::test]
async fn five_wrong_tries_end_the_digits_also_side_by_side() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    let code = world.peers.code_for(ALICE.email).await;
    for _ in 0..5 {
        let wrong = enter_code(&mut browser, &page, &other_than(&code)).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let late = enter_code(&mut browser, &page, &code).await;
    assert_eq!((late.url.path(), late.status), ("/signup/verify", StatusCode::UNPROCESSABLE_ENTITY));

    let mut other = world.browser();
    let page = ask(&mut other, BOB.email).await;
    let code = world.peers.code_for(BOB.email).await;
    let form = page.form_asking(Asks::Code).unwrap();
    let url = Url::parse(ISSUER).unwrap().join(&form.action).unwrap();
    let guesses = (0..30).map(|_| {
        let (mut browser, mut form, url) = (world.browser(), form.clone(), url.clone());
        browser.cookies = other.cookies.clone();
        form.fill(Asks::Code, &other_than(&code));
        let pairs: Vec<_> =
            form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
        async move { browser.send(Method::POST, &url, &pairs).await.status() }
    });
    let statuses = futures::future::join_all(guesses).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::UNPROCESSABLE_ENTITY), "{statuses:?}");
    let sql = "select max(failures)::bigint from identity.email_challenge";
    assert_eq!(count(&world, sql).await, 5);
    assert_eq!(enter_code(&mut other, &page, &code).await.url.path(), "/signup/verify");
    assert_eq!(users(&world).await, 0);
}

#[tokio::test]
async fn a_right_code_may_be_written_as_people_write_it_and_is_not_counted() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    let code = world.peers.code_for(ALICE.email).await;
    let wide: String = code.chars().map(|digit| char::from_u32(digit as u32 + 0xfee0).unwrap()).collect();
    for _ in 0..6 {
        let next = enter_code(&mut browser, &page, &format!(" {wide} ")).await;
        assert_eq!(next.url.path(), "/signup/complete");
    }
    for no_code in ["", "12345", "abcdef", "'; drop table identity.user; --"] {
        assert_eq!(enter_code(&mut browser, &page, no_code).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(count(&world, "select max(failures)::bigint from identity.email_challenge").await, 0);
}

#[tokio::test]
async fn digits_live_ten_minutes_and_the_link_an_hour() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    let mail = world.peers.mail_to(ALICE.email).await;
    world.advance(TimeDelta::minutes(10));
    let late = enter_code(&mut browser, &page, &mail.variables["code"]).await;
    assert_eq!((late.url.path(), late.status), ("/signup/verify", StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(browser.open(&mail.variables["link"]).await.page().status, StatusCode::OK);
    world.advance(TimeDelta::minutes(50));
    assert_eq!(browser.open(&mail.variables["link"]).await.page().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_mail_waits_for_mailer_and_goes_out_once() {
    let world = World::start().await;
    world.peers.mailer_is_down(true);
    let mut browser = world.browser();
    ask(&mut browser, ALICE.email).await;
    testkit::eventually(DEADLINE, || async {
        let sql = "select count(*) from identity.email_challenge where attempts > 0 and next_at > created_at";
        (count(&world, sql).await == 1).then_some(())
    })
    .await;
    assert!(world.peers.mails().is_empty());
    world.peers.mailer_is_down(false);
    world.advance(TimeDelta::minutes(2));
    let mail = world.peers.mail_to(ALICE.email).await;
    assert_eq!((mail.language.as_str(), mail.address_class.as_str()), ("en", "conforming"));
    testkit::eventually(DEADLINE, || async {
        let sql = "select count(*) from identity.email_challenge where mail_state = 'sent'";
        (count(&world, sql).await == 1).then_some(())
    })
    .await;
    assert_eq!(world.peers.mails().len(), 1);
}

#[tokio::test]
async fn a_mail_survives_the_process_that_was_asked_for_it() {
    let world = World::start().await;
    world.peers.mailer_is_down(true);
    ask(&mut world.browser(), ALICE.email).await;
    let world = world.killed_and_restarted().await;
    world.peers.mailer_is_down(false);
    world.advance(TimeDelta::minutes(2));
    let link = world.peers.mail_to(ALICE.email).await.variables["link"].clone();
    assert_eq!(world.browser().open(&link).await.page().status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_gets_five_mails_an_hour() {
    let world = World::start().await;
    for _ in 0..5 {
        assert_eq!(ask(&mut world.browser(), ALICE.email).await.url.path(), "/signup/verify");
    }
    let refused = ask(&mut world.browser(), "ALICE@example.jp").await;
    assert_eq!((refused.url.path(), refused.status), ("/signup", StatusCode::TOO_MANY_REQUESTS));
    let wait: i64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_500..=3_601).contains(&wait), "{wait}");
    assert_eq!(ask(&mut world.browser(), BOB.email).await.status, StatusCode::OK);
    world.advance(TimeDelta::minutes(61));
    assert_eq!(ask(&mut world.browser(), ALICE.email).await.status, StatusCode::OK);
    assert_eq!(count(&world, "select count(*) from identity.email_challenge").await, 7);
}

#[tokio::test]
async fn mails_asked_for_side_by_side_are_as_many_as_one_after_the_other() {
    let world = World::start().await;
    let asked = (0..12).map(|_| async {
        let mut browser = world.browser();
        ask(&mut browser, ALICE.email).await.status
    });
    let statuses = futures::future::join_all(asked).await;
    let mailed = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    let refused = statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((mailed, refused), (5, 7), "{statuses:?}");
    assert_eq!(count(&world, "select count(*) from identity.email_challenge").await, 5);
}

#[tokio::test]
async fn a_weak_or_mistyped_password_is_refused_and_may_be_mended() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = ask(&mut browser, ALICE.email).await;
    let code = world.peers.code_for(ALICE.email).await;
    let page = enter_code(&mut browser, &page, &code).await;
    let long = "x1".repeat(65);
    for weak in ["", "1234567", ALICE.email, "aaaaaaaaaa", &long] {
        let refused = choose(&mut browser, &page, weak).await.page();
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{weak}");
        let kept = refused.form_asking(Asks::Password).unwrap();
        let is_empty = |field: &crate::browser::Field| field.asks != Asks::Password || field.value.is_empty();
        assert!(kept.fields.iter().all(is_empty), "{weak}");
    }
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Password, RIGHT);
    form.set("password_again", "another long password");
    assert_eq!(browser.submit(&form, None).await.page().status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(users(&world).await, 0);
    assert_eq!(choose(&mut browser, &page, RIGHT).await.page().url.path(), "/account/security");
    assert_eq!(users(&world).await, 1);
}

#[tokio::test]
async fn one_address_makes_one_user_however_often_it_is_completed_at_once() {
    let world = World::start().await;
    let mut asked = Vec::new();
    for _ in 0..2 {
        let mut browser = world.browser();
        ask(&mut browser, ALICE.email).await;
        asked.push(browser);
    }
    let mails = testkit::eventually(DEADLINE, || async {
        Some(world.peers.mails()).filter(|mails| mails.len() == 2)
    })
    .await;
    let mut forms = Vec::new();
    for (browser, mail) in asked.iter_mut().zip(&mails) {
        let page = browser.open(&mail.variables["link"]).await.page();
        let page = browser.submit(&page.forms()[0], None).await.page();
        let mut form = page.form_asking(Asks::Password).unwrap();
        form.fill(Asks::Password, RIGHT);
        forms.push(form);
    }
    let [first, second] = asked.as_mut_slice() else { panic!() };
    let (one, other) = tokio::join!(first.submit(&forms[0], None), second.submit(&forms[1], None));
    let mut statuses = [one.page().status.as_u16(), other.page().status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(users(&world).await, 1);
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    assert_eq!(rows.iter().filter(|row| row.fact_type == "UserRegistered").count(), 1);
}

#[tokio::test]
async fn somebody_who_was_named_as_staff_gets_the_scopes_by_proving_the_address() {
    let world = World::start().await;
    world.sign_up(Person { email: STAFF, ..ALICE }).await;
    let sql = "select count(*) from identity.staff_grant where scope = 'segmentation.admin' and granted_by = 'bootstrap'";
    assert_eq!(count(&world, sql).await, 1);
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read"]));
    let request = FindUserByEmailRequest { address: STAFF.as_bytes().to_vec() };
    assert!(users.find_user_by_email(request).await.unwrap().into_inner().user.is_some());
}

#[tokio::test]
async fn only_a_conforming_address_signs_up() {
    let world = World::start().await;
    let long = format!("{}@example.org", "x".repeat(300));
    for wrong in [
        "",
        "alice",
        "alice@localhost",
        "a..b@docomo.ne.jp",
        "\"a b\"@example.org",
        "アリス@example.org",
        "a@example.org\r\nBcc: eve@example.org",
        "'; drop table identity.user; --@x",
        "<script>alert(1)</script>",
        "{{ 7 * 7 }}@example.org x",
        &long,
    ] {
        let page = ask(&mut world.browser(), wrong).await;
        assert_eq!((page.url.path(), page.status), ("/signup", StatusCode::UNPROCESSABLE_ENTITY), "{wrong}");
        assert!(!page.html.contains("<script"), "{wrong}");
    }
    assert_eq!(count(&world, "select count(*) from identity.email_challenge").await, 0);
}
