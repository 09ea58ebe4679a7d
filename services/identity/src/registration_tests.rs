use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn policy() -> Policy {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Policy {
        policy_id: domain::new_id(),
        name: "partners".into(),
        generation: 1,
        scopes: list(&["openid", "email", "offline_access"]),
        grant_types: list(&["authorization_code", "refresh_token"]),
        auth_methods: list(&["client_secret_basic", "private_key_jwt", "none"]),
        pkce_required: false,
        most_clients: 10,
        expires_at: None,
    }
}

fn parse(metadata: &Value) -> Result<Registration, InvalidMetadata> {
    Registration::parse(domain::new_id(), metadata.as_object().unwrap(), &policy())
}

fn with(changes: &Value) -> Value {
    let mut metadata = json!({"redirect_uris": ["https://rp.example/cb"]});
    for (name, value) in changes.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    metadata
}

fn rsa(bytes: usize) -> Value {
    json!({"kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode(vec![255; bytes]), "e": "AQAB"})
}

#[test]
fn the_least_metadata_gives_the_defaults() {
    let id = domain::new_id();
    let metadata =
        with(&json!({"unknown": {"a": [1]}, "request_uris": ["https://rp.example/r#x"], "jwks": null}));
    let registration = Registration::parse(id, metadata.as_object().unwrap(), &policy()).unwrap();
    assert!(registration.has_secret());
    let (client, kept) = registration.into_client(Some(vec![0; 32])).unwrap();
    let described = described(&client, &kept);
    assert_eq!(described["client_id"], json!(client_id_of(id)));
    assert_eq!(described["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(described["grant_types"], json!(["authorization_code"]));
    assert_eq!(described["response_types"], json!(["code"]));
    assert_eq!(described["application_type"], "web");
    assert_eq!(
        (&described["client_name"], &described["subject_type"]),
        (&json!("rp.example"), &json!("pairwise"))
    );
    assert_eq!(described["scope"], "openid email offline_access");
    assert_eq!(described["id_token_signed_response_alg"], "RS256");
    assert!(described.get("unknown").is_none() && described.get("request_uris").is_none());
    assert_eq!((client.sector().as_str(), client.pkce_required), ("rp.example", false));
}

#[test]
fn every_wrong_field_is_named() {
    let https = "https://rp.example/x";
    for (changes, field) in [
        (json!({"token_endpoint_auth_method": "client_secret_post"}), "token_endpoint_auth_method"),
        (json!({"token_endpoint_auth_method": 1}), "token_endpoint_auth_method"),
        (json!({"token_endpoint_auth_signing_alg": "none"}), "token_endpoint_auth_signing_alg"),
        (json!({"id_token_signed_response_alg": "none"}), "id_token_signed_response_alg"),
        (json!({"id_token_signed_response_alg": "HS256"}), "id_token_signed_response_alg"),
        (json!({"id_token_encrypted_response_alg": "RSA-OAEP"}), "id_token_encrypted_response_alg"),
        (json!({"userinfo_signed_response_alg": "none"}), "userinfo_signed_response_alg"),
        (json!({"grant_types": ["client_credentials"]}), "grant_types"),
        (json!({"grant_types": []}), "grant_types"),
        (json!({"grant_types": "authorization_code"}), "grant_types"),
        (json!({"response_types": ["token"]}), "response_types"),
        (json!({"response_types": []}), "response_types"),
        (json!({"grant_types": ["refresh_token"], "response_types": ["code"]}), "response_types"),
        (json!({"scope": "openid profile"}), "scope"),
        (json!({"scope": "\""}), "scope"),
        (json!({"subject_type": "public"}), "subject_type"),
        (json!({"application_type": "tv"}), "application_type"),
        (json!({"client_name": ""}), "client_name"),
        (json!({"client_name": "x".repeat(101)}), "client_name"),
        (json!({"client_name": "a\nb"}), "client_name"),
        (json!({"client_uri": "http://rp.example/"}), "client_uri"),
        (json!({"logo_uri": "javascript:alert(1)"}), "logo_uri"),
        (json!({"tos_uri": format!("{https}#x")}), "tos_uri"),
        (json!({"policy_uri": "https://u:p@rp.example/"}), "policy_uri"),
        (json!({"client_uri": format!("{https}{}", "x".repeat(1_000))}), "client_uri"),
        (json!({"contacts": vec!["x"; 11]}), "contacts"),
        (json!({"contacts": [1]}), "contacts"),
        (json!({"default_max_age": -1}), "default_max_age"),
        (json!({"default_max_age": 31_536_001}), "default_max_age"),
        (json!({"require_auth_time": "yes"}), "require_auth_time"),
        (json!({"sector_identifier_uri": "file:///etc/passwd"}), "sector_identifier_uri"),
        (json!({"redirect_uris": ["https://a.example/", "https://b.example/"]}), "sector_identifier_uri"),
        (json!({"jwks_uri": https, "jwks": {"keys": [rsa(256)]}}), "jwks"),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), "jwks"),
        (json!({"jwks": {}}), "jwks"),
        (json!({"jwks": {"keys": []}}), "jwks"),
        (json!({"jwks": {"keys": [rsa(255)]}}), "jwks"),
        (json!({"jwks": {"keys": [{"kty": "oct", "k": "x"}]}}), "jwks"),
        (json!({"jwks": {"keys": vec![rsa(256); 21]}}), "jwks"),
        (json!({"jwks": {"keys": vec![rsa(4_096); 4]}}), "jwks"),
        (json!({"backchannel_logout_uri": "ldap://rp.example"}), "backchannel_logout_uri"),
        (json!({"registration_access_token": "x"}), "registration_access_token"),
        (json!({"client_id_issued_at": 1}), "client_id_issued_at"),
    ] {
        let error = parse(&with(&changes)).expect_err(&changes.to_string());
        assert_eq!(error.error, "invalid_client_metadata", "{changes}");
        assert_eq!(error.to_string().split(' ').next(), Some(field), "{changes}");
    }
    let mut private = rsa(256);
    private["d"] = json!("x");
    assert!(parse(&with(&json!({"jwks": {"keys": [private]}}))).is_err());
}

#[test]
fn redirect_uris_have_rules_of_their_own() {
    for wrong in [
        json!(null),
        json!([]),
        json!("https://rp.example/cb"),
        json!(["/cb"]),
        json!(["http://rp.example/cb"]),
        json!(["https://rp.example/cb#x"]),
        json!(["https://localhost/cb"]),
        json!(["https://127.0.0.1/cb"]),
        json!(["http://127.0.0.1/cb"]),
        json!(["org.example.app:/cb"]),
        json!(["javascript:alert(1)"]),
        json!([1]),
        json!(vec!["https://rp.example/cb"; 21]),
    ] {
        let error = parse(&with(&json!({"redirect_uris": wrong}))).expect_err(&wrong.to_string());
        assert_eq!(error.error, "invalid_redirect_uri", "{wrong}");
        assert!(error.to_string().starts_with("redirect_uris "));
    }
    let native = json!({
        "application_type": "native", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/cb", "http://[::1]/cb", "org.example.app:/cb"],
    });
    let (client, _) = parse(&native).unwrap().into_client(None).unwrap();
    // Two apps on the loopback do not share their subjects, and no public client goes without PKCE.
    assert_eq!(client.sector(), client.client_id);
    assert!(client.pkce_required);
}

#[test]
fn a_sector_lists_every_redirect_uri() {
    let registration = parse(&json!({
        "redirect_uris": ["https://a.example/cb", "https://b.example/cb"],
        "sector_identifier_uri": "https://sector.example/uris.json",
    }))
    .unwrap();
    registration
        .check_sector(&json!(["https://b.example/cb", "https://c.example/", "https://a.example/cb"]))
        .unwrap();
    for wrong in
        [json!(["https://a.example/cb"]), json!({"a": 1}), json!("https://a.example/cb"), json!([1, 2])]
    {
        assert!(registration.check_sector(&wrong).is_err(), "{wrong}");
    }
    let (client, kept) = registration.into_client(Some(vec![0; 32])).unwrap();
    assert_eq!(client.sector(), "sector.example");
    assert_eq!(kept["sector_identifier_uri"], "https://sector.example/uris.json");
}

#[test]
fn a_policy_keeps_its_rules_and_its_time() {
    policy().check().unwrap();
    let broken = |change: fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        policy.check().unwrap_err()
    };
    assert!(broken(|policy| policy.name = "a b".into()).contains("name"));
    assert!(broken(|policy| policy.scopes.push("identity.admin".into())).contains("scopes"));
    assert!(broken(|policy| policy.scopes.clear()).contains("scopes"));
    assert!(broken(|policy| policy.grant_types.push("client_credentials".into())).contains("grant_types"));
    assert!(broken(|policy| policy.auth_methods.push("tls".into())).contains("auth_methods"));
    let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
    let mut policy = policy();
    policy.expires_at = Some(now);
    assert!(policy.is_open(1, now - domain::TimeDelta::seconds(1)));
    assert!(!policy.is_open(1, now) && !policy.is_open(0, now - domain::TimeDelta::seconds(1)));
}

proptest! {
    #[test]
    fn no_value_panics(field in "[a-z_]{1,30}", text in ".{0,60}", number in any::<i64>()) {
        for value in [json!(text), json!(number), json!([text]), json!({"keys": [text]}), json!([[number]])] {
            let known = ["redirect_uris", "jwks", "contacts", "scope", "default_max_age", field.as_str()];
            for field in known {
                let _ = parse(&with(&json!({field: value.clone()})));
            }
        }
    }
}
