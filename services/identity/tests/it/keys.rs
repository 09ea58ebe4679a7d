//! Keys that change: those that sign, those behind handles, and the lines of the KEK file.

use std::{path::PathBuf, sync::atomic::AtomicBool, sync::atomic::Ordering};

use domain::{Service, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use proto::identity::v1::{
    GetClientRequest, UpdateClientRequest, client_service_client::ClientServiceClient,
};
use reqwest::StatusCode;
use serde_json::Value;
use testkit::TestApp;

use crate::{
    browser::Browser,
    clients::PORTAL_SCOPE,
    load::Load,
    world::{ALICE, Answer, BOB, DEADLINE, ISSUER, Instance, World, answer, authorize_url, basic},
};

const OLD: &str = "old:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const NEW: &str = "new:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

/// A KEK file that goes with its owner.
struct KekFile(PathBuf);

impl KekFile {
    fn of(lines: &[&str]) -> Self {
        let file = Self(std::env::temp_dir().join(format!("kotinos-kek-{}", domain::new_id().simple())));
        file.write(lines);
        file
    }

    fn write(&self, lines: &[&str]) {
        std::fs::write(&self.0, lines.join("\n")).unwrap();
    }

    fn setting(&self) -> String {
        format!("file:{}", self.0.display())
    }
}

impl Drop for KekFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn key_ids(app: &TestApp) -> Vec<String> {
    let set: Value =
        app.http().get(app.http_url("/oauth2/keys.json")).send().await.unwrap().json().await.unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn keys_become(app: &TestApp, number: usize) -> Vec<String> {
    testkit::eventually(DEADLINE, || async { Some(key_ids(app).await).filter(|keys| keys.len() == number) })
        .await
}

async fn post(app: &TestApp, path: &str, client_id: &str, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = app.http().post(app.http_url(path)).header("authorization", basic(client_id).unwrap());
    answer(
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap(),
    )
    .await
}

/// A token of profile for itself.
async fn token(app: &TestApp) -> String {
    let answer = post(app, "/oauth2/token", "profile", &[("grant_type", "client_credentials")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.text("access_token").to_owned()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn signs_with(app: &TestApp, key_id: &str) -> String {
    testkit::eventually(DEADLINE, || async { Some(token(app).await).filter(|token| kid(token) == key_id) })
        .await
}

#[tokio::test]
async fn two_instances_sign_and_read_alike_at_every_step_of_a_change() {
    let world = World::start().await;
    let other = world.beside().await;
    let read_everywhere = async |token: &str| {
        for app in [&world.app, &other] {
            let answer = post(app, "/oauth2/introspect", "profile", &[("token", token)]).await;
            assert_eq!(answer.body["active"], true, "{}", answer.body);
            assert!(key_ids(app).await.contains(&kid(token)));
        }
    };
    let apps = [&world.app, &other];
    let first = key_ids(&world.app).await;
    assert_eq!((first.len(), &first), (1, &key_ids(&other).await));

    // A day before its time the next key is published, and signs nothing.
    world.advance(TimeDelta::days(89));
    for app in apps {
        keys_become(app, 2).await;
        let token = token(app).await;
        assert_eq!(kid(&token), first[0]);
        read_everywhere(&token).await;
    }
    world.advance(TimeDelta::days(1));
    let published = key_ids(&world.app).await;
    let second = published.iter().find(|key_id| **key_id != first[0]).unwrap();
    for app in apps {
        // Whichever key either of them signs with meanwhile, both know it.
        read_everywhere(&token(app).await).await;
        read_everywhere(&signs_with(app, second).await).await;
        assert_eq!(keys_become(app, 2).await[0], *second);
    }
    // Nothing that the first one signed can be alive.
    world.advance(TimeDelta::days(31));
    for app in apps {
        assert_eq!(keys_become(app, 1).await, std::slice::from_ref(second));
    }
    let states: Vec<(String, String)> = sqlx::query_as("select kid, state from identity.signing_key")
        .fetch_all(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(states, [(second.clone(), "active".to_owned())]);
}

#[tokio::test]
async fn a_client_gets_the_algorithm_that_it_registered() {
    let world = World::start().await;
    let (mut browser, _) = world.tokens(ALICE).await;
    for (name, algorithm) in [("RS256", Algorithm::RS256), ("PS256", Algorithm::PS256)] {
        let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
        let shop = clients.get_client(GetClientRequest { client_id: "shop".to_owned() }).await.unwrap();
        let mut shop = shop.into_inner().client.unwrap();
        shop.id_token_signed_response_alg = name.to_owned();
        let update = UpdateClientRequest { client: Some(shop), expected_version: 0 };
        clients.update_client(update).await.unwrap();
        let code = world.code(&mut browser, "shop", "openid").await;
        let tokens = world.redeem("shop", &code).await;
        let keys: JwkSet = serde_json::from_value(world.get("/oauth2/keys.json", &[]).await.body).unwrap();
        let read = |token: &str, typ: &str| {
            let header = jsonwebtoken::decode_header(token).unwrap();
            assert_eq!((header.alg, header.typ.as_deref()), (algorithm, Some(typ)));
            let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
            let mut rules = Validation::new(algorithm);
            rules.set_issuer(&[ISSUER]);
            rules.set_audience(&["shop"]);
            rules.validate_exp = false;
            jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims
        };
        let id = read(tokens.text("id_token"), "JWT");
        // What is for our own APIs stays small and fast.
        let access = jsonwebtoken::decode_header(tokens.text("access_token")).unwrap();
        assert_eq!(access.alg, Algorithm::ES256);

        // Our own token is known again, and the logout token is signed alike (Back-Channel Logout 1.0, 2.4).
        let before = world.relying_parties.told("shop").len();
        browser.open(&format!("/logout?id_token_hint={}", tokens.text("id_token"))).await;
        let told = world.relying_parties.told_times("shop", before + 1).await;
        assert_eq!(read(told.last().unwrap(), "logout+jwt")["sid"], id["sid"]);
        (browser, _) = world.sign_in(ALICE).await;
    }
}

#[tokio::test]
async fn a_family_keeps_its_key_when_the_month_is_over() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let key_of = |text: &str| text[4..9].to_owned();
    let first = tokens.text("refresh_token").to_owned();
    world.advance(TimeDelta::days(29) + TimeDelta::hours(23));
    let staged = async |number: i64| {
        testkit::eventually(DEADLINE, || async {
            let sql = "select count(*) from identity.secret_key where purpose = 'handle'";
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
            (found == number).then_some(())
        })
        .await;
    };
    staged(2).await;
    let second = world.refresh("portal", &first).await;
    world.advance(TimeDelta::hours(1));
    // A browser that comes now gets a cookie of the new key, as soon as that is active.
    let fresh = testkit::eventually(DEADLINE, || async {
        let mut browser = world.browser();
        browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await;
        let cookie = browser.cookies["__Host-kotinos-browser"].clone();
        Some(key_of(&cookie)).filter(|key| *key != key_of(&first))
    })
    .await;
    let third = world.refresh("portal", second.text("refresh_token")).await;
    assert_eq!(third.status, StatusCode::OK, "{}", third.body);
    // The token that was just superseded gets the same successor again, letter for letter.
    let again = world.refresh("portal", second.text("refresh_token")).await;
    assert_eq!(again.text("refresh_token"), third.text("refresh_token"));
    assert_eq!(key_of(third.text("refresh_token")), key_of(&first));
    let (_, code) = world.sign_in(ALICE).await;
    assert_eq!(key_of(world.redeem("portal", &code).await.text("refresh_token")), fresh);
    // When the last handle of the first key is over, so is the key.
    world.advance(TimeDelta::days(91));
    testkit::eventually(DEADLINE, || async {
        let sql = "select count(*) from identity.secret_key where purpose = 'handle' and state = 'retired'
                   and retired_at < (select max(activated_at) from identity.secret_key where purpose = 'handle')";
        let old: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
        (old == 0).then_some(())
    })
    .await;
}

/// The lines under which keys are sealed.
async fn lines(world: &World) -> Vec<String> {
    let sql =
        "select kek_id from identity.signing_key union select kek_id from identity.secret_key order by 1";
    sqlx::query_scalar(sql).fetch_all(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn a_new_kek_seals_everything_anew_under_load_and_the_old_one_may_go() {
    let file = KekFile::of(&[OLD]);
    let world = World::start_under(&file.setting()).await;
    let (browser, tokens) = world.tokens(ALICE).await;
    let cookies = browser.cookies.clone();
    assert_eq!(lines(&world).await, ["old"]);

    let done = AtomicBool::new(false);
    let load = async {
        let mut calls = 0;
        while !done.load(Ordering::Relaxed) {
            token(&world.app).await;
            let answer = world.userinfo(tokens.text("access_token")).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            calls += 1;
        }
        calls
    };
    let change = async {
        file.write(&[NEW, OLD]);
        testkit::eventually(DEADLINE, || async { (lines(&world).await == ["new"]).then_some(()) }).await;
        file.write(&[NEW]);
        done.store(true, Ordering::Relaxed);
    };
    let (calls, ()) = tokio::join!(load, change);
    assert!(calls > 0);

    drop(browser);
    let key_id = key_ids(&world.app).await;
    let world = world.killed_and_restarted().await;
    assert_eq!(key_ids(&world.app).await, key_id);
    let mut browser = Browser::new(&world.app, &world.peers);
    browser.cookies = cookies;
    let url = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")])).await.away();
    assert!(url.query_pairs().any(|(name, _)| name == "code"), "the cookie is good: {url}");
    assert_eq!(world.refresh("portal", tokens.text("refresh_token")).await.status, StatusCode::OK);
    let (_, code) = world.sign_in(ALICE).await;
    let again = world.redeem("portal", &code).await;
    let subs = [&tokens, &again].map(|answer| answer.text("access_token").to_owned());
    let mut read = Vec::new();
    for token in &subs {
        read.push(world.read(token, "at+jwt", "kotinos.profile").await["sub"].clone());
    }
    assert_eq!(read[0], read[1]);
}

#[tokio::test]
async fn people_sign_in_and_out_while_the_kek_changes() {
    let file = KekFile::of(&[OLD]);
    let world = World::start_under(&file.setting()).await;
    for person in [ALICE, BOB] {
        world.sign_up(person).await;
    }
    let load = Load::prepare(&world, vec![Instance::of(&world.app)], false).await;
    let change = async {
        load.reaches(Load::HALF).await;
        file.write(&[NEW, OLD]);
        testkit::eventually(DEADLINE, || async { (lines(&world).await == ["new"]).then_some(()) }).await;
        file.write(&[NEW]);
        load.goes_on().await;
    };
    let held = load.run(change).await;
    load.check(&held).await;
}

#[tokio::test]
async fn a_start_without_the_line_of_a_key_says_which_line_is_missing() {
    let world = World::start_under(OLD).await;
    let started = tokio::spawn(async move { world.killed_and_restarted_under(NEW).await.app.stop().await });
    let panicked = started.await.unwrap_err().into_panic();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.contains("sealed under line `old` of IDENTITY_KEK_FILE"), "{text}");
}

#[tokio::test]
async fn without_a_kek_nothing_starts() {
    let start = std::panic::AssertUnwindSafe(World::start_with(|config| config.kek = None));
    let panicked = futures::FutureExt::catch_unwind(start).await.err().unwrap();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.contains("IDENTITY_KEK_FILE"), "{text}");
}

#[tokio::test]
async fn a_line_that_comes_late_opens_what_was_sealed_under_it_meanwhile() {
    let file = KekFile::of(&[OLD]);
    let world = World::start_under(&file.setting()).await;
    let mut other = world.config().identity(world.app.database_url());
    other.kek = Some(format!("{NEW}\n{OLD}").parse().unwrap());
    let operate = async |arguments: &[&str]| -> String {
        let arguments: Vec<&str> = [arguments, ["--operator", "olga", "--json"].as_slice()].concat();
        let with = (chassis::Settings::default(), world.app.clock.clone());
        let other = other.clone();
        let (text, ended) =
            chassis::operate(&identity::VERBS, &arguments, Service::Identity, with, |process| async move {
                Ok(vec![identity::component(other, process).await?])
            })
            .await;
        ended.unwrap();
        text
    };
    let staged: Value = serde_json::from_str(&operate(&["keys", "stage"]).await).unwrap();
    let key_id = staged["kid"].as_str().unwrap();
    operate(&["keys", "promote", key_id, "--at-once"]).await;
    let form = [("grant_type", "client_credentials")];
    let status = async || post(&world.app, "/oauth2/token", "profile", &form).await.status;
    let until = async |wanted: StatusCode| {
        testkit::eventually(DEADLINE, || async { (status().await == wanted).then_some(()) }).await;
    };
    // This process cannot open the key that signs now, and says so.
    until(StatusCode::SERVICE_UNAVAILABLE).await;
    file.write(&[NEW, OLD]);
    until(StatusCode::OK).await;
    assert_eq!(kid(&token(&world.app).await), key_id);
}

/// A database as the version before this one leaves it: the secrets are the lines of the KEK file themselves.
async fn without_secrets(world: World) -> World {
    sqlx::query("delete from identity.secret_key").execute(&world.app.pool).await.unwrap();
    sqlx::query("update identity.signing_key set kek_id = null").execute(&world.app.pool).await.unwrap();
    world.killed_and_restarted().await
}

#[tokio::test]
async fn what_an_older_version_made_of_its_file_stays_good() {
    let world = without_secrets(World::start_under(&format!("{NEW}\n{OLD}")).await).await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let tokens = world.redeem("shop", &code).await;
    let cookies = browser.cookies.clone();
    let pepper: String = sqlx::query_scalar("select pepper_id from identity.password")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(pepper, "new", "the first line's name, as that version writes it");

    drop(browser);
    let world = without_secrets(world).await;
    let mut browser = world.browser();
    browser.cookies = cookies;
    let code = world.code(&mut browser, "shop", "openid").await;
    let again = world.redeem("shop", &code).await;
    let sub = async |answer: &Answer| world.read(answer.text("id_token"), "JWT", "shop").await["sub"].clone();
    assert_eq!(sub(&tokens).await, sub(&again).await);
    assert_eq!(world.refresh("shop", tokens.text("refresh_token")).await.status, StatusCode::OK);
    world.sign_in(ALICE).await;
}
