//! `records`: what failed and waits, and what becomes of it. Payloads are shown to nobody who does not ask for them by
//! `--reveal`: they may be a person's.

use chassis::{Operator, Stop};
use chrono::{DateTime, Utc};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use domain::Service;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::{consumers, time};
use crate::Error;

const LISTED: i64 = 100;
const COLUMNS: [&str; 13] = [
    "consumer",
    "topic",
    "partition",
    "offset",
    "key",
    "event_id",
    "type",
    "version",
    "bytes",
    "class",
    "attempts",
    "next_at",
    "error",
];

pub(super) fn command() -> Command {
    let list = Command::new("list")
        .about("Lists parked records, the oldest of each key first")
        .arg(
            Arg::new("limit")
                .long("limit")
                .default_value("100")
                .value_parser(value_parser!(i64).range(1..=100_000))
                .help("So many at most"),
        )
        .args(narrowing())
        .after_help("Example: profile records list --consumer profile");
    let show = Command::new("show")
        .about("Shows one parked record")
        .arg(Arg::new("event").required(true).value_name("EVENT_ID").value_parser(value_parser!(Uuid)))
        .arg(Arg::new("reveal").long("reveal").action(ArgAction::SetTrue).help(
            "With its payload in hexadecimal, which may hold personal data; the log says who asked for which",
        ))
        .after_help("Example: profile records show 01890a5d-ac96-774b-bcce-b302099a8057");
    let replay = choosing(Command::new("replay"))
        .about("Has parked keys tried again at once, each from its oldest record")
        .after_help("Example: profile records replay --all");
    let discard = choosing(Command::new("discard"))
        .about("Deletes parked records: they never have their effect. The log says which")
        .arg(chassis::yes())
        .after_help("Example: profile records discard --event 01890a5d-ac96-774b-bcce-b302099a8057 --yes");
    Command::new("records")
        .about("Records that failed and wait, and what becomes of them")
        .long_about(
            "A record that fails three times parks its key: later records of the key wait behind it, other keys go on. \
             It is tried again after 1 and 5 minutes, half an hour, 2 and 12 hours, and then waits for an operator. \
             Mend what is at fault and replay, or discard.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([list, show, replay, discard])
        .after_help("Example: profile records list")
}

fn narrowing() -> [Arg; 2] {
    [
        Arg::new("consumer").long("consumer").value_name("NAME").help("Only of this consumer"),
        Arg::new("topic")
            .long("topic")
            .value_name("TOPIC")
            .help("Only of this topic, named without a prefix"),
    ]
}

// What is changed is named, or said to be everything.
fn choosing(command: Command) -> Command {
    command
        .args(narrowing())
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("EVENT_ID")
                .value_parser(value_parser!(Uuid))
                .help("The record of this fact"),
        )
        .arg(Arg::new("key").long("key").value_name("KEY").help("All records of this key"))
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Everything that is parked"))
        .group(ArgGroup::new("which").args(["event", "key", "all"]).required(true))
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let parked = Parked { pool: consumers(&operator)?[0].pool.clone(), service: operator.service() };
    match matches.subcommand() {
        Some(("list", matches)) => list(&parked, matches, &operator).await,
        Some(("show", matches)) => show(&parked, matches, &operator).await,
        Some(("replay", matches)) => replay(&parked, matches, &operator).await,
        Some(("discard", matches)) => discard(&parked, matches, &operator).await,
        _ => Err(Stop::Usage("list, show, replay or discard".to_owned())),
    }
}

async fn list(parked: &Parked, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let limit = matches.get_one::<i64>("limit").copied().unwrap_or(LISTED);
    let rows: Vec<Vec<Value>> =
        parked.find(&Choice::of(matches), limit).await?.iter().map(Row::cells).collect();
    operator.table(&COLUMNS, &rows)
}

async fn show(parked: &Parked, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let choice = Choice::of(matches);
    let rows = parked.some(&choice).await?;
    let reveal = matches.get_flag("reveal");
    for row in &rows {
        let mut fields: Vec<(&str, Value)> = COLUMNS.into_iter().zip(row.cells()).collect();
        fields.push(("occurred_at", time(Some(row.occurred_at))));
        fields.push(("parked_at", time(Some(row.parked_at))));
        fields.push(("traceparent", row.traceparent.clone().into()));
        if reveal {
            row.log("records show --reveal");
            fields.push(("payload", parked.payload(row).await?.into()));
        }
        operator.fields(&fields)?;
    }
    Ok(())
}

async fn replay(parked: &Parked, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let choice = Choice::of(matches);
    let heads = parked.replay(&choice, operator.process().clock().now()).await?;
    if heads.is_empty() {
        return Err(choice.nothing());
    }
    for head in &heads {
        head.log("records replay");
    }
    operator.say(&format!("{} keys are tried again, each from its oldest record", heads.len()))
}

async fn discard(parked: &Parked, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let choice = Choice::of(matches);
    let rows = parked.some(&choice).await?;
    if !matches.get_flag("yes") {
        let cells: Vec<Vec<Value>> = rows.iter().map(Row::cells).collect();
        operator.table(&COLUMNS, &cells)?;
    }
    operator
        .confirm(&format!("would delete these {} records; they would never have their effect", rows.len()))?;
    let gone = parked.discard(&choice).await?;
    for row in &gone {
        row.log("records discard");
    }
    operator.say(&format!("{} records are discarded", gone.len()))
}

/// Which records are meant.
struct Choice {
    consumer: Option<String>,
    topic: Option<String>,
    key: Option<String>,
    event: Option<Uuid>,
}

impl Choice {
    // Not every verb has every argument.
    fn of(matches: &ArgMatches) -> Self {
        let text = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
        Self {
            consumer: text("consumer"),
            topic: text("topic"),
            key: text("key"),
            event: matches.try_get_one::<Uuid>("event").ok().flatten().copied(),
        }
    }

    fn nothing(&self) -> Stop {
        let named = [
            self.event.map(|event| format!("event {event}")),
            self.key.as_ref().map(|key| format!("key {key}")),
            self.consumer.as_ref().map(|consumer| format!("consumer {consumer}")),
            self.topic.as_ref().map(|topic| format!("topic {topic}")),
        ];
        let named: Vec<String> = named.into_iter().flatten().collect();
        if named.is_empty() {
            return Stop::failed("no record is parked");
        }
        Stop::failed(format!("no parked record of {}", named.join(", ")))
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    consumer: String,
    topic: String,
    partition: i32,
    record_key: String,
    record_offset: i64,
    event_id: Uuid,
    fact_type: String,
    version: i64,
    occurred_at: DateTime<Utc>,
    bytes: Option<i32>,
    traceparent: Option<String>,
    attempts: i32,
    class: String,
    error: Option<String>,
    next_at: Option<DateTime<Utc>>,
    parked_at: DateTime<Utc>,
}

const FIELDS: &str = "consumer, topic, partition, record_key, record_offset, event_id, fact_type, version, occurred_at, \
                      octet_length(payload) as bytes, traceparent, attempts, class, error, next_at, parked_at";
const CHOSEN: &str = "($1::text is null or consumer = $1) and ($2::text is null or topic = $2)
                      and ($3::text is null or record_key = $3) and ($4::uuid is null or event_id = $4)";

impl Row {
    fn cells(&self) -> Vec<Value> {
        vec![
            self.consumer.as_str().into(),
            self.topic.as_str().into(),
            self.partition.into(),
            self.record_offset.into(),
            self.record_key.as_str().into(),
            self.event_id.to_string().into(),
            self.fact_type.as_str().into(),
            self.version.into(),
            self.bytes.into(),
            self.class.as_str().into(),
            self.attempts.into(),
            time(self.next_at),
            self.error.clone().into(),
        ]
    }

    // Who did it is known to whoever let them in; what, is known here.
    fn log(&self, verb: &'static str) {
        tracing::warn!(
            verb,
            consumer = self.consumer,
            topic = self.topic,
            partition = self.partition,
            offset = self.record_offset,
            event_id = %self.event_id,
            fact_type = self.fact_type,
            attempts = self.attempts,
            "an operator decides about a parked record"
        );
    }
}

/// The parked records of a service.
struct Parked {
    pool: PgPool,
    service: Service,
}

impl Parked {
    async fn rows(&self, sql: String, choice: &Choice) -> Result<Vec<Row>, Error> {
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(&choice.consumer)
            .bind(&choice.topic)
            .bind(&choice.key)
            .bind(choice.event);
        Ok(query.fetch_all(&self.pool).await?)
    }

    async fn find(&self, choice: &Choice, limit: i64) -> Result<Vec<Row>, Error> {
        let schema = self.service.short();
        let sql = format!(
            "select {FIELDS}
             from {schema}.parked_record
             where {CHOSEN}
             order by consumer, topic, partition, record_key, record_offset
             limit {limit}"
        );
        self.rows(sql, choice).await
    }

    async fn some(&self, choice: &Choice) -> Result<Vec<Row>, Stop> {
        let rows = self.find(choice, i64::MAX).await?;
        if rows.is_empty() { Err(choice.nothing()) } else { Ok(rows) }
    }

    /// Makes it the turn of the chosen keys; gives their oldest records, which go first whichever was chosen.
    async fn replay(&self, choice: &Choice, now: DateTime<Utc>) -> Result<Vec<Row>, Error> {
        let schema = self.service.short();
        let sql = format!(
            "update {schema}.parked_record
             set next_at = $5
             where (consumer, topic, partition, record_offset) in (
                 select distinct on (consumer, topic, partition, record_key)
                        consumer, topic, partition, record_offset
                 from {schema}.parked_record
                 where (consumer, topic, partition, record_key) in (
                     select consumer, topic, partition, record_key from {schema}.parked_record where {CHOSEN})
                 order by consumer, topic, partition, record_key, record_offset)
             returning {FIELDS}"
        );
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(&choice.consumer)
            .bind(&choice.topic)
            .bind(&choice.key)
            .bind(choice.event)
            .bind(now);
        Ok(query.fetch_all(&self.pool).await?)
    }

    async fn discard(&self, choice: &Choice) -> Result<Vec<Row>, Error> {
        let schema = self.service.short();
        let sql = format!("delete from {schema}.parked_record where {CHOSEN} returning {FIELDS}");
        self.rows(sql, choice).await
    }

    async fn payload(&self, row: &Row) -> Result<Option<String>, Error> {
        let sql = format!(
            "select encode(payload, 'hex')
             from {}.parked_record
             where consumer = $1 and topic = $2 and partition = $3 and record_offset = $4",
            self.service.short()
        );
        let found: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(&row.consumer)
            .bind(&row.topic)
            .bind(row.partition)
            .bind(row.record_offset)
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.flatten())
    }
}
