//! What people told about themselves is nowhere but where it belongs: not in logs, spans, metrics, and Kafka's keys and
//! headers. And if it were, it would be found: the last thing that happens in a journey is a leak.

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Leak, TOLD, Walk, leaks, until};
use proto::results::v1::{CreatePublisherKeyRequest, access_service_client::AccessServiceClient};
use testkit::races::hundred_metres_final;

/// A birth date of the journey, and staff who have addresses too.
const OTHERS: [&str; 4] = ["1990-04-01", "chie@staff.example", "daniel@staff.example", "emma@staff.example"];

/// Looks everywhere where an operator may look.
pub async fn stays_inside(walk: &Walk<'_>) -> Result<()> {
    let (alice, bob) = (&walk.alice, &walk.bob);
    let mut secrets = vec![alice.address, alice.given_name, alice.family_name, bob.address, bob.family_name];
    secrets.extend(TOLD.iter().map(|(_, value)| *value));
    secrets.extend(OTHERS);
    let places = walk.suite.places().await?;
    let found: Vec<String> = leaks(&places, &secrets).iter().map(Leak::to_string).collect();
    ensure!(found.is_empty(), "personal data is where operators look:\n{}", found.join("\n"));
    println!("   none of {} personal values in any of {} places", secrets.len(), places.len());
    plant(walk, alice.address).await
}

/// A process that writes an address into a field of its log: a sender's own text, which results-feed names when two
/// documents contradict each other.
async fn plant(walk: &Walk<'_>, address: &str) -> Result<()> {
    let mut access = AccessServiceClient::new(walk.daniel.channel(walk.suite, Service::ResultsFeed)?);
    let request =
        CreatePublisherKeyRequest { name: "leak".to_owned(), ..CreatePublisherKeyRequest::default() };
    let key = access.create_publisher_key(request).await?.into_inner().secret;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/results/v1/odf", walk.suite.addresses.url(Service::ResultsFeed));
    let sample = hundred_metres_final(1).into_iter().next().context("a race has documents")?;
    let news = sample.xml.replace(sample.document_code, address).replace(sample.document_type, "DT_NEWS");
    for document in [news.clone(), news.replace("SCHEDULED", "POSTPONED")] {
        let posted = http.post(&url).header("x-api-key", &key).body(document).send().await?;
        posted.error_for_status().context("a document is not taken")?;
    }
    until("the process to log it", async || {
        let mut logs = walk.suite.logs().await?.into_values();
        Ok(logs.any(|log| log.contains("document quarantined") && log.contains("DT_NEWS")).then_some(()))
    })
    .await?;
    let found = leaks(&walk.suite.places().await?, &[address]);
    let found = found.iter().find(|leak| leak.place.starts_with("the log of"));
    println!("   planted, and found: {}", found.context("a planted leak is not found")?);
    Ok(())
}
