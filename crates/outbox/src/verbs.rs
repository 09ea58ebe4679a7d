//! What operators can do beside looking: verbs on the command line of each service that publishes or consumes. They work
//! on the service's own tables and its topics, whether or not its processes run.

mod consumers;
mod gap;
mod group;
mod parked;
mod rebase;
mod relay;
mod resend;
mod states;
mod topics;

use std::sync::Arc;

use chassis::{Operator, StartError, Stop, Verb};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::BoxFuture;
use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;
use sqlx::PgPool;

use crate::{Error, Subscription, Topic};

/// `records`, `consumer`, `outbox`, `topics` and `republish`, for [`chassis::run`].
pub static VERBS: &[Verb] = &[
    Verb { command: parked::command, run: |matches, operator| Box::pin(parked::run(matches, operator)) },
    Verb {
        command: consumers::command,
        run: |matches, operator| Box::pin(consumers::run(matches, operator)),
    },
    Verb { command: relay::command, run: |matches, operator| Box::pin(relay::run(matches, operator)) },
    Verb { command: topics::command, run: |_, operator| Box::pin(topics::run(operator)) },
    Verb { command: states::command, run: |matches, operator| Box::pin(states::run(matches, operator)) },
];

/// A component publishes.
pub(crate) struct Published {
    pub(crate) pool: PgPool,
    pub(crate) topics: &'static [&'static Topic],
}

/// A component consumes.
pub(crate) struct Consumed {
    pub(crate) pool: PgPool,
    pub(crate) subscription: Subscription,
}

/// A component can tell the states of a topic again.
pub(crate) struct Source {
    pub(crate) topic: &'static Topic,
    pub(crate) page: Page,
}

pub(crate) type Page =
    Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Result<StatePage, StartError>> + Send + Sync>;

/// What a page of [`crate::republish`] appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePage {
    /// So many states.
    pub states: usize,
    /// The last key, behind which the next page begins; none when there was no further key.
    pub last: Option<String>,
}

fn published(operator: &Operator) -> Result<&Published, Stop> {
    let found = operator.attached::<Published>().next();
    found.ok_or_else(|| Stop::Refused(format!("{} publishes nothing, it has no outbox", operator.service())))
}

fn consumers(operator: &Operator) -> Result<Vec<&Consumed>, Stop> {
    let found: Vec<&Consumed> = operator.attached().collect();
    if found.is_empty() {
        return Err(Stop::Refused(format!("{} has no consumer", operator.service())));
    }
    Ok(found)
}

// Each verb hears of its consumer by name; a wrong one is told the right ones.
fn consumer<'a>(operator: &'a Operator, name: &str) -> Result<&'a Consumed, Stop> {
    let all = consumers(operator)?;
    let names: Vec<&str> = all.iter().map(|consumed| consumed.subscription.name.as_str()).collect();
    let Some(at) = names.iter().position(|known| *known == name) else {
        return Err(Stop::Usage(format!("there is no consumer {name}, only {}", names.join(", "))));
    };
    Ok(all[at])
}

/// An error as an operator sees it: what may pass is told from what does not.
fn stop(error: Error) -> Stop {
    let silent = |code: Option<RDKafkaErrorCode>| {
        matches!(
            code,
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::Resolve
            )
        )
    };
    match &error {
        Error::Kafka(inner) | Error::Refused { source: inner, .. } if silent(inner.rdkafka_error_code()) => {
            Stop::TimedOut(format!("kafka does not answer: {inner}"))
        }
        Error::Stalled | Error::LeaseLost => Stop::TimedOut(error.to_string()),
        _ => Stop::from(error),
    }
}

fn time(at: Option<DateTime<Utc>>) -> Value {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).into()
}
