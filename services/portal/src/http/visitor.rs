use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use chassis::relying_party::{self, CookieKey, cookie, local_path};
use domain::Locale;
use minijinja::{Value, context};

use super::{
    Failure, Here, Page, Site,
    form::{Fields, Sent},
    secure,
};
use crate::{
    Error,
    app::{Fan, Person},
};

/// The session's cookie. The prefix binds it to this host and to TLS; browsers take localhost for secure.
pub const SESSION: &str = "__Host-portal";
/// A sign-in in progress.
pub const SIGN_IN: &str = "__Host-portal-signin";
/// The language that the visitor chose.
pub const LANGUAGE: &str = "__Host-portal-lang";

/// Where who named no page of ours ends.
pub const HOME: &str = "/my";

/// Whoever asks for a page: language, and the session's cookie if there is one.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub site: Arc<Site>,
    pub locale: Locale,
    /// Path and query.
    pub path: String,
    /// The session; also that of a form that proves to be the visitor's.
    pub cookie: Option<CookieKey>,
    chosen: bool,
}

impl Visitor {
    /// Wraps an error with what is needed to tell it.
    pub fn failure(&self, error: impl Into<Error>) -> Failure {
        Failure { visitor: Box::new(self.clone()), error: Box::new(error.into()) }
    }

    /// The signed-in fan.
    pub async fn fan(&self) -> Result<Fan, Failure> {
        let cookie = self.cookie.clone().ok_or_else(|| self.failure(Error::SignedOut))?;
        self.site.app.fan(cookie).await.map_err(|error| self.failure(error))
    }

    /// The signed-in fan with the profile; pages follow the profile's language where none was chosen here.
    pub async fn person(&mut self) -> Result<Person, Failure> {
        let fan = self.fan().await?;
        let person = self.site.app.person(fan).await.map_err(|error| self.failure(error))?;
        if !self.chosen {
            self.locale = person.profile.locale;
        }
        Ok(person)
    }

    /// Reads a form, and checks that it came from our own page.
    pub fn form(&self, fan: &Fan, headers: &HeaderMap, sent: &Sent) -> Result<Fields, Failure> {
        let fields = Fields::read(sent).map_err(|error| self.failure(error))?;
        if self.is_ours(headers) && fan.cookie.accepts_form_token(fields.one("csrf")) {
            Ok(fields)
        } else {
            Err(self.failure(Error::ForeignForm))
        }
    }

    /// A page.
    pub fn page(&self, template: &str, status: StatusCode, content: Value) -> Page {
        self.render(template, status, content).map_err(|error| self.failure(error))
    }

    /// A page; what it cannot render is not told to the visitor once more.
    pub fn render(&self, template: &str, status: StatusCode, content: Value) -> Result<Response, Error> {
        let frame = context! {
            here => self.path.split('?').next(),
            path => self.path.as_str(),
            signed_in => self.cookie.is_some(),
            csrf => self.cookie.as_ref().map(CookieKey::form_token),
            // Makes each form that was shown a write of its own.
            form => domain::new_id().to_string(),
        };
        let html = self.site.pages.render(template, self.locale, context! { ..content, ..frame })?;
        let mut answer = (status, Html(html)).into_response();
        secure(answer.headers_mut(), &self.site.csp);
        Ok(answer)
    }

    /// Whether a form comes from our own page, by what the browser says of it; one too old to say anything has the token alone.
    pub fn is_ours(&self, headers: &HeaderMap) -> bool {
        let own = self.site.app.origin();
        let from_us = headers.get(header::ORIGIN).is_none_or(|origin| origin.as_bytes() == own.as_bytes());
        let same_site = headers
            .get("sec-fetch-site")
            .is_none_or(|site| site.as_bytes() == b"same-origin" || site.as_bytes() == b"none");
        from_us && same_site
    }
}

impl FromRequestParts<Arc<Site>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        let chosen = cookie(&parts.headers, LANGUAGE).and_then(|tag| tag.parse().ok());
        let accepted = parts
            .headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .and_then(Locale::negotiate);
        Ok(Self {
            site: Arc::clone(site),
            locale: chosen.or(accepted).unwrap_or_default(),
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            cookie: cookie(&parts.headers, SESSION).and_then(CookieKey::parse),
            chosen: chosen.is_some(),
        })
    }
}

/// POST `/portal/language`: remembers a language in a cookie.
pub async fn choose_language(State(_): Here, visitor: Visitor, headers: HeaderMap, sent: Sent) -> Page {
    let fields = Fields::read(&sent).map_err(|error| visitor.failure(error))?;
    if !visitor.is_ours(&headers) {
        return Err(visitor.failure(Error::ForeignForm));
    }
    let mut answer = see_other(local_path(fields.one("return_to"), HOME));
    if let Ok(locale) = fields.one("language").parse::<Locale>() {
        set_cookie(answer.headers_mut(), LANGUAGE, locale.tag(), 31_536_000)
            .map_err(|error| visitor.failure(error))?;
    }
    Ok(answer)
}

/// Sets a cookie for so many seconds; 0 removes it.
pub fn set_cookie(headers: &mut HeaderMap, name: &str, value: &str, max_age: u32) -> Result<(), Error> {
    relying_party::set_cookie(headers, name, value, max_age).map_err(|_| Error::ForeignSignIn)
}

/// 303: the browser goes there with a GET. Nobody stores it, since it may carry a cookie or a hint of who went.
pub fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}
