//! Whether somebody has an ID is told by no page, no status, no number of statements and no time.

use std::time::Instant;

use proto::identity::v1::{
    DisableUserRequest, FindUserByEmailRequest, user_service_client::UserServiceClient,
};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::{
    browser::{Asks, Browser, Form},
    ranks::distance,
    tap::{Tap, Traffic},
    world::{ALICE, BOB, DEADLINE, ISSUER, World},
};

const KINDS: [&str; 3] = [ALICE.email, "nobody@example.org", BOB.email];
const FLOWS: [&str; 3] = ["/login", "/signup", "/recover"];
/// Beyond it chance goes once in ten thousand comparisons.
const FAR: f64 = 3.9;

/// Alice has an ID, Bob had one until he was disabled, nobody has none.
async fn populate(world: &World) {
    world.sign_up(ALICE).await;
    world.sign_up(BOB).await;
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let request = FindUserByEmailRequest { address: BOB.email.as_bytes().to_vec() };
    let bob = users.find_user_by_email(request).await.unwrap().into_inner().user.unwrap();
    let request = DisableUserRequest { user_id: bob.user_id, ..DisableUserRequest::default() };
    users.disable_user(request).await.unwrap();
}

struct Attempt {
    url: Url,
    pairs: Vec<(String, String)>,
}

async fn attempt(browser: &mut Browser<'_>, flow: &str, email: &str) -> Attempt {
    let page = browser.open(flow).await.page();
    let mut form: Form = page.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, "wrong horse battery");
    let pairs = form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    Attempt { url: Url::parse(ISSUER).unwrap().join(&form.action).unwrap(), pairs }
}

async fn forget_counters(world: &World) {
    sqlx::query("delete from identity.throttle").execute(&world.app.pool).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_user_costs_the_same_statements() {
    let tap = Tap::start().await;
    let world = World::start_through(&tap).await;
    populate(&world).await;
    for flow in FLOWS {
        let mut seen = Vec::new();
        for email in KINDS {
            let mut browser = world.browser();
            let Attempt { url, pairs } = attempt(&mut browser, flow, email).await;
            forget_counters(&world).await;
            tap.take();
            let status = browser.send(Method::POST, &url, &pairs).await.status();
            let Traffic { commits, statements, mut texts } = tap.take();
            texts.sort_unstable();
            assert!(texts.iter().any(|text| text.contains("identity.user_email")), "{flow}: {texts:?}");
            assert!(commits == 1 && statements >= 6, "{flow}: {commits} commits, {texts:?}");
            seen.push((status, texts));
        }
        assert_eq!(seen[0], seen[1], "{flow}");
        assert_eq!(seen[0], seen[2], "{flow}");
    }
}

/// How many hashes the lane has computed.
async fn hashes(world: &World) -> u64 {
    let text =
        world.app.http().get(world.app.ops_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("identity_hashes_total") && line.contains("done"));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn every_refused_password_costs_one_hash() {
    let world = World::start().await;
    populate(&world).await;
    let long = "x1".repeat(500);
    let mut expected = hashes(&world).await;
    for (email, password) in [
        (ALICE.email, "wrong horse battery"),
        ("nobody@example.org", "wrong horse battery"),
        (BOB.email, "wrong horse battery"),
        (BOB.email, BOB.password),
        (ALICE.email, long.as_str()),
        ("not an address", "wrong horse battery"),
        ("a..b@docomo.ne.jp", "x"),
    ] {
        let mut browser = world.browser();
        let page = browser.open("/login").await.page();
        let mut form = page.form_asking(Asks::Password).unwrap();
        form.fill(Asks::Address, email);
        form.fill(Asks::Password, password);
        expected += 1;
        assert_eq!(browser.submit(&form, None).await.page().status, StatusCode::UNPROCESSABLE_ENTITY);
        // The lane counts after it has answered.
        let done = testkit::eventually(DEADLINE, || async {
            Some(hashes(&world).await).filter(|done| *done >= expected)
        });
        assert_eq!(done.await, expected, "{email} {}", password.len());
    }
}

/// Milliseconds of tries of each kind, the kinds in turn; `side` of them side by side.
async fn times(world: &World, flow: &str, tries: usize, side: usize) -> [Vec<f64>; 3] {
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..tries.div_ceil(side) {
        for turn in 0..KINDS.len() {
            let kind = (round + turn) % KINDS.len();
            forget_counters(world).await;
            let tried = (0..side).map(|_| async {
                let mut browser = world.browser();
                let Attempt { url, pairs } = attempt(&mut browser, flow, KINDS[kind]).await;
                let begun = Instant::now();
                let answer = browser.send(Method::POST, &url, &pairs).await;
                answer.bytes().await.unwrap();
                begun.elapsed().as_secs_f64() * 1_000.0
            });
            times[kind].extend(futures::future::join_all(tried).await);
        }
    }
    times
}

#[expect(clippy::print_stdout, reason = "the figure is wanted when all is well, too")]
async fn cannot_be_told_apart(world: &World, flow: &str, tries: usize, side: usize) {
    let times = times(world, flow, tries, side).await;
    let [known, unknown, disabled] = &times;
    for (one, other, what) in [
        (known, unknown, "known, unknown"),
        (known, disabled, "known, disabled"),
        (unknown, disabled, "unknown, disabled"),
    ] {
        let apart = distance(one, other);
        println!("{flow} {what}: {apart:.2} standard deviations, {} tries", one.len());
        assert!(apart.abs() < FAR, "{flow} {what}: {apart:.2} standard deviations");
    }
    if flow != "/login" {
        let soonest = times.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        assert!(soonest >= 250.0, "{flow}: {soonest} ms");
    }
}

#[tokio::test]
async fn the_time_of_an_answer_tells_nothing() {
    let world = World::start().await;
    populate(&world).await;
    cannot_be_told_apart(&world, "/login", 50, 1).await;
    for flow in ["/signup", "/recover"] {
        // Five side by side: an address gets five mails before it has to wait.
        cannot_be_told_apart(&world, flow, 20, 5).await;
    }
}

#[tokio::test]
#[ignore = "takes ten minutes, with 2,000 tries of each kind: run by `make faults`"]
async fn the_time_of_an_answer_tells_nothing_in_two_thousand_tries() {
    let world = World::start().await;
    populate(&world).await;
    cannot_be_told_apart(&world, "/login", 2_000, 1).await;
    for flow in ["/signup", "/recover"] {
        cannot_be_told_apart(&world, flow, 2_000, 5).await;
    }
}
