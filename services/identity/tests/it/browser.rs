//! A person at a browser without script: cookies, links, forms. Forms are found by what their fields ask for, so that a
//! test says what a person does and not how a page spells it.

use std::collections::BTreeMap;

use reqwest::{
    Method, StatusCode,
    header::{COOKIE, HeaderMap, LOCATION, ORIGIN, REFERER, SET_COOKIE},
};
use scraper::{ElementRef, Html, Selector};
use testkit::TestApp;
use url::Url;

use crate::world::{ISSUER, Peers};

/// Longer than any way through the pages.
const STEPS: usize = 16;

pub struct Browser<'w> {
    app: &'w TestApp,
    peers: &'w Peers,
    pub cookies: BTreeMap<String, String>,
    pub language: String,
    // The page that is open: forms and links are relative to it.
    at: Url,
}

/// Where a click leads.
#[derive(Debug)]
pub enum Arrived {
    /// One of identity's own pages.
    Page(Page),
    /// Somewhere else; nothing was sent there.
    Away(Url),
}

#[derive(Debug)]
pub struct Page {
    pub url: Url,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub html: String,
}

#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub post: bool,
    pub fields: Vec<Field>,
    /// What the script of passkeys does with it.
    pub passkey: Option<String>,
    /// Name and value of each submit button.
    pub buttons: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: String,
    pub asks: Asks,
}

/// What a field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Nothing,
    Address,
    Password,
    Code,
    Other,
}

/// Whom the pages meet.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    pub email: &'static str,
    pub password: &'static str,
    /// Has no user yet.
    pub is_new: bool,
}

impl<'w> Browser<'w> {
    pub fn new(app: &'w TestApp, peers: &'w Peers) -> Self {
        let at = Url::parse(ISSUER).unwrap();
        Self { app, peers, cookies: BTreeMap::new(), language: "en".to_owned(), at }
    }

    /// Opens a URL of identity and follows where it leads.
    pub async fn open(&mut self, url: &str) -> Arrived {
        let url = self.at.join(url).unwrap();
        self.go(Method::GET, url, Vec::new()).await
    }

    /// Sends a form off by one of its buttons: by the first one, or by the one of this value.
    pub async fn submit(&mut self, form: &Form, button: Option<&str>) -> Arrived {
        let pressed = match button {
            Some(value) => form.buttons.iter().find(|(_, own)| own == value),
            None => form.buttons.first(),
        };
        let mut pairs: Vec<(String, String)> =
            form.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
        pairs.extend(pressed.filter(|(name, _)| !name.is_empty()).cloned());
        let mut url = self.at.join(&form.action).unwrap();
        if form.post {
            return self.go(Method::POST, url, pairs).await;
        }
        url.query_pairs_mut().clear().extend_pairs(pairs);
        self.go(Method::GET, url, Vec::new()).await
    }

    /// One exchange, without following. The URL is of identity, whose listener has another name in the test.
    pub async fn send(&mut self, method: Method, url: &Url, form: &[(String, String)]) -> reqwest::Response {
        let path = url.as_str().strip_prefix(ISSUER).expect("a URL of identity");
        let posts = method == Method::POST;
        let mut request = self.app.http().request(method, self.app.http_url(path));
        if !self.cookies.is_empty() {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        request = request.header("accept-language", &self.language).header("sec-fetch-site", "same-origin");
        if posts {
            request = request.header(ORIGIN, ISSUER).header(REFERER, self.at.as_str()).form(form);
        }
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        response
    }

    fn keep(&mut self, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        assert!(attributes.iter().any(|attribute| attribute == "secure"), "a cookie without Secure: {name}");
        if value.is_empty() || attributes.iter().any(|attribute| attribute == "max-age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    async fn go(&mut self, method: Method, url: Url, form: Vec<(String, String)>) -> Arrived {
        let (mut method, mut url, mut form) = (method, url, form);
        for _ in 0..STEPS {
            let response = self.send(method, &url, &form).await;
            self.at = url.clone();
            if let Some(location) =
                response.headers().get(LOCATION).filter(|_| response.status().is_redirection())
            {
                url = url.join(location.to_str().unwrap()).unwrap();
                if !url.as_str().starts_with(ISSUER) {
                    return Arrived::Away(url);
                }
                (method, form) = (Method::GET, Vec::new());
                continue;
            }
            let (status, headers) = (response.status(), response.headers().clone());
            let html = response.text().await.unwrap();
            return Arrived::Page(Page { url, status, headers, html });
        }
        panic!("a redirect without end at {url}");
    }

    /// Does on page after page what a person does, until identity sends the browser away.
    pub async fn go_through(&mut self, person: Person, start: Arrived) -> Url {
        let mut arrived = start;
        for _ in 0..STEPS {
            let page = match arrived {
                Arrived::Away(url) => return url,
                Arrived::Page(page) => page,
            };
            arrived = self.step(person, &page).await;
        }
        panic!("no end after {STEPS} pages");
    }

    async fn step(&mut self, person: Person, page: &Page) -> Arrived {
        if person.is_new
            && page.form_asking(Asks::Password).is_some_and(|form| form.asks(Asks::Address))
            && let Some(link) = page.link("/signup")
        {
            return self.open(&link).await;
        }
        if let Some(mut form) = page.form_asking(Asks::Code) {
            let code = self.peers.code_for(person.email).await;
            form.fill(Asks::Code, &code);
            return self.submit(&form, None).await;
        }
        if let Some(mut form) = page.form_asking(Asks::Password).or_else(|| page.form_asking(Asks::Address)) {
            form.fill(Asks::Address, person.email);
            form.fill(Asks::Password, person.password);
            return self.submit(&form, None).await;
        }
        if page.url.path().starts_with("/consent") {
            let form = page.forms().into_iter().find(|form| form.post).expect("a form of the consent page");
            return self.submit(&form, None).await;
        }
        panic!("nothing to do on {} ({}):\n{}", page.url.path(), page.status, page.html);
    }
}

impl Arrived {
    #[track_caller]
    pub fn page(self) -> Page {
        match self {
            Self::Page(page) => page,
            Self::Away(url) => panic!("sent away to {url}"),
        }
    }

    #[track_caller]
    pub fn away(self) -> Url {
        match self {
            Self::Away(url) => url,
            Self::Page(page) => panic!("still on {} ({}):\n{}", page.url.path(), page.status, page.html),
        }
    }
}

impl Page {
    pub fn forms(&self) -> Vec<Form> {
        let html = Html::parse_document(&self.html);
        html.select(&selector("form")).map(form).collect()
    }

    pub fn forms_to(&self, action: &str) -> Vec<Form> {
        self.forms().into_iter().filter(|form| form.action == action).collect()
    }

    pub fn form_asking(&self, asks: Asks) -> Option<Form> {
        self.forms().into_iter().find(|form| form.asks(asks))
    }

    /// The first link whose path begins so.
    pub fn link(&self, path: &str) -> Option<String> {
        let html = Html::parse_document(&self.html);
        let links = selector("a[href]");
        let mut links = html.select(&links).filter_map(|link| link.attr("href"));
        links
            .find(|href| self.url.join(href).is_ok_and(|url| url.path().starts_with(path)))
            .map(str::to_owned)
    }

    pub fn text(&self) -> String {
        let html = Html::parse_document(&self.html);
        html.root_element().text().collect::<Vec<_>>().join(" ")
    }
}

impl Form {
    pub fn asks(&self, asks: Asks) -> bool {
        self.fields.iter().any(|field| field.asks == asks)
    }

    pub fn fill(&mut self, asks: Asks, value: &str) {
        for field in self.fields.iter_mut().filter(|field| field.asks == asks) {
            value.clone_into(&mut field.value);
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|field| field.name != name);
        self.fields.push(Field { name: name.to_owned(), value: value.to_owned(), asks: Asks::Other });
    }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

fn form(element: ElementRef<'_>) -> Form {
    let mut fields = Vec::new();
    for input in element.select(&selector("input[name], select[name]")) {
        let kind = input.attr("type").unwrap_or("text").to_ascii_lowercase();
        let unchecked = matches!(kind.as_str(), "checkbox" | "radio") && input.attr("checked").is_none();
        if unchecked || matches!(kind.as_str(), "submit" | "button") {
            continue;
        }
        let chosen =
            input.select(&selector("option[selected]")).next().and_then(|option| option.attr("value"));
        fields.push(Field {
            name: input.attr("name").unwrap_or_default().to_owned(),
            value: input.attr("value").or(chosen).unwrap_or_default().to_owned(),
            asks: asks(&kind, input),
        });
    }
    let submits = selector("button, input[type=submit]");
    let button = |button: ElementRef<'_>| {
        let of = |name| button.attr(name).unwrap_or_default().to_owned();
        (of("name"), of("value"))
    };
    Form {
        action: element.attr("action").unwrap_or_default().to_owned(),
        post: element.attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post")),
        fields,
        passkey: element.attr("data-passkey").map(str::to_owned),
        buttons: element.select(&submits).map(button).collect(),
    }
}

fn asks(kind: &str, input: ElementRef<'_>) -> Asks {
    let autocomplete = input.attr("autocomplete").unwrap_or_default();
    match (kind, input.attr("inputmode").unwrap_or_default()) {
        ("hidden", _) => Asks::Nothing,
        ("password", _) => Asks::Password,
        ("email", _) | (_, "email") => Asks::Address,
        (_, "numeric") => Asks::Code,
        _ if autocomplete.contains("one-time-code") => Asks::Code,
        _ => Asks::Other,
    }
}
