//! `keys`: what tokens are signed with.

use chassis::{Operator, Stop};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{Desk, operator_arg, stop, text, time};
use crate::{
    app::KeyRow,
    jws::{Algorithm, UnknownAlgorithm},
};

const COLUMNS: [&str; 7] = ["kid", "alg", "state", "kek_id", "created_at", "activated_at", "retired_at"];

pub(super) fn command() -> Command {
    // base64url may begin with a hyphen.
    let kid = || Arg::new("kid").required(true).value_name("KID").allow_hyphen_values(true);
    let list = Command::new("list")
        .about(
            "Lists keys, and under which line of the KEK file each is sealed: a line that none names may go",
        )
        .after_help("Example: identity keys list");
    let stage = Command::new("stage")
        .about("Makes the next key and publishes it")
        .arg(
            Arg::new("alg")
                .long("alg")
                .default_value("ES256")
                .value_name("ALG")
                .help("ES256, RS256 or PS256"),
        )
        .after_help("Example: identity keys stage --alg ES256");
    let promote = Command::new("promote")
        .about("Signs with a staged key from now on; the active one only verifies")
        .arg(kid())
        .arg(Arg::new("at-once").long("at-once").action(ArgAction::SetTrue).help(
            "Although it was not published for 24 hours: relying parties that keep keys refuse tokens for a while",
        ))
        .after_help("Example: identity keys promote gRVPvGVnmSY4vGLwkhDJGLh8pGnJUJVLNZzHRUZUbUM");
    let retire = Command::new("retire")
        .about("Takes a staged or retired key away at once: what it signed is good no more")
        .arg(kid())
        .arg(chassis::yes())
        .after_help("Example: identity keys retire gRVPvGVnmSY4vGLwkhDJGLh8pGnJUJVLNZzHRUZUbUM --yes");
    Command::new("keys")
        .about("Keys that sign tokens")
        .long_about(
            "Keys that sign tokens. They change by themselves: every 90 days one is published for a day, signs, and then \
             only verifies for a month. A key that leaked: stage another one, promote it --at-once, retire the leaked one.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([list, stage, promote, retire])
        .after_help("Example: identity keys list")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("list, stage, promote or retire".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    let (app, actor) = (desk.app, &desk.actor);
    match verb {
        "list" => {
            let rows: Vec<_> = app.list_keys().await.map_err(stop)?.into_iter().map(cells).collect();
            operator.table(&COLUMNS, &rows)
        }
        "stage" => {
            let algorithm: Result<Algorithm, UnknownAlgorithm> = text(matches, "alg").parse();
            let algorithm = algorithm.map_err(|rule| Stop::Usage(format!("--alg: {rule}")))?;
            let row = app.stage_key(actor, algorithm).await.map_err(stop)?;
            operator.table(&COLUMNS, &[cells(row)])
        }
        "promote" => {
            let promoted = app.promote_key(actor, text(matches, "kid"), matches.get_flag("at-once")).await;
            operator.table(&COLUMNS, &[cells(promoted.map_err(stop)?)])
        }
        _ => {
            let kid = text(matches, "kid");
            operator.confirm(&format!("would take {kid} away: whatever it signed is refused"))?;
            app.retire_key(actor, kid).await.map_err(stop)?;
            operator.say(&format!("{kid} is taken away"))
        }
    }
}

fn cells(row: KeyRow) -> Vec<Value> {
    vec![
        row.kid.into(),
        row.algorithm.name().into(),
        row.state.name().into(),
        row.kek_id.into(),
        time(Some(row.created_at)),
        time(row.activated_at),
        time(row.retired_at),
    ]
}
