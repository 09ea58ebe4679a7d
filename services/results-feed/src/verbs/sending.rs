//! Documents to a running feed as their senders POST them (ODF Foundation Principles 8.2): gzip, one key, and again until
//! taken.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    io::Write as _,
    time::Duration,
};

use chassis::{Operator, Stop};
use flate2::{Compression, write::GzEncoder};
use futures::future;
use serde::Deserialize;
use tokio::{sync::mpsc, time::Instant};

use super::generate::progress;
use crate::generator::Generated;

/// Senders at a time. All documents of one code go through one of them, so that they keep their order.
const LANES: usize = 8;
/// Documents that wait in a lane.
const WAITING: usize = 64;
/// How long a sender waits before it sends again, and how long for an answer (ODF Foundation Principles 8.2).
const AGAIN: Duration = Duration::from_secs(5);
/// Longest wait that an answer may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const LARGEST_ANSWER: usize = 64 << 10;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Times real time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Speed {
    /// As fast as the feed answers.
    #[default]
    Max,
    /// So many times faster.
    Times(f64),
}

/// Reads `max` or a number from 0.1 to 1000.
pub fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if (0.1..=1_000.0).contains(&times) => Ok(Speed::Times(times)),
        _ => Err("a number from 0.1 to 1000, or max".to_owned()),
    }
}

/// What became of the documents.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    accepted: u64,
    duplicate: u64,
    late: u64,
    quarantined: u64,
    refused: u64,
    again: u64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    outcome: String,
}

struct Sender {
    client: reqwest::Client,
    url: String,
    key: String,
}

enum Told {
    Outcome(String),
    /// Not taken, and no repeat helps.
    Refused(u16),
    /// Not yet: after this time.
    Later(Duration),
}

/// Sends every document at its time, and tells what became of them.
pub async fn send(
    documents: impl Iterator<Item = Generated>,
    url: &str,
    key: &str,
    speed: Speed,
    operator: &Operator,
) -> Result<(), Stop> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Stop::Usage("--to is an http or https address".to_owned()));
    }
    let sender =
        Sender { client: operator.process().http_client(), url: url.to_owned(), key: key.to_owned() };
    let begun = Instant::now();
    let (lanes, queues): (Vec<_>, Vec<_>) = (0..LANES).map(|_| mpsc::channel::<Generated>(WAITING)).unzip();
    let working = future::try_join_all(queues.into_iter().map(|queue| sender.work(queue)));
    let ((), tallies) = future::try_join(feed(documents, lanes, speed, begun), working).await?;
    let total = tallies.into_iter().fold(Tally::default(), Tally::plus);
    operator.fields(&[
        ("accepted", total.accepted.into()),
        ("duplicate", total.duplicate.into()),
        ("late", total.late.into()),
        ("quarantined", total.quarantined.into()),
        ("refused", total.refused.into()),
        ("sent_again", total.again.into()),
        ("milliseconds", u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).into()),
    ])
}

// Each document to its lane when it is due. A lane that stands still holds the others back, as a full line would.
async fn feed(
    documents: impl Iterator<Item = Generated>,
    lanes: Vec<mpsc::Sender<Generated>>,
    speed: Speed,
    begun: Instant,
) -> Result<(), Stop> {
    let (mut count, mut told_at) = (0_u64, begun);
    for generated in documents {
        if let Speed::Times(times) = speed {
            let offset = Duration::from_millis(generated.offset_ms).div_f64(times);
            tokio::time::sleep_until(begun + offset).await;
        }
        let mut hasher = DefaultHasher::new();
        // A broken code goes where its whole one would, by what both have.
        generated.document_code.get(..33).hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default();
        if let Some(lane) = lanes.get(lane) {
            // A lane that is gone has failed, and its error ends everything.
            let _ = lane.send(generated).await;
        }
        count += 1;
        if told_at.elapsed() >= PROGRESS {
            told_at = Instant::now();
            progress(&format!("{count} documents sent"))?;
        }
    }
    Ok(())
}

impl Sender {
    async fn work(&self, mut queue: mpsc::Receiver<Generated>) -> Result<Tally, Stop> {
        let mut tally = Tally::default();
        while let Some(generated) = queue.recv().await {
            let body = gzip(&generated.document)?;
            loop {
                match self.post(&body).await? {
                    Told::Outcome(outcome) => {
                        tally.count(&outcome);
                        break;
                    }
                    Told::Refused(status) => {
                        tally.refused += 1;
                        let Generated { document_type, document_code, version, .. } = &generated;
                        progress(&format!(
                            "refused with {status}: {document_type} {document_code} version {version}"
                        ))?;
                        break;
                    }
                    Told::Later(pause) => {
                        tally.again += 1;
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
        Ok(tally)
    }

    async fn post(&self, body: &[u8]) -> Result<Told, Stop> {
        let request = self
            .client
            .post(&self.url)
            .header("x-api-key", &self.key)
            .header("content-encoding", "gzip")
            .header("content-type", "application/xml")
            .body(body.to_vec())
            .timeout(AGAIN);
        let begun = Instant::now();
        // Each 5 s, counted from when it was sent.
        let Ok(answer) = request.send().await else {
            return Ok(Told::Later(AGAIN.saturating_sub(begun.elapsed())));
        };
        match answer.status().as_u16() {
            200 => {
                let Ok(text) = chassis::read_bounded(answer, LARGEST_ANSWER).await else {
                    return Ok(Told::Later(AGAIN));
                };
                let outcome = serde_json::from_slice::<Answer>(&text).map(|answer| answer.outcome);
                Ok(Told::Outcome(outcome.unwrap_or_default()))
            }
            401 => Err(Stop::Refused("the feed does not know the key (401)".to_owned())),
            status @ (429 | 500..=599 | 408) => {
                let asked = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let asked = asked.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
                tracing::debug!(status, "document is sent again");
                Ok(Told::Later(asked.unwrap_or(AGAIN).min(LONGEST_WAIT)))
            }
            status => Ok(Told::Refused(status)),
        }
    }
}

impl Tally {
    fn count(&mut self, outcome: &str) {
        match outcome {
            "duplicate" => self.duplicate += 1,
            "late" => self.late += 1,
            "quarantined" => self.quarantined += 1,
            _ => self.accepted += 1,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            duplicate: self.duplicate + other.duplicate,
            late: self.late + other.late,
            quarantined: self.quarantined + other.quarantined,
            refused: self.refused + other.refused,
            again: self.again + other.again,
        }
    }
}

fn gzip(document: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(document)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("60"), Ok(Speed::Times(60.0)));
        for wrong in ["0", "-1", "inf", "NaN", "1001", "fast", ""] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }
}
