//! `consumer`: how far each one is; stopping one, letting it go on, having it read everything again.

use std::{collections::HashMap, time::Duration};

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::{Consumed, consumer, consumers, gap, group, stop, time};
use crate::{Error, pause};

/// So long a rebuild waits until every process has left the group; a killed one is in it for 8 seconds more.
const LEAVING: Duration = Duration::from_secs(30);

pub(super) fn command() -> Command {
    let name =
        || Arg::new("name").required(true).value_name("CONSUMER").help("As `consumer status` names it");
    let status = Command::new("status")
        .about("Tells how far each consumer is in each partition")
        .arg(Arg::new("name").value_name("CONSUMER").help("Only this one"))
        .after_help("Example: profile consumer status");
    let pause = Command::new("pause")
        .about("Stops a consumer in every process, also after a restart; within 2 seconds")
        .arg(name())
        .after_help("Example: profile consumer pause profile");
    let resume = Command::new("resume")
        .about("Lets a paused consumer go on where it was")
        .arg(name())
        .after_help("Example: profile consumer resume profile");
    let rebuild = Command::new("rebuild")
        .about("Has a consumer read its topics from the beginning again")
        .long_about(
            "Has a consumer read its topics from the beginning again: for a projection that is damaged, or whose consumer \
             was away for so long that records are gone. The consumer stops, its offsets, its claims in the inbox and its \
             parked records are forgotten, and it goes on. Effects that are claimed happen again; those that are \
             versioned change nothing where the row is newer, so empty the projection first where it is wrong. A \
             consumer whose effects leave the house, as mails do, refuses.",
        )
        .arg(name())
        .arg(chassis::yes())
        .after_help("Example: profile consumer rebuild profile --yes");
    let accept = Command::new("accept-gap")
        .about("Lets a consumer that refuses go on over the records that are gone")
        .long_about(
            "Lets a consumer that refuses to go on do so over what is gone. Where its topic was made anew it reads the new \
             one from the beginning: what it took in before keeps its claims, so that a fact that is sent again (`outbox \
             resend`) has no second effect. Where retention took records it goes on at the oldest one. What is gone has no \
             effect, and keys that were deleted meanwhile stay: `consumer rebuild` is the way without a gap.",
        )
        .arg(name())
        .arg(chassis::yes())
        .after_help("Example: profile consumer accept-gap profile --yes");
    Command::new("consumer")
        .about("Consumers: how far they are, and stopping, resuming, rebuilding them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([status, pause, resume, rebuild, accept])
        .after_help("Example: profile consumer status")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let (verb, matches) = matches.subcommand().unwrap_or(("status", &matches));
    let name = matches.get_one::<String>("name").map(String::as_str);
    let Some(name) = name else {
        return status(&operator, &consumers(&operator)?).await;
    };
    let one = consumer(&operator, name)?;
    let service = operator.service();
    match verb {
        "status" => status(&operator, &[one]).await,
        "pause" => {
            let sentence = if pause::set(&one.pool, service, name).await? {
                tracing::warn!(verb = "consumer pause", consumer = name, "an operator stops a consumer");
                format!("{name} is paused, `consumer resume {name}` lets it go on")
            } else {
                format!("{name} was paused already")
            };
            operator.say(&sentence)
        }
        "resume" => {
            let sentence = if pause::clear(&one.pool, service, name).await? {
                tracing::warn!(
                    verb = "consumer resume",
                    consumer = name,
                    "an operator lets a consumer go on"
                );
                format!("{name} goes on")
            } else {
                format!("{name} was not paused")
            };
            operator.say(&sentence)
        }
        "accept-gap" => gap::accept(&operator, one).await,
        _ => rebuild(&operator, one).await,
    }
}

async fn status(operator: &Operator, all: &[&Consumed]) -> Result<(), Stop> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for one in all {
        let name = one.subscription.name.as_str();
        let process = operator.process();
        let stopped = pause::since(&one.pool, operator.service(), name).await?;
        let refusal = Value::from(stopped.as_ref().and_then(|stopped| stopped.refusal.clone()));
        let paused = stopped.map(|stopped| stopped.at);
        let mut parked = parked_keys(operator, one).await?;
        let places = group::places(process.settings(), process.service(), &one.subscription).await;
        let places = places.map_err(stop)?;
        // A topic that is not there has no partition to tell of, and that is what matters.
        for topic in &one.subscription.topics {
            if !places.iter().any(|place| place.topic == *topic) {
                let nothing = std::iter::repeat_n(Value::Null, 5);
                let row = [name.into(), topic.as_str().into()].into_iter().chain(nothing);
                rows.push(row.chain([time(paused), refusal.clone()]).collect());
            }
        }
        for place in places {
            let keys = parked.remove(&(place.topic.clone(), place.partition)).unwrap_or_default();
            rows.push(vec![
                name.into(),
                place.topic.into(),
                place.partition.into(),
                place.committed.into(),
                place.end.into(),
                place.lag.into(),
                keys.into(),
                time(paused),
                refusal.clone(),
            ]);
        }
    }
    let mut columns =
        vec!["consumer", "topic", "partition", "committed", "end", "lag", "parked_keys", "paused_since"];
    columns.push("refusal");
    operator.table(&columns, &rows)
}

async fn parked_keys(operator: &Operator, one: &Consumed) -> Result<HashMap<(String, i32), i64>, Error> {
    let sql = format!(
        "select topic, partition, count(distinct record_key)
         from {}.parked_record
         where consumer = $1
         group by topic, partition",
        operator.service().short()
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(&one.subscription.name);
    let found: Vec<(String, i32, i64)> = query.fetch_all(&one.pool).await?;
    Ok(found.into_iter().map(|(topic, partition, keys)| ((topic, partition), keys)).collect())
}

async fn rebuild(operator: &Operator, one: &Consumed) -> Result<(), Stop> {
    let (name, service) = (one.subscription.name.as_str(), operator.service());
    if one.subscription.acts_once {
        return Err(Stop::Refused(format!(
            "{name} is never rebuilt: its effects leave the house, and reading everything again would repeat them"
        )));
    }
    operator.confirm(&format!(
        "would stop {name}, forget its offsets, its claims and its parked records, and let it read {} from the beginning",
        one.subscription.topics.join(", ")
    ))?;
    tracing::warn!(
        verb = "consumer rebuild",
        consumer = name,
        "an operator has a consumer read everything again"
    );
    // One that an operator had paused before stays so.
    let was_running = pause::set(&one.pool, service, name).await?;
    left(operator, name).await?;
    let settings = operator.process().settings();
    group::forget(settings, service, name).await.map_err(stop)?;
    forget(one, operator, was_running).await?;
    let after = if was_running { "reads from the beginning" } else { "will, once it is resumed" };
    operator.say(&format!("{name} {after}"))
}

// Nobody takes in records of the old reading any more.
pub(super) async fn left(operator: &Operator, name: &str) -> Result<(), Stop> {
    let process = operator.process();
    let until = Instant::now() + LEAVING;
    loop {
        let members = group::members(process.settings(), process.service(), name).await.map_err(stop)?;
        if members == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Stop::TimedOut(format!(
                "{members} processes still read as {name} after {} seconds; it stays paused: try again, or \
                 `consumer resume {name}`",
                LEAVING.as_secs()
            )));
        }
        sleep(Duration::from_millis(250)).await;
    }
}

async fn forget(one: &Consumed, operator: &Operator, resume: bool) -> Result<(), Error> {
    let (name, schema) = (one.subscription.name.as_str(), operator.service().short());
    let mut tx = one.pool.begin().await?;
    for table in ["inbox", "parked_record", "consumer_place"] {
        let sql = format!("delete from {schema}.{table} where consumer = $1");
        sqlx::query(AssertSqlSafe(sql)).bind(name).execute(&mut *tx).await?;
    }
    if resume {
        pause::clear(&mut *tx, operator.service(), name).await?;
    }
    Ok(tx.commit().await?)
}
