//! Step 1: Alice and Bob come to the portal, are sent to identity, prove their addresses and are signed in.

use anyhow::{Context, Result, ensure};
use domain::Service;

use crate::{Fan, Page, Suite, Walk, WebVisitor, fan, mailbox, until};

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let provider = walk.suite.provider().await?;
    let mut evidence = vec![
        format!("issuer {}, code flow with PKCE S256", provider.issuer),
        format!("keys {}, userinfo {}", provider.jwks_uri, provider.userinfo_endpoint),
    ];
    evidence.extend(one(walk.suite, &mut walk.alice).await.context("Alice")?);
    evidence.extend(one(walk.suite, &mut walk.bob).await.context("Bob")?);
    evidence.push(from_elsewhere(walk.suite, &walk.alice).await.context("Alice at another browser")?);
    Ok(evidence)
}

/// Alice signs in with her password at a browser that nobody knows.
async fn from_elsewhere(suite: &Suite, alice: &Fan) -> Result<String> {
    let portal = suite.addresses.url(Service::Portal);
    let mut browser = WebVisitor::new("en")?;
    let end = format!("{portal}/portal/callback");
    let back = fan::sign_in(&mut browser, alice.address, &format!("{portal}/my"), &end).await?;
    let page = browser.visit(back.url.as_str()).await?.ok()?;
    ensure!(page.url.path() == "/my", "the portal led to {}", page.url.path());
    Ok(format!("{} signed in with the password at another browser", alice.address))
}

/// Follows identity's answer to My Page. The fact of a new user may still be on its way to profile: the portal says that
/// the page is being prepared, and people load it again.
async fn my_page(browser: &mut WebVisitor, back: &Page) -> Result<Page> {
    let first = browser.visit(back.url.as_str()).await?;
    ensure!(first.url.path() == "/my", "the portal led to {}", first.url.path());
    if first.status != 503 {
        return first.ok();
    }
    until("My Page of a new user", async || {
        let page = browser.visit(first.url.as_str()).await?;
        Ok((page.status == 200).then_some(page))
    })
    .await
}

async fn one(suite: &Suite, person: &mut Fan) -> Result<Vec<String>> {
    let portal = suite.addresses.url(Service::Portal);
    let start = format!("{portal}/my");
    // The portal answers at the last redirect, so the visitor goes on to its page.
    let end = format!("{portal}/portal/callback");
    let back = fan::sign_up(suite, &mut person.browser, person.address, &start, &end).await?;
    ensure!(fan::query(&back.url, "code").is_some(), "identity led back without a code");
    let page = my_page(&mut person.browser, &back).await?;
    ensure!(page.language() == person.language, "My Page is in {}, not {}", page.language(), person.language);
    let mail = mailbox::first_to(&suite.sink, person.address).await?;
    let cookies = person.browser.cookie_names("localhost");
    ensure!(
        cookies.iter().any(|name| name == "__Host-portal"),
        "no session cookie of the portal, only {cookies:?}"
    );
    Ok(vec![
        format!("mail to {}: Subject: {} Message-ID: <{}>", person.address, mail.subject(), mail.message_id),
        format!("signed in at {} ({}): \"{}\"", page.url.path(), page.language(), page.heading()),
    ])
}
