//! `clients`: relying parties.

use std::io::Read as _;

use chassis::{Operator, Stop};
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use super::{Desk, limit, limit_arg, operator_arg, parsed, stop, text, time};
use crate::{
    app::{ClientRow, Draft},
    theme::{Logo, Theme},
};

/// Largest file of a client, in bytes.
const LARGEST: u64 = 1 << 20;

pub(super) fn command() -> Command {
    let id = || Arg::new("client_id").required(true).value_name("CLIENT_ID");
    let file = || {
        Arg::new("file")
            .required(true)
            .value_name("FILE")
            .help("JSON in the form of the bootstrap file, with the logo of a theme in base64; - reads standard input")
    };
    let list = Command::new("list")
        .about("Lists clients by id")
        .arg(limit_arg())
        .arg(
            Arg::new("after")
                .long("after")
                .value_name("CLIENT_ID")
                .default_value("")
                .help("Only those behind it"),
        )
        .after_help("Example: identity clients list --json");
    let show = Command::new("show")
        .about("Shows all of a client but its secret, which nobody has")
        .arg(id())
        .after_help("Example: identity clients show portal");
    let create = Command::new("create")
        .about("Registers a client, and prints its secret where it has one: keep it, it is stored nowhere")
        .arg(file())
        .after_help(
            "The file: {\"client_id\": \"shop\", \"name\": \"Shop\", \"kind\": \"partner\", \
             \"token_endpoint_auth_method\": \"client_secret_basic\", \"redirect_uris\": [\"https://shop.example/cb\"], \
             \"grant_types\": [\"authorization_code\"], \"scopes\": [\"openid\"]}\n\n\
             Example: identity clients create shop.json",
        );
    let update = Command::new("update")
        .about("Puts what the file says in the place of a client's fields; the secret stays")
        .arg(file())
        .after_help("Example: identity clients update shop.json");
    let rotate = Command::new("rotate")
        .about("Gives a client another secret and prints it; the former one is refused from then on")
        .arg(id())
        .arg(chassis::yes())
        .after_help("Example: identity clients rotate shop --yes");
    let delete = Command::new("delete")
        .about("Deletes a client, what users allowed it, and its tokens")
        .arg(id())
        .arg(chassis::yes())
        .after_help("Example: identity clients delete shop --yes");
    Command::new("clients")
        .about("Relying parties: who may send users here, and how they prove themselves")
        .long_about(
            "Relying parties: who may send users here, and how they prove themselves. Every instance knows a change within \
             a second. A client that the bootstrap file names is written again from there at each start.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(operator_arg())
        .subcommands([list, show, create, update, rotate, delete])
        .after_help("Example: identity clients list")
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let Some((verb, matches)) = matches.subcommand() else {
        return Err(Stop::Usage("list, show, create, update, rotate or delete".to_owned()));
    };
    let desk = Desk::open(&operator, matches).await?;
    match verb {
        "list" => list(&desk, matches, &operator).await,
        "show" => show(&operator, &desk.app.get_client(text(matches, "client_id")).await.map_err(stop)?),
        "create" => create(&desk, matches, &operator).await,
        "update" => {
            let row = desk.app.update_client(&desk.actor, draft(matches)?, None).await.map_err(stop)?;
            show(&operator, &row)
        }
        "rotate" => rotate(&desk, matches, &operator).await,
        _ => delete(&desk, matches, &operator).await,
    }
}

async fn list(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let rows = desk.app.list_clients(text(matches, "after"), limit(matches)).await.map_err(stop)?;
    let rows: Vec<Vec<Value>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.client.client_id.into(),
                row.client.name.into(),
                row.client.kind.name().into(),
                row.client.auth_method.name().into(),
                row.client.grant_types.join(" ").into(),
                row.version.into(),
                time(Some(row.updated_at)),
            ]
        })
        .collect();
    let columns =
        ["client_id", "name", "kind", "token_endpoint_auth_method", "grant_types", "version", "updated_at"];
    operator.table(&columns, &rows)
}

fn show(operator: &Operator, row: &ClientRow) -> Result<(), Stop> {
    let client = &row.client;
    let words = |words: &[String]| Value::from(words.join(" "));
    let theme = client.theme.as_deref();
    operator.fields(&[
        ("client_id", client.client_id.as_str().into()),
        ("name", client.name.as_str().into()),
        ("kind", client.kind.name().into()),
        ("token_endpoint_auth_method", client.auth_method.name().into()),
        ("jwks", client.jwks.as_ref().map(ToString::to_string).into()),
        ("jwks_uri", client.jwks_uri.clone().into()),
        ("redirect_uris", words(&client.redirect_uris)),
        ("post_logout_redirect_uris", words(&client.post_logout_redirect_uris)),
        ("backchannel_logout_uri", client.backchannel_logout_uri.clone().into()),
        ("grant_types", words(&client.grant_types)),
        ("scopes", words(&client.scopes)),
        ("audiences", words(&client.audiences)),
        ("pkce_required", client.pkce_required.into()),
        ("profile", client.profile.name().into()),
        ("require_pushed_authorization_requests", client.par_required.into()),
        ("dpop_bound_access_tokens", client.dpop_required.into()),
        ("token_url_audience", client.token_url_audience.into()),
        ("id_token_signed_response_alg", client.id_token_alg.name().into()),
        ("access_token_format", client.tokens.format.name().into()),
        ("access_token_seconds", client.tokens.access_seconds.into()),
        ("refresh_grace_seconds", client.tokens.refresh_grace_seconds.into()),
        ("default_max_age", client.default_max_age.into()),
        ("accent", theme.map(|theme| theme.accent().to_string()).into()),
        ("accent_dark", theme.and_then(Theme::accent_dark).map(|dark| dark.to_string()).into()),
        ("logo", theme.and_then(Theme::logo).map(described).into()),
        ("version", row.version.into()),
        ("updated_at", time(Some(row.updated_at))),
    ])
}

// Nobody reads 32 KiB of base64 in a table.
fn described(logo: &Logo) -> String {
    format!("{}, {} bytes", logo.media_type(), logo.bytes().len())
}

fn draft(matches: &ArgMatches) -> Result<Draft, Stop> {
    let path = text(matches, "file");
    let mut bytes = Vec::new();
    let read = if path == "-" {
        std::io::stdin().take(LARGEST).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes))
    };
    read.map_err(|error| Stop::failed(format!("{path} cannot be read: {error}")))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(Draft(fields)),
        Ok(_) => Err(Stop::Usage(format!("{path} must hold one JSON object"))),
        Err(error) => Err(Stop::Usage(format!("{path} is no JSON: {error}"))),
    }
}

async fn create(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let draft = draft(matches)?;
    let (row, secret) = desk.app.create_client(&desk.actor, domain::new_id(), draft).await.map_err(stop)?;
    match secret {
        Some(secret) => secret_of(operator, &row, &secret),
        None => show(operator, &row),
    }
}

fn secret_of(operator: &Operator, row: &ClientRow, secret: &str) -> Result<(), Stop> {
    operator.fields(&[
        ("client_id", row.client.client_id.as_str().into()),
        ("client_secret", secret.into()),
        ("version", row.version.into()),
    ])
}

async fn rotate(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let client_id: String = parsed(matches, "client_id")?;
    operator.confirm(&format!("would refuse the present secret of {client_id} from now on"))?;
    let rotated = desk.app.rotate_client_secret(&desk.actor, &client_id, None, domain::new_id()).await;
    let (row, secret) = rotated.map_err(stop)?;
    secret_of(operator, &row, &secret)
}

async fn delete(desk: &Desk<'_>, matches: &ArgMatches, operator: &Operator) -> Result<(), Stop> {
    let client_id = text(matches, "client_id");
    let row = desk.app.get_client(client_id).await.map_err(stop)?;
    operator
        .confirm(&format!("would delete {client_id} ({}), its consents and its tokens", row.client.name))?;
    desk.app.delete_client(&desk.actor, client_id, Some(row.version)).await.map_err(stop)?;
    operator.say(&format!("{client_id} is deleted"))
}
