//! The way through a library's site that every library has to go.

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Suite, WebVisitor, sign_in, sign_up, until};
use serde_json::Value;

use crate::registered::{Registered, SCOPES};

/// A check that not every library's site can do: each declares its own, so that none is left out unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// `state` comes back from a sign-out.
    State,
    /// Introspection says that a token is active, and after its revocation that it is not.
    Revocation,
    /// A bound token is refused without a proof.
    Proof,
}

impl Check {
    /// What a site that did it shows.
    const fn member(self) -> &'static str {
        match self {
            Self::State => "state_returned",
            Self::Revocation => "active_after_revocation",
            Self::Proof => "without_proof",
        }
    }

    /// Whether the site declares it, and has done it then.
    fn is_done(self, site: &Registered, shown: &Value) -> Result<bool> {
        let (declared, done) = (site.checks.contains(&self), shown.get(self.member()).is_some());
        ensure!(declared || !done, "{self:?} is done and not declared: {shown}");
        ensure!(done || !declared, "{self:?} is declared and not done: {shown}");
        Ok(done)
    }
}

/// Sign-up, sign-in, userinfo, refresh, sign-out at the site, sign-in once more, sign-out elsewhere.
pub async fn whole(suite: &Suite, site: &Registered) -> Result<()> {
    let address = format!("{}@fans.example", site.name);
    let mut browser = WebVisitor::new("en")?;
    let (login, callback) = (site.url("/login"), site.url("/callback"));
    let back = sign_up(suite, &mut browser, &address, &login, &callback).await.context("sign-up")?;
    browser.visit(back.url.as_str()).await?.ok().context("the library at its callback")?;
    let me = read(&mut browser, site, "/me").await?;
    check_user(&me, &address)?;
    if site.has_bound_tokens() {
        ensure!(me["token_type"] == "dpop", "the token is not bound: {me}");
    }
    if Check::Proof.is_done(site, &me)? {
        ensure!(me["without_proof"] == 401, "without a proof: {me}");
    }

    let refreshed = read(&mut browser, site, "/refresh").await?;
    ensure!(refreshed["sub"] == me["sub"] && refreshed["changed"] == true, "refreshed: {refreshed}");
    if Check::Revocation.is_done(site, &refreshed)? {
        let (active, after) = (&refreshed["active"], &refreshed["active_after_revocation"]);
        ensure!(active == true && after == false, "introspection and revocation: {refreshed}");
    }

    let left = browser.visit(&site.url("/logout")).await?.ok().context("sign-out at the site")?;
    ensure!(left.url.as_str().starts_with(&site.url("/signed-out")), "the sign-out led to {}", left.url);
    let left: Value = serde_json::from_str(&left.body)?;
    if Check::State.is_done(site, &left)? {
        ensure!(left["state_returned"] == true, "the state got lost");
    }
    ensure!(read(&mut browser, site, "/me").await?["signed_in"] == false, "still signed in");
    // The site that asked for it is told like every other.
    told(&mut browser, site, &me).await?;

    let back = sign_in(&mut browser, &address, &login, &callback).await.context("second sign-in")?;
    browser.visit(back.url.as_str()).await?.ok()?;
    let again = read(&mut browser, site, "/me").await?;
    ensure!(again["sub"] == me["sub"] && again["sid"] != me["sid"], "signed in again: {again}");
    signed_out_elsewhere(suite, &mut browser).await?;
    until("the site to hear that its visitor signed out elsewhere", async || {
        let me = read(&mut browser, site, "/me").await?;
        Ok((me["signed_in"] == false).then_some(()))
    })
    .await?;
    told(&mut browser, site, &again).await
}

/// The question and the button of identity's own page.
pub async fn signed_out_elsewhere(suite: &Suite, browser: &mut WebVisitor) -> Result<()> {
    let url = format!("{}/logout", suite.addresses.url(Service::Identity));
    let question = browser.visit(&url).await?.ok()?;
    let form = question.form_with("main form[method=post]")?;
    browser.submit(form).await?.ok()?;
    Ok(())
}

/// What userinfo and the token response say, as the library understood them.
pub fn check_user(me: &Value, address: &str) -> Result<()> {
    ensure!(me["signed_in"] == true && me["sub"].is_string(), "nobody is signed in: {me}");
    ensure!(me["email"] == address && me["email_verified"] == true, "the address is {me}");
    ensure!(me["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "expires_in: {me}");
    let granted: Vec<&str> = me["scope"].as_str().unwrap_or_default().split(' ').collect();
    ensure!(SCOPES.iter().all(|scope| granted.contains(scope)), "granted: {granted:?}");
    Ok(())
}

/// Reads what a site shows.
pub async fn read(browser: &mut WebVisitor, site: &Registered, path: &str) -> Result<Value> {
    let page = browser.visit(&site.url(path)).await?;
    ensure!(page.status == 200, "{path} of {} answers {}: {}", site.name, page.status, page.body);
    serde_json::from_str(&page.body).with_context(|| page.body.clone())
}

/// Waits until the library took a logout token of this session.
async fn told(browser: &mut WebVisitor, site: &Registered, me: &Value) -> Result<()> {
    until("a logout token", async || {
        let told = read(browser, site, "/told").await?;
        let told = told["told"].as_array().context("no list")?;
        Ok(told.iter().any(|claims| claims["sid"] == me["sid"]).then_some(()))
    })
    .await
}
