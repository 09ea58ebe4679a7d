//! `outbox`: how far the relay is and what holds it back; what database this is, after a restore or a failover.

use chassis::{Operator, Stop};
use chrono::{DateTime, Utc};
use clap::{ArgMatches, Command};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{Published, published, rebase, resend, time};
use crate::{Error, measure};

pub(super) fn command() -> Command {
    let status = Command::new("status")
        .about("Tells how far the relay is, what waits, who leads and what holds it back")
        .after_help("Example: profile outbox status");
    let rebase = Command::new("rebase")
        .about("Takes this database as a restored one and moves the relay's cursor to its positions")
        .long_about(
            "After a restore: transaction ids may have started again, so the positions of rows say nothing any more. \
             Rows that were sent stay sent, those that were not go out first, and the versions of all that follows are \
             raised above everything that readers saw before (the schema's generation). Stop the service first. \
             Readers' own restore is another matter: rebuild consumers, and `republish` states.",
        )
        .arg(chassis::yes())
        .after_help("Example: profile outbox rebase --yes");
    let accept = Command::new("accept-timeline")
        .about("Takes the database after a failover that lost no commit")
        .long_about(
            "After a failover to a synchronous replica, which has every commit: the same database on a new timeline. \
             Where commits may be lost, or it was restored to an earlier time, use `outbox rebase`.",
        )
        .arg(chassis::yes())
        .after_help("Example: profile outbox accept-timeline --yes");
    Command::new("outbox")
        .about("The outbox and its relay: how far it is, what is sent again, and what database this is")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([status, resend::command(), rebase, accept])
        .after_help("Example: profile outbox status")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let published = published(&operator)?;
    match matches.subcommand() {
        Some(("rebase", _)) => rebase::rebase(&operator, &published.pool).await,
        Some(("accept-timeline", _)) => rebase::accept_timeline(&operator, &published.pool).await,
        Some(("resend", matches)) => resend::resend(&operator, published, matches).await,
        _ => status(&operator, published).await,
    }
}

#[derive(sqlx::FromRow)]
struct Cursor {
    position: i64,
    seq: i64,
    generation: i32,
    leader: Option<String>,
    refusal: Option<String>,
    saved_at: DateTime<Utc>,
    is_led: bool,
    horizon: i64,
    // None before the first relay.
    same_system: Option<bool>,
    same_timeline: Option<bool>,
    open_fences: i64,
    // Topics.
    sent_again: Option<String>,
}

async fn status(operator: &Operator, published: &Published) -> Result<(), Stop> {
    let (pool, service) = (&published.pool, operator.service());
    let cursor = load(operator, published).await?;
    let waiting = measure::waiting(pool, service, operator.process().clock().now()).await?;
    let horizon = measure::horizon(pool).await?;
    let is_same = |same: Option<bool>| match same {
        None => "not known yet",
        Some(true) => "the cursor's",
        Some(false) => "another",
    };
    // Figures of seconds, rows and processes: a table has no use for their fractions.
    let whole = |figure: f64| format!("{figure:.0}").parse::<i64>().map_or(Value::Null, Value::from);
    operator.fields(&[
        ("position", cursor.position.into()),
        ("seq", cursor.seq.into()),
        ("saved_at", time(Some(cursor.saved_at))),
        ("generation", cursor.generation.into()),
        ("leader", cursor.leader.into()),
        ("is_led", cursor.is_led.into()),
        ("refusal", cursor.refusal.into()),
        ("sent_again", cursor.sent_again.into()),
        ("unsent_rows", whole(waiting.rows)),
        ("oldest_unsent_seconds", whole(waiting.oldest)),
        ("horizon", cursor.horizon.into()),
        ("horizon_seconds", whole(horizon.age)),
        ("blocking_pid", if horizon.pid == 0.0 { Value::Null } else { whole(horizon.pid) }),
        ("system_identifier", is_same(cursor.same_system).into()),
        ("timeline", is_same(cursor.same_timeline).into()),
        ("open_fences", cursor.open_fences.into()),
    ])
}

async fn load(operator: &Operator, published: &Published) -> Result<Cursor, Error> {
    // The leader's session has the lock; the name may be of one that died.
    let sql = format!(
        "select position, seq, generation, leader, refusal, saved_at,
                exists (
                    select from pg_locks
                    where locktype = 'advisory' and granted and objsubid = 1
                      and database = (select oid from pg_database where datname = current_database())
                      and ((classid::bigint << 32) | objid::bigint) = hashtextextended($1 || '.relay', 0)) as is_led,
                pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon,
                system_identifier = (select system_identifier from pg_control_system()) as same_system,
                timeline = {timeline} as same_timeline,
                (select count(*) from {schema}.relay_fence where closed_at is null) as open_fences,
                (select string_agg(topic, ', ' order by topic) from {schema}.relay_resend) as sent_again
         from {schema}.relay_cursor",
        timeline = rebase::TIMELINE,
        schema = operator.service().short(),
    );
    let query = sqlx::query_as(AssertSqlSafe(sql)).bind(operator.service().short());
    Ok(query.fetch_one(&published.pool).await?)
}
