//! `users`: who can sign in. Addresses are masked for whoever does not ask for them by `--reveal`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{Operator, Stop};
use clap::{Arg, ArgAction, ArgMatches, Command};
use domain::{EmailAddress, UserId};
use serde_json::Value;

use super::{Desk, limit, limit_arg, maybe, operator_arg, parsed, stop, text, time};
use crate::{
    app::{CredentialKind, UserChoice},
    error::Error,
    user::{Status, User},
};

pub(super) fn command() -> Command {
    Command::new("users")
        .about("Who can sign in, and by what")
        .long_about(
            "Who can sign in, and by what. A user is named by id or by exact address. Disabling and erasing end the user's \
             sessions at every site.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands(looking())
        .subcommands(changing())
        .after_help("Example: identity users show alice@example.org")
}

fn user_arg() -> Arg {
    Arg::new("user").required(true).value_name("USER").help("Id or exact address")
}

fn reveal() -> Arg {
    Arg::new("reveal")
        .long("reveal")
        .action(ArgAction::SetTrue)
        .help("With whole addresses, which are personal; the log says who asked")
}

fn looking() -> Vec<Command> {
    vec![
        Command::new("list")
            .about("Lists users, the oldest first, or by address where a prefix is given")
            .arg(limit_arg())
            .arg(Arg::new("after").long("after").value_name("USER_ID").help("Only those behind this one"))
            .arg(
                Arg::new("status")
                    .long("status")
                    .value_parser(["active", "disabled"])
                    .help("Only in this state"),
            )
            .arg(Arg::new("prefix").long("prefix").value_name("TEXT").help("Only addresses that begin so"))
            .arg(reveal())
            .after_help("Example: identity users list --status disabled"),
        Command::new("show")
            .about("Shows a user")
            .arg(user_arg())
            .arg(reveal())
            .after_help("Example: identity users show alice@example.org"),
        Command::new("credentials")
            .about("Lists what a user signs in with")
            .arg(user_arg())
            .after_help("Example: identity users credentials alice@example.org"),
        Command::new("consents")
            .about("Lists what a user allowed clients")
            .arg(user_arg())
            .after_help("Example: identity users consents alice@example.org"),
    ]
}

fn changing() -> Vec<Command> {
    let reason = || Arg::new("reason").long("reason").required(true).value_name("TEXT").help("For the audit");
    vec![
        Command::new("create")
            .about("Makes a user without credentials, who comes in by recovery. You answer for the address")
            .arg(Arg::new("address").required(true).value_name("ADDRESS"))
            .arg(Arg::new("locale").long("locale").default_value("en").value_parser(["ja", "en", "fr"]))
            .after_help("Example: identity users create alice@example.org --locale ja"),
        Command::new("change-email")
            .about("Gives a user another address, for which you answer")
            .arg(user_arg())
            .arg(Arg::new("address").required(true).value_name("ADDRESS"))
            .arg(reason())
            .after_help(
                "Example: identity users change-email alice@example.org alice@example.com --reason moved",
            ),
        Command::new("disable")
            .about("Shuts a user out, and ends the user's sessions at every site")
            .arg(user_arg())
            .arg(reason())
            .after_help("Example: identity users disable alice@example.org --reason 'tickets sold on'"),
        Command::new("enable")
            .about("Lets a user in again")
            .arg(user_arg())
            .after_help("Example: identity users enable alice@example.org"),
        Command::new("delete-credential")
            .about("Takes a way to sign in from a user")
            .arg(user_arg())
            .arg(Arg::new("kind").long("kind").required(true).value_parser([
                "password",
                "passkey",
                "totp",
                "recovery_code",
            ]))
            .arg(
                Arg::new("id")
                    .long("id")
                    .value_name("CREDENTIAL_ID")
                    .allow_hyphen_values(true)
                    .help("Of a passkey"),
            )
            .arg(chassis::yes())
            .after_help("Example: identity users delete-credential alice@example.org --kind totp --yes"),
        Command::new("revoke-consent")
            .about("Takes back what a user allowed a client, and the client's tokens of this user")
            .arg(user_arg())
            .arg(Arg::new("client").required(true).value_name("CLIENT_ID"))
            .after_help("Example: identity users revoke-consent alice@example.org shop"),
        Command::new("erase")
            .about("Leaves nothing of a user but the id; only for a user whom profile does not know")
            .arg(user_arg())
            .arg(reason())
            .arg(chassis::yes())
            .after_help("Example: identity users erase alice@example.org --reason 'asked for by mail' --yes"),
    ]
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("say what to do with users: --help lists it".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    match verb {
        "list" => list(&desk, matches, &operator).await,
        "show" => show(&operator, &desk.user(matches).await?, revealed(&desk, matches)),
        "credentials" => credentials(&desk, matches, &operator).await,
        "consents" => consents(&desk, matches, &operator).await,
        "create" => {
            let (email, locale) = (address(matches)?, parsed(matches, "locale")?);
            let created = desk.app.create_user(&desk.actor, domain::new_id(), email, locale).await;
            show(&operator, &created.map_err(stop)?, false)
        }
        "change-email" => {
            let (user, email) = (desk.user(matches).await?, address(matches)?);
            let reason = text(matches, "reason");
            let version = Some(user.version);
            let changed = desk.app.change_email(&desk.actor, user.user_id, version, email, reason).await;
            show(&operator, &changed.map_err(stop)?, false)
        }
        "disable" => {
            let (user, reason) = (desk.user(matches).await?, text(matches, "reason"));
            let disabled = desk.app.disable_user(&desk.actor, user.user_id, None, reason).await;
            show(&operator, &disabled.map_err(stop)?, false)
        }
        "enable" => {
            let user = desk.user(matches).await?;
            let enabled = desk.app.enable_user(&desk.actor, user.user_id, None).await;
            show(&operator, &enabled.map_err(stop)?, false)
        }
        "delete-credential" => delete_credential(&desk, matches, &operator).await,
        "revoke-consent" => {
            let (user, client_id) = (desk.user(matches).await?, text(matches, "client"));
            desk.app.revoke_consent(&desk.actor, user.user_id, client_id).await.map_err(stop)?;
            operator.say(&format!("{client_id} has nothing of {} any more", user.user_id))
        }
        _ => erase(&desk, matches, &operator).await,
    }
}

impl Desk<'_> {
    async fn user(&self, matches: &ArgMatches) -> Result<User, Stop> {
        let named = text(matches, "user");
        let found = match named.parse::<UserId>() {
            Ok(user_id) => self.app.get_user(&self.actor, user_id).await,
            Err(_) => match EmailAddress::classify(named.as_bytes()) {
                Ok(address) => self.app.find_user_by_email(&address).await,
                Err(_) => Err(Error::NotFound { what: "user" }),
            },
        };
        found.map_err(stop)
    }
}

// Who sees addresses stands in the log.
fn revealed(desk: &Desk<'_>, matches: &ArgMatches) -> bool {
    let reveal = matches.get_flag("reveal");
    if reveal {
        tracing::warn!(operator = desk.actor.subject, "an operator looks at addresses");
    }
    reveal
}

fn address(matches: &ArgMatches) -> Result<EmailAddress, Stop> {
    EmailAddress::conforming(text(matches, "address"))
        .map_err(|error| Stop::Usage(format!("the address {}", error.rule)))
}

fn shown(user: &User, reveal: bool) -> Value {
    if reveal {
        return String::from_utf8_lossy(user.email.as_bytes()).into_owned().into();
    }
    user.email.masked().into()
}

async fn list(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let after = match maybe(matches, "after") {
        Some(_) => Some(parsed(matches, "after")?),
        None => None,
    };
    let status = maybe(matches, "status").and_then(|name| name.parse::<Status>().ok());
    let prefix = maybe(matches, "prefix").map(|text| text.to_ascii_lowercase());
    let choice = UserChoice { status, prefix, after };
    let reveal = revealed(desk, matches);
    let users = desk.app.list_users(&choice, limit(matches)).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = users
        .iter()
        .map(|user| {
            vec![
                user.user_id.to_string().into(),
                shown(user, reveal),
                user.status.name().into(),
                user.locale.tag().into(),
                user.origin.as_str().into(),
                time(Some(user.created_at)),
            ]
        })
        .collect();
    operator.table(&["user_id", "address", "status", "locale", "origin", "created_at"], &rows)
}

fn show(operator: &Operator, user: &User, reveal: bool) -> Result<(), Stop> {
    operator.fields(&[
        ("user_id", user.user_id.to_string().into()),
        ("address", shown(user, reveal)),
        ("address_class", user.email.class().name().into()),
        ("verified_at", time(Some(user.verified_at))),
        ("status", user.status.name().into()),
        ("locale", user.locale.tag().into()),
        ("origin", user.origin.as_str().into()),
        ("client_id", user.client_id.as_str().into()),
        ("created_at", time(Some(user.created_at))),
        ("version", user.version.into()),
    ])
}

async fn credentials(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let user = desk.user(matches).await?;
    let own = desk.app.list_credentials(&desk.actor, user.user_id).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = own
        .into_iter()
        .map(|own| {
            vec![
                own.kind.into(),
                own.credential_id.map(|id| URL_SAFE_NO_PAD.encode(id)).into(),
                own.name.into(),
                time(own.created_at),
                time(own.used_at),
            ]
        })
        .collect();
    operator.table(&["kind", "id", "name", "created_at", "used_at"], &rows)
}

async fn consents(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let user = desk.user(matches).await?;
    let own = desk.app.list_consents(&desk.actor, user.user_id).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = own
        .into_iter()
        .map(|own| vec![own.client_id.into(), own.scopes.join(" ").into(), time(Some(own.granted_at))])
        .collect();
    operator.table(&["client_id", "scopes", "granted_at"], &rows)
}

async fn delete_credential(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let user = desk.user(matches).await?;
    let Some(kind) = CredentialKind::find(text(matches, "kind")) else {
        return Err(Stop::Usage("--kind: password, passkey, totp or recovery_code".to_owned()));
    };
    let id = match (kind, maybe(matches, "id")) {
        (CredentialKind::Passkey, Some(id)) => Some(
            URL_SAFE_NO_PAD
                .decode(id)
                .map_err(|_| Stop::Usage("--id: as `users credentials` shows it".to_owned()))?,
        ),
        (CredentialKind::Passkey, None) => {
            return Err(Stop::Usage("--id says which passkey: `users credentials` lists them".to_owned()));
        }
        (_, Some(_)) => return Err(Stop::Usage("--id is for a passkey".to_owned())),
        (_, None) => None,
    };
    operator.confirm(&format!("would take the {} of {}", kind.name(), user.user_id))?;
    desk.app.delete_credential(&desk.actor, user.user_id, kind, id.as_deref()).await.map_err(stop)?;
    operator.say(&format!("{} signs in by it no more", user.user_id))
}

async fn erase(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let user = desk.user(matches).await?;
    operator.confirm(&format!("would erase {} for ever", user.user_id))?;
    let why = (domain::new_id(), text(matches, "reason"));
    desk.app.erase_user(&desk.actor, user.user_id, Some(user.version), why).await.map_err(stop)?;
    operator.say(&format!("{} is erased", user.user_id))
}
