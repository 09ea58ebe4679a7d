use super::*;

pub(crate) fn client() -> Client {
    Client {
        client_id: "portal".into(),
        name: "My Page".into(),
        kind: Kind::FirstParty,
        auth_method: AuthMethod::None,
        secret_sha256: None,
        jwks: None,
        redirect_uris: vec!["https://portal.example/callback".into(), "http://127.0.0.1/callback".into()],
        post_logout_redirect_uris: vec!["https://portal.example/".into()],
        backchannel_logout_uri: None,
        grant_types: vec!["authorization_code".into(), "refresh_token".into()],
        scopes: ["openid", "email", "profile", "offline_access"].map(str::to_owned).to_vec(),
        audiences: vec!["kotinos.profile".into()],
        pkce_required: true,
        profile: Profile::Oauth,
        par_required: false,
        dpop_required: false,
        token_url_audience: false,
        sector: None,
        jwks_uri: None,
        default_max_age: None,
        tokens: TokenRules::default(),
        id_token_alg: Algorithm::Es256,
        theme: None,
    }
}

#[test]
fn a_redirect_uri_matches_exactly_but_for_a_loopback_port() {
    let client = client();
    for right in
        ["https://portal.example/callback", "http://127.0.0.1:49152/callback", "http://127.0.0.1/callback"]
    {
        assert!(client.has_redirect_uri(right), "{right}");
    }
}

#[test]
fn tricks_with_redirect_uris_are_refused() {
    let client = client();
    for trick in [
        "https://portal.example/callback/",
        "https://portal.example/callback?x=1",
        "https://portal.example/callback#x",
        "https://portal.example:8443/callback",
        "https://PORTAL.example/callback",
        "https://portal.example.evil.example/callback",
        "https://portal.example@evil.example/callback",
        "https://evil.example/https://portal.example/callback",
        "https://portal.example/callback/../evil",
        "https://portal.example/%63allback",
        "http://portal.example/callback",
        "//portal.example/callback",
        "javascript:alert(1)//https://portal.example/callback",
        "http://localhost:1/callback",
        "http://127.0.0.1:1@evil.example/callback",
        "http://127.0.0.1:1/callback/../evil",
        "http://127.0.0.1:99999999/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:+80/callback",
        "http://127.0.0.1.evil.example:1/callback",
        "http://127.1:1/callback",
        "http://[::1]:1/callback",
        "https://portal.example/callback\r\nLocation: https://evil.example",
        "",
    ] {
        assert!(!client.has_redirect_uri(trick), "{trick}");
    }
}

#[test]
fn a_registration_keeps_the_rules() {
    client().check().unwrap();
    let broken = |change: fn(&mut Client)| {
        let mut client = client();
        change(&mut client);
        client.check().unwrap_err().field
    };
    assert_eq!(
        broken(|client| client.client_id = "01890a5d-ac96-774b-bcce-b302099a8057".into()),
        "client_id"
    );
    assert_eq!(broken(|client| client.client_id = "a'; drop table".into()), "client_id");
    assert_eq!(broken(|client| client.grant_types.push("password".into())), "grant_types");
    assert_eq!(broken(|client| client.grant_types.push("client_credentials".into())), "grant_types");
    assert_eq!(broken(|client| client.auth_method = AuthMethod::SecretBasic), "client_secret_sha256");
    assert_eq!(broken(|client| client.auth_method = AuthMethod::PrivateKeyJwt), "jwks");
    assert_eq!(broken(|client| client.pkce_required = false), "pkce");
    for uri in [
        "http://portal.example/cb",
        "https://a/#x",
        "javascript:alert(1)",
        "https://u:p@a/",
        "/cb",
        "https://a/\\b",
        "https://a/é",
        "https://a/ b",
    ] {
        let mut client = client();
        client.redirect_uris = vec![uri.into()];
        assert_eq!(client.check().unwrap_err().field, "redirect_uris", "{uri}");
    }
}

#[test]
fn a_secret_is_compared_by_its_digest() {
    let mut client = client();
    client.secret_sha256 = Some(digest::digest(&digest::SHA256, b"secret").as_ref().to_vec());
    assert!(client.has_secret("secret"));
    assert!(!client.has_secret("Secret"));
    client.secret_sha256 = None;
    assert!(!client.has_secret(""));
}
