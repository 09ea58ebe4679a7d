use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    app_codes::{AppCodes, turn_on},
    browser::{Arrived, Asks, Browser, Page, Person},
    clients::PORTAL_SCOPE,
    world::{ALICE, DEADLINE, World, authorize_url, param},
};

const SECURITY: &str = "/account/security";

/// Shows the password; what comes then.
async fn show_password(browser: &mut Browser<'_>, person: Person) -> Arrived {
    let page = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, person.email);
    form.fill(Asks::Password, person.password);
    browser.submit(&form, None).await
}

/// The page that asks for a code.
async fn code_page(browser: &mut Browser<'_>) -> Page {
    let page = show_password(browser, ALICE).await.page();
    assert_eq!(page.url.path(), "/login/totp");
    assert!(!browser.cookies.contains_key("__Host-kotinos-session"), "the password alone lets nobody in");
    page
}

async fn enter(browser: &mut Browser<'_>, page: &Page, code: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Code).unwrap();
    form.fill(Asks::Code, code);
    browser.submit(&form, None).await
}

async fn enter_recovery_code(browser: &mut Browser<'_>, page: &Page, code: &str) -> Arrived {
    let page = browser.open(&page.link("/login/recovery-code").unwrap()).await.page();
    let mut form = page.forms().remove(0);
    form.set("code", code);
    browser.submit(&form, None).await
}

async fn with_codes(world: &World) -> (Browser<'_>, AppCodes, Vec<String>) {
    let (mut browser, _) = world.sign_up(ALICE).await;
    let (app, codes) = turn_on(world, &mut browser).await;
    (browser, app, codes)
}

#[tokio::test]
async fn a_code_of_the_app_is_the_second_factor_and_counts_once() {
    let world = World::start().await;
    let (mut own, app, codes) = with_codes(&world).await;
    assert_eq!(codes.len(), 10);
    // The session at which codes were turned on has shown two factors, under a new cookie.
    let url = own.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!(claims["acr"], "urn:kotinos:acr:2");

    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    let now = world.app.clock.now();
    let page = enter(&mut browser, &page, &app.code(now)).await.page();
    assert!(page.status == 422 && page.text().contains("was used"), "the code that turned it on is used");
    let page = enter(&mut browser, &page, "12 34").await.page();
    assert!(page.text().contains("six digits that the app shows"), "{}", page.text());
    world.advance(TimeDelta::seconds(30));
    let code = app.code(world.app.clock.now());
    let url = enter(&mut browser, &page, &code).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!(claims["acr"], "urn:kotinos:acr:2");
    assert_eq!(claims["amr"], json!(["pwd", "otp", "mfa"]));

    let mut thief = world.browser();
    let page = code_page(&mut thief).await;
    let page = enter(&mut thief, &page, &code).await.page();
    assert_eq!(page.status, 422, "a code that was looked over the shoulder");
    // A clock that is a step behind is forgiven, but not backwards over a code that was taken.
    world.advance(TimeDelta::seconds(60));
    let late = app.code(world.app.clock.now() - TimeDelta::seconds(30));
    enter(&mut thief, &page, &late).await.away();
}

#[tokio::test]
async fn one_code_at_many_browsers_at_once_lets_one_in() {
    let world = World::start().await;
    let (_, app, _) = with_codes(&world).await;
    world.advance(TimeDelta::seconds(30));
    let code = app.code(world.app.clock.now());
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut browser = world.browser();
        let page = code_page(&mut browser).await;
        waiting.push((browser, page));
    }
    let tries = waiting.iter_mut().map(|(browser, page)| {
        let code = &code;
        async move { matches!(enter(browser, page, code).await, Arrived::Away(_)) }
    });
    let entered = futures::future::join_all(tries).await;
    assert_eq!(entered.iter().filter(|entered| **entered).count(), 1);
}

#[tokio::test]
async fn a_recovery_code_lets_in_once() {
    let world = World::start().await;
    let (_, _, codes) = with_codes(&world).await;
    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    let wrong = enter_recovery_code(&mut browser, &page, "0000-0000-0000").await.page();
    assert!(wrong.status == 422 && wrong.text().contains("none of your recovery codes"), "{}", wrong.text());
    let written = codes[3].to_lowercase().replace('-', " ");
    let url = enter_recovery_code(&mut browser, &page, &written).await.away();
    let tokens = world.redeem("portal", &param(&url, "code")).await;
    let claims = world.read(tokens.text("id_token"), "JWT", "portal").await;
    assert_eq!(claims["acr"], "urn:kotinos:acr:2");
    let security = browser.open(SECURITY).await.page();
    assert!(security.text().contains("Recovery codes left") && security.text().contains('9'));

    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    assert_eq!(enter_recovery_code(&mut browser, &page, &codes[3]).await.page().status, 422);
    enter_recovery_code(&mut browser, &page, &codes[4]).await.away();
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select hmac from identity.recovery_code")
        .fetch_all(&world.app.pool)
        .await
        .unwrap();
    assert!(stored.iter().all(|hmac| codes.iter().all(|code| hmac.as_slice() != code.as_bytes())));
}

#[tokio::test]
async fn new_recovery_codes_end_the_old_ones_and_turning_off_ends_all() {
    let world = World::start().await;
    let (mut browser, app, old) = with_codes(&world).await;
    let page = browser.open(SECURITY).await.page();
    let to = |page: &Page, path: &str| {
        page.forms().into_iter().find(|form| form.action == path).unwrap_or_else(|| panic!("{}", page.html))
    };
    let renew = to(&page, "/account/security/recovery-codes");
    let shown = browser.submit(&renew, None).await.page();
    let new = crate::app_codes::texts(&shown, "ol code");
    assert!(new.len() == 10 && new.iter().all(|code| !old.contains(code)));
    let mut other = world.browser();
    let page = code_page(&mut other).await;
    assert_eq!(enter_recovery_code(&mut other, &page, &old[0]).await.page().status, 422);
    enter_recovery_code(&mut other, &page, &new[0]).await.away();

    let page = browser.open(SECURITY).await.page();
    let off = to(&page, "/account/security/totp");
    let page = browser.submit(&off, Some("remove")).await.page();
    assert!(page.text().contains("Codes by app are off"), "{}", page.text());
    show_password(&mut world.browser(), ALICE).await.away();
    let left: i64 = sqlx::query_scalar("select count(*) from identity.recovery_code")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // Whoever stopped at the page for a code has to begin again.
    let page = code_page_after_off(&world, &app).await;
    assert_eq!(page.status, 422);
}

async fn code_page_after_off(world: &World, app: &AppCodes) -> Page {
    let (mut browser, _) = world.sign_in(ALICE).await;
    let page = browser.open("/account/security/totp").await.page();
    let mut form = page.form_asking(Asks::Code).unwrap();
    // Another secret, of which the old app knows nothing.
    form.fill(Asks::Code, &app.code(world.app.clock.now() + TimeDelta::hours(1)));
    browser.submit(&form, None).await.page()
}

#[tokio::test]
async fn guessing_at_codes_is_slowed_down() {
    let world = World::start().await;
    let (_, app, _) = with_codes(&world).await;
    world.advance(TimeDelta::seconds(30));
    let mut browser = world.browser();
    let mut page = code_page(&mut browser).await;
    for _ in 0..6 {
        page = enter(&mut browser, &page, "000000").await.page();
        assert_eq!(page.status, 422);
    }
    let code = app.code(world.app.clock.now());
    let page = enter(&mut browser, &page, &code).await.page();
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key("retry-after"));
    world.advance(TimeDelta::seconds(2));
    enter(&mut browser, &page, &code).await.away();
}

#[tokio::test]
async fn the_first_step_is_of_one_browser_and_of_ten_minutes() {
    let world = World::start().await;
    let (_, app, _) = with_codes(&world).await;
    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    let mut thief = world.browser();
    let form = page.form_asking(Asks::Code).unwrap();
    assert_eq!(thief.submit(&form, None).await.page().status, 400);
    world.advance(TimeDelta::minutes(9));
    let french = browser.open(&format!("{}&ui_locales=fr", page.url)).await.page();
    assert_eq!(french.status, 200);
    world.advance(TimeDelta::minutes(1));
    let page = enter(&mut browser, &french, &app.code(world.app.clock.now())).await.page();
    assert_eq!(page.status, 400, "another language gives no more time");
}

#[tokio::test]
async fn a_user_who_is_shut_out_meanwhile_does_not_come_in() {
    let world = World::start().await;
    let (_, app, _) = with_codes(&world).await;
    world.advance(TimeDelta::seconds(30));
    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    sqlx::query("update identity.user set status = 'disabled'").execute(&world.app.pool).await.unwrap();
    let page = enter(&mut browser, &page, &app.code(world.app.clock.now())).await.page();
    assert_eq!(page.status, 422);
    sqlx::query("update identity.user set status = 'active'").execute(&world.app.pool).await.unwrap();
    sqlx::query("update identity.password set set_at = $1")
        .bind(world.app.clock.now() + TimeDelta::seconds(1))
        .execute(&world.app.pool)
        .await
        .unwrap();
    let page = enter(&mut browser, &page, &app.code(world.app.clock.now())).await.page();
    assert_eq!(page.status, 422, "the password is another one by now");
}

#[tokio::test]
async fn a_code_after_a_password_that_is_changed_meanwhile_comes_to_nothing() {
    let world = World::start().await;
    let (_, app, _) = with_codes(&world).await;
    world.advance(TimeDelta::seconds(30));
    let mut browser = world.browser();
    let page = code_page(&mut browser).await;
    let sessions = "select count(*) from identity.browser_session where ended_at is null";
    let before: i64 = sqlx::query_scalar(sessions).fetch_one(&world.app.pool).await.unwrap();
    // Whoever changes a password holds the user's row from the beginning, and ends the sessions that are there by then.
    let mut change = world.app.pool.begin().await.unwrap();
    sqlx::query("select from identity.user for update").execute(&mut *change).await.unwrap();
    sqlx::query("update identity.password set set_at = $1")
        .bind(world.app.clock.now() + TimeDelta::seconds(1))
        .execute(&mut *change)
        .await
        .unwrap();
    let code = app.code(world.app.clock.now());
    let (entered, ()) = tokio::join!(enter(&mut browser, &page, &code), async {
        testkit::eventually(DEADLINE, || async {
            let sql = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock' and query like '%for update of u%'";
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        change.commit().await.unwrap();
    });
    assert_eq!(entered.page().status, StatusCode::UNPROCESSABLE_ENTITY);
    let after: i64 = sqlx::query_scalar(sessions).fetch_one(&world.app.pool).await.unwrap();
    assert_eq!(after, before);
}
