use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use chassis::{Code, Coded};
use domain::Locale;
use minijinja::{Value, context, value::Serde};
use url::{Host, Url};

use super::{Page, Site, theme};
use crate::{
    authorization::Request,
    client::Client,
    error::Error,
    pages::{FieldError, Frame},
    words,
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// Headers of every answer that does not set its own.
pub const GUARDS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

/// What a page shows.
pub struct View<'a> {
    /// 200, or why not.
    pub status: StatusCode,
    /// Its template.
    pub template: &'static str,
    /// Its heading.
    pub title: String,
    /// Path and query, to choose another language.
    pub here: Option<String>,
    /// What is wrong with its form.
    pub errors: Vec<FieldError>,
    /// Where its form may lead beyond our own pages: Chromium asks that of the redirect after a POST as well.
    pub leads_to: Option<&'a str>,
    /// The client that sent the visitor here: its name and its look are the page's.
    pub client_id: Option<String>,
    /// What its template needs.
    pub content: Value,
}

impl View<'_> {
    /// A page with status 200 whose form stays with us.
    pub fn new(template: &'static str, locale: Locale, title: &'static str, content: Value) -> Self {
        Self {
            status: StatusCode::OK,
            template,
            title: words::text(locale, title).to_owned(),
            here: None,
            errors: Vec::new(),
            leads_to: None,
            client_id: None,
            content,
        }
    }

    /// Within a client's request, if there is one.
    #[must_use]
    pub fn within(self, request: Option<&Request>) -> Self {
        Self { client_id: request.map(|request| request.client_id.clone()), ..self }
    }

    /// What is wrong with the form: 422, unless nothing is.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        if !errors.is_empty() {
            self.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self.errors = errors;
        self
    }
}

/// Writes a page.
pub async fn write(site: &Site, locale: Locale, view: View<'_>) -> Result<Response, Error> {
    let client = match &view.client_id {
        Some(client_id) => site.app.client(client_id).await?,
        None => None,
    };
    render(site, locale, view, client.as_ref())
}

fn render(site: &Site, locale: Locale, view: View<'_>, client: Option<&Client>) -> Result<Response, Error> {
    let View { status, template, title, here, errors, leads_to, content, .. } = view;
    let frame = Frame {
        locale,
        title,
        here: here.as_deref(),
        client: client.map(|client| client.name.as_str()),
        look: client.and_then(theme::look),
        errors: &errors,
    };
    let html = site.pages.render(template, &frame, content)?;
    let mut response = (status, Html(html)).into_response();
    if let Some(source) = leads_to.and_then(source) {
        set_policy(&mut response, &format!("{POLICY} {source}"));
    }
    Ok(response)
}

/// The page that posts a response to a client (OAuth 2.0 Form Post Response Mode): by its script, or by its button.
pub async fn write_post(
    site: &Site,
    locale: Locale,
    client_id: &str,
    redirect_uri: &str,
    pairs: &[(&'static str, String)],
) -> Result<Response, Error> {
    let content = context! { redirect_uri, pairs => Value::from(Serde(pairs)), script => POST_SCRIPT };
    let view = View {
        leads_to: Some(redirect_uri),
        client_id: Some(client_id.to_owned()),
        ..View::new("form_post.html", locale, "post_title", content)
    };
    let mut response = write(site, locale, view).await?;
    let source = source(redirect_uri).unwrap_or_default();
    let scripts = format!("script-src 'self' {POST_SCRIPT_HASH};");
    set_policy(&mut response, &format!("{POLICY} {source}").replace("script-src 'self';", &scripts));
    Ok(response)
}

const POST_SCRIPT: &str = "document.forms[0].submit()";
const POST_SCRIPT_HASH: &str = "'sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE='";

fn set_policy(response: &mut Response, policy: &str) {
    // A URL's origin has no character that a header may not have.
    if let Ok(value) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// The source expression of a URI (CSP Level 3, 2.3.1). IPv6 addresses have none, nor have private schemes an origin:
/// there the scheme must do.
fn source(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let has_origin =
        matches!(url.scheme(), "http" | "https") && !matches!(url.host(), Some(Host::Ipv6(_)) | None);
    Some(if has_origin { url.origin().ascii_serialization() } else { format!("{}:", url.scheme()) })
}

/// 303: the browser goes there with a GET.
pub fn see_other(location: &str) -> Page {
    match HeaderValue::from_str(location) {
        Ok(location) => Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()),
        Err(_) => Err(Failure::Refused("error_request")),
    }
}

/// Why there is no page.
pub enum Failure {
    /// The use case says so.
    App(Error),
    /// The request is wrong in a way that its sender has to mend; the name of the words that say so.
    Refused(&'static str),
    /// A form of another site.
    Foreign,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::App(error.into())
    }
}

/// A failure on its way to becoming a page.
#[derive(Clone)]
pub struct Told {
    status: StatusCode,
    words: &'static str,
    /// When it is worth another try.
    pub retry_after: Option<Duration>,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let told = match self {
            Self::Refused(words) => Told { status: StatusCode::BAD_REQUEST, words, retry_after: None },
            Self::Foreign => {
                Told { status: StatusCode::FORBIDDEN, words: "error_foreign", retry_after: None }
            }
            Self::App(error) => told(&error),
        };
        let mut response = told.status.into_response();
        response.extensions_mut().insert(told);
        response
    }
}

fn told(error: &Error) -> Told {
    let (status, words) = match error.code() {
        Code::NotFound => (StatusCode::NOT_FOUND, "error_request"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "error_request"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "error_wait"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "error_busy"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "error_internal"),
    };
    tracing::warn!(error = error as &dyn std::error::Error, status = status.as_u16(), "page not shown");
    let soon = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(2));
    Told { status, words, retry_after: error.retry_after().or(soon) }
}

/// The page of a failure.
pub fn error(site: &Site, told: &Told, locale: Locale) -> Result<Response, Error> {
    let message = words::text(locale, told.words);
    let content = context! { message, start => matches!(told.words, "error_expired" | "error_link") };
    let view = View { status: told.status, ..View::new("error.html", locale, "error_title", content) };
    render(site, locale, view, None)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn the_one_script_has_its_hash() {
        let hash = STANDARD.encode(digest(&SHA256, POST_SCRIPT.as_bytes()));
        assert_eq!(POST_SCRIPT_HASH, format!("'sha256-{hash}'"));
    }

    #[test]
    fn a_source_is_an_origin_or_a_scheme() {
        assert_eq!(source("https://shop.example/cb?x=1;y").as_deref(), Some("https://shop.example"));
        assert_eq!(source("http://127.0.0.1:49152/cb").as_deref(), Some("http://127.0.0.1:49152"));
        assert_eq!(source("http://[::1]:1/cb").as_deref(), Some("http:"));
        assert_eq!(source("org.example.app:/cb").as_deref(), Some("org.example.app:"));
        assert_eq!(source("no uri"), None);
    }
}
