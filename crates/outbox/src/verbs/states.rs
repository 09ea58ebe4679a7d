//! `republish`: the states of a topic told again, for readers that lost theirs with the topic.

use std::time::Duration;

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, sleep};

use super::{Source, published};
use crate::{Class, measure};

/// Rows that may wait for the relay before the next page: the outbox is no place for millions.
const AHEAD: f64 = 20_000.0;
/// A relay that sends nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn command() -> Command {
    Command::new("republish")
        .about("Tells the current states of a topic again")
        .long_about(
            "Tells the current state of every key of a state topic again, page by page: after the topic was lost, or was \
             made anew. Readers keep the highest version of a key, so that a repeat changes nothing for them. Facts that \
             are no states cannot be told again. The relay must run.",
        )
        .arg(
            Arg::new("topic")
                .required(true)
                .value_name("TOPIC")
                .help("Named without a prefix, as `topics` has it"),
        )
        .arg(Arg::new("after").long("after").value_name("KEY").help("Goes on behind this key, after a time-out"))
        .after_help("Example: profile republish kotinos.profile.profile.v1")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let name = matches.get_one::<String>("topic").map(String::as_str).unwrap_or_default();
    let source = source(&operator, name)?;
    let pool = &published(&operator)?.pool;
    let mut after = matches.get_one::<String>("after").cloned();
    tracing::warn!(verb = "republish", topic = name, "an operator has states told again");
    let mut states = 0;
    loop {
        wait_for_relay(&operator, pool, after.as_deref()).await?;
        let page = (source.page)(after.clone()).await.map_err(Stop::Failed)?;
        states += page.states;
        let Some(last) = page.last else { break };
        after = Some(last);
    }
    operator.say(&format!("{states} states of {name} are on their way"))
}

fn source<'a>(operator: &'a Operator, name: &str) -> Result<&'a Source, Stop> {
    if let Some(source) = operator.attached::<Source>().find(|source| source.topic.name() == name) {
        return Ok(source);
    }
    let topics = published(operator)?.topics;
    let sources: Vec<&str> = operator.attached::<Source>().map(|source| source.topic.name()).collect();
    let able = if sources.is_empty() {
        format!("{} can tell no topic again", operator.service())
    } else {
        format!("{} can tell again: {}", operator.service(), sources.join(", "))
    };
    match topics.iter().find(|topic| topic.name() == name) {
        None => Err(Stop::Usage(format!("{} does not write {name}; {able}", operator.service()))),
        Some(topic) if topic.class() != Class::State => {
            Err(Stop::Refused(format!("{name} has facts and no states, which are told once; {able}")))
        }
        Some(_) => Err(Stop::Refused(format!("the states of {name} cannot be told again yet; {able}"))),
    }
}

async fn wait_for_relay(operator: &Operator, pool: &PgPool, after: Option<&str>) -> Result<(), Stop> {
    let (service, clock) = (operator.service(), operator.process().clock());
    let cursor = format!("select position, seq from {}.relay_cursor", service.short());
    let (mut seen, mut since) = (None, Instant::now());
    loop {
        let rows = measure::waiting(pool, service, clock.now()).await?.rows;
        if rows <= AHEAD {
            return Ok(());
        }
        let now: (i64, i64) = sqlx::query_as(AssertSqlSafe(cursor.clone())).fetch_one(pool).await?;
        if seen != Some(now) {
            (seen, since) = (Some(now), Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let from = after.map(|key| format!(", then go on with --after {key}")).unwrap_or_default();
            return Err(Stop::TimedOut(format!(
                "{rows} rows wait and the relay sends none of them: see `outbox status`{from}"
            )));
        }
        sleep(Duration::from_millis(200)).await;
    }
}
