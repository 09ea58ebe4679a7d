use domain::TimeDelta;
use reqwest::{Method, StatusCode};
use sqlx::Row as _;
use url::Url;

use crate::{
    app_codes::turn_on,
    browser::{Arrived, Asks, Browser, Form, Page},
    world::{ALICE, BOB, ISSUER, World},
};

const WRONG: &str = "wrong horse battery";

async fn try_password(browser: &mut Browser<'_>, email: &str, password: &str) -> Arrived {
    let page = browser.open("/login").await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

async fn status(browser: &mut Browser<'_>, email: &str, password: &str) -> StatusCode {
    try_password(browser, email, password).await.page().status
}

fn is_in(page: &Page) -> bool {
    (page.url.path(), page.status) == ("/account/security", StatusCode::OK)
}

async fn sign_out(browser: &mut Browser<'_>) {
    let page = browser.open("/logout").await.page();
    browser.submit(&page.forms()[0], None).await.page();
}

#[tokio::test]
async fn strangers_do_not_slow_a_known_browser_down_nor_the_other_way_round() {
    let world = World::start().await;
    let (mut own, _) = world.sign_up(ALICE).await;
    sign_out(&mut own).await;
    let mut stranger = world.browser();
    for _ in 0..6 {
        assert_eq!(status(&mut stranger, ALICE.email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    for mut other in [stranger, world.browser()] {
        assert_eq!(status(&mut other, ALICE.email, ALICE.password).await, StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(is_in(&try_password(&mut own, ALICE.email, ALICE.password).await.page()));

    sign_out(&mut own).await;
    world.advance(TimeDelta::seconds(2));
    for _ in 0..6 {
        assert_eq!(status(&mut own, ALICE.email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(status(&mut own, ALICE.email, ALICE.password).await, StatusCode::TOO_MANY_REQUESTS);
    assert!(is_in(&try_password(&mut world.browser(), ALICE.email, ALICE.password).await.page()));
    // Known to Alice it is, and to nobody else.
    let (mut of_bob, _) = world.sign_up(BOB).await;
    sign_out(&mut of_bob).await;
    for _ in 0..6 {
        assert_eq!(status(&mut of_bob, ALICE.email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(
        status(&mut world.browser(), ALICE.email, ALICE.password).await,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn after_a_hundred_wrong_ones_a_mail_lets_the_user_in_with_the_same_password() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut refusals = Vec::new();
    let mut browser = world.browser();
    for email in [ALICE.email, "nobody@example.org"] {
        assert_eq!(status(&mut browser, email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
        sqlx::query("update identity.throttle set failures = 99 where kind = 'account' and failures < 99")
            .execute(&world.app.pool)
            .await
            .unwrap();
        assert_eq!(status(&mut browser, email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
        world.advance(TimeDelta::minutes(2));
        let refused = try_password(&mut browser, email, ALICE.password).await.page();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.text().contains("Prove by mail"), "{}", refused.text());
        refusals.push(refused.text());
    }
    assert_eq!(refusals[0], refusals[1]);

    let page = browser.open("/recover").await.page();
    let mut form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, ALICE.email);
    let page = browser.submit(&form, None).await.page();
    let mail = testkit::eventually(crate::world::DEADLINE, || async {
        world.peers.mails().into_iter().find(|mail| mail.template == "identity.recover")
    })
    .await;
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, &mail.variables["code"]);
    let page = browser.submit(&form, None).await.page();
    let login = browser.open(&page.link("/login").unwrap()).await.page();
    let mut form = login.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    assert!(is_in(&browser.submit(&form, None).await.page()));
    // Strangers wait until the day is over.
    let mut stranger = world.browser();
    assert_eq!(status(&mut stranger, ALICE.email, ALICE.password).await, StatusCode::TOO_MANY_REQUESTS);
    world.advance(TimeDelta::hours(24));
    assert!(is_in(&try_password(&mut stranger, ALICE.email, ALICE.password).await.page()));
}

#[tokio::test]
async fn a_network_that_guesses_is_slow_and_not_shut_out() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    for number in 0..31 {
        let email = format!("guess{number}@example.org");
        assert_eq!(status(&mut browser, &email, WRONG).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let failures: i32 = sqlx::query_scalar("select failures from identity.throttle where kind = 'network'")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(failures, 31);
    assert!(is_in(&try_password(&mut browser, ALICE.email, ALICE.password).await.page()));
}

#[tokio::test]
async fn guesses_side_by_side_are_as_many_as_one_after_the_other() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let page = browser.open("/login").await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, WRONG);
    let judged = side_by_side(&world, &browser, &form).await;
    let failures: i32 = sqlx::query_scalar("select failures from identity.throttle where kind = 'account'")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(failures).unwrap(), judged);
}

#[tokio::test]
async fn guesses_at_a_code_side_by_side_gain_nothing_either() {
    let world = World::start().await;
    let (mut own, _) = world.sign_up(ALICE).await;
    turn_on(&world, &mut own).await;
    let mut browser = world.browser();
    let page = try_password(&mut browser, ALICE.email, ALICE.password).await.page();
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, "000000");
    side_by_side(&world, &browser, &form).await;
}

/// Sends a form thirty times at once; how many of them were judged.
async fn side_by_side(world: &World, browser: &Browser<'_>, form: &Form) -> usize {
    let pairs: Vec<_> = form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    let url = Url::parse(ISSUER).unwrap().join(&form.action).unwrap();
    let guesses = (0..30).map(|_| {
        let mut one = world.browser();
        one.cookies = browser.cookies.clone();
        let (url, pairs) = (url.clone(), pairs.clone());
        async move { one.send(Method::POST, &url, &pairs).await.status() }
    });
    let statuses = futures::future::join_all(guesses).await;
    let judged = statuses.iter().filter(|status| **status == StatusCode::UNPROCESSABLE_ENTITY).count();
    let sent_away = statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count();
    assert!((1..=6).contains(&judged) && judged + sent_away == 30, "{statuses:?}");
    judged
}

#[tokio::test]
async fn counters_are_written_on_failure_only_and_tell_nothing() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    sqlx::query("delete from identity.throttle").execute(&world.app.pool).await.unwrap();
    let mut browser = world.browser();
    assert!(is_in(&try_password(&mut browser, ALICE.email, ALICE.password).await.page()));
    let rows = "select kind, key_hash from identity.throttle order by kind";
    assert!(sqlx::query(rows).fetch_all(&world.app.pool).await.unwrap().is_empty());
    status(&mut world.browser(), ALICE.email, WRONG).await;
    let found = sqlx::query(rows).fetch_all(&world.app.pool).await.unwrap();
    let kinds: Vec<&str> = found.iter().map(|row| row.get("kind")).collect();
    assert_eq!(kinds, ["account", "network"]);
    assert!(found.iter().all(|row| row.get::<Vec<u8>, _>("key_hash").len() == 16));
}

#[tokio::test]
async fn a_sign_in_with_a_password_that_is_changed_meanwhile_comes_to_nothing() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let before: i64 = sessions(&world).await;
    let mut change = world.app.pool.begin().await.unwrap();
    sqlx::query("update identity.password set phc = phc || 'x'").execute(&mut *change).await.unwrap();
    let mut browser = world.browser();
    let (page, ()) = tokio::join!(try_password(&mut browser, ALICE.email, ALICE.password), async {
        // The sign-in waits for the row that is being changed.
        testkit::eventually(crate::world::DEADLINE, || async {
            let sql = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock' and query like '%for share%'";
            let waiting: i64 = sqlx::query_scalar(sql)
                .fetch_one(&world.app.pool)
                .await
                .unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        change.commit().await.unwrap();
    });
    assert_eq!(page.page().status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(sessions(&world).await, before);
}

async fn sessions(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from identity.browser_session where ended_at is null")
        .fetch_one(&world.app.pool)
        .await
        .unwrap()
}
