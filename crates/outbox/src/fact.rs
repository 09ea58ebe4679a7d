use chrono::{DateTime, Datelike, Utc};
use domain::{EventId, Service};
use sqlx::{AssertSqlSafe, PgTransaction};
use tracing::Instrument;

use crate::{Error, Topic, topic::Class, trace};

/// Payload and key of a fact, in bytes: below the broker's limit of a record (1 MiB) with room for headers.
pub const MAX_FACT_BYTES: usize = 900_000;

/// Versions leave the high bits of `kotinos_version` to the schema's generation.
pub(crate) const VERSION_BITS: u32 = 48;

/// Something that became true about an aggregate.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Where it goes.
    pub topic: &'static Topic,
    /// The aggregate's id, never an e-mail address: keys are seen by every operator of the broker.
    pub key: String,
    /// Past tense: `ProfileMerged`.
    pub fact_type: &'static str,
    /// Protocol buffers; none is a tombstone: the key is gone.
    pub payload: Option<Vec<u8>>,
    /// The row's version, 0 in unordered topics; below 2^48.
    pub version: i64,
    /// When it became true, in the years 0 to 9999.
    pub occurred_at: DateTime<Utc>,
    /// UUIDv7, whose day tells readers where they keep it.
    pub event_id: EventId,
}

impl Fact {
    fn check(&self) -> Result<(), Error> {
        let topic = self.topic.name;
        let bytes = self.payload.as_ref().map_or(0, Vec::len) + self.key.len();
        if bytes > MAX_FACT_BYTES {
            return Err(Error::TooLarge { topic, bytes, limit: MAX_FACT_BYTES });
        }
        if self.key.is_empty() || self.key.len() > 512 || self.key.contains('\0') {
            return Err(Error::Fact { topic, rule: "the key has 1 to 512 bytes, without NUL" });
        }
        if !(0..1 << VERSION_BITS).contains(&self.version) {
            return Err(Error::Fact { topic, rule: "the version is 0 or more and below 2^48" });
        }
        if !(0..=9999).contains(&self.occurred_at.year()) {
            return Err(Error::Fact {
                topic,
                rule: "it occurred in the years 0 to 9999, which RFC 3339 can write",
            });
        }
        if self.payload.is_none() && self.topic.class != Class::State {
            return Err(Error::Fact { topic, rule: "only a state topic has tombstones" });
        }
        Ok(())
    }
}

/// Writes the fact into the service's outbox as part of `tx`; it goes out after the commit, and never without it.
///
/// Call it **after** the aggregate's row was locked: the row's place in the order is drawn here. The current span's
/// trace context goes along.
///
/// # Errors
/// Too large a fact, a wrong key, version or time, a transaction that is not READ COMMITTED, the database.
pub async fn append(tx: &mut PgTransaction<'_>, service: Service, fact: &Fact) -> Result<(), Error> {
    fact.check()?;
    let span = tracing::info_span!(
        "append",
        otel.name = format!("append {}", fact.topic.name),
        messaging.system = "kafka",
        messaging.destination.name = fact.topic.name,
        messaging.message.id = %fact.event_id,
    );
    insert(tx, service, fact).instrument(span).await
}

async fn insert(tx: &mut PgTransaction<'_>, service: Service, fact: &Fact) -> Result<(), Error> {
    let context = trace::current();
    // The isolation is checked by the insert itself, so that it costs no round trip.
    let sql = format!(
        "insert into {}.outbox
            (id, aggregatetype, aggregateid, type, payload, version, occurred_at, traceparent, tracestate)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9
         where current_setting('transaction_isolation') = 'read committed'",
        service.short()
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(fact.event_id.0)
        .bind(fact.topic.name)
        .bind(&fact.key)
        .bind(fact.fact_type)
        .bind(fact.payload.as_deref())
        .bind(fact.version)
        .bind(fact.occurred_at)
        .bind(context.as_ref().map(|context| context.traceparent.as_str()))
        .bind(context.as_ref().and_then(|context| context.tracestate.as_deref()))
        .execute(&mut **tx)
        .await?;
    if done.rows_affected() == 0 { Err(Error::Isolation) } else { Ok(()) }
}
