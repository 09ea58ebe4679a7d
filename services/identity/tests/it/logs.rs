//! What is logged: ids and codes, never an address, a password, a handle or a token.

use std::{
    io,
    sync::{Arc, Mutex},
};

use domain::TimeDelta;
use proto::identity::v1::{
    DisableUserRequest, FindUserByEmailRequest, StartRecoveryRequest, user_service_client::UserServiceClient,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    app_codes::turn_on,
    authenticator::Authenticator,
    browser::{Asks, Browser, Page},
    clients::PORTAL_SCOPE,
    world::{ALICE, BOB, World, authorize_url},
};

/// Every line of this program, whichever test it comes from.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn fill(browser: &mut Browser<'_>, page: &Page, email: &str, password: &str) -> Page {
    let mut form = page.form_asking(Asks::Password).or_else(|| page.form_asking(Asks::Address)).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await.page()
}

/// Every flow once, with what goes wrong in it.
async fn flows(world: &World) -> Vec<String> {
    let mut secrets = vec![ALICE.password.to_owned(), BOB.password.to_owned()];
    let (mut browser, tokens) = world.tokens(ALICE).await;
    world.sign_up(BOB).await;
    world.sign_in(BOB).await;
    for name in ["access_token", "refresh_token", "id_token"] {
        secrets.push(tokens.text(name).to_owned());
    }
    world.userinfo(tokens.text("access_token")).await;
    let again = world.refresh("portal", tokens.text("refresh_token")).await;
    world.advance(TimeDelta::minutes(5));
    // Used twice, also after the grace: the family goes.
    world.refresh("portal", tokens.text("refresh_token")).await.refused_with(400, "invalid_grant");
    secrets.push(again.text("refresh_token").to_owned());
    world.redeem("portal", "kac_forged").await;
    world.post("/oauth2/token", Some("Basic c2hvcDp3cm9uZy1zZWNyZXQ="), &[("grant_type", "x")]).await;
    let code = world.code(&mut browser, "shop", "openid email").await;
    world.redeem("shop", &code).await;
    world.redeem("shop", &code).await.refused_with(400, "invalid_grant");
    secrets.push(code);
    secrets.extend(turn_on(world, &mut browser).await.1);
    let page = browser.open("/account/security").await.page();
    Authenticator::new().register(&mut browser, &page).await.page();
    for (email, password) in [(ALICE.email, "wrong horse battery"), ("nobody@example.org", ALICE.password)] {
        let mut stranger = world.browser();
        let page = stranger.open("/login").await.page();
        for _ in 0..7 {
            fill(&mut stranger, &page, email, password).await;
        }
    }
    let mut stranger = world.browser();
    stranger.open(&authorize_url("portal", PORTAL_SCOPE, &[("login_hint", ALICE.email)])).await.page();
    let page = stranger.open("/recover").await.page();
    for email in [ALICE.email, "nobody@example.org", "not an address"] {
        fill(&mut stranger, &page, email, "").await;
    }
    let mail = testkit::eventually(crate::world::DEADLINE, || async {
        world.peers.mails().into_iter().find(|mail| mail.template == "identity.recover")
    })
    .await;
    let page = stranger.open(&mail.variables["link"]).await.page();
    let page = stranger.submit(&page.forms()[0], None).await.page();
    fill(&mut stranger, &page, "", "an entirely new sentence").await;
    secrets.extend(["an entirely new sentence".to_owned(), mail.variables["link"].clone()]);
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let request = FindUserByEmailRequest { address: BOB.email.as_bytes().to_vec() };
    let bob = users.find_user_by_email(request).await.unwrap().into_inner().user.unwrap();
    let request =
        StartRecoveryRequest { request_id: domain::new_id().to_string(), user_id: bob.user_id.clone() };
    users.start_recovery(request).await.unwrap();
    let request = DisableUserRequest { user_id: bob.user_id, ..DisableUserRequest::default() };
    users.disable_user(request).await.unwrap();
    secrets.extend(browser.cookies.into_values().filter(|value| value.len() > 8));
    secrets
}

#[tokio::test]
async fn nothing_personal_and_no_secret_is_logged() {
    let lines = Lines::default();
    let filter = EnvFilter::new("info,identity=trace,chassis=trace,outbox=debug");
    let subscriber =
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(lines.clone()).finish();
    tracing::subscriber::set_global_default(subscriber)
        .expect("run without KOTINOS_TEST_LOG, which takes the lines");
    let world = World::start().await;
    let secrets = flows(&world).await;
    let text = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    for said in [
        "user registered",
        "user signed in",
        "ways to sign in changed",
        "password set anew by mail",
        "tokens revoked",
        "mail handed over",
    ] {
        assert!(text.contains(said), "{said}: {} lines", text.lines().count());
    }
    for secret in &secrets {
        assert!(!text.contains(secret.as_str()), "{secret}");
    }
    for line in text.lines() {
        let told = ["@", "%40", "kac_", "krt_", "kbs_", "kbr_", "kml_", "eyJ", "$argon2", "ctx="]
            .iter()
            .find(|mark| line.contains(**mark));
        assert_eq!(told, None, "{line}");
    }
}
