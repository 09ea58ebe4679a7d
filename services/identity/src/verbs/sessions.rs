//! `sessions`: browsers in which a user is signed in.

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use domain::UserId;
use serde_json::Value;

use super::{Desk, operator_arg, parsed, stop, time};

pub(super) fn command() -> Command {
    let user = || Arg::new("user").required(true).value_name("USER_ID");
    let list = Command::new("list")
        .about("Lists the live sessions of a user, the newest first")
        .arg(user())
        .after_help("Example: identity sessions list 01890a5d-ac96-774b-bcce-b302099a8057");
    let end = Command::new("end")
        .about("Ends one session; every site that it was used at is told")
        .arg(user())
        .arg(Arg::new("session").required(true).value_name("SESSION_ID"))
        .after_help(
            "Example: identity sessions end 01890a5d-ac96-774b-bcce-b302099a8057 01890a5e-0000-7000-8000-000000000000",
        );
    let end_all = Command::new("end-all")
        .about("Ends every session of a user")
        .arg(user())
        .arg(chassis::yes())
        .after_help("Example: identity sessions end-all 01890a5d-ac96-774b-bcce-b302099a8057 --yes");
    Command::new("sessions")
        .about("Browsers in which a user is signed in")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([list, end, end_all])
        .after_help("Example: identity sessions list 01890a5d-ac96-774b-bcce-b302099a8057")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("list, end or end-all".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    let user_id: UserId = parsed(matches, "user")?;
    match verb {
        "list" => {
            let sessions = desk.app.list_sessions(&desk.actor, user_id).await.map_err(stop)?;
            let rows: Vec<Vec<Value>> = sessions
                .into_iter()
                .map(|listed| {
                    vec![
                        listed.session.session_id.to_string().into(),
                        listed.client_ids.join(" ").into(),
                        time(Some(listed.session.pwd_at)),
                        time(Some(listed.session.seen_at)),
                        time(Some(listed.session.expires_at)),
                    ]
                })
                .collect();
            operator.table(&["session_id", "client_ids", "authenticated_at", "seen_at", "expires_at"], &rows)
        }
        "end" => {
            let session_id = parsed(matches, "session")?;
            desk.app.end_session_of(&desk.actor, user_id, session_id).await.map_err(stop)?;
            operator.say(&format!("{session_id} has ended; `identity deliveries list` shows who was told"))
        }
        _ => {
            let sessions = desk.app.list_sessions(&desk.actor, user_id).await.map_err(stop)?;
            operator.confirm(&format!("would end {} sessions", sessions.len()))?;
            desk.app.end_user_sessions(&desk.actor, user_id).await.map_err(stop)?;
            operator.say(&format!("{} sessions have ended", sessions.len()))
        }
    }
}
