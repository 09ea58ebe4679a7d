//! oidc-client-ts, which lives in a browser: Chromium runs it, with CORS and content security policies as they are.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::{CodeFlow, PASSWORD, Suite, WebVisitor, sign_up};
use serde_json::json;

use crate::{
    registered::{Registered, SCOPES},
    site, way,
};

/// The user exists before, and signs in in the browser.
pub async fn whole(suite: &Suite, site: &Registered, issuer: &str) -> Result<()> {
    let address = format!("{}@fans.example", site.name);
    let redirect_uri = site.url("/callback");
    let flow = CodeFlow::begin(site.name, &redirect_uri, "openid")?;
    let url = suite.provider().await?.authorize_url(&flow)?;
    sign_up(suite, &mut WebVisitor::new("en")?, &address, url.as_str(), &redirect_uri).await?;

    let mut given = site.given(issuer);
    given["address"] = json!(address);
    given["password"] = json!(PASSWORD);
    given["scope"] = json!(SCOPES.join(" "));
    given["chromium"] = json!(chromium()?);
    given["picture"] = json!(suite.folder.join(format!("{}.png", site.name)));
    let log = suite.folder.join(format!("{}.log", site.name));
    given["bound"] = json!(site.has_bound_tokens());
    let mut browser = site::start(&["node", "oidc_client_ts.mjs"], &given, &log)?;
    let done = browser.told().await?;
    let done = done.get("done").with_context(|| done.to_string())?;
    way::check_user(&done["me"], &address)?;
    ensure!(done["refreshed"]["sub"] == done["me"]["sub"], "refreshed: {done}");
    ensure!(done["refreshed"]["changed"] == true, "refreshed: {done}");
    ensure!(done["revoked"] == "invalid_grant", "after the revocation: {done}");
    if site.has_bound_tokens() {
        ensure!(done["me"]["token_type"] == "DPoP", "the token is not bound: {done}");
    }
    ensure!(done["refused"] == "login_required", "after the sign-out: {done}");
    Ok(())
}

/// The browser of this machine.
fn chromium() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.exists());
    found.context("there is no chromium; deploy/local/prerequisites browser gets it")
}
