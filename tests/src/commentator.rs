use anyhow::{Context, Result, ensure};
use domain::Service;

use crate::{Page, Suite, WebVisitor, fan, staff};

/// Emma, to whom the bootstrap file grants the commentators' scope.
const ADDRESS: &str = "emma@staff.example";
/// Her discipline at the desk.
const DISCIPLINE: &str = "ATH";

/// Somebody at the commentators' desk, with a browser.
#[derive(Debug)]
pub struct Commentator {
    browser: WebVisitor,
    desk: String,
}

impl Commentator {
    /// Signs up as everybody of the staff does, then signs in at the desk.
    ///
    /// # Errors
    /// A page that is not as expected, or the desk does not let her in.
    pub async fn sign_up(suite: &Suite) -> Result<Self> {
        let provider = suite.provider().await?;
        let mut browser = WebVisitor::new("en")?;
        staff::sign_up(suite, &provider, &mut browser, ADDRESS).await?;
        let desk = format!("{}/results/cis/{DISCIPLINE}", suite.addresses.url(Service::ResultsFeed));
        let asked = WebVisitor::new("en")?.visit(&desk).await?;
        ensure!(!asked.has("#desk"), "the desk is open to everybody");
        let answer = fan::go_on(&mut browser, &desk, &desk).await.context("emma signs in at the desk")?;
        ensure!(answer.url.as_str() == desk, "the sign-in at the desk leads to {}", answer.url.path());
        Ok(Self { browser, desk })
    }

    /// The desk with a unit chosen.
    ///
    /// # Errors
    /// The desk is not there, or asks to sign in again.
    pub async fn desk(&mut self, unit: &str) -> Result<Page> {
        let page = self.browser.visit(&format!("{}?unit={unit}", self.desk)).await?.ok()?;
        ensure!(page.has("#desk"), "{} is not the desk", page.url.path());
        Ok(page)
    }

    /// Where it is, for people.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/results/cis/{DISCIPLINE}")
    }
}
