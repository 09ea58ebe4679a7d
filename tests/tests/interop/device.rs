//! The device flow (RFC 8628): a program without a browser, and its user, who types the code elsewhere.

use anyhow::{Context, Result, ensure};
use e2e::{CodeFlow, Suite, WebVisitor, decide_on_device, sign_up};
use serde_json::Value;

use crate::{registered::Registered, site, way};

/// The user allows the device the first time, and denies it the second.
pub async fn whole(suite: &Suite, site: &Registered, words: &[&str], issuer: &str) -> Result<()> {
    let address = format!("{}@fans.example", site.name);
    let mut browser = WebVisitor::new("en")?;
    // Signed in before, by any client that is there.
    let elsewhere = "http://127.0.0.1:49202/callback";
    let flow = CodeFlow::begin("console", elsewhere, "openid")?;
    let url = suite.provider().await?.authorize_url(&flow)?;
    sign_up(suite, &mut browser, &address, url.as_str(), elsewhere).await?;

    let log = suite.folder.join(format!("{}.log", site.name));
    let mut device = site::start(words, &site.given(issuer), &log)?;
    decide(&mut browser, &device.told().await?["shown"], "allow").await.context("the user allows")?;
    decide(&mut browser, &device.told().await?["shown"], "deny").await.context("the user denies")?;
    let told = device.told().await?;
    let done = &told["done"];
    way::check_user(&done["me"], &address)?;
    ensure!(done["refreshed"]["sub"] == done["me"]["sub"], "refreshed: {done}");
    ensure!(done["refreshed"]["changed"] == true, "refreshed: {done}");
    ensure!(done["refused"] == "access_denied", "the denied device was told {}", done["refused"]);
    Ok(())
}

async fn decide(browser: &mut WebVisitor, shown: &Value, decision: &str) -> Result<()> {
    let text = |name: &str| shown[name].as_str().with_context(|| format!("no {name}: {shown}"));
    decide_on_device(browser, text("verification_uri")?, text("user_code")?, decision).await
}
