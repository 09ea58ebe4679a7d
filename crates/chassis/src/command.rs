//! The command line of a process: verbs, settings from flags, the environment and files, and their listing.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches as _};
use domain::Service;

use crate::{Settings, Verb, secret, verb};

/// What a process was asked to do, with its settings.
pub(crate) struct Invocation<C> {
    pub(crate) asked: Asked,
    pub(crate) settings: Settings,
    pub(crate) config: C,
}

pub(crate) enum Asked {
    Serve,
    Migrate {
        check: bool,
    },
    Health,
    /// Lists the settings.
    Config {
        json: bool,
    },
    /// One that a crate beside us added, with its arguments.
    Operate(&'static Verb, ArgMatches),
}

/// Names with our prefix that scripts and tests own.
const FOREIGN: [&str; 10] = [
    "KOTINOS_TEST_",
    "KOTINOS_STACK",
    "KOTINOS_BASE_URL",
    "KOTINOS_POSTGRES_PORT",
    "KOTINOS_KAFKA_PORT",
    "KOTINOS_KAFKA_TLS_PORT",
    "KOTINOS_KAFKA_CONTROLLER_PORT",
    "KOTINOS_KAFKA_PROXIED",
    "KOTINOS_DEMO_",
    "KOTINOS_PARIS_DAY",
];

/// The command of a service with its settings and the verbs that were added.
pub(crate) fn command<C: Args>(service: Service, verbs: &'static [Verb]) -> Command {
    let command = Command::new(service.name())
        .about(about(service))
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(
            "Each setting is also an environment variable of the name in brackets. One that holds a secret can be a \
             file: NAME_FILE=/path, read again when it changes. An unknown name with our prefix is refused.",
        )
        .args_conflicts_with_subcommands(false)
        .subcommand(Command::new("serve").about("Runs the service (the default)"))
        .subcommand(
            Command::new("migrate").about("Brings the database's schema up to date, and ends").arg(
                Arg::new("check")
                    .long("check")
                    .action(ArgAction::SetTrue)
                    .help("Only says whether it is up to date (exit code 0) or not (1)"),
            ),
        )
        .subcommand(Command::new("health").about("Asks the running process on this machine whether it is ready"))
        .subcommand(
            Command::new("config").about("Lists every setting, with its default and its meaning").arg(
                Arg::new("json").long("json").action(ArgAction::SetTrue).help("One object a line"),
            ),
        )
        .subcommands(verbs.iter().map(|added| verb::command(service, added)));
    let command = Settings::augment_args(command);
    // A group of settings would put its own description in the place of the service's.
    let command = C::augment_args(command).about(about(service)).long_about(None);
    // A setting can stand before or after the verb.
    command.mut_args(|arg| if arg.get_env().is_some() { arg.global(true) } else { arg })
}

fn about(service: Service) -> &'static str {
    match service {
        Service::Identity => {
            "The OpenID Provider: users, credentials, clients, sessions, grants, signing keys"
        }
        Service::Profile => "The truth about a person: traits, external ids, consents",
        Service::Segmentation => "Who belongs to which segment, why, and frozen sets for campaigns",
        Service::Mailer => "Campaigns, transactional mail, suppressions, over SMTP relays",
        Service::CrmSync => "The one door through which person data leaves, to CRMs, with a ledger",
        Service::ResultsFeed => "ODF in, an ordered durable feed of results out",
        Service::Portal => "The fans' face: account, consents, My Page, live results",
        Service::AllInOne => "Every service in one process, for a laptop",
    }
}

/// Reads the command line, the environment and secrets' files.
///
/// # Errors
/// What clap says of a wrong value, an unknown name, or `--help`.
pub(crate) fn read<C: Args>(
    service: Service,
    arguments: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
    verbs: &'static [Verb],
) -> Result<Invocation<C>, clap::Error> {
    let mut command = command::<C>(service, verbs);
    refuse_unknown(&mut command, service, environment)?;
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    arguments.splice(
        1.min(arguments.len())..,
        files(&command, environment).into_iter().chain(arguments[1.min(arguments.len())..].to_vec()),
    );
    let matches = command.try_get_matches_from_mut(arguments)?;
    let asked = asked(&matches, verbs);
    let leaf = verb::leaf(&matches);
    let settings = Settings::from_arg_matches(leaf).map_err(|error| error.format(&mut command))?;
    let config = C::from_arg_matches(leaf).map_err(|error| error.format(&mut command))?;
    Ok(Invocation { asked, settings, config })
}

fn asked(matches: &ArgMatches, verbs: &'static [Verb]) -> Asked {
    match matches.subcommand() {
        Some(("migrate", matches)) => Asked::Migrate { check: matches.get_flag("check") },
        Some(("health", _)) => Asked::Health,
        Some(("config", matches)) => Asked::Config { json: matches.get_flag("json") },
        Some((name, matches)) => match verb::find(verbs, name) {
            Some(verb) => Asked::Operate(verb, matches.clone()),
            None => Asked::Serve,
        },
        None => Asked::Serve,
    }
}

fn names(command: &Command) -> impl Iterator<Item = (&Arg, String)> {
    command.get_arguments().filter_map(|arg| Some((arg, arg.get_env()?.to_str()?.to_owned())))
}

// `NAME_FILE` of a secret, as a flag: the value itself stays in the file. The plain name wins where both are given.
fn files(command: &Command, environment: &BTreeMap<String, String>) -> Vec<OsString> {
    let secrets =
        names(command).filter(|(arg, name)| arg.is_hide_env_values_set() && !environment.contains_key(name));
    secrets
        .filter_map(|(arg, name)| {
            let path = environment.get(&format!("{name}_FILE"))?;
            Some(format!("--{}={}{path}", arg.get_long()?, secret::FILE).into())
        })
        .collect()
}

// A misspelt setting would be ignored, and its default be in force.
fn refuse_unknown(
    command: &mut Command,
    service: Service,
    environment: &BTreeMap<String, String>,
) -> Result<(), clap::Error> {
    let mut known: Vec<String> = Vec::new();
    for (arg, name) in names(command) {
        if arg.is_hide_env_values_set() {
            known.push(format!("{name}_FILE"));
        }
        known.push(name);
    }
    let own = match service {
        Service::AllInOne => Service::ALL.to_vec(),
        service => vec![service],
    };
    let prefixes: Vec<String> = own
        .iter()
        .map(|service| format!("{}_", service.short().to_uppercase()))
        .chain(["KOTINOS_".to_owned()])
        .collect();
    let ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let foreign = |name: &str| FOREIGN.iter().any(|prefix| name.starts_with(prefix));
    for name in environment.keys().filter(|name| ours(name) && !foreign(name)) {
        if known.contains(name) {
            continue;
        }
        let nearest = known.iter().min_by_key(|known| distance(known, name));
        let hint = nearest.map(|nearest| format!("; the nearest setting is {nearest}")).unwrap_or_default();
        let text = format!("the environment variable {name} is no setting of {service}{hint}");
        return Err(command.error(clap::error::ErrorKind::UnknownArgument, text));
    }
    Ok(())
}

// Levenshtein's distance; names are short.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, counter) in other.iter().enumerate() {
            let cost = diagonal + usize::from(letter != *counter);
            diagonal = row[place + 1];
            row[place + 1] = cost.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

/// Every setting: name, flag, default, meaning. A table, or an object a line.
pub(crate) fn listing<C: Args>(service: Service, json: bool) -> String {
    let command = command::<C>(service, &[]);
    let mut lines = String::new();
    for (arg, name) in names(&command) {
        let secret = arg.is_hide_env_values_set();
        let default = arg
            .get_default_values()
            .first()
            .filter(|_| !secret)
            .map(|text| text.to_string_lossy().into_owned());
        let meaning = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        if json {
            let line = serde_json::json!({
                "name": name, "flag": flag, "default": default, "secret": secret, "meaning": meaning,
            });
            lines.push_str(&line.to_string());
        } else {
            let meaning = meaning.replace('\n', " ");
            let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
            lines.push_str(&format!("{name}{default}\n    {meaning}"));
        }
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[derive(clap::Args, Debug, Clone)]
    struct Config {
        /// The database of the sample.
        #[arg(
            id = "PROFILE_DATABASE_URL",
            long = "profile-database-url",
            env = "PROFILE_DATABASE_URL",
            default_value = "postgres://localhost",
            hide_env_values = true
        )]
        database_url: Secret,
    }

    // A verb with words of its own below it.
    static VERBS: &[Verb] = &[Verb {
        command: || {
            let list =
                Command::new("list").about("Lists the pages").after_help("Example: profile pages list");
            Command::new("pages").about("Pages").subcommand_required(true).subcommand(list)
        },
        run: |_, _| Box::pin(async { Ok(()) }),
    }];

    fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation<Config>, clap::Error> {
        let arguments = arguments.iter().map(|text| OsString::from(*text));
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        super::read(Service::Profile, arguments, &environment.collect(), VERBS)
    }

    #[test]
    fn the_default_verb_serves() {
        let invocation = read(&["profile"], &[]).unwrap();
        assert!(matches!(invocation.asked, Asked::Serve));
        assert_eq!(invocation.config.database_url.expose(), "postgres://localhost");
    }

    #[test]
    fn a_setting_stands_before_or_after_the_verb() {
        for arguments in [["profile", "--log=debug", "migrate"], ["profile", "migrate", "--log=debug"]] {
            let invocation = read(&arguments, &[]).unwrap();
            assert!(matches!(invocation.asked, Asked::Migrate { check: false }));
            assert_eq!(invocation.settings.log, "debug");
        }
    }

    #[test]
    fn an_added_verb_has_the_settings_too() {
        let invocation = read(&["profile", "pages", "list", "--json", "--log=debug"], &[]).unwrap();
        let Asked::Operate(_, matches) = invocation.asked else { panic!("another verb") };
        assert_eq!(matches.subcommand_name(), Some("list"));
        assert_eq!(invocation.settings.log, "debug");
        let refused = read(&["profile", "pages", "burn"], &[]).err().unwrap();
        assert_eq!(refused.exit_code(), 2);
        assert_eq!(read(&["profile", "pages"], &[]).err().unwrap().exit_code(), 2);
    }

    #[test]
    fn the_help_of_an_added_verb_teaches_it_and_not_the_settings() {
        for arguments in [&["profile", "pages", "list", "--help"][..], &["profile", "pages", "list", "-h"]] {
            let help = read(arguments, &[]).err().unwrap();
            assert_eq!(help.exit_code(), 0);
            let help = help.to_string();
            assert!(help.contains("Usage: profile pages list [OPTIONS]"), "{help}");
            assert!(help.contains("Example: profile pages list"), "{help}");
            assert!(help.contains("--json") && !help.contains("KOTINOS_"), "{help}");
            assert!(!help.contains("--service"), "there is one only: {help}");
        }
        let root = read(&["profile", "--help"], &[]).err().unwrap().to_string();
        assert!(root.contains("pages") && root.contains("KOTINOS_LOG"), "{root}");
        assert!(root.starts_with("The truth about a person"), "{root}");
    }

    #[test]
    fn a_secret_comes_from_its_file() {
        let path = std::env::temp_dir().join(format!("url-{}", domain::new_id()));
        std::fs::write(&path, "postgres://elsewhere\n").unwrap();
        let invocation =
            read(&["profile"], &[("PROFILE_DATABASE_URL_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(invocation.config.database_url.expose(), "postgres://elsewhere");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_misspelt_setting_is_refused_with_the_nearest_name() {
        let refused = read(&["profile"], &[("KOTINOS_KAFKA_BROKER", "x")]).err().unwrap().to_string();
        assert!(refused.contains("KOTINOS_KAFKA_BROKER is no setting"), "{refused}");
        assert!(refused.contains("nearest setting is KOTINOS_KAFKA_BROKERS"), "{refused}");
        assert!(read(&["profile"], &[("KOTINOS_LOG_FILE", "x")]).is_err(), "no secret, so no file");
        assert!(
            read(&["profile"], &[("MAILER_ANYTHING", "x"), ("KOTINOS_TEST_KEYS", "x")]).is_ok(),
            "not ours"
        );
    }

    #[test]
    fn every_setting_is_listed_with_its_meaning() {
        let listing = listing::<Config>(Service::Profile, true);
        for line in listing.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["meaning"].as_str().is_some_and(|meaning| meaning.len() > 10), "{line}");
        }
        assert!(listing.contains("PROFILE_DATABASE_URL") && listing.contains("KOTINOS_OPS_ADDR"));
        assert!(!listing.contains("postgres://localhost"), "a secret's default is not told");
    }
}
