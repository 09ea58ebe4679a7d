use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::results::v1::{CreatePublisherKeyRequest, access_service_client::AccessServiceClient};
use serde::Deserialize;
use testkit::races::{OdfDocument, hundred_metres_final};

use crate::{Walk, until};

/// The 100 m final, as timing tells it piece by piece.
#[derive(Debug)]
pub struct Race {
    timing: Timing,
    documents: Vec<OdfDocument>,
    told: usize,
    again: usize,
    /// Of the result that was told again last.
    status: &'static str,
}

impl Race {
    /// Daniel makes a key for the venue's timing; nothing is told yet.
    ///
    /// # Errors
    /// There is no key.
    pub async fn open(walk: &Walk<'_>) -> Result<Self> {
        let mut access = AccessServiceClient::new(walk.daniel.channel(walk.suite, Service::ResultsFeed)?);
        let request =
            CreatePublisherKeyRequest { name: "timing".to_owned(), ..CreatePublisherKeyRequest::default() };
        let key = access.create_publisher_key(request).await?.into_inner().secret;
        let timing = Timing::new(&walk.suite.addresses.url(Service::ResultsFeed), &key)?;
        Ok(Self { timing, documents: hundred_metres_final(1), told: 0, again: 0, status: "LIVE" })
    }

    /// Tells so many results more, and whatever comes before and between them. Gives the last sequence number.
    ///
    /// # Errors
    /// A document that is not taken.
    pub async fn go_on(&mut self, results: usize) -> Result<i64> {
        let rest = self.documents[self.told..].iter().enumerate();
        let ends: Vec<usize> = rest
            .filter(|(_, document)| document.document_type == "DT_RESULT")
            .map(|(at, _)| at + 1)
            .collect();
        let more = ends.get(results.saturating_sub(1)).copied();
        self.tell(more.unwrap_or(self.documents.len() - self.told)).await
    }

    /// Tells the rest: unofficial, official, medals.
    ///
    /// # Errors
    /// A document that is not taken.
    pub async fn finish(&mut self) -> Result<i64> {
        self.tell(self.documents.len() - self.told).await
    }

    /// Tells one of the results again as a new version, the next one each time: positions change, marks come and go, and the
    /// final is official once in eight. Gives the sequence number. Nothing can be told by the other methods afterwards.
    ///
    /// # Errors
    /// A document that is not taken.
    pub async fn tell_again(&mut self) -> Result<i64> {
        let results: Vec<&OdfDocument> =
            self.documents.iter().filter(|one| one.document_type == "DT_RESULT").skip(1).collect();
        let next = self.again % results.len();
        let first = results.first().map_or(0, |first| first.version) + 100;
        let version = first + u32::try_from(self.again)?;
        let mut document = results.get(next).copied().cloned().context("the race has no results")?;
        let old = format!("Version=\"{}\"", document.version);
        document.xml = document.xml.replace(&old, &format!("Version=\"{version}\""));
        document.version = version;
        self.status = document.result_status;
        self.again += 1;
        self.timing.send(&[document]).await
    }

    /// Tells results again until one has another status.
    ///
    /// # Errors
    /// A document that is not taken.
    pub async fn tell_another_status(&mut self) -> Result<i64> {
        let before = self.status;
        loop {
            let seq = self.tell_again().await?;
            if self.status != before {
                return Ok(seq);
            }
        }
    }

    /// Tells the medallists and the standings, whatever else was told.
    ///
    /// # Errors
    /// A document that is not taken.
    pub async fn tell_medals(&self) -> Result<i64> {
        let medals: Vec<OdfDocument> =
            self.documents.iter().filter(|one| one.document_type.starts_with("DT_MEDAL")).cloned().collect();
        self.timing.send(&medals).await
    }

    /// How many documents were told.
    #[must_use]
    pub const fn told(&self) -> usize {
        self.told
    }

    async fn tell(&mut self, more: usize) -> Result<i64> {
        let last = self.timing.send(&self.documents[self.told..self.told + more]).await?;
        self.told += more;
        Ok(last)
    }
}

/// The timing system of a venue: posts ODF documents with its key until each is taken.
#[derive(Debug)]
struct Timing {
    url: String,
    key: String,
    http: reqwest::Client,
}

/// What a sender is told.
#[derive(Debug, Deserialize)]
struct Receipt {
    outcome: String,
    seq: i64,
    #[serde(default)]
    reason: String,
}

impl Timing {
    fn new(results_url: &str, key: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { url: format!("{results_url}/results/v1/odf"), key: key.to_owned(), http })
    }

    /// Posts documents one after the other. What is not taken is sent again, as ODF's senders do (Foundation Principles
    /// 8.2), so a repeat may be told as a duplicate. Gives the sequence number of the last one.
    async fn send(&self, documents: &[OdfDocument]) -> Result<i64> {
        let mut last = 0;
        for document in documents {
            let OdfDocument { document_type, version, .. } = document;
            let receipt = until(&format!("{document_type} version {version} to be taken"), async || {
                let answer = self
                    .http
                    .post(&self.url)
                    .header("x-api-key", &self.key)
                    .body(document.xml.clone())
                    .send()
                    .await?
                    .error_for_status()?;
                Ok(Some(answer.json::<Receipt>().await?))
            })
            .await?;
            let taken = receipt.outcome == "accepted" || receipt.outcome == "duplicate";
            ensure!(taken, "{document_type} version {version} is {}: {}", receipt.outcome, receipt.reason);
            ensure!(receipt.seq > last, "{document_type} version {version} got {} after {last}", receipt.seq);
            last = receipt.seq;
        }
        Ok(last)
    }
}
