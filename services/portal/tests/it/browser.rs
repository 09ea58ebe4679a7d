use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use scraper::{ElementRef, Html, Selector};

use crate::world::{ORIGIN, World};

/// A browser without JavaScript: cookies, forms, redirects by hand.
pub struct Browser<'a> {
    world: &'a World,
    pub cookies: BTreeMap<String, String>,
    pub language: &'static str,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Names and values of a form, in the order of the page.
pub type Form = Vec<(String, String)>;

impl<'a> Browser<'a> {
    pub fn new(world: &'a World) -> Self {
        Self { world, cookies: BTreeMap::new(), language: "en" }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.world.app.http().get(self.world.app.http_url(path));
        self.send(request).await
    }

    /// Sends a form as a page of ours would.
    pub async fn post(&mut self, path: &str, form: &Form) -> Answer {
        self.post_from(path, form, &[("origin", ORIGIN), ("sec-fetch-site", "same-origin")]).await
    }

    /// Sends a form from wherever these headers say.
    pub async fn post_from(&mut self, path: &str, form: &Form, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.world.app.http().post(self.world.app.http_url(path)).form(form);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; ")).header("accept-language", self.language);
        let answer = request.send().await.unwrap();
        let headers = answer.headers().clone();
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer { status: answer.status().as_u16(), headers, body: answer.text().await.unwrap() }
    }

    /// From the portal to identity: the answer that identity sends back, as a path of the portal.
    pub async fn authorize(&mut self, return_to: &str) -> String {
        let query = url::form_urlencoded::byte_serialize(return_to.as_bytes()).collect::<String>();
        let begun = self.get(&format!("/portal/login?return_to={query}")).await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let answer = self.world.app.http().get(begun.location()).send().await.unwrap();
        answer.headers()[LOCATION].to_str().unwrap().strip_prefix(ORIGIN).unwrap().to_owned()
    }

    /// The whole sign-in; gives where it ends.
    pub async fn sign_in(&mut self, return_to: &str) -> String {
        let callback = self.authorize(return_to).await;
        let answer = self.get(&callback).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.location().to_owned()
    }

    pub fn session(&self) -> Option<&String> {
        self.cookies.get("__Host-portal")
    }

    /// Fills a page's form and sends it: a changed value replaces every one of its name.
    pub async fn submit(&mut self, page: &Answer, action: &str, changes: &[(&str, &[&str])]) -> Answer {
        let form = filled(page.form(action), changes);
        self.post(action, &form).await
    }
}

/// A form with these values in the place of its own.
pub fn filled(mut form: Form, changes: &[(&str, &[&str])]) -> Form {
    for (name, values) in changes {
        form.retain(|(held, _)| held != name);
        form.extend(values.iter().map(|value| ((*name).to_owned(), (*value).to_owned())));
    }
    form
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// Texts of what a selector finds.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let page = Html::parse_document(&self.body);
        let words = |found: ElementRef<'_>| {
            found.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        page.select(&Selector::parse(selector).unwrap()).map(words).collect()
    }

    /// An attribute of what a selector finds.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let page = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        page.select(&selector).map(|element| element.attr(name).unwrap_or_default().to_owned()).collect()
    }

    /// What a browser would send if its person changed nothing.
    pub fn form(&self, action: &str) -> Form {
        let page = Html::parse_document(&self.body);
        let form = Selector::parse(&format!("form[action='{action}']")).unwrap();
        let form = page.select(&form).next().unwrap_or_else(|| panic!("no form {action} in {}", self.body));
        let mut fields = Form::new();
        for field in form.select(&Selector::parse("input, select").unwrap()) {
            let name = field.attr("name").unwrap_or_default().to_owned();
            if field.value().name() == "select" {
                let chosen = Selector::parse("option[selected]").unwrap();
                let value =
                    field.select(&chosen).next().and_then(|option| option.attr("value")).unwrap_or_default();
                fields.push((name, value.to_owned()));
            } else if field.attr("type") != Some("checkbox") || field.attr("checked").is_some() {
                fields.push((name, field.attr("value").unwrap_or_default().to_owned()));
            }
        }
        fields
    }
}
