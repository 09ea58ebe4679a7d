use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use domain::{Locale, UserId, Uuid};
use url::form_urlencoded;

use super::{
    Page, Site,
    page::{self, Failure, View},
};
use crate::{
    app::{App, KnownBrowser, Origin},
    authorization::{self, Request},
    error::Error,
    handle::{Handle, Kind},
    params::Params,
    progress::{Progress, Step},
    session::{self, Session},
};

/// The session's cookie. The prefix binds it to this host and to TLS; browsers take localhost for secure.
const SESSION: &str = "__Host-kotinos-session";
/// Tells browsers apart, so that what one began no other goes on with.
const BROWSER: &str = "__Host-kotinos-browser";
/// The language that the visitor chose.
const LANGUAGE: &str = "__Host-kotinos-language";

const SESSION_LIFE: i64 = session::LIFE.num_seconds();
const BROWSER_LIFE: i64 = SESSION_LIFE;
/// How long a browser stays known to its user after a sign-in, in seconds.
const KNOWN_LIFE: i64 = 90 * 86_400;
const LANGUAGE_LIFE: i64 = 365 * 86_400;
/// What a browser carries from page to page has to fit into a URL, in characters.
const LONGEST_CTX: usize = 12_000;

/// Whoever asks for a page.
pub struct Visitor {
    pub site: Site,
    /// Parameters of the URL.
    pub query: Params,
    /// Where the request comes from.
    pub origin: Origin,
    browser: Uuid,
    is_new: bool,
    session: Option<String>,
    language: Language,
    from_own_page: bool,
    /// Our own page was asked for in another language, not a client's endpoint.
    chooses: bool,
}

/// What is known of the visitor's language, best first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Language {
    asked: Option<Locale>,
    kept: Option<Locale>,
    accepted: Option<Locale>,
}

impl Language {
    /// Of a request's URL, cookie and Accept-Language.
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let asked =
            query.take(64).find_map(|(name, tags)| (name == "ui_locales").then(|| first_of(&tags)).flatten());
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self {
            asked,
            kept: cookie(headers, LANGUAGE).and_then(|tag| tag.parse().ok()),
            accepted: accepted.and_then(Locale::negotiate),
        }
    }

    /// The language of a page: asked for, the request's, chosen earlier, the browser's.
    pub fn preferred(&self, of_request: Option<Locale>) -> Locale {
        self.asked.or(of_request).or(self.kept).or(self.accepted).unwrap_or_default()
    }
}

fn first_of(tags: &str) -> Option<Locale> {
    tags.split(' ').take(20).find_map(|tag| tag.parse().ok())
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Failure> {
        let query = Params::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let headers = &parts.headers;
        let known =
            cookie(headers, BROWSER).and_then(|text| Handle::read(site.app.keys(), Kind::Browser, text));
        let peer = parts.extensions.get::<ConnectInfo<std::net::SocketAddr>>();
        Ok(Self {
            site: site.clone(),
            query: query.map_err(|_| Failure::Refused("error_request"))?,
            origin: Origin {
                ip: peer.map(|ConnectInfo(address)| address.ip()),
                browser: known.map(|handle| KnownBrowser { id: handle.id, mark: handle.counter }),
            },
            browser: known.map_or_else(domain::new_id, |handle| handle.id),
            is_new: known.is_none(),
            session: cookie(headers, SESSION).map(str::to_owned),
            language: Language::of(headers, parts.uri.query()),
            from_own_page: is_from_own_page(headers, &site.origin),
            chooses: !matches!(parts.uri.path(), "/authorize" | "/logout"),
        })
    }
}

impl Visitor {
    /// The use cases.
    pub const fn app(&self) -> &App {
        &self.site.app
    }

    /// To which browser pages are bound.
    pub const fn browser(&self) -> Uuid {
        self.browser
    }

    /// Whether the browser sent a session's cookie, good or not: a post from another site comes without.
    pub const fn has_cookie(&self) -> bool {
        self.session.is_some()
    }

    /// The live session.
    pub async fn session(&self) -> Result<Option<Session>, Error> {
        match &self.session {
            Some(cookie) => self.app().session(cookie).await,
            None => Ok(None),
        }
    }

    /// The language of a page within a request.
    pub fn locale(&self, request: Option<&Request>) -> Locale {
        self.language.preferred(request.and_then(Request::language))
    }

    /// The language of a page after parameters that came another way than in the URL.
    pub fn locale_of(&self, params: &Params) -> Locale {
        self.language.preferred(params.get("ui_locales").and_then(first_of))
    }

    /// The fields of a form of our own pages.
    pub fn form(&self, body: &[u8]) -> Result<Params, Failure> {
        if !self.from_own_page {
            return Err(Failure::Foreign);
        }
        Params::parse(body).map_err(|_| Failure::Refused("error_request"))
    }

    /// Seals what this browser carries to the next page.
    pub fn seal(&self, step: Step, progress: Progress) -> Result<String, Error> {
        Ok(progress.seal(self.app().keys(), step, self.browser, self.app().now())?)
    }

    /// Opens what this browser carried here.
    pub fn open(&self, step: Step, ctx: Option<&str>) -> Result<Progress, Failure> {
        let opened =
            ctx.and_then(|ctx| Progress::open(self.app().keys(), step, self.browser, ctx, self.app().now()));
        opened.ok_or(Failure::Refused("error_expired"))
    }

    /// Opens what the page's URL carries; with a newly chosen language it is sealed again.
    pub fn carried(&self, step: Step) -> Result<(Progress, String), Failure> {
        let ctx = self.query.get("ctx");
        let mut progress = self.open(step, ctx)?;
        match (self.language.asked, &mut progress.request) {
            (Some(locale), Some(request)) => {
                request.locale = Some(match locale {
                    Locale::Ja => authorization::Language::Ja,
                    Locale::En => authorization::Language::En,
                    Locale::Fr => authorization::Language::Fr,
                });
                let ctx = self.seal(step, progress.clone())?;
                Ok((progress, ctx))
            }
            _ => Ok((progress, ctx.unwrap_or_default().to_owned())),
        }
    }

    /// 303 to one of our pages, with what the browser carries there.
    pub fn go_on(&self, path: &str, step: Step, progress: Progress) -> Page {
        let ctx = self.seal(step, progress)?;
        if ctx.len() > LONGEST_CTX {
            return Err(Failure::Refused("error_request"));
        }
        let mut response = page::see_other(&format!("{path}?ctx={ctx}"))?;
        self.mark(&mut response);
        Ok(response)
    }

    /// 303 to the same endpoint by GET: a post of another site brings no cookies, a GET does.
    pub fn come_back(&self, path: &str, step: Step, params: Params) -> Page {
        let progress = Progress { params: params.into_pairs(), ..Progress::default() };
        let ctx = progress.seal(self.app().keys(), step, Uuid::nil(), self.app().now())?;
        if ctx.len() > LONGEST_CTX {
            return Err(Failure::Refused("error_request"));
        }
        page::see_other(&format!("{path}?ctx={ctx}"))
    }

    /// The parameters that [`Visitor::come_back`] sent along; nothing where the URL has none.
    pub fn came_back(&self, step: Step) -> Result<Option<Params>, Failure> {
        let Some(ctx) = self.query.get("ctx").filter(|_| self.query.get("client_id").is_none()) else {
            return Ok(None);
        };
        let opened = Progress::open(self.app().keys(), step, Uuid::nil(), ctx, self.app().now());
        Ok(Some(opened.ok_or(Failure::Refused("error_expired"))?.params.into()))
    }

    /// Writes a page of ours.
    pub async fn write(&self, locale: Locale, view: View<'_>) -> Page {
        let mut response = page::write(&self.site, locale, view).await?;
        self.mark(&mut response);
        if let Some(locale) = self.language.asked.filter(|_| self.chooses) {
            set_cookie(&mut response, LANGUAGE, locale.tag(), LANGUAGE_LIFE);
        }
        Ok(response)
    }

    fn mark(&self, response: &mut Response) {
        if self.is_new {
            let handle = Handle::of(Kind::Browser, self.browser).mint(self.app().keys());
            set_cookie(response, BROWSER, &handle, BROWSER_LIFE);
        }
    }

    /// Hands the session's cookie out.
    pub fn keep_session(&self, response: &mut Response, session: &Session) {
        set_cookie(response, SESSION, &self.app().session_cookie(session), SESSION_LIFE);
        self.know(response, session.user_id);
    }

    /// Makes the browser known to its user: guesses of strangers do not slow the user down here.
    pub fn know(&self, response: &mut Response, user_id: UserId) {
        let handle = Handle { kind: Kind::Browser, id: self.browser, counter: self.app().mark(user_id) };
        set_cookie(response, BROWSER, &handle.mint(self.app().keys()), KNOWN_LIFE);
    }

    /// Takes the session's cookie back.
    pub fn drop_session(response: &mut Response) {
        set_cookie(response, SESSION, "", 0);
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: i64) {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    // Handles and tags have no other characters than a header may have.
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

// Browsers without Sec-Fetch-Site are held by the form's seal, which the Lax cookie opens. `null` is what our own pages
// send, because they send no referrer (Fetch, "append a request Origin header").
fn is_from_own_page(headers: &HeaderMap, own: &str) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    site.is_none_or(|site| site == b"same-origin" || site == b"none")
        && origin.is_none_or(|origin| origin == own.as_bytes() || origin == b"null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_best_known_language_wins() {
        let all =
            headers(&[("cookie", "a=b; __Host-kotinos-language=fr"), ("accept-language", "ja,en;q=0.5")]);
        assert_eq!(Language::of(&all, Some("x=1&ui_locales=de+en")).preferred(Some(Locale::Ja)), Locale::En);
        assert_eq!(Language::of(&all, None).preferred(Some(Locale::Ja)), Locale::Ja);
        assert_eq!(Language::of(&all, None).preferred(None), Locale::Fr);
        assert_eq!(Language::of(&headers(&[("accept-language", "ja")]), None).preferred(None), Locale::Ja);
        assert_eq!(Language::of(&HeaderMap::new(), Some("ui_locales=%ff")).preferred(None), Locale::En);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let some = headers(&[(
            "cookie",
            "x__Host-kotinos-session=1; __Host-kotinos-session2=2; __Host-kotinos-session=3",
        )]);
        assert_eq!(cookie(&some, SESSION), Some("3"));
        assert_eq!(cookie(&some, BROWSER), None);
    }

    #[test]
    fn a_form_of_another_site_is_foreign() {
        let own = "https://id.example";
        let from = |pairs| is_from_own_page(&headers(pairs), own);
        assert!(from(&[]));
        assert!(from(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(from(&[("origin", "https://id.example")]));
        assert!(!from(&[("sec-fetch-site", "cross-site"), ("origin", "null")]));
        assert!(!from(&[("sec-fetch-site", "same-site")]));
        assert!(!from(&[("origin", "https://evil.example")]));
        assert!(!from(&[("origin", "https://id.example.evil.example")]));
    }
}
