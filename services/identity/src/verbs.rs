//! What operators do on the command line: `identity <verb> ...`. The same use cases as by gRPC, whether or not a process
//! runs; whoever types is noted in the audit by name.

mod audit;
mod clients;
mod deliveries;
mod keys;
mod registration;
mod sessions;
mod users;

use std::sync::LazyLock;

use chassis::{Actor, Code, Coded as _, Operator, Stop, Verb};
use clap::{Arg, ArgMatches};
use domain::{DateTime, Utc};
use serde_json::Value;

use crate::{app::App, error::Error};

static OWN: [Verb; 7] = [
    Verb { command: clients::command, run: |matches, operator| Box::pin(clients::run(matches, operator)) },
    Verb { command: keys::command, run: |matches, operator| Box::pin(keys::run(matches, operator)) },
    Verb { command: users::command, run: |matches, operator| Box::pin(users::run(matches, operator)) },
    Verb { command: sessions::command, run: |matches, operator| Box::pin(sessions::run(matches, operator)) },
    Verb {
        command: deliveries::command,
        run: |matches, operator| Box::pin(deliveries::run(matches, operator)),
    },
    Verb {
        command: registration::command,
        run: |matches, operator| Box::pin(registration::run(matches, operator)),
    },
    Verb { command: audit::command, run: |matches, operator| Box::pin(audit::run(matches, operator)) },
];

/// Those of the outbox, then ours, for [`chassis::run`], and for [`chassis::run_all`] beside other services.
pub static VERBS: LazyLock<Vec<Verb>> = LazyLock::new(|| {
    let all = outbox::VERBS.iter().chain(&OWN).map(|verb| Verb { command: verb.command, run: verb.run });
    all.collect()
});

/// Who types, and what is worked on.
struct Desk<'a> {
    app: &'a App,
    actor: Actor,
}

impl<'a> Desk<'a> {
    /// With the keys of the database: subjects, secrets and seals are made of them.
    async fn open(operator: &'a Operator, matches: &ArgMatches) -> Result<Self, Stop> {
        let Some(app) = operator.attached::<App>().next() else {
            let service = operator.service();
            return Err(Stop::Refused(format!("{service} has no users and clients: --service identity has")));
        };
        let name = matches.try_get_one::<String>("operator").ok().flatten().cloned();
        let actor = actor(name)?;
        app.refresh_keys().await.map_err(stop)?;
        Ok(Self { app, actor })
    }
}

/// Who it is, for the audit.
fn operator_arg() -> Arg {
    Arg::new("operator")
        .long("operator")
        .value_name("NAME")
        .global(true)
        .help("Who you are, for the audit; by default the name that you are logged in under")
}

fn actor(named: Option<String>) -> Result<Actor, Stop> {
    let from = |name: &str| std::env::var(name).ok().filter(|name| !name.is_empty());
    let name = named.or_else(|| from("SUDO_USER")).or_else(|| from("USER")).unwrap_or_default();
    let letters = |letter: char| letter.is_alphanumeric() || ".-_@".contains(letter);
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(letters) {
        let rule = "1 to 64 letters, digits, `.`, `-`, `_` or `@`";
        return Err(Stop::Usage(format!("say who you are by --operator NAME: {rule}")));
    }
    let scopes = ["identity.read", "identity.support", "identity.admin"].map(str::to_owned).to_vec();
    Ok(Actor {
        subject: format!("operator:{name}"),
        client_id: "command line".to_owned(),
        scopes,
        acr: None,
        expires_at: DateTime::<Utc>::MAX_UTC,
    })
}

/// An error as an operator sees it: what to do, where it can be said.
fn stop(error: Error) -> Stop {
    match &error {
        Error::Invalid(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.field, field.rule)).collect();
            Stop::Usage(fields.join("; "))
        }
        Error::NotFound { what } => {
            let list = match *what {
                "client" => "identity clients list",
                "key" => "identity keys list",
                "session" => "identity sessions list USER_ID",
                "logout delivery" => "identity deliveries list",
                "credential" => "identity users credentials USER_ID",
                "consent" => "identity users consents USER_ID",
                "registration policy" => "identity registration policies",
                _ => "identity users list",
            };
            Stop::failed(format!("no such {what}: `{list}` shows what there is"))
        }
        Error::StaleVersion { actual } => {
            Stop::Refused(format!("somebody changed it meanwhile, it is at version {actual}: look again"))
        }
        Error::HasProfile => Stop::Refused(
            "profile knows this user: ask profile for the erasure, which reaches every service".to_owned(),
        ),
        other if other.code() == Code::FailedPrecondition || other.code() == Code::AlreadyExists => {
            Stop::Refused(error.to_string())
        }
        _ => Stop::from(error),
    }
}

/// An argument that is there: clap saw to it.
fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}

/// An argument that need not be there.
fn maybe(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

/// Parses an argument, or says what it must be.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(matches: &ArgMatches, name: &str) -> Result<T, Stop> {
    text(matches, name).parse().map_err(|rule: T::Err| Stop::Usage(format!("{name}: {rule}")))
}

/// How many rows a list has.
fn limit_arg() -> Arg {
    Arg::new("limit")
        .long("limit")
        .default_value("50")
        .value_parser(clap::value_parser!(u32).range(1..=10_000))
        .help("So many at most")
}

fn limit(matches: &ArgMatches) -> u32 {
    matches.get_one::<u32>("limit").copied().unwrap_or(50)
}

/// A time in a table.
fn time(at: Option<DateTime<Utc>>) -> Value {
    at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_has_a_name() {
        let named = |name: &str| actor(Some(name.to_owned()));
        assert_eq!(named("alice.tanaka@ops").unwrap().subject, "operator:alice.tanaka@ops");
        for wrong in ["a b", "x\n", "a:b", &"x".repeat(65)] {
            assert_eq!(named(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
        assert_eq!(named("alice").unwrap().user(), None);
    }

    #[test]
    fn a_key_id_may_begin_with_hyphens() {
        for start in ["-g", "-h", "--R", "--yes"] {
            let kid = format!("{start:P<43}");
            let typed = ["keys", "retire", &kid, "--yes"];
            let matches = keys::command().try_get_matches_from(typed).unwrap();
            let (_, retire) = matches.subcommand().unwrap();
            assert_eq!((text(retire, "kid"), retire.get_flag("yes")), (kid.as_str(), true));
        }
    }

    #[test]
    fn each_verb_has_an_example() {
        for verb in &OWN {
            let mut command = (verb.command)();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example: identity "), "{help}");
            // `help` is the library's own.
            for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
                let help = inner.render_long_help().to_string();
                assert!(help.contains("Example: identity "), "{help}");
            }
        }
    }
}
