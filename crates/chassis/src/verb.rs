//! Operators' verbs that crates beside us add to the command line of a service: `<service> <verb> ...`.
//!
//! A verb finds what it works on among the attachments of a component ([`Component::attach`]); nothing is served
//! meanwhile. All are alike: a table, or with `--json` an object a line; what destroys something prints its plan and stops
//! unless `--yes` is given; the exit code tells how it ended ([`Stop`]).

mod answer;

use std::{any::Any, future::Future, pin::Pin};

use clap::{Arg, ArgAction, ArgMatches, Command};
use domain::{Clock, Service};
use serde_json::{Map, Value};

use self::answer::Output;
pub use self::answer::Stop;
use crate::{Component, Metrics, Process, Settings, StartError, component::Attachment, run};

/// Columns of a verb's help.
const WIDTH: usize = 100;

/// What a verb does, until it is done or stops.
pub type Done = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>>;

/// A verb, and what it does with its arguments.
pub struct Verb {
    /// Its name, arguments and help, which has an example. `--json` and, among several services, `--service` are added.
    pub command: fn() -> Command,
    /// Its work.
    pub run: fn(ArgMatches, Operator) -> Done,
}

/// The flag of verbs that destroy something: without it they only tell what they would do.
#[must_use]
pub fn yes() -> Arg {
    Arg::new("yes")
        .long("yes")
        .action(ArgAction::SetTrue)
        .help("Does it; without it the plan is printed only")
}

/// Whoever typed a verb: what it works on, and where its answer goes.
pub struct Operator {
    process: Process,
    attachments: Vec<Attachment>,
    json: bool,
    yes: bool,
    output: Output,
}

impl Operator {
    /// The process, in the name of the service that is worked on.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The service that is worked on.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.process.service()
    }

    /// What its component carries of this type.
    pub fn attached<T: Any>(&self) -> impl Iterator<Item = &T> {
        self.attachments.iter().filter_map(|attachment| attachment.downcast_ref())
    }

    /// Answers with rows under the names of their columns.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn table(&self, columns: &[&str], rows: &[Vec<Value>]) -> Result<(), Stop> {
        if !self.json {
            return self.output.write(&answer::table(columns, rows));
        }
        for row in rows {
            let object: Map<String, Value> =
                columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned()).collect();
            self.output.write(&format!("{}\n", Value::Object(object)))?;
        }
        Ok(())
    }

    /// Answers with the fields of one thing.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn fields(&self, fields: &[(&str, Value)]) -> Result<(), Stop> {
        if !self.json {
            return self.output.write(&answer::fields(fields));
        }
        let object: Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.output.write(&format!("{}\n", Value::Object(object)))
    }

    /// Answers with a sentence.
    ///
    /// # Errors
    /// The answer cannot be written.
    pub fn say(&self, sentence: &str) -> Result<(), Stop> {
        if self.json {
            return self.output.write(&format!("{}\n", serde_json::json!({ "message": sentence })));
        }
        self.output.write(&format!("{sentence}\n"))
    }

    /// Prints what is about to be destroyed, and goes on only with `--yes`.
    ///
    /// # Errors
    /// [`Stop::Refused`] without it.
    pub fn confirm(&self, plan: &str) -> Result<(), Stop> {
        if self.yes {
            return Ok(());
        }
        self.say(plan)?;
        Err(Stop::Refused("nothing was done; --yes does it".to_owned()))
    }
}

/// The command of an added verb, as it stands under that of a service.
pub(crate) fn command(service: Service, verb: &Verb) -> Command {
    let json =
        Arg::new("json").long("json").action(ArgAction::SetTrue).global(true).help("One object a line");
    let mut command = (verb.command)().arg(json);
    if service == Service::AllInOne {
        let named = Arg::new("service").long("service").value_name("SERVICE").global(true);
        command = command.arg(named.help("Which of the process's services"));
    }
    // Settings can stand behind every verb, but their forty lines would hide the few that teach it.
    let mut bare = Command::new(service.name()).subcommand(command.clone());
    bare.build();
    let name = command.get_name().to_owned();
    match bare.find_subcommand_mut(&name) {
        Some(bare) => with_help_of(command, bare),
        None => command,
    }
}

fn with_help_of(mut command: Command, bare: &mut Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    for name in names {
        if let Some(bare) = bare.find_subcommand_mut(&name) {
            command = command.mut_subcommand(name, |inner| with_help_of(inner, bare));
        }
    }
    command.override_help(wrapped(&bare.render_long_help().to_string()))
}

// Lines that fit a terminal; those that clap has laid out are shorter.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.chars().count() <= WIDTH {
            lines.push(line.to_owned());
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut begun = indent.to_owned();
        for word in line.split_whitespace() {
            if begun.len() > indent.len() && begun.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(std::mem::replace(&mut begun, indent.to_owned()));
            }
            if begun.len() > indent.len() {
                begun.push(' ');
            }
            begun.push_str(word);
        }
        lines.push(begun);
    }
    lines.join("\n")
}

/// The verb of this name.
pub(crate) fn find(verbs: &'static [Verb], name: &str) -> Option<&'static Verb> {
    verbs.iter().find(|verb| (verb.command)().get_name() == name)
}

/// The arguments of the innermost verb.
pub(crate) fn leaf(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| leaf(inner))
}

/// Does what an operator asked for.
pub(crate) async fn invoke<F, Fut>(
    verb: &Verb,
    matches: ArgMatches,
    service: Service,
    settings: Settings,
    build: F,
) -> Result<(), Stop>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    work(verb, matches, service, (settings, Clock::system()), Output::standard(), build).await
}

/// Does what a command line asks for, and gives what it answered and how it ended: for tests, which have no process of
/// their own.
///
/// # Errors
/// None; the second part of the answer has the verb's.
pub async fn operate<F, Fut>(
    verbs: &'static [Verb],
    arguments: &[&str],
    service: Service,
    (settings, clock): (Settings, Clock),
    build: F,
) -> (String, Result<(), Stop>)
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    run::install_crypto();
    let root = Command::new(service.name()).subcommands(verbs.iter().map(|verb| command(service, verb)));
    let arguments = [service.name()].into_iter().chain(arguments.iter().copied());
    let matches = match root.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(refused) => return (String::new(), Err(Stop::Usage(refused.to_string()))),
    };
    let asked = matches.subcommand().and_then(|(name, matches)| Some((find(verbs, name)?, matches.clone())));
    let Some((verb, matches)) = asked else {
        return (String::new(), Err(Stop::Usage("no verb".to_owned())));
    };
    let (output, kept) = Output::kept();
    let ended = work(verb, matches, service, (settings, clock), output, build).await;
    (kept.text(), ended)
}

async fn work<F, Fut>(
    verb: &Verb,
    matches: ArgMatches,
    service: Service,
    (settings, clock): (Settings, Clock),
    output: Output,
    build: F,
) -> Result<(), Stop>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<Vec<Component>, StartError>> + Send + 'static,
{
    let nowhere = ([127, 0, 0, 1], 0).into();
    let process = Process::new(service, settings, clock, Metrics::new(), nowhere).map_err(Stop::Failed)?;
    let components = build(process.clone()).await.map_err(Stop::Failed)?;
    let flag = |name| leaf(&matches).try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default();
    let (json, yes) = (flag("json"), flag("yes"));
    let named = leaf(&matches).try_get_one::<String>("service").ok().flatten();
    let component = choose(components, named.map(String::as_str))?;
    let process = process.of(component.service);
    let operator = Operator { process, attachments: component.attachments, json, yes, output };
    (verb.run)(matches, operator).await
}

// The component that is meant: the one that has something to work on.
fn choose(components: Vec<Component>, named: Option<&str>) -> Result<Component, Stop> {
    let mut able: Vec<Component> =
        components.into_iter().filter(|component| !component.attachments.is_empty()).collect();
    let names: Vec<&str> = able.iter().map(|component| component.service.name()).collect();
    let place = match named {
        Some(named) => names
            .iter()
            .position(|name| *name == named)
            .ok_or_else(|| Stop::Usage(format!("--service {named}: it is one of {}", names.join(", "))))?,
        None if able.len() == 1 => 0,
        None if able.is_empty() => {
            return Err(Stop::Refused("this service has nothing to work on".to_owned()));
        }
        None => {
            return Err(Stop::Usage(format!("say which service by --service: {}", names.join(", "))));
        }
    };
    Ok(able.swap_remove(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    static VERBS: &[Verb] = &[Verb {
        command: || {
            let burn = Command::new("burn").arg(yes()).after_help("Example: profile pages burn --yes");
            Command::new("pages").subcommand_required(true).subcommand(Command::new("list")).subcommand(burn)
        },
        run: |matches, operator| Box::pin(pages(matches, operator)),
    }];

    async fn pages(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
        let pages: Vec<u32> = operator.attached::<u32>().copied().collect();
        if matches.subcommand_name() == Some("burn") {
            operator.confirm(&format!("would burn {} pages", pages.len()))?;
            return operator.say("burnt");
        }
        let rows: Vec<Vec<Value>> =
            pages.iter().map(|page| vec![operator.service().name().into(), (*page).into()]).collect();
        operator.table(&["service", "page"], &rows)
    }

    async fn operate(service: Service, arguments: &[&str], hosted: &[Service]) -> (String, u8) {
        let components: Vec<Component> = hosted
            .iter()
            .map(|service| match service {
                Service::Portal => Component::new(*service),
                service => Component::new(*service).attach(7_u32).attach("other").attach(11_u32),
            })
            .collect();
        let with = (Settings::default(), Clock::system());
        let (text, ended) =
            super::operate(VERBS, arguments, service, with, |_| async { Ok(components) }).await;
        (text, ended.map_or_else(|stop| stop.exit_code(), |()| 0))
    }

    #[test]
    fn help_fits_a_terminal() {
        let prose = "word ".repeat(60);
        let text = format!("Usage: short\n\n    {}\n", prose.trim_end());
        let wrapped = wrapped(&text);
        assert!(wrapped.starts_with("Usage: short\n\n    word word"), "{wrapped}");
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH), "{wrapped}");
        assert!(wrapped.lines().skip(2).all(|line| line.starts_with("    word")), "{wrapped}");
        assert_eq!(wrapped.matches("word").count(), 60);
    }

    #[tokio::test]
    async fn an_answer_is_a_table_or_an_object_a_line() {
        let one = [Service::Profile];
        let (text, code) = operate(Service::Profile, &["pages", "list"], &one).await;
        assert_eq!((text.as_str(), code), ("SERVICE  PAGE\nprofile  7\nprofile  11\n", 0));
        let (text, _) = operate(Service::Profile, &["pages", "list", "--json"], &one).await;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let line = |page: u32| serde_json::json!({ "service": "profile", "page": page });
        assert_eq!(lines, [line(7), line(11)]);
    }

    #[tokio::test]
    async fn what_destroys_prints_its_plan_and_stops_unless_confirmed() {
        let one = [Service::Profile];
        let (text, code) = operate(Service::Profile, &["pages", "burn"], &one).await;
        assert_eq!((text.as_str(), code), ("would burn 2 pages\n", 3));
        let (text, code) = operate(Service::Profile, &["pages", "burn", "--yes"], &one).await;
        assert_eq!((text.as_str(), code), ("burnt\n", 0));
    }

    #[tokio::test]
    async fn among_several_services_one_is_named() {
        let (all, hosted) = (Service::AllInOne, [Service::Profile, Service::Portal, Service::Mailer]);
        assert_eq!(operate(all, &["pages", "list"], &hosted).await.1, 2);
        assert_eq!(operate(all, &["pages", "list", "--service", "portal"], &hosted).await.1, 2);
        let (text, code) = operate(all, &["pages", "list", "--service", "mailer"], &hosted).await;
        assert!(text.contains("mailer") && code == 0, "{text}");
        assert_eq!(operate(all, &["pages", "list"], &[Service::Portal, Service::Profile]).await.1, 0);
        assert_eq!(operate(Service::Portal, &["pages", "list"], &[Service::Portal]).await.1, 3);
        assert_eq!(operate(Service::Profile, &["pages", "lost"], &[Service::Profile]).await.1, 2);
    }
}
