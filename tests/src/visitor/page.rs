use anyhow::{Context, Result, ensure};
use http::HeaderMap;
use scraper::{ElementRef, Html, Selector};
use url::Url;

use super::Form;

/// What a browser shows.
#[derive(Debug)]
pub struct Page {
    /// Its address after all redirects.
    pub url: Url,
    /// HTTP status.
    pub status: u16,
    /// HTTP header.
    pub headers: HeaderMap,
    /// HTML, or nothing at a redirect where the visitor stopped.
    pub body: String,
}

impl Page {
    /// The page, when it came with status 200.
    ///
    /// # Errors
    /// Another status, with what the page says.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status == 200, "{} answers {}: {}", self.url.path(), self.status, self.text());
        Ok(self)
    }

    /// Elements that fit a CSS selector, each as its text, without blanks around.
    #[must_use]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.select(selector, |element| Some(text_of(element)))
    }

    /// An attribute of each element that fits a CSS selector and has it.
    #[must_use]
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        self.select(selector, |element| element.attr(name).map(str::to_owned))
    }

    /// Whether some element fits a CSS selector.
    #[must_use]
    pub fn has(&self, selector: &str) -> bool {
        !self.select(selector, |_| Some(())).is_empty()
    }

    /// Everything that is to be read, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.texts("body").join(" ")
    }

    /// The heading.
    #[must_use]
    pub fn heading(&self) -> String {
        self.texts("h1").into_iter().next().unwrap_or_default()
    }

    /// Language of the page.
    #[must_use]
    pub fn language(&self) -> String {
        self.attributes("html", "lang").into_iter().next().unwrap_or_default()
    }

    /// The first link whose address holds `part`.
    ///
    /// # Errors
    /// There is none.
    pub fn link(&self, part: &str) -> Result<Url> {
        let links = self.attributes("a[href]", "href");
        let link = links.iter().find(|link| link.contains(part));
        let link =
            link.with_context(|| format!("{} has no link to {part}, only: {links:?}", self.url.path()))?;
        Ok(self.url.join(link)?)
    }

    /// The first form with an element that fits a CSS selector; `form` stands for the form itself.
    ///
    /// # Errors
    /// There is none.
    pub fn form_with(&self, selector: &str) -> Result<Form> {
        let found = self.find_form(selector)?;
        found.with_context(|| {
            format!("{} ({}) has no form with {selector}: {}", self.url.path(), self.status, self.text())
        })
    }

    /// Like [`Page::form_with`]; none where there is none.
    ///
    /// # Errors
    /// A form whose action is no address.
    pub fn find_form(&self, selector: &str) -> Result<Option<Form>> {
        let html = Html::parse_document(&self.body);
        let (forms, wanted) = (parse("form"), parse(selector));
        let fits = |form: &ElementRef<'_>| wanted.matches(form) || form.select(&wanted).next().is_some();
        html.select(&forms).find(fits).map(|form| Form::read(&self.url, form)).transpose()
    }

    /// The first form whose action holds `part`.
    ///
    /// # Errors
    /// There is none.
    pub fn form_to(&self, part: &str) -> Result<Form> {
        self.form_with(&format!("form[action*=\"{part}\"]"))
    }

    fn select<T>(&self, selector: &str, take: impl Fn(ElementRef<'_>) -> Option<T>) -> Vec<T> {
        let html = Html::parse_document(&self.body);
        html.select(&parse(selector)).filter_map(take).collect()
    }
}

#[expect(
    clippy::expect_used,
    reason = "selectors are written in this package; a wrong one is a fault of the test"
)]
fn parse(selector: &str) -> Selector {
    Selector::parse(selector).expect("a CSS selector")
}

pub(super) fn text_of(element: ElementRef<'_>) -> String {
    let text: String = element.text().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
