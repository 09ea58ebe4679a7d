//! Step 8: one sign-out at the portal ends Alice's session at identity and at the second relying party.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::identity::v1::{ListLogoutDeliveriesRequest, session_service_client::SessionServiceClient};

use crate::{Walk, fan, until};

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let sid = sign_in_elsewhere(walk).await?;
    let portal = walk.suite.addresses.url(Service::Portal);
    let page = walk.alice.portal(walk.suite, "/my").await?;
    let left = walk.alice.browser.submit(page.form_to("/portal/logout")?).await?.ok()?;
    let told = until("the second relying party to be told", async || {
        Ok(walk.suite.second_rp.ended().into_iter().find(|claims| claims.sid.as_deref() == Some(&sid)))
    })
    .await?;
    ensure!(walk.suite.second_rp.sessions().is_empty(), "the second relying party still has a session");
    let cookies = walk.alice.browser.cookie_names("localhost");
    ensure!(!cookies.iter().any(|name| name == "__Host-portal"), "the portal's cookie is still there");
    // Whoever asks for My Page now has to sign in: the session at identity has ended too.
    let asked = walk.alice.browser.visit(&format!("{portal}/my")).await?.ok()?;
    ensure!(asked.has("input[type=password]"), "My Page led to {} without a password", asked.url.path());
    Ok(vec![
        format!("after the sign-out: {} \"{}\"", left.url.path(), left.heading()),
        format!("logout token at the second relying party: sid {sid}, jti {}", told.jti.unwrap_or_default()),
        deliveries(walk).await?,
        format!("My Page leads to {} \"{}\"", asked.url.path(), asked.heading()),
    ])
}

/// Alice visits the ticket shop: she is signed in without another password. Returns the session's name there.
async fn sign_in_elsewhere(walk: &mut Walk<'_>) -> Result<String> {
    let (start, home) = (walk.suite.second_rp.login_url(), walk.suite.second_rp.home_url());
    // Identity's cookie is on another site than the shop's, as it should be.
    let page = fan::go_on(&mut walk.alice.browser, &start, &home).await?;
    ensure!(page.url.as_str() == home, "the second relying party led to {}", page.url);
    let sessions = walk.suite.second_rp.sessions();
    let session = sessions.first().context("the second relying party has no session")?;
    session.sid.clone().context("the ID token has no sid")
}

async fn deliveries(walk: &Walk<'_>) -> Result<String> {
    let mut sessions = SessionServiceClient::new(walk.daniel.channel(walk.suite, Service::Identity)?);
    let delivered = until("both logout tokens to be delivered", async || {
        let request = ListLogoutDeliveriesRequest::default();
        let deliveries = sessions.list_logout_deliveries(request).await?.into_inner().deliveries;
        let all = !deliveries.is_empty() && deliveries.iter().all(|delivery| delivery.state == "delivered");
        Ok(all.then_some(deliveries))
    })
    .await?;
    let mut clients: Vec<String> = delivered
        .into_iter()
        .map(|delivery| format!("{} {}", delivery.client_id, delivery.last_status))
        .collect();
    clients.sort();
    Ok(format!("identity's ledger of logout tokens: {}", clients.join(", ")))
}
