//! Proofs at the resource: what may vary, and what must not.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    FIRST,
    checks::check_pushed,
    relying_party::{PAR, RelyingParty, TOKEN, USERINFO, Unsigned},
    signer::{Signer, base64url},
};
use crate::world::{Answer, ISSUER, World};

#[tokio::test]
async fn fapi2_security_profile_final_access_token_type_header_case_sensitivity() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let tokens = rp.tokens(&mut world.browser(), &rp.request()).await;
    let token = tokens.text("access_token");
    for scheme in ["dpOp", "dpop", "DPOP"] {
        let answer = rp.show(scheme, token, &[&rp.proof("GET", USERINFO, Some(token))]).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}");
    }
}

#[tokio::test]
async fn fapi2_security_profile_final_check_dpop_proof_nbf_exp() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let now = world.app.clock.now().timestamp();
    let dated = |proof: &mut Unsigned| {
        proof.claims["nbf"] = json!(now);
        proof.claims["exp"] = json!(now + 300);
    };
    let tokens = with_proofs(&rp, dated).await;
    let answer = rp.resource_with(tokens.text("access_token"), dated).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

// A flow whose proofs at PAR and at the token endpoint are changed alike.
async fn with_proofs(rp: &RelyingParty<'_>, change: impl Fn(&mut Unsigned)) -> Answer {
    let request = rp.request();
    let make = |path| {
        let mut proof = rp.unsigned("POST", path, None);
        change(&mut proof);
        (rp.assertion(&rp.assertion_claims()), Some(rp.key.jws(&proof.header, &proof.claims)))
    };
    let pushed = rp.call(PAR, &request.form, || make(PAR)).await;
    check_pushed(&pushed);
    let mut browser = rp.world.browser();
    let url = rp.authorize(&mut browser, &rp.authorization_url(&pushed, &[])).await;
    let redemption = rp.redemption(&request, &rp.check_response(&url, &request));
    let tokens = rp.call(TOKEN, &redemption, || make(TOKEN)).await;
    rp.check_tokens(&tokens, &request).await;
    tokens
}

async fn shifted(seconds: i64) {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let at = world.app.clock.now().timestamp() + seconds;
    let tokens = with_proofs(&rp, |proof| proof.claims["iat"] = json!(at)).await;
    let answer = rp.resource_with(tokens.text("access_token"), |proof| proof.claims["iat"] = json!(at)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_dpopproof_with_iat_10seconds_before_succeeds() {
    shifted(-10).await;
}

#[tokio::test]
async fn fapi2_security_profile_final_ensure_dpopproof_with_iat_10seconds_after_succeeds() {
    shifted(10).await;
}

#[track_caller]
fn refused(answer: &Answer, what: &str) {
    assert!(matches!(answer.status.as_u16(), 400 | 401), "{what}: {}", answer.status);
    assert!(answer.header("www-authenticate").contains("DPoP "), "{what}");
    assert_eq!(answer.body.get("sub"), None, "{what}");
}

#[tokio::test]
async fn fapi2_security_profile_final_dpop_negative_tests() {
    let world = World::start().await;
    let rp = RelyingParty::new(&world, FIRST);
    let tokens = rp.whole_flow(&mut world.browser(), &rp.request()).await;
    let token = tokens.text("access_token");

    assert!(shout(&world, token, &rp.proof("GET", USERINFO, Some(token))).await.starts_with("HTTP/1.1 200 "));
    let two = [rp.proof("GET", USERINFO, Some(token)), rp.proof("GET", USERINFO, Some(token))];
    refused(&rp.show("DPoP", token, &[&two[0], &two[1]]).await, "two proofs");

    changed_proofs_are_refused(&rp, token).await;
    changed_signatures_are_refused(&rp, token).await;
    harmless_changes_pass(&rp, token).await;

    let fixed = |proof: &mut Unsigned| proof.claims["jti"] = json!("fixed-jti-of-this-test");
    assert_eq!(rp.resource_with(token, fixed).await.status, StatusCode::OK);
    refused(&rp.resource_with(token, fixed).await, "a jti for the second time");

    refused(&rp.show("DPoP", token, &[]).await, "no proof");
    refused(&rp.show("Bearer", token, &[]).await, "Bearer without proof");
    refused(&rp.show("Bearer", token, &[&rp.proof("GET", USERINFO, Some(token))]).await, "Bearer with proof");
    // None of it was because of the token.
    rp.check_resource(token).await;
}

async fn changed_proofs_are_refused(rp: &RelyingParty<'_>, token: &str) {
    for header in ["typ", "jwk"] {
        let remove = |proof: &mut Unsigned| drop(proof.header.as_object_mut().unwrap().remove(header));
        refused(&rp.resource_with(token, remove).await, header);
    }
    for claim in ["jti", "htm", "htu", "iat", "ath"] {
        let remove = |proof: &mut Unsigned| drop(proof.claims.as_object_mut().unwrap().remove(claim));
        refused(&rp.resource_with(token, remove).await, claim);
    }
    let hour = rp.world.app.clock.now().timestamp();
    for (claim, wrong) in [
        ("htm", json!("PUT")),
        ("htu", json!("https://elsewhere.example/userinfo")),
        ("ath", json!(base64url([1; 32]))),
        // With a nonce of ours the suite would let these pass. Clocks have to be right here all the same: `jti` is
        // remembered for the time that `iat` leaves open.
        ("iat", json!(hour + 3_600)),
        ("iat", json!(hour - 3_600)),
        ("nonce", json!("no-nonce-of-this-server")),
    ] {
        let change = |proof: &mut Unsigned| proof.claims[claim] = wrong.clone();
        refused(&rp.resource_with(token, change).await, claim);
    }
    let private = rp.key.private_jwk();
    refused(&rp.resource_with(token, |proof| proof.header["jwk"] = private.clone()).await, "private key");
    refused(&rp.resource_with(token, |proof| proof.header["typ"] = json!("dpop")).await, "typ");
}

async fn changed_signatures_are_refused(rp: &RelyingParty<'_>, token: &str) {
    let unsigned = || rp.unsigned("GET", USERINFO, Some(token));
    let signed_as = |header: &Value| rp.key.jws(header, &unsigned().claims);
    let right = signed_as(&unsigned().header);
    let (input, signature) = right.rsplit_once('.').unwrap();
    let mut header = unsigned().header;
    header.as_object_mut().unwrap().remove("alg");
    let no_alg = signed_as(&header);
    header["alg"] = json!("none");
    let none = format!("{}.{}.", base64url(header.to_string()), input.split_once('.').unwrap().1);
    let turned: String = signature.chars().rev().collect();
    for (what, proof) in [
        ("no JWT", "not-a-jwt".to_owned()),
        ("cut", input.to_owned()),
        ("no alg", no_alg),
        ("none", none),
        ("wrong signature", format!("{input}.{}A", &turned[..turned.len() - 1])),
    ] {
        refused(&rp.show("DPoP", token, &[&proof]).await, what);
    }
    // RS256 with a key that it fits.
    let rsa = Signer::rsa();
    let mut header = unsigned().header;
    header["jwk"] = rsa.public_jwk();
    header["alg"] = json!("RS256");
    refused(&rp.show("DPoP", token, &[&rsa.jws(&header, &unsigned().claims)]).await, "RS256");
    // A right proof of another key.
    let other = Signer::p256();
    header["jwk"] = other.public_jwk();
    header["alg"] = json!("ES256");
    let answer = rp.show("DPoP", token, &[&other.jws(&header, &unsigned().claims)]).await;
    refused(&answer, "another key");
    assert_eq!(answer.text("error"), "invalid_token");
}

async fn harmless_changes_pass(rp: &RelyingParty<'_>, token: &str) {
    let host = ISSUER.strip_prefix("https://").unwrap();
    for htu in [
        format!("{ISSUER}{USERINFO}?query=1#fragment"),
        format!("{ISSUER}{USERINFO}"),
        format!("HTTPS://{}{USERINFO}", host.to_uppercase()),
        format!("{ISSUER}:443{USERINFO}"),
    ] {
        let answer = rp.resource_with(token, |proof| proof.claims["htu"] = json!(htu)).await;
        assert_eq!(answer.status, StatusCode::OK, "{htu}");
    }
    let extra = |proof: &mut Unsigned| {
        proof.header["extra"] = json!("value");
        proof.claims["extra"] = json!({"some": "thing"});
    };
    assert_eq!(rp.resource_with(token, extra).await.status, StatusCode::OK);
}

// With the header's name in capitals, which no client library writes.
async fn shout(world: &World, token: &str, proof: &str) -> String {
    let url = url::Url::parse(&world.app.http_url(USERINFO)).unwrap();
    let place = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut stream = tokio::net::TcpStream::connect(&place).await.unwrap();
    let request = format!(
        "GET {USERINFO} HTTP/1.1\r\nHost: {place}\r\nAUTHORIZATION: DPoP {token}\r\nDPOP: {proof}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
