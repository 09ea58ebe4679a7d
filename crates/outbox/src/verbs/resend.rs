//! `outbox resend`: the rows of a topic sent again, when the topic lost them.

use chassis::{Operator, Stop};
use chrono::NaiveDate;
use clap::{Arg, ArgMatches, Command, value_parser};
use sqlx::AssertSqlSafe;

use super::{Published, stop};
use crate::{Class, Topic, client, topics};

pub(super) fn command() -> Command {
    Command::new("resend")
        .about("Sends the rows of a topic again, when it was made anew or lost records")
        .long_about(
            "Sends all rows of a topic again that the outbox still has, each key's in the order of its versions, and before \
             anything later. For a topic that was deleted and made anew, or lost its disk, which the relay refuses: it goes \
             on by itself then. A missing topic is made first where the service makes its topics; where an operator makes \
             them it must exist. Readers know repeats by their ids or versions. The outbox has three days; older states are \
             told again by `republish`, older facts cannot be.",
        )
        .arg(
            Arg::new("topic")
                .long("topic")
                .required(true)
                .value_name("TOPIC")
                .help("Named without a prefix, as `topics` has it"),
        )
        .arg(
            Arg::new("from-day")
                .long("from-day")
                .value_name("DAY")
                .value_parser(value_parser!(NaiveDate))
                .help("The first day (UTC) whose rows go out, such as 2026-02-06; else all of them"),
        )
        .arg(chassis::yes())
        .after_help("Example: profile outbox resend --topic kotinos.profile.consent.v1 --yes")
}

pub(super) async fn resend(
    operator: &Operator,
    published: &Published,
    matches: &ArgMatches,
) -> Result<(), Stop> {
    let name = matches.get_one::<String>("topic").map(String::as_str).unwrap_or_default();
    let from = matches.get_one::<NaiveDate>("from-day").copied();
    let topic = topic(operator, published, name)?;
    let (rows, first) = count(operator, published, name, from).await?;
    let since = first.map(|first| format!(" since {first}")).unwrap_or_default();
    operator.confirm(&format!("would send {rows} rows of {name}{since} again"))?;
    exists(operator, published, topic).await?;
    tracing::warn!(verb = "outbox resend", topic = name, rows, "an operator has a topic's rows sent again");
    ask(operator, published, name, from.or(first)).await?;
    let older = match topic.class() {
        Class::State => format!("; states from before are told again by `republish {name}`"),
        Class::Ordered | Class::Unordered => String::new(),
    };
    operator.say(&format!("{rows} rows of {name}{since} go out again, before all that comes later{older}"))
}

fn topic(operator: &Operator, published: &Published, name: &str) -> Result<&'static Topic, Stop> {
    let found = published.topics.iter().find(|topic| topic.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = published.topics.iter().map(|topic| topic.name()).collect();
        Stop::Usage(format!("{} does not write {name}, only {}", operator.service(), names.join(", ")))
    })
}

async fn count(
    operator: &Operator,
    published: &Published,
    name: &str,
    from: Option<NaiveDate>,
) -> Result<(i64, Option<NaiveDate>), Stop> {
    let sql = format!(
        "select count(*), min(day) from {}.outbox where aggregatetype = $1 and ($2::date is null or day >= $2)",
        operator.service().short()
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(name).bind(from).fetch_one(&published.pool).await?)
}

// The relay would stop again at once, and in front of it the readers.
async fn exists(operator: &Operator, published: &Published, topic: &Topic) -> Result<(), Stop> {
    let (settings, service) = (operator.process().settings(), operator.process().service());
    if client::ensures_topics(settings) {
        return topics::ensure(settings, service, published.topics).await.map_err(stop);
    }
    let compared = topics::compare(settings, service, published.topics).await.map_err(stop)?;
    let found = compared.iter().find(|compared| compared.topic.name() == topic.name());
    match found.and_then(|compared| compared.difference.as_deref()) {
        None => Ok(()),
        Some(difference) => Err(Stop::Refused(format!("{} is not as declared: {difference}", topic.name()))),
    }
}

// Where its old records ended says nothing about the topic any more.
async fn ask(
    operator: &Operator,
    published: &Published,
    name: &str,
    from: Option<NaiveDate>,
) -> Result<(), crate::Error> {
    let schema = operator.service().short();
    let mut tx = published.pool.begin().await?;
    let sql = format!("delete from {schema}.relay_end where topic = $1");
    sqlx::query(AssertSqlSafe(sql)).bind(name).execute(&mut *tx).await?;
    let sql = format!(
        "insert into {schema}.relay_resend as asked (topic, from_day)
         values ($1, coalesce($2, (clock_timestamp() at time zone 'utc')::date))
         on conflict (topic) do update set from_day = least(asked.from_day, excluded.from_day)"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(name).bind(from).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
