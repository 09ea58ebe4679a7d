//! Every page: three languages, the same headers, one heading, a label for each field, a button to sign out.

use std::collections::BTreeSet;

use scraper::{Html, Selector};
use testkit::races::FINAL_100M;

use crate::{
    browser::{Answer, Form},
    world::World,
};

const SIGNED_IN: [&str; 8] = [
    "/my",
    "/my/favourites",
    "/my/results",
    "/account",
    "/account/consents",
    "/account/history",
    "/account/sessions",
    "/my/results/x",
];

fn assert_headers(path: &str, page: &Answer) {
    let header = |name: &str| page.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
    let csp = header("content-security-policy");
    assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{path}: {csp}");
    assert!(csp.contains("frame-ancestors 'none'") && csp.contains("base-uri 'none'"), "{path}");
    assert!(csp.contains("form-action 'self' http://127.0.0.1:"), "a form may lead to identity: {csp}");
    assert!(!csp.contains("unsafe") && !csp.contains('*'), "{path}: {csp}");
    assert_eq!(header("cache-control"), "no-store", "{path}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    assert!(header("strict-transport-security").contains("max-age"), "{path}");
}

// What a script of ours cannot tell, and what an automatic check of accessibility looks for first.
fn assert_shape(path: &str, language: &str, page: &Answer) {
    assert_eq!(page.attributes("html", "lang"), [language], "{path}");
    assert_eq!(page.texts("h1").len(), 1, "{path}");
    assert_eq!(page.texts("main").len(), 1, "{path}");
    let title = &page.texts("title")[0];
    assert!(title.ends_with("| Kotinos") && title.len() > 10, "{path}: {title}");
    let html = Html::parse_document(&page.body);
    let all = |selector: &str| html.select(&Selector::parse(selector).unwrap()).collect::<Vec<_>>();
    assert!(
        all("style, [style], [onclick], [onload], [onerror], base, iframe").is_empty(),
        "{path}: nothing inline"
    );
    for script in all("script") {
        let ours = ["/portal/assets/live.js", "/portal/assets/results.js"];
        assert!(script.attr("src").is_some_and(|src| ours.contains(&src)) && script.inner_html().is_empty());
    }
    let ids: Vec<&str> = all("[id]").into_iter().filter_map(|element| element.attr("id")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{path}: an id is one element's");
    let labelled: BTreeSet<&str> =
        all("label[for]").into_iter().filter_map(|label| label.attr("for")).collect();
    let inside: BTreeSet<_> = all("label input").iter().map(|input| input.id()).collect();
    for field in all("input:not([type=hidden]), select") {
        let named = field.attr("id").is_some_and(|id| labelled.contains(id)) || inside.contains(&field.id());
        assert!(named, "{path}: {:?} has no label", field.attr("name"));
    }
    for reference in ["aria-labelledby", "aria-describedby"] {
        for element in all(&format!("[{reference}]")) {
            for id in element.attr(reference).unwrap_or_default().split(' ') {
                assert!(ids.contains(&id), "{path}: nothing is called {id}");
            }
        }
    }
    assert_eq!(all("fieldset").len(), all("fieldset > legend").len(), "{path}");
    for link in all("a[href^='#']") {
        let id = link.attr("href").unwrap_or_default().trim_start_matches('#');
        assert!(ids.contains(&id), "{path}: {id}");
    }
}

#[tokio::test]
async fn every_page_has_its_language_its_shape_and_its_headers() {
    let world = World::start().await;
    world.final_100m();
    world.publish_notices();
    let mut browser = world.alice().await;
    let unit = format!("/my/results/{FINAL_100M}");
    for language in ["ja", "en", "fr"] {
        world.peers.held().locale = language.to_owned();
        browser.language = language;
        for path in SIGNED_IN.iter().copied().chain([unit.as_str(), "/", "/portal/", "/portal"]) {
            let page = browser.get(path).await;
            let status = if path == "/my/results/x" { 404 } else { 200 };
            assert_eq!(page.status, status, "{path}: {}", page.body);
            assert_headers(path, &page);
            assert_shape(path, language, &page);
            assert_eq!(page.attributes("form[action='/portal/logout']", "method"), ["post"], "{path}");
            let current = page.attributes("nav a[aria-current=page]", "href");
            assert!(current.is_empty() || current == [path], "{path}: {current:?}");
        }
        let account = browser.get("/account").await;
        let refused = browser.submit(&account, "/account", &[("birth_date", &["x"])]).await;
        assert_eq!(refused.status, 422);
        assert_headers("/account", &refused);
        assert_shape("/account", language, &refused);
        let mut stranger = world.browser();
        stranger.language = language;
        for path in ["/", "/portal/", "/portal/callback"] {
            let page = stranger.get(path).await;
            assert_headers(path, &page);
            assert_shape(path, language, &page);
            assert!(page.attributes("form[action='/portal/logout']", "method").is_empty(), "{path}");
            assert_eq!(page.attributes("header a.button", "href"), ["/portal/login?return_to=/my"]);
        }
        for path in SIGNED_IN {
            let sent = stranger.get(path).await;
            assert_eq!(
                (sent.status, sent.headers["cache-control"].to_str().unwrap()),
                (303, "no-store"),
                "{path}"
            );
        }
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_language_is_chosen_without_a_script() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let page = browser.get("/my/results?sports=all").await;
    assert_eq!(page.attributes("html", "lang"), ["en"], "the profile's");
    let chosen = browser.submit(&page, "/portal/language", &[("language", &["fr"])]).await;
    assert_eq!((chosen.status, chosen.location()), (303, "/my/results?sports=all"));
    assert_eq!(
        browser.get("/my").await.attributes("html", "lang"),
        ["fr"],
        "the choice outweighs profile and header"
    );
    for (language, return_to) in [("xx", "//evil.example"), ("<script>", "https://evil.example"), ("", "")] {
        let form = [("language", language), ("return_to", return_to)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let odd = browser.post("/portal/language", &form.to_vec()).await;
        assert_eq!((odd.status, odd.location()), (303, "/my"));
    }
    assert_eq!(browser.get("/my").await.attributes("html", "lang"), ["fr"]);
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(browser.post_from("/portal/language", &Form::new(), &foreign).await.status, 403);
    let mut stranger = world.browser();
    stranger.language = "de, fr-CA;q=0.8, en;q=0.9";
    assert_eq!(stranger.get("/").await.attributes("html", "lang"), ["en"]);
    world.app.stop().await;
}

#[tokio::test]
async fn assets_are_what_they_say() {
    let world = World::start().await;
    let mut browser = world.browser();
    for (path, kind) in [
        ("/portal/assets/style.css", "text/css; charset=utf-8"),
        ("/portal/assets/live.js", "text/javascript; charset=utf-8"),
    ] {
        let asset = browser.get(path).await;
        assert_eq!((asset.status, asset.headers["content-type"].to_str().unwrap()), (200, kind));
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
        assert!(
            asset.body.len() > 1_000 && !asset.body.contains("innerHTML") && !asset.body.contains("eval(")
        );
    }
    world.app.stop().await;
}
