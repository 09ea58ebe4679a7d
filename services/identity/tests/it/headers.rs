//! What every answer of every route carries. Routes are read out of the router's own source, so that a new one is asked too.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::{Method, Response, header::HeaderMap};

use crate::{
    browser::Browser,
    world::{ALICE, World},
};

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Every path that the router names.
fn routes() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = fs::read_to_string(src.join("http.rs")).unwrap();
    sources(&src.join("http"), &mut text);
    let mut routes = BTreeSet::new();
    for call in text.split(".route(").skip(1) {
        let argument = call.trim_start();
        let path = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
        routes.insert(
            path.unwrap_or_else(|| panic!("a route's path stands in its call: {argument:.60}")).to_owned(),
        );
    }
    routes
}

fn filled(route: &str) -> String {
    let segments = route.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn is_page(path: &str) -> bool {
    !path.starts_with("/oauth2") && !path.starts_with("/.well-known")
}

#[track_caller]
fn guards(method: &Method, path: &str, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let what = format!("{method} {path}: {headers:?}");
    assert_eq!(text("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(text("referrer-policy"), "no-referrer", "{what}");
    assert!(text("strict-transport-security").starts_with("max-age=31536000"), "{what}");
    assert!(text("permissions-policy").contains("camera=()"), "{what}");
    let policy = text("content-security-policy");
    for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{what}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"), "{what}");
    let kept = path.starts_with("/identity/assets") || !is_page(path);
    let cache = text("cache-control");
    assert!(cache == "no-store" || kept && cache.ends_with("max-age=300"), "{what}");
    assert_eq!(headers.contains_key("cross-origin-opener-policy"), path.starts_with("/account"), "{what}");
    assert!(!headers.contains_key("access-control-allow-origin"), "{what}");
    assert!(!headers.contains_key("access-control-allow-credentials"), "{what}");
    assert!(!headers.contains_key("server") && !headers.contains_key("x-powered-by"), "{what}");
    for cookie in headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        assert!(is_page(path), "{what}");
        assert!(cookie.starts_with("__Host-kotinos-") && !cookie.contains("Domain"), "{what}");
        for attribute in ["; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=Lax;"] {
            assert!(cookie.contains(attribute), "{what}");
        }
    }
}

async fn ask(world: &World, method: &Method, path: &str, cookies: &str) -> Response {
    let request = world.app.http().request(method.clone(), world.app.http_url(path));
    let request = request.header("origin", "https://evil.example").header("cookie", cookies);
    let request = if *method == Method::POST {
        let form = "application/x-www-form-urlencoded";
        request.header("content-type", form).body("ctx=x&grant_type=x&client_id=x")
    } else {
        request
    };
    request.send().await.unwrap()
}

fn cookies(browser: &Browser<'_>) -> String {
    let pairs = browser.cookies.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_answer_of_every_route_carries_what_guards_it() {
    let routes = routes();
    assert!(routes.len() > 15 && routes.contains("/login") && routes.contains("/oauth2/token"), "{routes:?}");
    let world = World::start().await;
    let (browser, _) = world.sign_up(ALICE).await;
    let own = cookies(&browser);
    for route in &routes {
        let path = filled(route);
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
            for cookies in ["", own.as_str()] {
                let answer = ask(&world, &method, &path, cookies).await;
                assert!(!answer.status().is_server_error(), "{method} {path}: {}", answer.status());
                guards(&method, &path, answer.headers());
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_has_no_body() {
    let world = World::start().await;
    for path in ["/", "/nothing", "/account/nothing", "/oauth2/nothing", "/login/", "/%2e%2e/etc/passwd"] {
        let answer = ask(&world, &Method::GET, path, "").await;
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        assert!(answer.bytes().await.unwrap().is_empty(), "{path}");
    }
}
