//! From a client's request to its answer: sign-in, consent, and what a form of another site or a guess gets.

use domain::TimeDelta;
use reqwest::{StatusCode, header};
use url::Url;

use crate::{
    browser::{Asks, Form},
    clients::PORTAL_CALLBACK,
    pages::{keeps_the_rules, login_page, select, try_password},
    world::{ALICE, BOB, ISSUER, STATE, World, authorize_url, param},
};

fn pairs(form: &Form) -> Vec<(String, String)> {
    form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

#[tokio::test]
async fn a_post_from_another_site_comes_back_by_get_and_meets_the_session() {
    let world = World::start().await;
    let (browser, _) = world.sign_up(ALICE).await;
    let url = Url::parse(&authorize_url("portal", "openid", &[])).unwrap();
    let body = url.query().unwrap().to_owned();
    let post = world.app.http().post(world.app.http_url("/authorize")).body(body);
    let post = post
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "cross-site");
    let answer = post.header("origin", "https://portal.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let back = answer.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert!(back.starts_with("/authorize?ctx="), "{back}");
    let mut browser = browser;
    let away = browser.open(&back).await.away();
    assert_eq!((param(&away, "state").as_str(), param(&away, "iss").as_str()), (STATE, ISSUER));
    assert!(param(&away, "code").starts_with("kac_"));

    // It lives a minute.
    world.advance(TimeDelta::minutes(2));
    assert_eq!(browser.open(&back).await.page().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_response_may_travel_in_a_form() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let page =
        browser.open(&authorize_url("portal", "openid", &[("response_mode", "form_post")])).await.page();
    let form = &page.forms()[0];
    assert_eq!((form.action.as_str(), form.post), (PORTAL_CALLBACK, true));
    let value = |name: &str| form.fields.iter().find(|field| field.name == name).unwrap().value.clone();
    assert_eq!((value("state").as_str(), value("iss").as_str()), (STATE, ISSUER));
    assert!(value("code").starts_with("kac_"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("script-src 'self' 'sha256-")
            && policy.ends_with("form-action 'self' https://portal.example")
    );
    assert!(page.html.contains("<script>document.forms[0].submit()</script>"), "{}", page.html);
    assert!(!form.buttons.is_empty(), "it works without a script");
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let page = login_page(&mut browser, &[]).await;
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    let cookies: Vec<String> =
        browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let post = |name: &'static str, value: &'static str, cookies: &str| {
        let request = world.app.http().post(world.app.http_url("/login")).form(&pairs(&form));
        request.header("cookie", cookies).header(name, value).send()
    };
    let all = cookies.join("; ");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "https://id.example.evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = post(name, value, &all).await.unwrap();
        assert_eq!(
            (answer.status(), answer.headers().contains_key("set-cookie")),
            (StatusCode::FORBIDDEN, false),
            "{name}: {value}"
        );
    }
    // What is sealed for one browser opens in no other, nor in one without cookies.
    assert_eq!(post("origin", ISSUER, "").await.unwrap().status(), StatusCode::BAD_REQUEST);
    let mut other = world.browser();
    login_page(&mut other, &[]).await;
    assert_eq!(other.submit(&form, None).await.page().status, StatusCode::BAD_REQUEST);
    // Our own pages send no referrer, so that their origin is `null`.
    assert_eq!(post("origin", "null", &all).await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_wrong_address_and_a_wrong_password_look_alike() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut texts = Vec::new();
    for email in [ALICE.email, "nobody@example.org", "not an address", "a..b@docomo.ne.jp"] {
        let mut browser = world.browser();
        let page = login_page(&mut browser, &[]).await;
        let wrong = try_password(&mut browser, &page, email, "wrong horse battery").await.page();
        keeps_the_rules(&wrong, "en");
        assert_eq!(select(&wrong.html, "[role=alert] a[href='#email']").len(), 1, "{}", wrong.html);
        let kept = wrong.form_asking(Asks::Address).unwrap();
        assert!(kept.fields.iter().any(|field| field.asks == Asks::Address && field.value == email));
        assert!(kept.fields.iter().all(|field| field.asks != Asks::Password || field.value.is_empty()));
        let names: Vec<String> = wrong.headers.keys().map(ToString::to_string).collect();
        texts.push((wrong.status, names, wrong.text()));
    }
    assert_eq!(texts[0].0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[tokio::test]
async fn guessing_gets_slower_and_the_right_password_waits_as_well() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let mut browser = world.browser();
    let page = login_page(&mut browser, &[]).await;
    for _ in 0..6 {
        let wrong = try_password(&mut browser, &page, ALICE.email, "wrong horse").await.page();
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let refused = try_password(&mut browser, &page, ALICE.email, ALICE.password).await.page();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("retry-after"));
    world.advance(TimeDelta::seconds(2));
    try_password(&mut browser, &page, ALICE.email, ALICE.password).await.away();
}

#[tokio::test]
async fn a_partner_is_allowed_or_refused_by_its_user() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let url = authorize_url("shop", "openid email profile.read", &[]);
    let page = browser.open(&url).await.page();
    assert_eq!(page.url.path(), "/consent");
    assert!(
        page.text().contains("Shop") && page.text().contains("see your e-mail address"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("profile"), "a partner gets no reach into a fan's data: {}", page.text());
    let form = page.forms().remove(0);
    let denied = browser.submit(&form, Some("deny")).await.away();
    assert_eq!(
        (param(&denied, "error").as_str(), param(&denied, "state").as_str()),
        ("access_denied", STATE)
    );
    let allowed = browser.submit(&form, Some("allow")).await.away();
    assert!(param(&allowed, "code").starts_with("kac_"));
    // It is remembered.
    browser.open(&url).await.away();

    // Bob signs in at the same browser while the page is open: it asked Alice.
    let page = browser.open(&authorize_url("shop", "openid", &[("prompt", "consent")])).await.page();
    let form = page.forms().remove(0);
    world.sign_up(BOB).await;
    let login = login_page(&mut browser, &[("prompt", "login")]).await;
    try_password(&mut browser, &login, BOB.email, BOB.password).await.away();
    assert_eq!(browser.submit(&form, Some("allow")).await.page().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_second_sign_in_ends_the_older_cookie() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let stolen = browser.cookies.clone();
    let page = login_page(&mut browser, &[("prompt", "login")]).await;
    try_password(&mut browser, &page, ALICE.email, ALICE.password).await.away();
    let mut thief = world.browser();
    thief.cookies = stolen;
    let url = thief.open(&authorize_url("portal", "openid", &[("prompt", "none")])).await.away();
    assert_eq!(param(&url, "error"), "login_required");
    browser.open(&authorize_url("portal", "openid", &[("prompt", "none")])).await.away();
}
