use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::world::{ISSUER, World};

#[tokio::test]
async fn both_metadata_paths_tell_the_same_and_only_what_is_there() {
    let world = World::start().await;
    let metadata = world.get("/.well-known/openid-configuration", &[]).await;
    assert_eq!(metadata.body, world.get("/.well-known/oauth-authorization-server", &[]).await.body);
    assert_eq!((metadata.header("cache-control"), metadata.text("issuer")), ("public, max-age=300", ISSUER));
    assert_eq!(metadata.body.get("check_session_iframe"), None);
    assert_eq!(metadata.body.get("frontchannel_logout_supported"), None);
    assert_eq!(
        metadata.body["grant_types_supported"],
        json!([
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ])
    );
    assert_eq!(metadata.body["code_challenge_methods_supported"], json!(["S256"]));
}

#[tokio::test]
async fn every_named_endpoint_answers() {
    let world = World::start().await;
    let metadata = world.get("/.well-known/openid-configuration", &[]).await.body;
    let endpoints: Vec<&str> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .map(|(_, url)| url.as_str().unwrap().strip_prefix(ISSUER).unwrap())
        .collect();
    assert_eq!(endpoints.len(), 10);
    for path in endpoints {
        let status = world.get(path, &[]).await.status;
        assert!(status != StatusCode::NOT_FOUND && !status.is_server_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn the_keys_are_public_parts() {
    let world = World::start().await;
    let keys = world.get("/oauth2/keys.json", &[]).await;
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    let keys = keys.body["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    for (name, value) in [("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"), ("use", "sig")] {
        assert_eq!(keys[0][name], json!(value));
    }
    assert_eq!(keys[0].get("d"), None);
}

#[tokio::test]
async fn scripts_of_registered_origins_may_read() {
    let world = World::start().await;
    let portal = "https://portal.example";
    for path in [
        "/oauth2/token",
        "/oauth2/userinfo",
        "/oauth2/revoke",
        "/.well-known/openid-configuration",
        "/oauth2/keys.json",
    ] {
        let url = world.app.http_url(path);
        let preflight = world.app.http().request(Method::OPTIONS, &url).header("origin", portal);
        let preflight = preflight.header("access-control-request-method", "POST").send().await.unwrap();
        let headers = preflight.headers();
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT, "{path}");
        assert_eq!(headers["access-control-allow-origin"], portal, "{path}");
        assert_eq!(headers["access-control-allow-headers"], "authorization, content-type, dpop");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        for stranger in
            ["https://evil.example", "https://portal.example.evil.example", "null", "https://portal.example/"]
        {
            let answer = world.get(path, &[("origin", stranger)]).await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{stranger} at {path}");
            assert_eq!(answer.header("vary"), "origin");
        }
    }
    let answer = world.get("/oauth2/userinfo", &[("origin", portal)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (401, portal));
    // A server's endpoints are no script's business.
    let answer = world.get("/oauth2/introspect", &[("origin", portal)]).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let world = World::start().await;
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        assert_eq!(world.get(path, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
