use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(claims: &Value) -> Result<Parameter, InvalidClaims> {
    Parameter::parse(&claims.to_string())
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn every_form_of_a_request_is_read_and_the_unknown_is_ignored() {
    let parameter = parse(&json!({
        "userinfo": {
            "name": null, "email": {}, "given_name": {"essential": true}, "locale": {"x": [1]},
            "phone_number": {"value": "+81312345678"}, "http://example.org/claim": null, "name#ja": null,
        },
        "id_token": {"email_verified": {"values": [true]}, "auth_time": {"essential": true}},
        "verified_claims": [1],
    }))
    .unwrap();
    let asked: Vec<&str> = parameter.requested.userinfo.keys().map(String::as_str).collect();
    assert_eq!(asked, ["email", "given_name", "locale", "name", "phone_number"]);
    assert_eq!(parameter.requested.userinfo["phone_number"], [json!("+81312345678")]);
    assert_eq!(parameter.requested.id_token, Wishes::from([("email_verified".into(), vec![json!(true)])]));
    assert_eq!((parameter.sub, parameter.acr_values), (None, vec![]));
}

#[test]
fn sub_and_acr_are_conditions() {
    let parameter = parse(&json!({
        "userinfo": {"sub": {"value": "alice"}},
        "id_token": {"sub": {"value": "alice"}, "acr": {"essential": true, "values": ["a", "b"]}},
    }))
    .unwrap();
    assert_eq!(parameter.sub.as_deref(), Some("alice"));
    assert_eq!((parameter.acr_values, parameter.acr_is_essential), (list(&["a", "b"]), true));
    let voluntary = parse(&json!({"id_token": {"acr": {"values": ["a"]}}})).unwrap();
    assert!(!voluntary.acr_is_essential);
    // Essential without a value: whatever there is will do.
    assert!(!parse(&json!({"id_token": {"acr": {"essential": true}}})).unwrap().acr_is_essential);
    assert!(parse(&json!({"userinfo": {"acr": {"value": "a"}}})).unwrap().acr_values.is_empty());
}

#[test]
fn what_breaks_a_rule_is_refused() {
    for wrong in [
        json!([]),
        json!("userinfo"),
        json!({"userinfo": []}),
        json!({"id_token": null}),
        json!({"userinfo": {"name": true}}),
        json!({"userinfo": {"name": {"essential": "yes"}}}),
        json!({"userinfo": {"name": {"values": "a"}}}),
        json!({"userinfo": {"name": {"values": []}}}),
        json!({"userinfo": {"name": {"values": vec!["a"; 17]}}}),
        json!({"userinfo": {"name": {"value": {"a": 1}}}}),
        json!({"userinfo": {"name": {"value": null}}}),
        json!({"id_token": {"acr": {"value": 1}}}),
        json!({"id_token": {"sub": {"values": ["a", "b"]}}}),
        json!({"id_token": {"sub": {"value": "a"}}, "userinfo": {"sub": {"value": "b"}}}),
        json!({"userinfo": {"x": "y".repeat(4_096)}}),
    ] {
        assert!(parse(&wrong).is_err(), "{wrong}");
    }
    for text in ["", "{", "null", "{\"a\":1}x", &"{\"userinfo\":".repeat(300), &"[".repeat(4_000)] {
        assert!(Parameter::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_client_asks_for_what_its_scopes_open_and_the_user_allows_the_rest() {
    let requested = parse(&json!({
        "userinfo": {"name": null, "email": null}, "id_token": {"name": null, "phone_number": null},
    }))
    .unwrap()
    .requested;
    let kept = requested.within(&list(&["openid", "profile", "email"]));
    assert!(kept.id_token.contains_key("name") && !kept.id_token.contains_key("phone_number"));
    assert_eq!(kept.beyond(&list(&["openid", "email"])), ["name"]);
    assert_eq!(kept.beyond(&list(&["openid"])), ["email", "name"]);
    assert!(requested.within(&list(&["openid"])).is_empty());
}

#[test]
fn a_claim_with_another_value_than_asked_for_is_left_out() {
    let known = || json!({"name": "Alice", "email": "alice@example.jp"}).as_object().unwrap().clone();
    let wishes = |value: Value| Wishes::from([("email".to_owned(), vec![value])]);
    assert!(pick(known(), &[], &wishes(json!("alice@example.jp"))).contains_key("email"));
    assert!(pick(known(), &[], &wishes(json!("bob@example.fr"))).is_empty());
    assert!(pick(known(), &list(&["email"]), &wishes(json!("bob@example.fr"))).contains_key("email"));
    assert!(asks_for("email", &[], &wishes(json!(1))) && !asks_for("profile", &[], &wishes(json!(1))));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = Parameter::parse(&text);
    }
}
