//! `registration`: clients that register themselves.

use chassis::{Operator, Stop, yes};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

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
        .arg(yes())
        .after_help("Example: identity registration revoke partners --yes");
    Command::new("registration")
        .about("Clients that register themselves: policies and initial access tokens")
        .long_about(
            "Clients that register themselves at /oauth2/registration need an initial access token, which names a policy: \
             what they may ask for, and how many there may be. Policies stand in the bootstrap file.",
        )
        .subcommand_required(true)
        .subcommand(policies)
        .subcommand(token)
        .subcommand(revoke)
        .after_help("Example: identity registration policies --json")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let app = operator.attached::<App>().next();
    let app = app.ok_or_else(|| Stop::Refused("this service registers no clients".to_owned()))?;
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("say what to do: policies, token or revoke".to_owned()));
    };
    // Tokens are made of them.
    app.refresh_keys().await?;
    let policy = matches.try_get_one::<String>("policy").ok().flatten().map_or("", String::as_str);
    let unknown =
        || Stop::Usage(format!("there is no policy {policy}; `identity registration policies` lists them"));
    match verb {
        "policies" => list(app, &operator).await,
        "token" => {
            let token = app.initial_access_token(policy).await?.ok_or_else(unknown)?;
            operator.fields(&[("policy", policy.into()), ("initial_access_token", token.into())])
        }
        _ => {
            operator.confirm(&format!("would revoke the initial access tokens of {policy}"))?;
            if !app.revoke_initial_access_tokens(policy).await? {
                return Err(unknown());
            }
            operator.say(&format!("the initial access tokens of {policy} are revoked"))
        }
    }
}

async fn list(app: &App, operator: &Operator) -> Result<(), Stop> {
    let policies = app.registration_policies().await?;
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
