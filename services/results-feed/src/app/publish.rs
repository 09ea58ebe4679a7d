use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::App;
use crate::{
    Error,
    decoders::{Decoded, Defects, odf},
    document::Sha256,
    ledger::{Receipt, Submission},
    publisher_key::{self, PublisherKey},
    quarantine::Reason,
    store,
    writer::Ticket,
};

/// From this size on a document is parsed beside the runtime, a few at a time.
const LARGE: usize = 256 << 10;
/// Longest wait for a commit: a sender comes again after 5 s (ODF Foundation Principles 8.2).
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Who sends a document.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// A sender with an API key.
    Key(PublisherKey),
    /// An OAuth client with the scope to publish everything.
    Client(String),
}

impl Publisher {
    /// Its name in the log and in quarantine.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Key(key) => &key.key_id,
            Self::Client(client_id) => client_id,
        }
    }
}

impl App {
    /// The publisher of a presented API key.
    pub async fn find_publisher(&self, presented: &str) -> Result<Publisher, Error> {
        let key_id = publisher_key::id_of(presented).ok_or(Error::UnknownKey)?;
        let stored = store::find_key(&self.db, key_id).await?.ok_or(Error::UnknownKey)?;
        if !publisher_key::is_sealed(&self.pepper.expose(), presented, &stored.sealed) {
            return Err(Error::UnknownKey);
        }
        if stored.key.revoked_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(Error::UnknownKey);
        }
        Ok(Publisher::Key(stored.key))
    }

    /// Takes a document; answered once it is durable. What is wrong with it is in the receipt and not an error, since an
    /// error makes its sender repeat it.
    pub async fn publish(&self, publisher: &Publisher, raw: Bytes) -> Result<Receipt, Error> {
        self.quota.take(publisher.name()).map_err(Error::OverQuota)?;
        let receipt = self.take(publisher, raw).await?;
        self.count(&receipt);
        Ok(receipt)
    }

    async fn take(&self, publisher: &Publisher, raw: Bytes) -> Result<Receipt, Error> {
        let started = Instant::now();
        let decoded = self.decode(raw.clone()).await?;
        self.count_parse(started.elapsed(), raw.len());
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(reason) => return self.quarantine(publisher, &raw, reason).await,
        };
        self.count_defects(&decoded);
        if let Err(reason) = self.admit(publisher, &decoded) {
            return self.quarantine(publisher, &raw, reason).await;
        }
        self.submit(publisher.name().to_owned(), decoded, raw).await
    }

    /// Hands a document to its stream's writer, and waits for the commit.
    pub(super) async fn submit(
        &self,
        publisher: String,
        decoded: Decoded,
        raw: Bytes,
    ) -> Result<Receipt, Error> {
        let feed_flag = decoded.header.feed_flag;
        let submission = submission(publisher, decoded, raw);
        let (reply, answer) = oneshot::channel();
        self.channel(feed_flag)
            .writer
            .try_send(Ticket { submission, reply })
            .map_err(|_| Error::Unavailable("too many documents wait"))?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(receipt)) => Ok(receipt),
            _ => Err(Error::Unavailable("the document is not stored yet")),
        }
    }

    fn count(&self, receipt: &Receipt) {
        let reason = match receipt {
            Receipt::Quarantined(reason) => reason.code(),
            _ => "",
        };
        let labels = [("outcome", receipt.outcome()), ("reason", reason)];
        self.metrics.add("results_documents", "Documents that came, by what became of them", &labels, 1);
    }

    // With the wait for a place among the large ones.
    fn count_parse(&self, took: Duration, bytes: usize) {
        let (took, bytes) = (u64::try_from(took.as_micros()), u64::try_from(bytes));
        self.metrics.add("results_parsed_documents", "Documents parsed", &[], 1);
        self.metrics.add("results_parsed_bytes", "Bytes parsed", &[], bytes.unwrap_or(u64::MAX));
        let help = "Time taken by parsing";
        self.metrics.add("results_parse_microseconds", help, &[], took.unwrap_or(u64::MAX));
    }

    // Odd content is the sender's to correct, and no reason to refuse a document.
    fn count_defects(&self, decoded: &Decoded) {
        let Defects { empty_attributes, doubled_sort_orders } = decoded.defects;
        if doubled_sort_orders > 0 {
            let key = &decoded.header.key;
            tracing::warn!(%key, lists = doubled_sort_orders, "results share a sort order");
        }
        let help = "Documents with odd content, by what is odd";
        for (defect, count) in
            [("EMPTY_ATTRIBUTE", empty_attributes), ("SORT_ORDER_DOUBLED", doubled_sort_orders)]
        {
            self.metrics.add("results_content_defects", help, &[("defect", defect)], u64::from(count > 0));
        }
    }

    pub(super) async fn decode(&self, raw: Bytes) -> Result<Result<Decoded, Reason>, Error> {
        if raw.len() < LARGE {
            return Ok(odf::decode(&raw));
        }
        let permit = self.large_parses.acquire().await.map_err(|_| Error::Unavailable("going down"))?;
        let decoded = tokio::task::spawn_blocking(move || odf::decode(&raw)).await;
        drop(permit);
        decoded.map_err(|_| Error::Unavailable("going down"))
    }

    pub(super) fn admit(&self, publisher: &Publisher, decoded: &Decoded) -> Result<(), Reason> {
        let header = &decoded.header;
        if header.key.competition_code != *self.competition {
            return Err(Reason::CompetitionUnknown);
        }
        match publisher {
            Publisher::Key(key) => key.admit(header.feed_flag, &header.key.document_code),
            Publisher::Client(_) => Ok(()),
        }
    }
}

/// A document for its stream, in the trace of who brings it now.
pub(super) fn submission(publisher: String, decoded: Decoded, raw: Bytes) -> Submission {
    let canonical = decoded.body.as_ref().map(|body| body.bytes().clone());
    Submission {
        sha256: canonical.as_deref().map(sha256),
        canonical,
        decoded,
        raw,
        publisher,
        span: tracing::Span::current(),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
