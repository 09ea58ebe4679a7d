use domain::{SessionId, TimeDelta};

use super::*;
use crate::client::tests::client;

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn request(extra: &str) -> Result<Request, Fault> {
    let query = format!(
        "client_id=portal&response_type=code&scope=openid&code_challenge={CHALLENGE}&code_challenge_method=S256{extra}"
    );
    Request::parse(&client(), "https://portal.example/callback", &Params::parse(query.as_bytes()).unwrap())
}

fn session(at: DateTime<Utc>) -> Session {
    Session {
        session_id: SessionId::new(),
        user_id: UserId::new(),
        epoch: 0,
        pwd_at: at,
        passkey_at: None,
        otp_at: None,
        seen_at: at,
        expires_at: at + TimeDelta::days(1),
        ended: false,
    }
}

fn now() -> DateTime<Utc> {
    "2026-07-24T10:00:00Z".parse().unwrap()
}

#[test]
fn a_right_request_is_read() {
    let request =
        request("&state=s&nonce=n&max_age=60&ui_locales=de+fr-CA+ja&resource=kotinos.profile").unwrap();
    assert_eq!(request.state.as_deref(), Some("s"));
    assert_eq!(request.max_age, Some(60));
    assert_eq!(request.language(), Some(Locale::Fr));
    assert_eq!(request.resources, ["kotinos.profile"]);
}

#[test]
fn each_wrong_parameter_has_its_code() {
    let client = client();
    let error = |query: &str| {
        let params = Params::parse(query.as_bytes()).unwrap();
        Request::parse(&client, "https://portal.example/callback", &params).unwrap_err().error
    };
    let pkce = format!("code_challenge={CHALLENGE}&code_challenge_method=S256");
    let full = format!("response_type=code&scope=openid&{pkce}");
    assert_eq!(error("scope=openid"), "invalid_request");
    assert_eq!(error("response_type=token&scope=openid"), "unsupported_response_type");
    assert_eq!(error("response_type=code%20id_token&scope=openid"), "unsupported_response_type");
    assert_eq!(error(&format!("response_type=code&{pkce}")), "invalid_scope");
    assert_eq!(error(&format!("response_type=code&scope=%22&{pkce}")), "invalid_scope");
    assert_eq!(error("response_type=code&scope=openid"), "invalid_request");
    assert_eq!(
        error(&format!("response_type=code&scope=openid&code_challenge={CHALLENGE}")),
        "invalid_request"
    );
    assert_eq!(
        error("response_type=code&scope=openid&code_challenge=x&code_challenge_method=S256"),
        "invalid_request"
    );
    let plain =
        format!("response_type=code&scope=openid&code_challenge={CHALLENGE}&code_challenge_method=plain");
    assert_eq!(error(&plain), "invalid_request");
    assert_eq!(error(&format!("{full}&request=x")), "request_not_supported");
    assert_eq!(error(&format!("{full}&request_uri=https://x")), "request_uri_not_supported");
    assert_eq!(error(&format!("{full}&response_mode=fragment")), "invalid_request");
    assert_eq!(error(&format!("{full}&prompt=none+login")), "invalid_request");
    assert_eq!(error(&format!("{full}&prompt=x")), "invalid_request");
    for age in ["-1", "1.5", "+1", "99999999999", "'"] {
        assert_eq!(error(&format!("{full}&max_age={}", age.replace('+', "%2B"))), "invalid_request");
    }
    assert_eq!(error(&format!("{full}&resource=kotinos.results")), "invalid_target");
    assert_eq!(error(&format!("{full}&state={}", "x".repeat(3000))), "invalid_request");
    assert_eq!(error(&format!("{full}&nonce=a&nonce=b")), "invalid_request");
}

#[test]
fn claims_and_acr_values_are_read() {
    let claims = |text: &str| {
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        request(&format!("&claims={encoded}"))
    };
    let asked =
        claims(r#"{"userinfo":{"name":{"essential":true}},"id_token":{"email":null,"sub":{"value":"a"}}}"#);
    let asked = asked.unwrap();
    assert!(asked.claims.userinfo.contains_key("name") && asked.claims.id_token.contains_key("email"));
    assert_eq!(asked.sub.as_deref(), Some("a"));
    assert_eq!(claims("[]").unwrap_err().error, "invalid_request");
    let acr = request("&acr_values=urn:kotinos:acr:9+urn:kotinos:acr:1").unwrap();
    assert_eq!((acr.acr_values.len(), acr.acr_is_essential), (2, false));
    let essential =
        |value: &str| claims(&format!(r#"{{"id_token":{{"acr":{{"essential":true,"value":"{value}"}}}}}}"#));
    assert!(essential(Level::Two.name()).unwrap().acr_is_essential);
    assert_eq!(essential("urn:kotinos:acr:9").unwrap_err().error, "unmet_authentication_requirements");
}

#[test]
fn a_confidential_client_may_be_let_off_pkce_but_not_from_its_rules() {
    let mut client = client();
    client.pkce_required = false;
    let parse = |query: &str| {
        Request::parse(&client, "https://portal.example/callback", &Params::parse(query.as_bytes()).unwrap())
    };
    assert_eq!(parse("response_type=code&scope=openid").unwrap().code_challenge, None);
    assert!(parse("response_type=code&scope=openid&code_challenge_method=S256").is_err());
}

#[test]
fn a_session_answers_unless_the_request_wants_a_fresh_one() {
    let live = session(now() - TimeDelta::seconds(100));
    let at = |extra: &str, hint| next(&request(extra).unwrap(), Some(&live), hint, false, now());
    assert_eq!(at("", None), Next::Issue);
    assert_eq!(at("&max_age=100", None), Next::Issue);
    assert_eq!(at("&max_age=99", None), Next::SignIn);
    assert_eq!(at("&prompt=login", None), Next::SignIn);
    assert_eq!(at("", Some(Some(live.user_id))), Next::Issue);
    assert_eq!(at("", Some(Some(UserId::new()))), Next::SignIn);
    assert_eq!(at("", Some(None)), Next::SignIn);
    let Next::Fail(fault) = at("&prompt=none&max_age=1", None) else { panic!() };
    assert_eq!(fault.error, "login_required");
    let again = request("&prompt=login&max_age=0").unwrap().signed_in();
    assert_eq!(next(&again, Some(&live), None, false, now()), Next::Issue);
}

#[test]
fn nobody_signed_in_means_a_page_or_login_required() {
    assert_eq!(next(&request("").unwrap(), None, None, false, now()), Next::SignIn);
    let Next::Fail(fault) = next(&request("&prompt=none").unwrap(), None, None, true, now()) else {
        panic!()
    };
    assert_eq!(fault.error, "login_required");
}

#[test]
fn consent_is_asked_for_or_required() {
    let live = session(now());
    assert_eq!(next(&request("").unwrap(), Some(&live), None, true, now()), Next::AskConsent);
    let Next::Fail(fault) = next(&request("&prompt=none").unwrap(), Some(&live), None, true, now()) else {
        panic!()
    };
    assert_eq!(fault.error, "consent_required");
}

#[test]
fn nothing_breaks_out_of_a_response() {
    let url = with_query("https://portal.example/cb?x=1", &[("state", "a\r\nSet-Cookie: b=c&code=evil#")]);
    assert_eq!(url, "https://portal.example/cb?x=1&state=a%0D%0ASet-Cookie%3A+b%3Dc%26code%3Devil%23");
}
