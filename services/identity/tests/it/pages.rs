use domain::TimeDelta;
use reqwest::{Method, StatusCode, header};
use scraper::{Html, Selector};
use url::{Url, form_urlencoded};

use crate::{
    browser::{Arrived, Asks, Browser, Form, Page, Person},
    clients::{PORTAL_CALLBACK, PORTAL_SCOPE, SHOP_CALLBACK},
    world::{ALICE, BOB, ISSUER, STATE, World, authorize_url, param},
};

const HOSTILE: [&str; 8] = [
    "'; drop table identity.user; --",
    "\" onfocus=\"alert(1)",
    "<script>alert(1)</script>",
    "a\r\nSet-Cookie: evil=1",
    "../../etc/passwd",
    "{{ 7 * 7 }}{% for a in b %}",
    "%00%ff",
    "javascript:alert(1)//https://portal.example/callback",
];

const PAGES: [&str; 16] = [
    "/login",
    "/login/passkey",
    "/signup",
    "/signup/verify",
    "/signup/complete",
    "/recover",
    "/recover/reset",
    "/consent",
    "/account/security",
    "/account/security/passkey",
    "/login/totp",
    "/login/recovery-code",
    "/account/security/totp",
    "/account/security/password",
    "/account/security/recovery-codes",
    "/account/security/consent",
];

async fn login_page(browser: &mut Browser<'_>, others: &[(&str, &str)]) -> Page {
    browser.open(&authorize_url("portal", PORTAL_SCOPE, others)).await.page()
}

async fn try_password(browser: &mut Browser<'_>, page: &Page, email: &str, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

fn select(html: &str, selector: &str) -> Vec<String> {
    let html = Html::parse_document(html);
    html.select(&Selector::parse(selector).unwrap()).map(|element| element.html()).collect()
}

fn pairs(form: &Form) -> Vec<(String, String)> {
    form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

/// What every page keeps, whatever it is about.
#[track_caller]
pub fn keeps_the_rules(page: &Page, language: &str) {
    let html = Html::parse_document(&page.html);
    let all = |selector: &str| select(&page.html, selector).len();
    assert_eq!(html.root_element().attr("lang"), Some(language), "{}", page.url);
    assert_eq!((all("h1"), all("main"), all("title")), (1, 1, 1), "{}", page.html);
    assert_eq!(
        all("script:not([src^='/identity/assets/'])") + all("[style]") + all("[onclick]"),
        0,
        "{}",
        page.html
    );
    for input in html.select(&Selector::parse("input:not([type=hidden])").unwrap()) {
        let id = input.attr("id").expect("an input has an id");
        assert_eq!(all(&format!("label[for={id}]")), 1, "{id} has a label");
        for description in input.attr("aria-describedby").unwrap_or_default().split_whitespace() {
            assert_eq!(all(&format!("[id={description}]")), 1, "{description} is there");
        }
    }
    let text = |name: &str| page.headers[name].to_str().unwrap().to_owned();
    let policy = text("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(text("cache-control"), "no-store");
    assert_eq!(text("referrer-policy"), "no-referrer");
    assert_eq!(text("x-content-type-options"), "nosniff");
    assert!(
        page.headers.contains_key("permissions-policy")
            && page.headers.contains_key("strict-transport-security")
    );
}

#[tokio::test]
async fn every_page_of_the_way_keeps_the_rules_in_every_language() {
    let world = World::start().await;
    for (language, person) in
        [("ja", ALICE), ("en", BOB), ("fr", Person { email: "chie@example.jp", ..ALICE })]
    {
        let mut browser = world.browser();
        browser.language = format!("{language},en;q=0.5");
        let page = login_page(&mut browser, &[]).await;
        keeps_the_rules(&page, language);
        let page = browser.open(&page.link("/signup").unwrap()).await.page();
        keeps_the_rules(&page, language);
        let mut form = page.form_asking(Asks::Address).unwrap();
        keeps_the_rules(&browser.submit(&form, None).await.page(), language);
        form.fill(Asks::Address, person.email);
        let page = browser.submit(&form, None).await.page();
        keeps_the_rules(&page, language);
        let mail = world.peers.mail_to(person.email).await;
        assert_eq!(mail.language, language);
        let page = browser.open(&mail.variables["link"]).await.page();
        keeps_the_rules(&page, language);
        let page = browser.submit(&page.forms()[0], None).await.page();
        keeps_the_rules(&page, language);
        let mut form = page.form_asking(Asks::Password).unwrap();
        form.fill(Asks::Password, person.password);
        browser.submit(&form, None).await.away();
        for path in ["/account/security", "/logout", "/login?ctx=garbage"] {
            keeps_the_rules(&browser.open(path).await.page(), language);
        }
        keeps_the_rules(&browser.open(&authorize_url("shop", "openid email", &[])).await.page(), language);
    }
}

#[tokio::test]
async fn the_language_of_the_request_goes_before_the_browsers_and_a_choice_before_both() {
    let world = World::start().await;
    let mut browser = world.browser();
    browser.language = "ja".to_owned();
    let page = login_page(&mut browser, &[("ui_locales", "de fr-CA en")]).await;
    keeps_the_rules(&page, "fr");
    assert!(page.text().contains("My Page"), "the client is named: {}", page.text());

    let html = Html::parse_document(&page.html);
    let link = html.select(&Selector::parse("footer a[lang=en]").unwrap()).next().unwrap();
    let link = link.attr("href").unwrap().to_owned();
    drop(html);
    let page = browser.open(&link).await.page();
    keeps_the_rules(&page, "en");
    // The choice goes with the request, through a form that is wrong and beyond.
    let page = try_password(&mut browser, &page, "", "").await.page();
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    keeps_the_rules(&page, "en");
    let page = browser.open("/login").await.page();
    keeps_the_rules(&page, "en");
}

#[tokio::test]
async fn the_policy_of_a_form_opens_for_the_client_that_asked_only() {
    let world = World::start().await;
    let mut browser = world.browser();
    let page = login_page(&mut browser, &[]).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self' https://portal.example"), "{policy}");
    let page = world.browser().open("/login").await.page();
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self'"), "{policy}");
}

#[tokio::test]
async fn tricks_at_the_authorization_endpoint_get_a_page_and_no_redirect() {
    let world = World::start().await;
    let request = |client_id: &str, redirect_uri: &str| {
        let pairs = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("scope", "openid"),
            ("state", "s"),
        ];
        format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    };
    let mut urls =
        vec!["/authorize".to_owned(), "/authorize?%00=%ff".to_owned(), "/authorize?ctx=garbage".to_owned()];
    urls.push(format!("{}&redirect_uri=https://evil.example/", request("portal", PORTAL_CALLBACK)));
    urls.push(format!("{}&client_id=shop", request("portal", PORTAL_CALLBACK)));
    urls.push((0..70).map(|n| format!("p{n}=1&")).fold("/authorize?".to_owned(), |url, pair| url + &pair));
    urls.extend(HOSTILE.map(|text| request("portal", text)));
    urls.extend(HOSTILE.map(|text| request(text, PORTAL_CALLBACK)));
    urls.extend(
        [
            "https://portal.example/callback/",
            "https://portal.example/callback/../evil",
            "https://portal.example/callback?x=1",
            "https://portal.example@evil.example/callback",
            "https://portal.example.evil.example/callback",
            "https://evil.example/callback",
            "//portal.example/callback",
            "http://portal.example/callback",
            "http://127.0.0.1:1@evil.example/callback",
            "http://localhost/callback",
            "https://portal.example/callback\r\nLocation: https://evil.example/",
            SHOP_CALLBACK,
        ]
        .map(|uri| request("portal", uri)),
    );
    for url in urls {
        let answer = world.app.http().get(world.app.http_url(&url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{url}");
        assert!(!answer.headers().contains_key(header::LOCATION), "{url}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8", "{url}");
        let html = answer.text().await.unwrap();
        assert!(!html.contains("<script") && !html.contains("evil.example"), "{url}: {html}");
    }
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
async fn garbage_in_what_travels_between_pages_gets_a_page() {
    let world = World::start().await;
    let long = "A".repeat(13_000);
    let mut texts: Vec<&str> = HOSTILE.to_vec();
    texts.extend(["", "A", "AAAA", &long]);
    for path in PAGES.into_iter().chain(["/logout"]) {
        for text in &texts {
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("ctx", text), ("t", text)])
                .finish();
            let got =
                world.app.http().get(world.app.http_url(&format!("{path}?{query}"))).send().await.unwrap();
            assert!(!got.status().is_server_error(), "GET {path} {text}: {}", got.status());
            let posted = world.app.http().post(world.app.http_url(path));
            let typed = posted.header("content-type", "application/x-www-form-urlencoded");
            let posted = typed.body(query).send().await.unwrap();
            let refused = posted.status() == StatusCode::BAD_REQUEST;
            assert!(refused || text.is_empty(), "POST {path} {text}: {}", posted.status());
            assert!(!posted.text().await.unwrap().contains("<script>"), "POST {path} {text}");
        }
        let raw =
            world.app.http().post(world.app.http_url(path)).body(&b"\xff\x00=\x00"[..]).send().await.unwrap();
        assert_eq!(raw.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn hostile_text_in_every_field_stays_text() {
    let world = World::start().await;
    for text in HOSTILE.into_iter().chain(["🏅", "x"]) {
        let mut browser = world.browser();
        let login = login_page(&mut browser, &[("login_hint", text)]).await;
        let sign_up = browser.open(&login.link("/signup").unwrap()).await.page();
        for (page, asks) in [(&login, Asks::Password), (&sign_up, Asks::Address)] {
            let mut form = page.form_asking(asks).unwrap();
            form.fill(Asks::Address, text);
            form.fill(Asks::Password, text);
            let answer = browser.submit(&form, None).await.page();
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{} {text}", page.url.path());
            keeps_the_rules(&answer, "en");
            let kept = answer.form_asking(Asks::Address).unwrap();
            let value = &kept.fields.iter().find(|field| field.asks == Asks::Address).unwrap().value;
            // A browser's parser makes a line feed of a line break, whichever came.
            assert_eq!(value.replace('\n', ""), text.replace("\r\n", ""), "{}", page.url.path());
        }
    }
    let there: i64 =
        sqlx::query_scalar("select count(*) from identity.user").fetch_one(&world.app.pool).await.unwrap();
    assert_eq!(there, 0);
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let world = World::start().await;
    for path in PAGES.into_iter().chain(["/authorize", "/logout"]) {
        let body = format!("ctx={}", "x".repeat(70_000));
        let answer = world.app.http().post(world.app.http_url(path)).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
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

#[tokio::test]
async fn cookies_are_bound_to_host_and_tls() {
    let world = World::start().await;
    let answer = world.app.http().get(world.app.http_url("/login")).send().await.unwrap();
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-kotinos-browser=kbr_"), "{cookie}");
    for part in ["; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=Lax;"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let style = world.app.http().get(world.app.http_url("/identity/assets/style.css")).send().await.unwrap();
    assert_eq!(style.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert_eq!(style.headers()[header::CACHE_CONTROL], "max-age=300");
}

#[tokio::test]
async fn a_visit_writes_nothing() {
    let world = World::start().await;
    let mut browser = world.browser();
    let sql = "select (select count(*) from identity.email_challenge) + (select count(*) from identity.browser_session)
                    + (select count(*) from identity.throttle) + (select count(*) from identity.audit_record)
                    + (select count(*) from identity.outbox)";
    let before: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
    login_page(&mut browser, &[]).await;
    for path in PAGES {
        let url = Url::parse(ISSUER).unwrap().join(path).unwrap();
        browser.send(Method::GET, &url, &[]).await;
    }
    let after: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
    assert_eq!(before, after);
}
