//! What every page keeps, in every language and whatever is thrown at it.

use reqwest::{Method, StatusCode, header};
use scraper::{Html, Selector};
use url::{Url, form_urlencoded};

use crate::{
    browser::{Arrived, Asks, Browser, Page, Person},
    clients::{PORTAL_CALLBACK, PORTAL_SCOPE, SHOP_CALLBACK},
    world::{ALICE, BOB, ISSUER, World, authorize_url},
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

const PAGES: [&str; 18] = [
    "/login",
    "/login/passkey",
    "/signup",
    "/signup/verify",
    "/signup/complete",
    "/recover",
    "/recover/reset",
    "/consent",
    "/device",
    "/device/confirm",
    "/account/security",
    "/account/security/passkey",
    "/login/totp",
    "/login/recovery-code",
    "/account/security/totp",
    "/account/security/password",
    "/account/security/recovery-codes",
    "/account/security/consent",
];

/// The page that a client's request leads to.
pub async fn login_page(browser: &mut Browser<'_>, others: &[(&str, &str)]) -> Page {
    browser.open(&authorize_url("portal", PORTAL_SCOPE, others)).await.page()
}

/// Fills it in.
pub async fn try_password(browser: &mut Browser<'_>, page: &Page, email: &str, password: &str) -> Arrived {
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, email);
    form.fill(Asks::Password, password);
    browser.submit(&form, None).await
}

/// The elements of a selector.
pub fn select(html: &str, selector: &str) -> Vec<String> {
    let html = Html::parse_document(html);
    html.select(&Selector::parse(selector).unwrap()).map(|element| element.html()).collect()
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
