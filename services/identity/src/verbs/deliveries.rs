//! `deliveries`: relying parties to be told of sessions' ends.

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use super::{Desk, limit, limit_arg, maybe, operator_arg, parsed, stop, time};
use crate::app::{DeliveryChoice, DeliveryRow};

const COLUMNS: [&str; 9] = [
    "delivery_id",
    "session_id",
    "client_id",
    "cause",
    "state",
    "attempts",
    "last_status",
    "created_at",
    "next_at",
];

pub(super) fn command() -> Command {
    let list = Command::new("list")
        .about("Lists deliveries, the newest first")
        .arg(limit_arg())
        .arg(Arg::new("client").long("client").value_name("CLIENT_ID").help("Only to this client"))
        .arg(
            Arg::new("state")
                .long("state")
                .value_parser(["pending", "delivered", "abandoned"])
                .help("Only in this state"),
        )
        .after_help("Example: identity deliveries list --state abandoned");
    let retry = Command::new("retry")
        .about("Tells a client at once, and tries for another day; one that was delivered stays so")
        .arg(Arg::new("delivery").required(true).value_name("DELIVERY_ID"))
        .after_help("Example: identity deliveries retry 01890a5d-ac96-774b-bcce-b302099a8057");
    Command::new("deliveries")
        .about("Relying parties to be told of sessions' ends (back-channel logout)")
        .long_about(
            "Relying parties to be told of sessions' ends (back-channel logout). One that does not answer is told again \
             after 1 s, 2 s ... 15 min, and given up after a day. LAST STATUS is the HTTP status of its last answer, 0 when \
             there was none.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([list, retry])
        .after_help("Example: identity deliveries list --state pending")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("list or retry".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    if verb == "retry" {
        let delivery_id = parsed(matches, "delivery")?;
        let row = desk.app.retry_logout_delivery(&desk.actor, delivery_id).await.map_err(stop)?;
        return operator.table(&COLUMNS, &[cells(row)]);
    }
    let choice =
        DeliveryChoice { client_id: maybe(matches, "client"), state: maybe(matches, "state"), after: None };
    let rows = desk.app.list_logout_deliveries(&choice, limit(matches)).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = rows.into_iter().map(cells).collect();
    operator.table(&COLUMNS, &rows)
}

fn cells(row: DeliveryRow) -> Vec<Value> {
    vec![
        row.delivery_id.to_string().into(),
        row.session_id.to_string().into(),
        row.client_id.into(),
        row.cause.into(),
        row.state.into(),
        row.attempts.into(),
        row.last_status.into(),
        time(Some(row.created_at)),
        time(Some(row.next_at)),
    ]
}
