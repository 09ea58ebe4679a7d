//! `registration`: clients that register themselves.

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::{Desk, operator_arg, stop, text};
use crate::app::App;

pub(super) fn command() -> Command {
    let policy =
        || Arg::new("policy").value_name("POLICY").required(true).help("Its name in the bootstrap file");
    let policies = Command::new("policies")
        .about("Lists the policies, each with the number of its clients")
        .after_help("Example: identity registration policies --json");
    let token = Command::new("token")
        .about("Prints an initial access token: whoever has it registers clients under the policy")
        .arg(policy())
        .after_help("Example: identity registration token partners");
    let revoke = Command::new("revoke")
        .about("Revokes every initial access token of a policy; its clients stay")
        .arg(policy())
        .arg(chassis::yes())
        .after_help("Example: identity registration revoke partners --yes");
    Command::new("registration")
        .about("Clients that register themselves: policies and initial access tokens")
        .long_about(
            "Clients that register themselves at /oauth2/registration need an initial access token, which names a policy: \
             what they may ask for, and how many there may be. Policies stand in the bootstrap file.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([policies, token, revoke])
        .after_help("Example: identity registration policies --json")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("policies, token or revoke".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    match verb {
        "policies" => list(desk.app, &operator).await,
        "token" => {
            let policy = text(matches, "policy");
            let token = desk.app.initial_access_token(&desk.actor, policy).await.map_err(stop)?;
            operator.fields(&[("policy", policy.into()), ("initial_access_token", token.into())])
        }
        _ => {
            let policy = text(matches, "policy");
            operator.confirm(&format!("would revoke the initial access tokens of {policy}"))?;
            desk.app.revoke_initial_access_tokens(&desk.actor, policy).await.map_err(stop)?;
            operator.say(&format!("the initial access tokens of {policy} are revoked"))
        }
    }
}

async fn list(app: &App, operator: &Operator) -> Result<(), Stop> {
    let policies = app.registration_policies().await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = policies
        .into_iter()
        .map(|(policy, clients)| {
            vec![
                policy.name.into(),
                clients.into(),
                policy.most_clients.into(),
                policy.expires_at.map_or_else(|| json!("never"), |at| json!(at)),
                policy.scopes.join(" ").into(),
                policy.auth_methods.join(" ").into(),
            ]
        })
        .collect();
    operator.table(&["policy", "clients", "most_clients", "expires_at", "scopes", "auth_methods"], &rows)
}
