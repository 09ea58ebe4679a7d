use domain::{DateTime, Service, Utc, Uuid};
use sqlx::{AssertSqlSafe, PgPool};

/// A fact on its way to Kafka, as it lies in a service's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// `ce_id`
    pub id: Uuid,
    /// Without a prefix.
    pub topic: String,
    /// The aggregate's id.
    pub key: String,
    /// `ce_type`
    pub fact_type: String,
    /// Protocol buffers; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Of the aggregate; 0 on topics without order.
    pub version: i64,
    /// By the service's clock.
    pub occurred_at: DateTime<Utc>,
    /// Of the span that appended it.
    pub traceparent: Option<String>,
}

type Columns = (Uuid, String, String, String, Option<Vec<u8>>, i64, DateTime<Utc>, Option<String>);

/// Every fact that a service has told so far, in the order in which the relay sends them. Rows outlast their delivery.
///
/// # Panics
/// When the service has no outbox in this database.
pub async fn records_in_outbox(pool: &PgPool, service: Service) -> Vec<OutboxRow> {
    let schema = service.short();
    let sql = format!(
        "select id, aggregatetype, aggregateid, type, payload, version, occurred_at, traceparent
         from {schema}.outbox
         order by position, seq"
    );
    let rows: Vec<Columns> = sqlx::query_as(AssertSqlSafe(sql))
        .fetch_all(pool)
        .await
        .unwrap_or_else(|error| panic!("the outbox of {service} cannot be read: {error}"));
    let row = |(id, topic, key, fact_type, payload, version, occurred_at, traceparent): Columns| OutboxRow {
        id,
        topic,
        key,
        fact_type,
        payload,
        version,
        occurred_at,
        traceparent,
    };
    rows.into_iter().map(row).collect()
}
