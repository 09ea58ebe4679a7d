//! OIDCCBackchannelRpInitiatedLogoutTestPlan: 2 modules.

use serde_json::json;

use super::{
    config,
    logout::{STATE, is_sent_back, is_signed_in, logout_url, rp, signed_in},
    suite::{DISCOVERY, Suite},
};
use crate::world::{ISSUER, World};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

#[tokio::test]
async fn oidcc_backchannel_logout_discovery_endpoint_verification() {
    let world = World::start().await;
    let metadata = world.get(DISCOVERY, &[]).await.body;
    config::endpoints_are_https(&metadata);
    assert_eq!(metadata["backchannel_logout_supported"], json!(true));
    assert_eq!(metadata["backchannel_logout_session_supported"], json!(true));
    assert!(metadata["end_session_endpoint"].as_str().unwrap().starts_with(ISSUER));
}

#[tokio::test]
async fn oidcc_backchannel_rp_initiated_logout() {
    let suite = Suite::start().await;
    let (mut browser, tokens) = signed_in(&suite).await;
    let away = browser.open(&logout_url(&suite, tokens.id_token(), &[])).await.away();
    is_sent_back(&away, Some(STATE));
    assert!(!is_signed_in(&suite, &mut browser).await);

    let told = suite.world.relying_parties.told_times(&rp().client_id, 1).await.remove(0);
    let header = jsonwebtoken::decode_header(&told).unwrap();
    assert_eq!(header.alg, tokens.header.alg);
    let claims = suite.verify(&told, header.alg, &rp().client_id);
    let now = suite.world.app.clock.now().timestamp();
    let issued = claims["iat"].as_i64().unwrap();
    assert!((now - 86_400..=now + 300).contains(&issued));
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    assert_eq!(claims["events"], json!({EVENT: {}}));
    assert_eq!((&claims["sub"], &claims["sid"]), (&tokens.id["sub"], &tokens.id["sid"]));
    assert!(claims["sid"].is_string() && claims.get("nonce").is_none());
}
