//! Step 7: Alice takes back one consent by a click in her mail program, and another one on the portal.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::profile::v1::{GetConsentsRequest, consent_service_client::ConsentServiceClient};

use super::{
    campaign, crm, memberships_of,
    profile::{records_of, save_consents},
    segment, time,
};
use crate::{Walk, WebVisitor, until};

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let mut evidence = unsubscribe(walk).await?;
    evidence.push(leaves_segment(walk).await?);
    evidence.push(second_campaign(walk).await?);
    evidence.extend(cease(walk).await?);
    Ok(evidence)
}

/// The status of one of Alice's consents.
async fn status(walk: &Walk<'_>, purpose: &str) -> Result<String> {
    let mut consents = ConsentServiceClient::new(walk.daniel.channel(walk.suite, Service::Profile)?);
    let request = GetConsentsRequest { profile_id: walk.ids.alice.clone() };
    let heads = consents.get_consents(request).await?.into_inner().heads;
    let head = heads.into_iter().find(|head| head.purpose == purpose);
    Ok(head.with_context(|| format!("nothing is known of {purpose}"))?.status)
}

/// A mail program posts once (RFC 8058 3.1); a scanner that looks before changes nothing.
async fn unsubscribe(walk: &Walk<'_>) -> Result<Vec<String>> {
    let mail = campaign::mails_to_alice(walk).into_iter().next().context("Alice has no mail")?;
    let header = mail.header("list-unsubscribe");
    let url = header.trim_matches(['<', '>']);
    let looked = WebVisitor::new("ja")?.visit(url).await?.ok()?;
    let before = status(walk, "committee_newsletter").await?;
    ensure!(before == "given", "after a GET the consent is {before}");
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let answer = http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("List-Unsubscribe=One-Click")
        .send()
        .await?;
    ensure!(answer.status() == 200, "the one-click POST answers {}", answer.status());
    until("committee_newsletter to be withdrawn", async || {
        Ok((status(walk, "committee_newsletter").await? == "withdrawn").then_some(()))
    })
    .await?;
    let record = records_of(walk, &walk.ids.alice).await?.into_iter().next().context("there is no record")?;
    ensure!(
        (record.purpose.as_str(), record.status.as_str()) == ("committee_newsletter", "withdrawn"),
        "the newest record is {record:?}"
    );
    Ok(vec![
        format!("GET {url} shows \"{}\" and changes nothing", looked.heading()),
        "POST List-Unsubscribe=One-Click -> 200".to_owned(),
        format!(
            "record {}: {} {} {} by {}",
            record.record_id,
            record.purpose,
            record.status,
            time(record.at.as_ref()),
            record.method
        ),
    ])
}

async fn leaves_segment(walk: &Walk<'_>) -> Result<String> {
    let (record, change) = until("the fact that Alice left the segment", async || {
        Ok(memberships_of(walk, &walk.ids.alice).await?.into_iter().find(|(_, change)| !change.entered))
    })
    .await?;
    let members = segment::members(walk).await?;
    ensure!(members.is_empty(), "the segment still has {members:?}");
    Ok(format!(
        "{} offset {}: {} cause {}, no member is left",
        record.topic, record.offset, record.ce_type, change.cause
    ))
}

async fn second_campaign(walk: &Walk<'_>) -> Result<String> {
    let before = campaign::mails_to_alice(walk).len();
    let second = campaign::schedule(walk, "After the final").await?;
    let second = campaign::finished(walk, &second.campaign_id).await?;
    let report = campaign::report(walk, &second.campaign_id).await?;
    ensure!((second.frozen, report.sent) == (0, 0), "the second campaign reached somebody: {report:?}");
    ensure!(campaign::mails_to_alice(walk).len() == before, "Alice got another mail");
    Ok(format!("second campaign {}: {} recipients, {} sent", second.campaign_id, second.frozen, report.sent))
}

async fn cease(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    save_consents(walk.suite, &mut walk.alice, &["ioc_newsletter"], false).await?;
    let contact = until("Alice's row at the CRM to be ceased", async || {
        let contacts = walk.suite.crm().contacts().await?;
        ensure!(contacts.len() == 1, "the CRM holds {} contacts", contacts.len());
        Ok(contacts.into_iter().find(crm::is_ceased))
    })
    .await?;
    let line = crm::ledger_row(walk, &walk.ids.alice, "cease").await?;
    ensure!(line.reason == "CONSENT_WITHDRAWN", "the row is ceased for {}", line.reason);
    Ok(vec![format!("CRM row: {}", crm::row(&contact)), crm::line("Alice", &line)])
}
