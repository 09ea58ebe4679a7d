//! Instances whose clocks are a minute off: what one of them did holds at the others, or is refused clearly; nothing counts
//! twice, nobody is stuck. The clocks of the world stand still, so that the minute is exact.

use std::time::Duration;

use domain::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::TestApp;

use crate::{
    browser::{Arrived, Asks, Browser, Person},
    clients::PORTAL_SCOPE,
    oidf::fapi2::signer::Signer,
    world::{ALICE, Answer, DEADLINE, ISSUER, Instance, World, answer, authorize_url, param},
};

const OFF: [TimeDelta; 2] = [TimeDelta::seconds(60), TimeDelta::seconds(-60)];
/// What is taken back anywhere is known everywhere after this.
const SOON: Duration = Duration::from_secs(1);
const KNOWN: Person = Person { is_new: false, ..ALICE };

/// The code of a sign-in at this instance.
async fn code_at(app: &TestApp, world: &World) -> String {
    let mut browser = Browser::new(app, &world.peers);
    let start = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
    param(&browser.go_through(KNOWN, start).await, "code")
}

/// Shows a code at one instance and then at another: it counts once, and whoever is refused is told why.
async fn counts_once(first: &Instance, second: &Instance, code: &str) {
    let one = first.redeem("portal", code).await.unwrap();
    let two = second.redeem("portal", code).await.unwrap();
    if one.status == StatusCode::OK {
        two.refused_with(400, "invalid_grant");
        // It came twice, which takes back what it gave.
        for instance in [first, second] {
            let refused = instance.refresh("portal", one.text("refresh_token")).await.unwrap();
            refused.refused_with(400, "invalid_grant");
        }
    } else {
        one.refused_with(400, "invalid_grant");
        assert_eq!(one.text("error_description"), "the code has expired");
        assert_eq!(two.status, StatusCode::OK, "{}", two.body);
    }
}

#[tokio::test]
async fn a_code_counts_once_wherever_it_was_issued_and_is_shown() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        let (here, there) = (Instance::of(&world.app), Instance::of(&app));
        for issuer in [&world.app, &app] {
            counts_once(&here, &there, &code_at(issuer, &world).await).await;
            counts_once(&there, &here, &code_at(issuer, &world).await).await;
        }
    }
}

#[tokio::test]
async fn tokens_of_one_instance_count_and_are_refreshed_at_another() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        let (here, there) = (Instance::of(&world.app), Instance::of(&app));
        let code = world.code(&mut browser, "shop", "openid").await;
        let mut tokens = here.redeem("shop", &code).await.unwrap();
        for giver in [&there, &here, &there] {
            tokens = giver.refresh("shop", tokens.text("refresh_token")).await.unwrap();
            assert_eq!(tokens.status, StatusCode::OK, "{off}: {}", tokens.body);
            for instance in [&here, &there] {
                assert!(instance.is_active("shop", tokens.text("access_token")).await, "{off}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_is_given_again_by_a_clock_that_is_behind() {
    let world = World::start().await;
    let app = world.beside_with_clock_off(OFF[1]).await;
    let (here, there) = (Instance::of(&world.app), Instance::of(&app));
    let (_, tokens) = world.tokens(ALICE).await;
    let first = tokens.text("refresh_token");
    // Either way round; and the token that came of it is the current one at both.
    let lost = here.refresh("portal", first).await.unwrap();
    let again = there.refresh("portal", first).await.unwrap();
    assert_eq!(again.text("refresh_token"), lost.text("refresh_token"), "{}", again.body);
    let next = there.refresh("portal", again.text("refresh_token")).await.unwrap();
    let next = here.refresh("portal", next.text("refresh_token")).await.unwrap();
    assert_eq!(next.status, StatusCode::OK, "{}", next.body);
}

#[tokio::test]
async fn a_clock_ahead_by_more_than_the_grace_ends_a_grant_rather_than_serve_a_thief() {
    let world = World::start().await;
    let app = world.beside_with_clock_off(OFF[0]).await;
    let (here, there) = (Instance::of(&world.app), Instance::of(&app));
    let (_, tokens) = world.tokens(ALICE).await;
    let first = tokens.text("refresh_token");
    let next = here.refresh("portal", first).await.unwrap();
    there.refresh("portal", first).await.unwrap().refused_with(400, "invalid_grant");
    here.refresh("portal", next.text("refresh_token")).await.unwrap().refused_with(400, "invalid_grant");
    // Its user is not stuck.
    let again = there.redeem("portal", &code_at(&app, &world).await).await.unwrap();
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
}

#[tokio::test]
async fn what_is_taken_back_by_a_wrong_clock_is_known_everywhere_within_a_second() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        let (here, there) = (Instance::of(&world.app), Instance::of(&app));
        for (taker, other) in [(&here, &there), (&there, &here)] {
            let code = world.code(&mut browser, "shop", "openid").await;
            let tokens = here.redeem("shop", &code).await.unwrap();
            let access = tokens.text("access_token");
            assert!(other.is_active("shop", access).await);
            let form = [("token", tokens.text("refresh_token"))];
            let taken = taker.post_as("shop", "/oauth2/revoke", &form).await.unwrap();
            assert_eq!(taken.status, StatusCode::OK, "{}", taken.body);
            assert!(!taker.is_active("shop", access).await);
            testkit::eventually(SOON, || async { (!other.is_active("shop", access).await).then_some(()) })
                .await;
        }
    }
}

/// Shows the password on a page of one instance, and sends the page to another one.
async fn signs_in_across<'w>(world: &'w World, from: &'w TestApp, to: &'w TestApp) -> Browser<'w> {
    let mut first = Browser::new(from, &world.peers);
    let page = first.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    let mut second = Browser::new(to, &world.peers);
    second.cookies = first.cookies;
    second.submit(&form, None).await.away();
    second
}

#[tokio::test]
async fn a_page_of_one_instance_is_sent_to_another_and_the_session_counts_at_both() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        for (from, to) in [(&world.app, &app), (&app, &world.app)] {
            let cookies = signs_in_across(&world, from, to).await.cookies;
            for instance in [from, to] {
                let mut browser = Browser::new(instance, &world.peers);
                browser.cookies.clone_from(&cookies);
                let silent = authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")]);
                param(&browser.open(&silent).await.away(), "code");
            }
        }
    }
}

/// A token request with a proof, without anything to refresh: `invalid_request` says that the proof was right.
async fn shows(app: &TestApp, key: &Signer, nonce: &str, iat: i64) -> Answer {
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk()});
    let mut claims = json!({
        "jti": domain::new_id(), "htm": "POST", "htu": format!("{ISSUER}/oauth2/token"), "iat": iat,
    });
    if !nonce.is_empty() {
        claims["nonce"] = Value::from(nonce);
    }
    let form = [("client_id", "portal"), ("grant_type", "refresh_token")];
    let request = app.http().post(app.http_url("/oauth2/token")).header("dpop", key.jws(&header, &claims));
    answer(request.form(&form).send().await.unwrap()).await
}

#[tokio::test]
async fn a_proof_counts_up_to_a_minute_away_and_a_nonce_at_every_instance() {
    let world = World::start().await;
    let (key, now) = (Signer::p256(), world.app.clock.now().timestamp());
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        for (giver, taker) in [(&world.app, &app), (&app, &world.app)] {
            let asked = shows(giver, &key, "", now).await;
            asked.refused_with(400, "use_dpop_nonce");
            // The client's clock is right: at the one that is off its proof is a whole minute away.
            let nonce = asked.header("dpop-nonce");
            shows(taker, &key, nonce, now).await.refused_with(400, "invalid_request");
        }
    }
    let nonce = shows(&world.app, &key, "", now).await.header("dpop-nonce").to_owned();
    for (away, error) in [
        (-61, "invalid_dpop_proof"),
        (-60, "invalid_request"),
        (60, "invalid_request"),
        (61, "invalid_dpop_proof"),
    ] {
        shows(&world.app, &key, &nonce, now + away).await.refused_with(400, error);
    }
}

#[tokio::test]
async fn a_sign_out_that_a_wrong_clock_began_to_tell_is_told_by_another_instance() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    for off in OFF {
        let app = world.beside_with_clock_off(off).await;
        let (mut browser, portal_code) = world.sign_in(ALICE).await;
        let portal = world.redeem("portal", &portal_code).await;
        world.code(&mut browser, "shop", "openid").await;
        // Both try, neither gets it told, and the one that is off dies in the middle of it.
        world.relying_parties.answer(503);
        let mut elsewhere = Browser::new(&app, &world.peers);
        elsewhere.cookies.clone_from(&browser.cookies);
        elsewhere.open(&format!("/logout?id_token_hint={}", portal.text("id_token"))).await.page();
        let pending =
            "select count(*) from identity.logout_delivery where state = 'pending' and attempts > 0";
        let count = async |sql: &'static str| -> i64 {
            sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap()
        };
        testkit::eventually(DEADLINE, || async { (count(pending).await == 2).then_some(()) }).await;
        drop(elsewhere);
        drop(app.kill());
        world.relying_parties.answer(204);
        // Its lease, the minute that it was off, and what it backed off.
        world.advance(TimeDelta::seconds(240));
        let left = "select count(*) from identity.logout_delivery where state <> 'delivered'";
        testkit::eventually(DEADLINE, || async { (count(left).await == 0).then_some(()) }).await;
    }
    let all: i64 = sqlx::query_scalar("select count(*) from identity.logout_delivery")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(all, 4);
}

/// Shows a password at an instance; whether it let the person in.
async fn lets_in(app: &TestApp, world: &World, password: &str) -> bool {
    let mut browser = Browser::new(app, &world.peers);
    let page = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, password);
    matches!(browser.submit(&form, None).await, Arrived::Away(_))
}

#[tokio::test]
async fn a_delay_that_a_wrong_clock_wrote_is_a_minute_longer_at_most() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let app = world.beside_with_clock_off(OFF[0]).await;
    // Five are free; the sixth costs a second, by the clock that is ahead.
    for _ in 0..6 {
        assert!(!lets_in(&app, &world, "not the password").await);
    }
    assert!(!lets_in(&world.app, &world, ALICE.password).await);
    world.advance(TimeDelta::seconds(61));
    assert!(lets_in(&world.app, &world, ALICE.password).await);
}
