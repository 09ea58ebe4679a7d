use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use url::Url;

use crate::{Page, Suite, WebVisitor, mailbox};

/// The password of every sample person: long, and in no list of leaked ones.
pub const PASSWORD: &str = "Olive-wreath on the 7th column";

/// Pages in a row that a sign-in may take.
const MOST_PAGES: usize = 12;

/// A person who visits the pages, with a browser of their own.
#[derive(Debug)]
pub struct Fan {
    /// Given name, as it is told in the profile.
    pub given_name: &'static str,
    /// Family name.
    pub family_name: &'static str,
    /// Login address.
    pub address: &'static str,
    /// Language of pages and mails.
    pub language: &'static str,
    /// The browser.
    pub browser: WebVisitor,
}

impl Fan {
    /// Alice in Tokyo, who reads Japanese.
    ///
    /// # Errors
    /// A browser cannot be made.
    pub fn alice() -> Result<Self> {
        let browser = WebVisitor::new("ja,en;q=0.5")?;
        let (given_name, family_name) = ("アリス", "青木");
        Ok(Self { given_name, family_name, address: "alice.aoki@fans.example", language: "ja", browser })
    }

    /// Bob in Paris, who reads French.
    ///
    /// # Errors
    /// A browser cannot be made.
    pub fn bob() -> Result<Self> {
        let browser = WebVisitor::new("fr,en;q=0.5")?;
        Ok(Self {
            given_name: "Bob",
            family_name: "Beaumont",
            address: "bob@fans.example",
            language: "fr",
            browser,
        })
    }

    /// Asks for a page of the portal.
    ///
    /// # Errors
    /// The page is not there, or the fan is not signed in.
    pub async fn portal(&mut self, suite: &Suite, path: &str) -> Result<Page> {
        let url = format!("{}{path}", suite.addresses.url(Service::Portal));
        let page = self.browser.visit(&url).await?.ok()?;
        ensure!(page.url.path() == path, "{path} of the portal led to {}", page.url.path());
        Ok(page)
    }
}

/// Signs somebody up: the page at `start` leads to identity, a mail proves the address, a password is chosen, and
/// identity leads back to an address that starts with `end`. Returns the last page and how many redirects away from
/// identity it was: none is asked of a relying party that listens nowhere.
///
/// # Errors
/// A page that is not as expected, a mail that does not come.
pub async fn sign_up(
    suite: &Suite,
    browser: &mut WebVisitor,
    address: &str,
    start: &str,
    end: &str,
) -> Result<Page> {
    let identity = suite.addresses.url(Service::Identity);
    let page = browser.visit(start).await?.ok()?;
    ensure!(
        page.url.as_str().starts_with(&identity),
        "{start} did not lead to identity but to {}",
        page.url.path()
    );
    let page = browser.visit(page.link("/signup")?.as_str()).await?.ok()?;
    let mut form = page.form_with("[autocomplete~=email], [autocomplete~=username], [name=email]")?;
    fill_address(&mut form, address)?;
    browser.submit(form).await?.ok()?;
    let link = mailbox::mail_link(suite, address).await?;
    // A scanner may have looked before: that must not matter.
    WebVisitor::new("en")?.visit(&link).await?;
    let page = browser.visit_until(&link, end).await?;
    through_pages(browser, page, end).await
}

/// Signs in with the password, and agrees to what identity asks, until an address that starts with `end`.
///
/// # Errors
/// A page that is not as expected.
pub async fn sign_in(browser: &mut WebVisitor, address: &str, start: &str, end: &str) -> Result<Page> {
    let page = browser.visit_until(start, end).await?.ok()?;
    let mut form = page.form_with("input[autocomplete~=current-password]")?;
    fill_address(&mut form, address)?;
    form.fill_each("password", PASSWORD)?;
    let page = browser.submit_until(form, end).await?;
    through_pages(browser, page, end).await
}

/// Goes on with the session that is there, without another password, until an address that starts with `end`.
///
/// # Errors
/// A page that is not as expected.
pub async fn go_on(browser: &mut WebVisitor, start: &str, end: &str) -> Result<Page> {
    let page = browser.visit_until(start, end).await?;
    ensure!(!page.has("input[type=password]"), "{} asks for a password again", page.url.path());
    through_pages(browser, page, end).await
}

/// Types the code of a device at identity (RFC 8628 3.3), with a session that is there, and decides: `allow` or `deny`.
///
/// # Errors
/// A page that is not as expected.
pub async fn decide_on_device(browser: &mut WebVisitor, url: &str, code: &str, decision: &str) -> Result<()> {
    let page = browser.visit(url).await?.ok()?;
    let mut form = page.form_with("input[name=user_code]")?;
    form.fill("user_code", code)?;
    let page = browser.submit(form).await?.ok()?;
    let mut form = page.form_with("button[name=decision]")?;
    form.press("decision", decision)?;
    browser.submit(form).await?.ok()?;
    Ok(())
}

/// Goes on through identity's pages, as somebody who agrees to everything, until an address that starts with `end`.
async fn through_pages(browser: &mut WebVisitor, mut page: Page, end: &str) -> Result<Page> {
    for _ in 0..MOST_PAGES {
        if page.url.as_str().starts_with(end) {
            return Ok(page);
        }
        page = page.ok()?;
        let mut form = if let Some(mut form) = page.find_form("input[autocomplete~=new-password]")? {
            form.fill_each("password", PASSWORD)?;
            form
        } else {
            // Buttons to confirm the address, and to allow a partner.
            page.form_with("main form[method=post]")?
        };
        if form.offers("decision", "allow") {
            form.press("decision", "allow")?;
        }
        page = browser.submit_until(form, end).await?;
    }
    bail!(
        "{MOST_PAGES} pages of identity and no end; the last one is {} ({})",
        page.url.path(),
        page.heading()
    )
}

fn fill_address(form: &mut crate::Form, address: &str) -> Result<()> {
    let keys = ["email", "username", "address"];
    let key = keys.into_iter().find(|key| form.has_field(key)).context("the form asks for no address")?;
    form.fill(key, address)?;
    Ok(())
}

/// The value of a parameter in the query of an address.
#[must_use]
pub fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
