use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::Service;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::Message as _,
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::mpsc;
use tracing::Span;

use crate::{Error, client, delivery, lease::Row, planner::Mark};

/// Why a record is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Its turn came.
    Row(Mark),
    /// Once more, for a fence.
    Fenced(i64),
    /// Once more, for an operator.
    Again,
}

/// What Kafka said to a record.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Sent,
    /// Without a prefix.
    pub(crate) topic: Arc<str>,
    /// Partition and offset.
    pub(crate) result: Result<(i32, i64), KafkaError>,
}

struct InFlight {
    sent: Sent,
    topic: Arc<str>,
    span: Option<Span>,
}

struct Answers(mpsc::UnboundedSender<Answer>);

impl ClientContext for Answers {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the relay's kafka client reports an error");
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<InFlight>;

    // On the client's own thread. The channel has no bound of its own: the planner's windows bound what is in flight.
    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let result = match result {
            Ok(record) => Ok((record.partition(), record.offset())),
            Err((error, _)) => {
                if let Some(span) = &in_flight.span {
                    delivery::failed(span, error);
                }
                Err(error.clone())
            }
        };
        let InFlight { sent, topic, .. } = *in_flight;
        // The relay may be gone already.
        let _ = self.0.send(Answer { sent, topic, result });
    }
}

/// The relay's Kafka producer. After an error of any record it is of no more use: a new one goes on from the cursor.
pub(crate) struct Producer {
    inner: Arc<ThreadedProducer<Answers>>,
    service: Service,
    prefix: String,
    generation: i32,
    // Topics as rows name them, and as the broker does.
    names: HashMap<Arc<str>, Arc<str>>,
}

impl Producer {
    pub(crate) fn new(
        settings: &chassis::Settings,
        service: Service,
        generation: i32,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Answer>), Error> {
        let (answers, receiver) = mpsc::unbounded_channel();
        let inner = Arc::new(config(settings, service)?.create_with_context(Answers(answers))?);
        let prefix = client::prefix(settings).to_owned();
        Ok((Self { inner, service, prefix, generation, names: HashMap::new() }, receiver))
    }

    pub(crate) async fn send(&mut self, row: &Row, sent: Sent) -> Result<(), Error> {
        let (span, carried) = delivery::publish_span(row);
        let (topic, name) = self.names(&row.topic);
        let headers = delivery::headers(row, self.service, self.generation, carried.as_ref());
        // The record's timestamp is the time of sending, by which Kafka keeps it; when the fact occurred is `ce_time`. A
        // broker refuses a timestamp from the future, and a writer's wrong clock would bring the relay to a stand.
        let mut record =
            BaseRecord::<str, [u8], _>::with_opaque_to(&name, Box::new(InFlight { sent, topic, span }))
                .key(&row.key)
                .headers(headers);
        if let Some(payload) = &row.payload {
            record = record.payload(payload);
        }
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((source, _)) => return Err(Error::Refused { topic: row.topic.clone(), source }),
            }
        }
    }

    fn names(&mut self, topic: &str) -> (Arc<str>, Arc<str>) {
        if let Some((topic, name)) = self.names.get_key_value(topic) {
            return (Arc::clone(topic), Arc::clone(name));
        }
        let (topic, name): (Arc<str>, Arc<str>) = (topic.into(), format!("{}{topic}", self.prefix).into());
        self.names.insert(Arc::clone(&topic), Arc::clone(&name));
        (topic, name)
    }

    /// Forgets everything that was not acknowledged.
    pub(crate) fn purge(&self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }

    /// Ends the client away from the runtime's threads: it waits for its own.
    pub(crate) async fn close(self) {
        self.purge();
        let inner = self.inner;
        let _ = tokio::task::spawn_blocking(move || drop(inner)).await;
    }
}

fn config(settings: &chassis::Settings, service: Service) -> Result<ClientConfig, Error> {
    let mut config = client::config(settings, service)?;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // A record that is lost between delivered ones of its key would invert them: better a fatal error.
        .set("enable.gapless.guarantee", "true")
        // Records never time out: one that did, with delivered successors, would invert its key.
        .set("message.timeout.ms", "0")
        // As Java's client does it, so that any producer of a site puts a key into the same partition.
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("allow.auto.create.topics", "false");
    Ok(config)
}
