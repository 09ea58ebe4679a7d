//! Whether what a person told stands where operators may look: in logs, spans, metrics, or Kafka's keys and headers.

mod writing;

use std::{collections::BTreeSet, fmt};

use anyhow::{Result, ensure};
use testkit::{CaughtRecord, Span};

use crate::Suite;
use writing::{Readings, Sought};

/// Where operators may look, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Such as `the log of mailer`.
    pub name: String,
    /// Everything that stands there.
    pub text: String,
}

/// Something personal where it does not belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Where.
    pub place: String,
    /// What.
    pub secret: String,
    /// In which writing.
    pub writing: &'static str,
}

/// Finds each of these texts in each place, however it is written there: in any case, percent-encoded, escaped as in
/// JSON, Rust, HTML or quoted-printable, in base64, in hexadecimal, or as a list of bytes.
#[must_use]
pub fn leaks(places: &[Place], secrets: &[&str]) -> Vec<Leak> {
    let sought: Vec<Sought> = secrets.iter().map(|secret| Sought::new(secret)).collect();
    let mut leaks = Vec::new();
    for place in places {
        let readings = Readings::of(&place.text);
        for (secret, sought) in secrets.iter().zip(&sought) {
            if let Some(writing) = readings.find(sought) {
                leaks.push(Leak { place: place.name.clone(), secret: (*secret).to_owned(), writing });
            }
        }
    }
    leaks
}

impl Place {
    /// A process's log.
    #[must_use]
    pub fn log(process: &str, text: String) -> Self {
        Self { name: format!("the log of {process}"), text }
    }

    /// A process's figures.
    #[must_use]
    pub fn metrics(process: &str, text: String) -> Self {
        Self { name: format!("the metrics of {process}"), text }
    }

    /// Everything that a span says, and what happened on its way.
    #[must_use]
    pub fn span(span: &Span) -> Self {
        let mut text = span.name.clone();
        let events = span.events.iter().flat_map(|(_, attributes)| attributes);
        for (name, value) in span.attributes.iter().chain(events) {
            text.extend(["\n", name, "=", value]);
        }
        for part in span.events.iter().map(|(name, _)| name).chain(&span.error) {
            text.extend(["\n", part]);
        }
        Self { name: format!("a span {} of {}", span.name, span.service), text }
    }

    /// What everybody who may see a topic's records sees without reading a payload.
    #[must_use]
    pub fn record(record: &CaughtRecord) -> Self {
        let mut text = record.key.clone();
        for (name, value) in &record.headers {
            text.extend(["\n", name, "=", value]);
        }
        Self { name: format!("key and headers of a record on {}", record.topic), text }
    }
}

impl Suite {
    /// Everything that a suite has left where operators may look.
    ///
    /// # Errors
    /// A place that is empty, where the look would prove nothing.
    pub async fn places(&self) -> Result<Vec<Place>> {
        let mut places = BTreeSet::new();
        for (name, log) in self.logs().await? {
            ensure!(!log.is_empty(), "{name} logged nothing");
            places.insert(Place::log(name, log));
        }
        let spans = self.spans.look(|spans| {
            places.extend(spans.iter().map(Place::span));
            spans.len()
        });
        ensure!(spans > 100, "only {spans} spans came");
        let http = reqwest::Client::builder().no_proxy().build()?;
        for service in self.shape.services() {
            let url = self.addresses.metrics_url(service);
            let page = http.get(url).send().await?.error_for_status()?.text().await?;
            ensure!(page.contains("# TYPE"), "{service} shows no metrics");
            places.insert(Place::metrics(service.name(), page));
        }
        let records = self.facts.all().await;
        ensure!(records.len() > 20, "only {} records lie on Kafka", records.len());
        places.extend(records.iter().map(Place::record));
        Ok(places.into_iter().collect())
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds {}, {}", self.place, self.secret, self.writing)
    }
}

#[cfg(test)]
mod tests;
