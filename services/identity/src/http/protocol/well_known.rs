use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use super::{Answer, answer};
use crate::{
    acr::Level,
    app::{App, Refusal},
    claims,
    client::{AuthMethod, DEVICE_CODE, TOKEN_EXCHANGE},
    dpop,
    jws::Algorithm,
    scope,
};

/// GET `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414).
pub async fn metadata(State(app): State<App>) -> Response {
    answer::kept(document(app.issuer()))
}

/// GET `/oauth2/keys.json`: the JWK set.
pub async fn keys(State(app): State<App>) -> Answer {
    let keys = app.published_keys().map_err(Refusal::from)?;
    Ok(answer::kept(&*keys))
}

/// Claims of ID tokens, asked for or not.
const OF_TOKENS: [&str; 11] =
    ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"];

// Only what is there: a client that reads it may use all of it.
fn document(issuer: &str) -> Value {
    let url = |path: &str| format!("{issuer}{path}");
    let methods: Vec<_> = AuthMethod::ALL.iter().map(|method| method.name()).collect();
    let secret_methods: Vec<_> = AuthMethod::ALL
        .iter()
        .filter(|method| **method != AuthMethod::None)
        .map(|method| method.name())
        .collect();
    let claims: Vec<_> = OF_TOKENS.into_iter().chain(claims::OF_USER.map(|(name, _)| name)).collect();
    let id_token = Algorithm::ALL.map(Algorithm::name);
    let signing = ["ES256", "PS256", "RS256"];
    json!({
        "issuer": issuer,
        "authorization_endpoint": url("/authorize"),
        "token_endpoint": url("/oauth2/token"),
        "userinfo_endpoint": url("/oauth2/userinfo"),
        "jwks_uri": url("/oauth2/keys.json"),
        "end_session_endpoint": url("/logout"),
        "device_authorization_endpoint": url("/oauth2/device"),
        "introspection_endpoint": url("/oauth2/introspect"),
        "revocation_endpoint": url("/oauth2/revoke"),
        "pushed_authorization_request_endpoint": url("/oauth2/par"),
        "require_pushed_authorization_requests": false,
        "dpop_signing_alg_values_supported": dpop::ALGORITHMS,
        "registration_endpoint": url("/oauth2/registration"),
        "scopes_supported": scope::OIDC,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, TOKEN_EXCHANGE,
        ],
        "acr_values_supported": Level::ALL.map(Level::name),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": id_token,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": secret_methods,
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "ui_locales_supported": ["ja", "en", "fr"],
        "claim_types_supported": ["normal"],
        "claims_supported": claims,
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
    })
}
