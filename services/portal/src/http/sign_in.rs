use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chassis::{
    Code, Coded,
    relying_party::{SignIn, cookie},
};

use super::{
    Failure, Here, Page,
    form::{Fields, Sent},
    visitor::{HOME, SESSION, SIGN_IN, Visitor, see_other, set_cookie},
};
use crate::Error;

/// A sign-in must end within ten minutes.
const SIGN_IN_LIFE: u32 = 600;
/// As long as the session itself.
const SESSION_LIFE: u32 = 30 * 86_400;

/// Where a visitor signs in, to come back to a path.
pub fn login_url(return_to: &str) -> String {
    let mut url = String::from("/portal/login?return_to=");
    url.extend(url::form_urlencoded::byte_serialize(return_to.as_bytes()));
    url
}

/// GET `/portal/login`: to identity, with PKCE; the sign-in's secrets travel sealed in a cookie.
pub async fn login(State(site): Here, visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let begun = async {
        let sign_in = SignIn::begin(query.one("return_to"), HOME)?;
        let url = site.app.issuer().authorize_url(&sign_in, visitor.locale.tag()).await?;
        let mut answer = see_other(url.as_str());
        set_cookie(answer.headers_mut(), SIGN_IN, &sign_in.to_cookie()?, SIGN_IN_LIFE)?;
        Ok::<_, Error>(answer)
    };
    begun.await.map_err(|error| visitor.failure(error))
}

/// GET `/portal/callback`: identity's answer.
pub async fn callback(
    State(site): Here,
    visitor: Visitor,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Page {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let ended = async {
        let sign_in = cookie(&headers, SIGN_IN).and_then(SignIn::from_cookie).ok_or(Error::ForeignSignIn)?;
        let ours = query.only("state") == Some(&sign_in.state);
        // RFC 9207: an answer of another issuer is none of ours.
        let from_issuer = query.all("iss").iter().all(|iss| site.app.issuer().is_named(iss));
        if !ours || !from_issuer {
            return Err(Error::ForeignSignIn);
        }
        let mut answer = match (query.only("code"), query.only("error")) {
            (Some(code), None) => {
                let session = site.app.finish_sign_in(code, &sign_in, visitor.cookie.as_ref()).await?;
                let mut answer = see_other(&sign_in.return_to);
                set_cookie(answer.headers_mut(), SESSION, &session.to_cookie(), SESSION_LIFE)?;
                answer
            }
            (None, Some(reason)) => {
                tracing::info!(reason, "sign-in ended without a code");
                see_other("/portal/")
            }
            _ => return Err(Error::ForeignSignIn),
        };
        set_cookie(answer.headers_mut(), SIGN_IN, "", 0)?;
        Ok(answer)
    };
    ended.await.map_err(|error| visitor.failure(error))
}

/// POST `/portal/logout`: ends the session here, then at identity, which tells every other site.
pub async fn logout(State(site): Here, visitor: Visitor, headers: HeaderMap, sent: Sent) -> Page {
    // Before anything else: a foreign page must not even take the cookie away.
    if !visitor.is_ours(&headers) {
        return Err(visitor.failure(Error::ForeignForm));
    }
    let target = match visitor.fan().await {
        Ok(fan) => {
            visitor.form(&fan, &headers, &sent)?;
            let url = site.app.sign_out(&fan, visitor.locale.tag()).await;
            url.map_err(|error| visitor.failure(error))?.to_string()
        }
        // It ended meanwhile, on another site or another page.
        Err(Failure { error, .. }) if matches!(*error, Error::SignedOut) => "/portal/".to_owned(),
        Err(failure) => return Err(failure),
    };
    let mut answer = see_other(&target);
    set_cookie(answer.headers_mut(), SESSION, "", 0).map_err(|error| visitor.failure(error))?;
    Ok(answer)
}

/// POST `/portal/backchannel-logout` (OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8).
pub async fn backchannel_logout(State(site): Here, sent: Sent) -> Response {
    let ended = async {
        let fields = Fields::read(&sent)?;
        let logout_token = fields.only("logout_token").ok_or(Error::ForeignForm)?;
        site.app.back_channel_logout(logout_token).await
    };
    let status = match ended.await {
        Ok(_) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "logout token not taken");
            match error.code() {
                Code::Unavailable | Code::Internal => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            }
        }
    };
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
}
