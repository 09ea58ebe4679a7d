//! `audit`: what was done by whom, and whether somebody changed the record of it.

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use domain::{DateTime, Utc};
use serde_json::Value;

use super::{Desk, limit, limit_arg, maybe, operator_arg, parsed, stop, time};
use crate::app::AuditChoice;

pub(super) fn command() -> Command {
    let at = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TIME").help(help);
    let only =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TEXT").help(help);
    let list = Command::new("list")
        .about("Lists records, the newest first")
        .arg(limit_arg())
        .arg(only("actor", "Only of this actor: a user id, a client id, operator:NAME, system or anonymous"))
        .arg(only("action", "Only of this action, such as disable_user"))
        .arg(only("subject", "Only to this user, client, session or key"))
        .arg(at("since", "Only from this time on (RFC 3339)"))
        .arg(at("until", "Only before this time"))
        .after_help("Example: identity audit list --action disable_user --since 2026-07-24T00:00:00Z");
    let verify = Command::new("verify")
        .about("Looks whether records and seals are what was written; exit code 1 when they are not")
        .arg(at("since", "Only seals from this time on"))
        .after_help("Example: identity audit verify");
    Command::new("audit")
        .about("What was done by whom, and whether somebody changed the record of it")
        .long_about(
            "What was done by whom. Each second new records are sealed by a MAC that is chained to the one before, so that a \
             record cannot be changed, added or taken away unseen. Note the last seal that `verify` prints elsewhere: it \
             shows later whether the end was cut off.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([list, verify])
        .after_help("Example: identity audit verify")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("list or verify".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    if verb == "verify" {
        return verify(&desk, matches, &operator).await;
    }
    let choice = AuditChoice {
        actor: maybe(matches, "actor"),
        action: maybe(matches, "action"),
        subject: maybe(matches, "subject"),
        from: at(matches, "since")?,
        to: at(matches, "until")?,
        after: None,
    };
    let rows = desk.app.list_audit_records(&choice, limit(matches)).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = rows
        .into_iter()
        .map(|row| {
            vec![
                time(Some(row.at)),
                row.actor.into(),
                row.action.into(),
                row.subject.into(),
                row.client_id.into(),
                row.outcome.into(),
                row.detail.to_string().into(),
            ]
        })
        .collect();
    operator.table(&["at", "actor", "action", "subject", "client_id", "outcome", "detail"], &rows)
}

fn at(matches: &ArgMatches, name: &str) -> Result<Option<DateTime<Utc>>, Stop> {
    match maybe(matches, name) {
        Some(_) => parsed(matches, name).map(Some),
        None => Ok(None),
    }
}

async fn verify(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let (mut seals, mut records, mut from, mut since) = (0, 0, 0, at(matches, "since")?);
    let (mut faults, mut last) = (Vec::new(), None);
    loop {
        let check = desk.app.verify_audit_seals(from, since.take()).await.map_err(stop)?;
        seals += check.seals;
        records += check.records;
        faults.extend(check.faults);
        last = check.last.or(last);
        match check.next {
            Some(next) => from = next,
            None => break,
        }
    }
    let hex = |mac: &[u8]| mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    operator.fields(&[
        ("seals", seals.into()),
        ("records", records.into()),
        ("faults", faults.len().into()),
        ("last_seal_no", last.as_ref().map(|last| last.seal_no).into()),
        ("last_mac", last.as_ref().map(|last| hex(&last.mac)).into()),
    ])?;
    if faults.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<Value>> =
        faults.iter().map(|fault| vec![fault.seal_no.into(), fault.what.into()]).collect();
    operator.table(&["seal_no", "what"], &rows)?;
    Err(Stop::failed("the audit is not what was written"))
}
