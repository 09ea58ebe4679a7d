//! The guide for relying parties in identity's README, run as it stands: the blocks of each way in one shell, against running
//! services, while a person signs in where it says so.

mod readme;

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use e2e::{ClientKey, Shape, Suite, WebVisitor, decide_on_device, go_on, secret, secret_sha256, sign_up};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Nobody listens there: the visitor stops at the redirect.
const REDIRECT_URI: &str = "http://127.0.0.1:49210/callback";
const SIGNED_OUT_URI: &str = "http://127.0.0.1:49210/signed-out";
/// Longest time until a shell says something.
const PATIENCE: Duration = Duration::from_secs(60);
const ADDRESS: &str = "guide@fans.example";

/// One way of the guide.
struct Way {
    heading: &'static str,
    client_id: &'static str,
    /// What it prints beside addresses: JSON with these members.
    shows: &'static [&'static str],
}

/// The site comes last, since it signs the person out.
const WAYS: [Way; 4] = [
    Way { heading: "A native app or a page", client_id: "guide-app", shows: &[] },
    Way { heading: "A partner under FAPI 2.0", client_id: "guide-partner", shows: &["email"] },
    Way { heading: "A device without a browser", client_id: "guide-device", shows: &["sub"] },
    Way { heading: "A web site", client_id: "guide-site", shows: &["email", "active"] },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_for_relying_parties_works_as_it_stands() {
    let (key, secret) = (ClientKey::generate().unwrap(), secret().unwrap());
    let services = [Service::Identity, Service::Profile, Service::Mailer];
    let clients = clients(&key, &secret);
    let started = Suite::start_with("guide", Shape::Services, &services, &[], &clients).await;
    let suite = started.unwrap_or_else(|error| panic!("{error:?}"));
    if let Err(error) = every_way(&suite, &key, &secret).await {
        panic!("{:?}", suite.with_logs(error).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

fn clients(key: &ClientKey, secret: &str) -> Value {
    let entry = |client_id: &str, method: &str, more: Value| {
        let mut entry = json!({
            "client_id": client_id, "name": "Ticket shop", "kind": "partner", "token_endpoint_auth_method": method,
            "scopes": ["openid", "profile", "email", "offline_access"],
            "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [REDIRECT_URI],
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            entry[name] = value.clone();
        }
        entry
    };
    let device = json!(["urn:ietf:params:oauth:grant-type:device_code"]);
    json!({ "clients": [
        entry("guide-app", "none", json!({ "redirect_uris": ["http://127.0.0.1/callback"] })),
        entry("guide-partner", "private_key_jwt", json!({ "profile": "fapi2", "jwks": { "keys": [key.jwk] } })),
        entry("guide-device", "none", json!({ "grant_types": device, "redirect_uris": [] })),
        entry("guide-site", "client_secret_basic", json!({
            "client_secret_sha256": secret_sha256(secret), "post_logout_redirect_uris": [SIGNED_OUT_URI],
        })),
    ] })
}

async fn every_way(suite: &Suite, key: &ClientKey, secret: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/identity/README.md");
    let guide = readme::section(&std::fs::read_to_string(file)?, "For relying parties");
    let headings: Vec<&str> = guide.ways.iter().map(|(heading, _)| heading.as_str()).collect();
    ensure!(headings.len() == WAYS.len(), "the guide has the ways {headings:?}");
    let folder = suite.folder.join("shells");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("key.pem"), key.pem())?;
    let environment = [
        ("ISSUER", suite.provider().await?.issuer),
        ("CLIENT_SECRET", secret.to_owned()),
        ("REDIRECT_URI", REDIRECT_URI.to_owned()),
        ("SIGNED_OUT_URI", SIGNED_OUT_URI.to_owned()),
        ("KEY", "key.pem".to_owned()),
        ("KID", key.jwk["kid"].as_str().unwrap_or_default().to_owned()),
    ];
    let mut person = Person { browser: WebVisitor::new("en")?, is_new: true };
    for way in &WAYS {
        let blocks = guide.ways.iter().find(|(heading, _)| heading == way.heading);
        let (_, blocks) = blocks.with_context(|| format!("no way {}", way.heading))?;
        let script = folder.join(format!("{}.sh", way.client_id));
        std::fs::write(&script, format!("{}{blocks}", guide.first))?;
        let shell = start(&script, way, &environment)?;
        follow(suite, shell, &mut person, way)
            .await
            .with_context(|| format!("in the way {}", way.heading))?;
    }
    Ok(())
}

fn start(script: &Path, way: &Way, environment: &[(&str, String)]) -> Result<Child> {
    Command::new("bash")
        .args(["-euo", "pipefail"])
        .arg(script)
        .current_dir(script.parent().context("no folder")?)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CLIENT_ID", way.client_id)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(script.with_extension("log"))?)
        .kill_on_drop(true)
        .spawn()
        .context("bash does not start")
}

struct Person {
    browser: WebVisitor,
    is_new: bool,
}

/// Does what the shell prints, until it ends.
async fn follow(suite: &Suite, mut shell: Child, person: &mut Person, way: &Way) -> Result<()> {
    let issuer = suite.addresses.url(Service::Identity);
    let mut lines = BufReader::new(shell.stdout.take().context("no output")?).lines();
    let mut answers = shell.stdin.take().context("no input")?;
    let mut shown = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.context("the shell is silent")?? {
        if line.starts_with(&format!("{issuer}/authorize?")) {
            let code = person.signs_in(suite, &line).await?;
            answers.write_all(format!("{code}\n").as_bytes()).await?;
        } else if line.starts_with(&format!("{issuer}/logout?")) {
            let page = person.browser.visit_until(&line, SIGNED_OUT_URI).await?;
            ensure!(page.url.as_str().starts_with(SIGNED_OUT_URI), "signing out led to {}", page.url);
        } else if let Some((url, code)) =
            line.strip_prefix("Open ").and_then(|rest| rest.split_once(" and type "))
        {
            decide_on_device(&mut person.browser, url, code, "allow").await?;
        } else {
            shown.push(serde_json::from_str::<Value>(&line).with_context(|| line.clone())?);
        }
    }
    let ended = shell.wait().await?;
    let log = suite.folder.join("shells").join(format!("{}.log", way.client_id));
    ensure!(ended.success(), "the shell ended with {ended}: {}", std::fs::read_to_string(log)?);
    ensure!(shown.len() == way.shows.len(), "it showed {shown:?}");
    for (value, member) in shown.iter().zip(way.shows) {
        match *member {
            "email" => ensure!(value["email"] == ADDRESS, "the address is not in {value}"),
            "active" => ensure!(value["active"] == true, "the token is not active: {value}"),
            other => ensure!(value[other].is_string(), "no {other} in {value}"),
        }
    }
    Ok(())
}

impl Person {
    /// Signs up the first time; goes on with the session later. Gives the code.
    async fn signs_in(&mut self, suite: &Suite, url: &str) -> Result<String> {
        let page = if std::mem::take(&mut self.is_new) {
            sign_up(suite, &mut self.browser, ADDRESS, url, REDIRECT_URI).await?
        } else {
            go_on(&mut self.browser, url, REDIRECT_URI).await?
        };
        let code = page.url.query_pairs().find(|(name, _)| name == "code");
        let Some((_, code)) = code else { bail!("no code came back, but {}", page.url) };
        Ok(code.into_owned())
    }
}
