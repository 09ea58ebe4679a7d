//! The pages of steps 1, 2 and 6, those of the own sign-in, and results-feed's own, in a real browser: Japanese, English, French, with and
//! without script, each page free of violations of WCAG 2.2 AA that axe-core can find. And a passkey of Chromium's virtual
//! authenticator. Pictures lie in `target/journey/browser/pictures`.
#![expect(clippy::print_stdout, reason = "a test prints what it saw")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use e2e::{PASSWORD, Race, Shape, Suite, Walk, mail_link};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    time::{Duration, timeout},
};

/// Longest time between two lines of the browser's program.
const PATIENCE: Duration = Duration::from_secs(90);
/// Fewest pages that each language shows, with and without script.
const PAGES: usize = 37;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_every_language_with_and_without_script() {
    let (shape, more) = (Shape::AllInOne, commentators());
    let suite = Suite::start_with("browser", shape, &shape.services(), &[], &more).await;
    let suite = suite.unwrap_or_else(|error| panic!("{error:?}"));
    let done = match passkeys(&suite).await {
        Ok(()) => everyone(&suite).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        panic!("{:?}", suite.with_logs(error).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

const LANGUAGES: [&str; 3] = ["ja", "en", "fr"];

// Everybody is of the commentators' desk, too.
fn commentators() -> Value {
    let one = |name: String| json!({ "email": format!("{name}@fans.example"), "scopes": ["results.cis"] });
    let both = |language: &str| [true, false].map(|script| one(name_of(language, script)));
    json!({ "staff": LANGUAGES.iter().flat_map(|language| both(language)).collect::<Vec<Value>>() })
}

fn name_of(language: &str, script: bool) -> String {
    format!("{language}-{}", if script { "script" } else { "plain" })
}

async fn everyone(suite: &Suite) -> Result<()> {
    let walk = Walk::begin(suite, &mut |_| {}).await?;
    let mut race = Race::open(&walk).await?;
    // Start list and positions at 30 m.
    race.go_on(2).await?;
    race.tell_medals().await?;
    let mut violations = Vec::new();
    for language in LANGUAGES {
        for script in [true, false] {
            let of_one = one(suite, &mut race, language, script);
            let found = of_one.await.with_context(|| format!("in {language}, script {script}"))?;
            violations.extend(found);
        }
    }
    ensure!(
        violations.is_empty(),
        "{} violations of WCAG 2.2 AA:\n{}",
        violations.len(),
        violations.join("\n")
    );
    Ok(())
}

/// Somebody without a password, in Chromium with its virtual authenticator.
async fn passkeys(suite: &Suite) -> Result<()> {
    let address = "passkey@fans.example";
    let given = json!({
        "portal": suite.addresses.url(Service::Portal), "address": address, "chromium": chromium()?,
        "pictures": suite.folder.join("pictures").join("passkeys"),
    });
    let mut browser = start("passkeys.mjs", &given)?;
    let mut lines = BufReader::new(browser.stdout.take().context("no output")?).lines();
    let mut answers = browser.stdin.take().context("no input")?;
    let mut steps = Vec::new();
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.context("the browser is silent")?? {
        let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if told["ask"] == "mail" {
            let answer = json!({ "link": mail_link(suite, address).await? });
            answers.write_all(format!("{answer}\n").as_bytes()).await?;
        } else if let Some(step) = told["step"].as_str() {
            println!("passkeys: {step}");
            steps.push(step.to_owned());
        } else if told["done"] == true {
            ensure!(steps == ["sign-up", "suggestion", "button"], "only {steps:?} were gone");
            return Ok(());
        } else {
            bail!("at {}: {}", told["url"], told["failed"].as_str().unwrap_or(&line));
        }
    }
    bail!("the browser's program ended without a result: {}", browser.wait().await?)
}

/// One person's way; gives what axe-core found.
async fn one(suite: &Suite, race: &mut Race, language: &str, script: bool) -> Result<Vec<String>> {
    let name = name_of(language, script);
    let address = format!("{name}@fans.example");
    let given = json!({
        "portal": suite.addresses.url(Service::Portal), "results": suite.addresses.url(Service::ResultsFeed), "language": language, "script": script, "address": address,
        "password": PASSWORD, "unit": testkit::races::FINAL_100M, "chromium": chromium()?,
        "pictures": suite.folder.join("pictures").join(&name),
    });
    let mut browser = start("pages.mjs", &given)?;
    let mut lines = BufReader::new(browser.stdout.take().context("no output")?).lines();
    let mut answers = browser.stdin.take().context("no input")?;
    let (mut violations, mut pages) = (Vec::new(), 0);
    while let Some(line) = timeout(PATIENCE, lines.next_line()).await.context("the browser is silent")?? {
        let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if let Some(page) = told["page"].as_str() {
            pages += 1;
            println!("{name}: {page} {}, {} checks passed", told["path"], told["checks"]);
            for violation in told["violations"].as_array().into_iter().flatten() {
                violations.push(format!("{name}: {page}: {violation}"));
            }
        } else if let Some(asked) = told["ask"].as_str() {
            answer(suite, race, asked, &address, &mut answers).await?;
        } else if told["done"] == true {
            ensure!(browser.wait().await?.success(), "the browser's program fails");
            ensure!(pages >= PAGES, "only {pages} pages were shown");
            return Ok(violations);
        } else {
            bail!("at {}: {}", told["url"], told["failed"].as_str().unwrap_or(&line));
        }
    }
    bail!("the browser's program ended without a result: {}", browser.wait().await?)
}

async fn answer(
    suite: &Suite,
    race: &mut Race,
    asked: &str,
    address: &str,
    answers: &mut ChildStdin,
) -> Result<()> {
    let answer = match asked {
        "mail" => json!({ "link": mail_link(suite, address).await? }),
        "status" => json!({ "seq": race.tell_another_status().await? }),
        "race" => json!({ "seq": race.tell_again().await? }),
        other => bail!("the browser's program asks for {other}"),
    };
    Ok(answers.write_all(format!("{answer}\n").as_bytes()).await?)
}

fn start(program: &str, given: &Value) -> Result<Child> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    ensure!(folder.join("node_modules").exists(), "run: npm ci --prefix tests/browser");
    Command::new("node")
        .arg(program)
        .arg(given.to_string())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node does not start")
}

/// The browser of this machine.
fn chromium() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.exists());
    found.context("there is no chromium; deploy/local/prerequisites browser gets it")
}
