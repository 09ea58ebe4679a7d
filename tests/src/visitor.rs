//! A person's browser without a screen and without script: follows redirects, keeps cookies, fills in forms.

mod cookies;
mod form;
mod page;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, StatusCode, header};
use url::Url;

use cookies::CookieJar;
pub use form::Form;
pub use page::Page;

/// Redirects in a row.
const MOST_REDIRECTS: usize = 20;
/// What it calls itself. Nothing that mailer would take for a machine.
pub const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// One person's browser.
#[derive(Debug)]
pub struct WebVisitor {
    http: reqwest::Client,
    language: String,
    jar: CookieJar,
}

/// A request on its way.
#[derive(Debug)]
struct Going {
    method: Method,
    url: Url,
    body: Option<String>,
    /// Origin of the page that a form came from.
    origin: Option<String>,
}

impl WebVisitor {
    /// A new browser whose owner reads this language.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(language: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { http, language: language.to_owned(), jar: CookieJar::default() })
    }

    /// Types an address, or follows a link.
    ///
    /// # Errors
    /// No answer, too many redirects, a cookie that a browser would not take.
    pub async fn visit(&mut self, url: &str) -> Result<Page> {
        self.go(going_to(url)?, None).await
    }

    /// Like [`WebVisitor::visit`], but stops at a redirect to an address that starts with `end`: nobody listens there,
    /// or somebody else.
    ///
    /// # Errors
    /// As [`WebVisitor::visit`].
    pub async fn visit_until(&mut self, url: &str, end: &str) -> Result<Page> {
        self.go(going_to(url)?, Some(end)).await
    }

    /// Sends a form.
    ///
    /// # Errors
    /// As [`WebVisitor::visit`].
    pub async fn submit(&mut self, form: Form) -> Result<Page> {
        self.go(sending(form), None).await
    }

    /// Sends a form and stops at a redirect to an address that starts with `end`.
    ///
    /// # Errors
    /// As [`WebVisitor::visit`].
    pub async fn submit_until(&mut self, form: Form, end: &str) -> Result<Page> {
        self.go(sending(form), Some(end)).await
    }

    /// Opens an event stream as a page's script would.
    ///
    /// # Errors
    /// No answer, or another one than an open stream.
    pub async fn open_events(&self, url: &Url, last_event_id: Option<&str>) -> Result<reqwest::Response> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .build()?;
        let mut request = http.get(url.clone()).header(header::ACCEPT, "text/event-stream");
        if let Some(cookies) = self.jar.header(url) {
            request = request.header(header::COOKIE, cookies);
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await?;
        ensure!(answer.status() == StatusCode::OK, "{url} answers {}", answer.status());
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        ensure!(kind.is_some_and(|kind| kind.starts_with("text/event-stream")), "{url} is no event stream");
        Ok(answer)
    }

    /// Names of the cookies that this browser keeps for a site.
    #[must_use]
    pub fn cookie_names(&self, host: &str) -> Vec<String> {
        self.jar.names(host)
    }

    async fn go(&mut self, mut going: Going, end: Option<&str>) -> Result<Page> {
        for _ in 0..MOST_REDIRECTS {
            let answer = self.send(&going).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            self.jar.take(&going.url, &headers)?;
            if !status.is_redirection() {
                let body = answer.text().await?;
                return Ok(Page { url: going.url, status: status.as_u16(), headers, body });
            }
            let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
            let location = location.with_context(|| format!("{} redirects nowhere", going.url))?;
            let url = going.url.join(location)?;
            if end.is_some_and(|end| url.as_str().starts_with(end)) {
                return Ok(Page { url, status: status.as_u16(), headers, body: String::new() });
            }
            // RFC 9110 15.4: 307 and 308 keep the method; after the others a browser asks by GET.
            going = match status {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Going { url, ..going },
                _ => Going { method: Method::GET, url, body: None, origin: None },
            };
        }
        bail!("more than {MOST_REDIRECTS} redirects, the last one to {}", without_query(&going.url))
    }

    async fn send(&self, going: &Going) -> Result<reqwest::Response> {
        let mut request = self
            .http
            .request(going.method.clone(), going.url.clone())
            .header(header::ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .header(header::ACCEPT_LANGUAGE, &self.language);
        if let Some(cookies) = self.jar.header(&going.url) {
            request = request.header(header::COOKIE, cookies);
        }
        if let Some(origin) = &going.origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(body) = &going.body {
            request =
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.clone());
        }
        let answer = request.send().await;
        answer.with_context(|| format!("{} {} is not answered", going.method, without_query(&going.url)))
    }
}

fn going_to(url: &str) -> Result<Going> {
    let url = Url::parse(url).with_context(|| format!("{url} is no address"))?;
    Ok(Going { method: Method::GET, url, body: None, origin: None })
}

fn sending(form: Form) -> Going {
    let fields = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.fields()).finish();
    let Form { mut action, method, page, .. } = form;
    if method == Method::POST {
        return Going {
            method,
            url: action,
            body: Some(fields),
            origin: Some(page.origin().ascii_serialization()),
        };
    }
    action.set_query(Some(&fields));
    Going { method, url: action, body: None, origin: None }
}

// Queries hold codes and tokens.
fn without_query(url: &Url) -> String {
    url.as_str().split('?').next().unwrap_or_default().to_owned()
}
