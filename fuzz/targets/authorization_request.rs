//! The query of an authorization request of a proved client.
#![no_main]

use std::sync::LazyLock;

use identity::fuzzing::{Form, Registered, answer_at};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use url::Url;

const CALLBACK: &str = "https://portal.example/callback?tab=1";
const LONGEST: usize = 2_048;

static CLIENT: LazyLock<Registered> = LazyLock::new(|| Registered::with(CALLBACK).expect("a client"));

fuzz_target!(|bytes: &[u8]| {
    let Some(form) = Form::read(bytes) else { return };
    let request = match CLIENT.request(CALLBACK, &form) {
        Ok(request) => request,
        Err(error) => {
            // OIDC Core 3.1.2.6, RFC 6749 4.1.2.1, RFC 8707 2, RFC 9396 5: nothing else is told a client.
            assert!(error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{error}");
            return;
        }
    };
    assert!(!form.has_repeated());
    assert_eq!(form.get("response_type"), Some("code"));
    assert!(form.get("request").is_none());
    let challenge = request["code_challenge"].as_str().expect("PKCE is required");
    assert_eq!(challenge.len(), 43);
    assert_eq!(form.get("code_challenge_method"), Some("S256"));
    assert!(
        !(request["prompt_none"] == true
            && (request["prompt_login"] == true || request["prompt_consent"] == true))
    );
    assert!(form.all("resource").iter().all(|resource| resource == Registered::AUDIENCE));
    let scopes = request["scopes"].as_array().expect("scopes");
    assert!(!scopes.is_empty() && scopes.len() <= 64);
    for text in [&request["state"], &request["nonce"], &request["login_hint"]] {
        assert!(text.as_str().is_none_or(|text| text.len() <= LONGEST));
    }
    comes_back(&request["state"]);
});

/// A client gets its state as it sent it, and nothing beside it.
fn comes_back(state: &Value) {
    let Some(state) = state.as_str() else { return };
    let url = Url::parse(&answer_at(CALLBACK, &[("code", "c"), ("state", state)])).expect("a URL");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let expected =
        [("tab", "1"), ("code", "c"), ("state", state)].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(pairs, expected);
    assert!(url.as_str().starts_with(CALLBACK) && url.fragment().is_none());
}
