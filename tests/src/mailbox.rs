//! What people see in their mailboxes.

use anyhow::{Context, Result};
use domain::Service;
use testkit::{Mail, SmtpSink};

use crate::{Suite, until};

/// The link to identity in the first mail to an address.
///
/// # Errors
/// No mail comes, or one without such a link.
pub async fn mail_link(suite: &Suite, address: &str) -> Result<String> {
    let mail = first_to(&suite.sink, address).await?;
    let identity = suite.addresses.url(Service::Identity);
    let link = links(&mail).into_iter().find(|link| link.starts_with(&identity));
    link.context("the mail holds no link to identity")
}

/// The first mail to an address.
///
/// # Errors
/// None comes.
pub async fn first_to(sink: &SmtpSink, address: &str) -> Result<Mail> {
    until(&format!("a mail to {address}"), async || {
        Ok(sink.mails().into_iter().find(|mail| mail.is_to(address)))
    })
    .await
}

/// Every address that the text of a mail names.
#[must_use]
pub fn links(mail: &Mail) -> Vec<String> {
    let text = mail.text();
    text.split_whitespace()
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(str::to_owned)
        .collect()
}

/// The addresses behind the links of a mail's HTML.
#[must_use]
pub fn targets(mail: &Mail) -> Vec<String> {
    let html = scraper::Html::parse_document(&mail.html());
    let Ok(links) = scraper::Selector::parse("a[href]") else { return Vec::new() };
    html.select(&links).filter_map(|link| link.attr("href").map(str::to_owned)).collect()
}
