//! Identity in the eyes of a library that knows nothing of it: npm's openid-client does discovery, code with PKCE, tokens,
//! userinfo, refresh, silent sign-in and logout, while a visitor goes through the pages in a person's place.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Program, Shape, Suite, WebVisitor, go_on, sign_up};
use serde_json::{Value, json};
use tokio::process::Command;

/// Nobody listens there: the visitor stops at the redirect.
const REDIRECT_URI: &str = "http://127.0.0.1:49201/callback";

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_library_signs_in_and_out() {
    let suite =
        Suite::start("oidc-client", Shape::AllInOne).await.unwrap_or_else(|error| panic!("{error:?}"));
    let done = both_clients(&suite).await;
    if let Err(error) = done {
        panic!("{:?}", suite.with_logs(error).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn both_clients(suite: &Suite) -> Result<()> {
    let public = json!({ "client_id": "console", "redirect_uri": REDIRECT_URI, "scope": "openid email offline_access" });
    let ended = with_library(suite, public, "public@fans.example").await.context("the public client")?;
    ensure!(
        ended["ended"].as_str().is_some_and(|url| url.contains("/logout")),
        "identity's own page: {ended}"
    );

    let confidential = json!({
        "client_id": "second-rp", "redirect_uri": REDIRECT_URI, "scope": "openid email offline_access",
        "key": suite.keys.read("second-rp.pem")?, "kid": suite.keys.key_id("second-rp")?,
        "post_logout_redirect_uri": "http://127.0.0.1/",
    });
    let ended =
        with_library(suite, confidential, "partner@fans.example").await.context("the client with a key")?;
    ensure!(ended["ended"] == "http://127.0.0.1/?state=bye", "the logout led to {}", ended["ended"]);
    Ok(())
}

/// Runs the library for one client and one new person; gives what it saw.
async fn with_library(suite: &Suite, mut given: Value, address: &str) -> Result<Value> {
    given["issuer"] = json!(suite.provider().await?.issuer);
    let mut library = start(suite, &given)?;
    let mut browser = WebVisitor::new("en")?;
    let mut visits = 0;
    loop {
        let told = library.told().await?;
        let Some(url) = told["visit"].as_str() else {
            library.ended().await?;
            let done = told["done"].clone();
            check(&done, address)?;
            return Ok(done);
        };
        visits += 1;
        let ended = visit(suite, &mut browser, url, address, visits).await?;
        library.answer(&json!({ "ended": ended })).await?;
    }
}

fn start(suite: &Suite, given: &Value) -> Result<Program> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    ensure!(folder.join("node_modules").exists(), "run: npm ci --prefix tests/browser");
    let log = suite.folder.join(format!("{}.log", given["client_id"].as_str().context("no client_id")?));
    let mut command = Command::new("node");
    Program::start(command.arg("oidc_client.mjs").arg(given.to_string()).current_dir(folder), &log)
}

/// The first visit signs up; the later ones have a session, until the logout.
async fn visit(
    suite: &Suite,
    browser: &mut WebVisitor,
    url: &str,
    address: &str,
    number: usize,
) -> Result<String> {
    let page = match number {
        1 => sign_up(suite, browser, address, url, REDIRECT_URI).await?,
        // Back at the registered address, or at a page of identity's own.
        3 => browser.visit_until(url, "http://127.0.0.1/").await?,
        _ => go_on(browser, url, REDIRECT_URI).await?,
    };
    Ok(page.url.into())
}

fn check(done: &Value, address: &str) -> Result<()> {
    ensure!(done["alg"].as_array().is_some_and(|algs| algs.contains(&json!("ES256"))), "no ES256: {done}");
    ensure!(done["email"] == address && done["email_verified"] == true, "userinfo: {done}");
    ensure!(done["same_user"] == true && done["refreshed"] == true, "tokens: {done}");
    ensure!(
        done["refused"] == "login_required",
        "after the logout a silent sign-in gave {}",
        done["refused"]
    );
    Ok(())
}
