//! The desk of commentators: signing in, and the pages behind it.

mod page;
mod session;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query as Pairs, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chassis::{
    Code, Coded, Denied, Process, Secret,
    relying_party::{self, CookieKey, Registration, RelyingParty, SignIn, cookie, set_cookie},
};
use domain::{Locale, Service};
use minijinja::context;
use url::Url;

use self::{session::Commentator, words::DeskWords};
use super::{NO_SNIFF, Web, pages::Page, query::Query};
use crate::Error;

/// The staff scope of the desk.
const SCOPE: &str = "results.cis";
/// What the sign-in asks for.
const SCOPES: &str = "openid results.cis";
/// Where who named no page of the desk ends.
const HOME: &str = "/results/cis";
/// A sign-in in progress.
const SIGN_IN: &str = "__Host-results-signin";
/// A sign-in must end within ten minutes.
const SIGN_IN_LIFE: u32 = 600;
/// The commentator's session. The prefix binds it to this host and to TLS; browsers take localhost for secure.
const SESSION: &str = "__Host-results-cis";

/// What the desk's pages need beside the use cases. Clones share it.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    party: RelyingParty,
    origin: String,
    pepper: Secret,
    policy: HeaderValue,
}

impl Desk {
    /// The desk at a public address, as a client of the issuer that this process trusts.
    ///
    /// # Errors
    /// The issuer's origin is no header value.
    pub fn new(
        process: Process,
        public_url: &Url,
        identity_url: Option<Url>,
        pepper: Secret,
    ) -> Result<Self, header::InvalidHeaderValue> {
        let base = public_url.as_str().trim_end_matches('/');
        let registration = Registration {
            client_id: Service::ResultsFeed.short(),
            redirect_uri: format!("{base}/results/cis/callback"),
            scopes: SCOPES,
        };
        let party = RelyingParty::new(process, registration, identity_url);
        // The form that signs out leads to identity: Chromium applies form-action to the redirect after a POST.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'self' {}; frame-ancestors 'none'",
            party.issuer_origin()
        );
        let policy = HeaderValue::from_str(&policy)?;
        let origin = public_url.origin().ascii_serialization();
        Ok(Self(Arc::new(Inside { party, origin, pepper, policy })))
    }

    fn key(&self) -> CookieKey {
        CookieKey::of_secret(self.0.pepper.expose().as_bytes(), "desk session")
    }

    fn is_ours(&self, headers: &HeaderMap) -> bool {
        let from_us = headers.get(header::ORIGIN).is_none_or(|origin| origin == self.0.origin.as_str());
        let site = headers.get("sec-fetch-site");
        from_us && site.is_none_or(|site| site == "same-origin" || site == "none")
    }
}

/// The routes of the desk.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/results/cis", get(page::disciplines))
        .route("/results/cis/login", get(login))
        .route("/results/cis/callback", get(callback))
        .route("/results/cis/logout", post(logout))
        .route("/results/cis/{prefix}", get(page::show))
        .route("/results/assets/cis.js", get(page::script))
        .route("/results/assets/cis.css", get(page::style))
}

/// The commentator whose cookie a request carries; none where there is no session that still lives.
pub fn commentator(web: &Web, headers: &HeaderMap) -> Option<Commentator> {
    let sealed = cookie(headers, SESSION)?;
    Commentator::open(&web.desk.key(), sealed, web.app.clock().now())
}

/// Why the desk does not let somebody in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the sign-in was not begun in this browser")]
    Foreign,
    #[error("the person is not of the desk")]
    NoScope,
    #[error("identity")]
    Issuer(#[from] relying_party::Error),
    #[error("access token")]
    Token(#[from] Denied),
    #[error("page")]
    App(#[from] Error),
    #[error("cookie")]
    Cookie,
}

impl Refused {
    fn status(&self) -> StatusCode {
        let code = match self {
            Self::Foreign => return StatusCode::BAD_REQUEST,
            Self::NoScope => return StatusCode::FORBIDDEN,
            // Also the code of an answer that was loaded twice.
            Self::Issuer(relying_party::Error::Refused(_) | relying_party::Error::Token(_)) => {
                return StatusCode::BAD_REQUEST;
            }
            Self::Issuer(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::App(error) => error.code(),
            Self::Cookie => Code::Internal,
        };
        match code {
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::NotFound | Code::InvalidArgument => StatusCode::NOT_FOUND,
            Code::Unauthenticated | Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn problem(web: &Web, locale: Locale, refused: &Refused) -> Response {
    let status = refused.status();
    let error = refused as &dyn std::error::Error;
    if status.is_server_error() {
        tracing::warn!(error, %status, "desk page not shown");
    } else {
        tracing::info!(error, %status, "desk page not shown");
    }
    let words = DeskWords::of(locale);
    let said = match status {
        StatusCode::FORBIDDEN => words.no_scope,
        StatusCode::BAD_REQUEST => words.foreign_sign_in,
        StatusCode::NOT_FOUND => words.missing,
        _ => words.unavailable,
    };
    let content = context! { said, retry => status == StatusCode::BAD_REQUEST };
    let mut answer = render(web, "cis_problem.html", locale, content, status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    answer
}

fn render(
    web: &Web,
    template: &str,
    locale: Locale,
    content: minijinja::Value,
    status: StatusCode,
) -> Response {
    let words = minijinja::Value::from(minijinja::value::Serde(DeskWords::of(locale)));
    let page = Page { template, locale, status, content: context! { desk => words, ..content } };
    web.pages.personal(&page, &web.desk.0.policy)
}

/// `GET /results/cis/login`: to identity, with PKCE; the sign-in's secrets travel sealed in a cookie.
async fn login(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let locale = locale(&pairs, &headers);
    let begun = async {
        let sign_in = SignIn::begin(one(&pairs, "return_to").unwrap_or_default(), HOME)?;
        let url = web.desk.0.party.authorize_url(&sign_in, locale.tag()).await?;
        let mut answer = see_other(url.as_str());
        let value = sign_in.to_cookie()?;
        set_cookie(answer.headers_mut(), SIGN_IN, &value, SIGN_IN_LIFE).map_err(|_| Refused::Cookie)?;
        Ok::<_, Refused>(answer)
    };
    begun.await.unwrap_or_else(|refused| problem(&web, locale, &refused))
}

/// `GET /results/cis/callback`: identity's answer.
async fn callback(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let locale = locale(&pairs, &headers);
    finish(&web, &pairs, &headers).await.unwrap_or_else(|refused| problem(&web, locale, &refused))
}

async fn finish(web: &Web, pairs: &[(String, String)], headers: &HeaderMap) -> Result<Response, Refused> {
    let sign_in = cookie(headers, SIGN_IN).and_then(SignIn::from_cookie).ok_or(Refused::Foreign)?;
    // RFC 9207: an answer of another issuer is none of ours.
    let from_issuer =
        pairs.iter().filter(|(name, _)| name == "iss").all(|(_, iss)| web.desk.0.party.is_named(iss));
    if only(pairs, "state") != Some(&sign_in.state) || !from_issuer {
        return Err(Refused::Foreign);
    }
    let mut answer = match (only(pairs, "code"), only(pairs, "error")) {
        (Some(code), None) => {
            let (tokens, signed_in, _) = web.desk.0.party.redeem(code, &sign_in).await?;
            let audience = Service::ResultsFeed.audience();
            let actor = web.process.verify_token(&tokens.access_token, audience).await?;
            // Identity leaves a staff scope out for those who do not hold it.
            if actor.user() != Some(signed_in.user_id) || !actor.has(SCOPE) {
                return Err(Refused::NoScope);
            }
            let now = web.app.clock().now();
            let commentator = Commentator::begin(tokens.id_token, now)?;
            let mut answer = see_other(&sign_in.return_to);
            let sealed = commentator.seal(&web.desk.key()).map_err(|_| Refused::Cookie)?;
            set_cookie(answer.headers_mut(), SESSION, &sealed, session::LIFE_SECONDS)
                .map_err(|_| Refused::Cookie)?;
            tracing::info!(user_id = %signed_in.user_id, "commentator signed in");
            answer
        }
        (None, Some(reason)) => {
            tracing::info!(reason, "sign-in ended without a code");
            return Err(Refused::NoScope);
        }
        _ => return Err(Refused::Foreign),
    };
    set_cookie(answer.headers_mut(), SIGN_IN, "", 0).map_err(|_| Refused::Cookie)?;
    Ok(answer)
}

/// `POST /results/cis/logout`: ends the session here, then at identity.
async fn logout(
    State(web): State<Web>,
    headers: HeaderMap,
    axum::Form(fields): axum::Form<Vec<(String, String)>>,
) -> Response {
    let locale = locale(&[], &headers);
    // Before anything else: a foreign page must not even take the cookie away.
    if !web.desk.is_ours(&headers) {
        return problem(&web, locale, &Refused::Foreign);
    }
    let ended = async {
        let target = match commentator(&web, &headers) {
            Some(commentator) if only(&fields, "form") == Some(&commentator.form) => {
                let return_to = format!("{}/results/live", web.desk.0.origin);
                web.desk
                    .0
                    .party
                    .logout_url(&commentator.id_token, &return_to, locale.tag())
                    .await?
                    .to_string()
            }
            Some(_) => return Err(Refused::Foreign),
            None => HOME.to_owned(),
        };
        let mut answer = see_other(&target);
        set_cookie(answer.headers_mut(), SESSION, "", 0).map_err(|_| Refused::Cookie)?;
        Ok(answer)
    };
    ended.await.unwrap_or_else(|refused| problem(&web, locale, &refused))
}

fn sign_in_first(path: &str) -> Response {
    let mut url = String::from("/results/cis/login?return_to=");
    url.extend(url::form_urlencoded::byte_serialize(path.as_bytes()));
    see_other(&url)
}

// 303: the browser goes there with a GET. Nobody stores it, since it may carry a cookie or a hint of who went.
fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        NO_SNIFF,
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn locale(pairs: &[(String, String)], headers: &HeaderMap) -> Locale {
    let language = one(pairs, "lang").and_then(|tag| tag.parse().ok());
    super::pages::locale(&Query { language, ..Query::default() }, headers)
}

fn one<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
}

// The value of a name that came exactly once.
fn only<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a String> {
    let mut found = pairs.iter().filter(|(held, _)| held == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
