//! Who depends on whom, by the manifests.

use super::{
    Violation, hold,
    tree::{self, File},
};

const CRATES: [&str; 6] = ["argon2-wide", "chassis", "domain", "outbox", "proto", "testkit"];
const SERVICES: [&str; 9] = [
    "all-in-one",
    "crm-sync",
    "identity",
    "mailer",
    "portal",
    "profile",
    "results-feed",
    "salesforce-simulator",
    "segmentation",
];
const SIMULATOR: &str = "salesforce-simulator";
/// What `domain` must not need: it holds words, no I/O.
const NOT_IN_DOMAIN: [&str; 8] = ["axum", "prost", "rdkafka", "reqwest", "sqlx", "tokio", "tonic", "tracing"];
/// Each shared crate, and those of ours that it may use.
const BELOW: [(&str, &[&str]); 6] = [
    ("argon2-wide", &[]),
    ("domain", &[]),
    ("proto", &[]),
    ("chassis", &["domain", "proto"]),
    ("outbox", &["chassis", "domain"]),
    ("testkit", &["chassis", "domain", "outbox", "proto"]),
];

/// A line of a manifest that names a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// As in the manifest.
    pub name: String,
    /// For tests and benches only.
    pub dev: bool,
    line: usize,
    text: String,
}

/// Every dependency of a member's manifest.
pub fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut section = String::new();
    for (index, text) in manifest.lines().enumerate() {
        let (line, text) = (index + 1, text.trim());
        if let Some(header) = text.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            if let Some((kind, name)) =
                section.rsplit_once('.').filter(|(kind, _)| kind.ends_with("dependencies"))
            {
                let dev = kind.ends_with("dev-dependencies");
                found.push(Dependency { name: name.to_owned(), dev, line, text: "a table".to_owned() });
            }
        } else if section.ends_with("dependencies") && !text.is_empty() && !text.starts_with('#') {
            let name = text.split(['.', '=', ' ']).next().unwrap_or(text).trim_matches('"').to_owned();
            let dev = section.ends_with("dev-dependencies");
            found.push(Dependency { name, dev, line, text: text.to_owned() });
        }
    }
    found
}

fn check(file: &File) -> Vec<Violation> {
    let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let member = folder.rsplit('/').next().unwrap_or(folder);
    let mut violations = Vec::new();
    for dependency in dependencies(&file.text) {
        let todo = if !dependency.text.contains("workspace = true") {
            Some(
                "write `name.workspace = true`; the version stands once, in the root's [workspace.dependencies]",
            )
        } else if folder.starts_with("services/") {
            of_service(member, &dependency)
        } else if folder.starts_with("crates/") {
            of_crate(member, &dependency)
        } else {
            None
        };
        if let Some(todo) = todo {
            let found = format!("{member} depends on {}", dependency.name);
            violations.push(Violation { file: file.path.clone(), line: dependency.line, found, todo });
        }
    }
    violations
}

fn of_service(member: &str, dependency: &Dependency) -> Option<&'static str> {
    let name = dependency.name.as_str();
    if name == "testkit" && !dependency.dev {
        return Some("testkit is for tests: move it to [dev-dependencies]");
    }
    if name == "rdkafka" {
        return Some("go through crate outbox, the only one that knows Kafka's client");
    }
    if !SERVICES.contains(&name) {
        return None;
    }
    if name == SIMULATOR {
        return (!dependency.dev)
            .then_some("the simulator is never part of an install: move it to [dev-dependencies]");
    }
    (member != "all-in-one").then_some(
        "ask the other service by gRPC, or read its facts from Kafka; shared words belong into crates/domain",
    )
}

fn of_crate(member: &str, dependency: &Dependency) -> Option<&'static str> {
    let name = dependency.name.as_str();
    if SERVICES.contains(&name) && !(member == "testkit" && name == SIMULATOR) {
        return Some("turn it round: services depend on crates");
    }
    if member == "domain" && NOT_IN_DOMAIN.contains(&name) {
        return Some("domain holds words: no I/O, no async, no wire");
    }
    let below = BELOW.iter().find(|(of, _)| *of == member).map_or(&[][..], |(_, below)| below);
    let ours = CRATES.contains(&name) && !dependency.dev && !below.contains(&name);
    ours.then_some("keep the order domain, proto < chassis < outbox < testkit")
}

fn check_folders(folder: &str, expected: &[&str], found: &[String]) -> Vec<Violation> {
    let violation = |name: &str, what: &str, todo| Violation {
        file: format!("{folder}/{name}"),
        line: 0,
        found: what.to_owned(),
        todo,
    };
    let new = found.iter().filter(|name| !expected.contains(&name.as_str()));
    let new = new.map(|name| {
        violation(
            name,
            "a new folder",
            "put it into an existing one, or write its reason into ARCHITECTURE.md and its name here",
        )
    });
    let gone = expected.iter().filter(|name| !found.iter().any(|found| found == *name));
    new.chain(
        gone.map(|name| violation(name, "not there", "take it off the list here and out of ARCHITECTURE.md")),
    )
    .collect()
}

fn check_name(file: &File) -> Option<Violation> {
    let folder = file.path.strip_suffix("/Cargo.toml")?.strip_prefix("services/")?;
    let named = |line: &str| line == format!("name = \"{folder}\"");
    // A benchmark is named for what it measures.
    let programs = file.text.split("[[bench]]").next().unwrap_or_default();
    let names: Vec<(usize, &str)> =
        programs.lines().enumerate().filter(|(_, line)| line.starts_with("name = ")).collect();
    let (index, _) = names.iter().find(|(_, line)| !named(line))?;
    let todo = "folder, crate and binary of a service have one name, which is its key in the chart";
    Some(Violation { file: file.path.clone(), line: index + 1, found: format!("not called {folder}"), todo })
}

/// Each test binary links the whole service again, which is most of a build's time.
fn check_test_binary(file: &File) -> Option<Violation> {
    let (service, below) = file.path.strip_prefix("services/")?.split_once("/tests/")?;
    let binary = below.ends_with(".rs") && !below.contains('/') || below.ends_with("/main.rs");
    let other = binary && below != "it/main.rs";
    other.then(|| Violation {
        file: file.path.clone(),
        line: 0,
        found: format!("a second test binary of {service}"),
        todo: "make it a module of tests/it/main.rs",
    })
}

#[test]
fn a_service_has_one_test_binary() {
    let violations: Vec<Violation> = tree::rust_files().iter().filter_map(check_test_binary).collect();
    hold("tests/it/main.rs is the only integration test of a service", &violations);
}

#[test]
fn a_planted_second_test_binary_is_caught() {
    for path in ["services/mailer/tests/smtp.rs", "services/mailer/tests/smtp/main.rs"] {
        assert!(check_test_binary(&File::planted(path, "")).is_some(), "{path}");
    }
    for path in
        ["services/mailer/tests/it/main.rs", "services/mailer/tests/it/smtp.rs", "crates/proto/tests/a.rs"]
    {
        assert_eq!(check_test_binary(&File::planted(path, "")), None, "{path}");
    }
}

#[test]
fn services_depend_on_no_service() {
    let violations: Vec<Violation> = tree::files().iter().flat_map(check).collect();
    hold(
        "dependencies point down: services -> outbox -> chassis -> domain, proto; versions stand once",
        &violations,
    );
}

#[test]
fn folders_are_those_of_the_architecture() {
    let mut violations = check_folders("crates", &CRATES, &tree::folders_in("crates"));
    violations.extend(check_folders("services", &SERVICES, &tree::folders_in("services")));
    hold("crates/ has exactly six folders, services/ exactly nine", &violations);
}

#[test]
fn a_service_has_one_name() {
    let violations: Vec<Violation> = tree::files().iter().filter_map(check_name).collect();
    hold("folder = crate = binary", &violations);
}

#[test]
fn a_planted_dependency_is_caught() {
    let cases = [
        ("services/mailer", "[dependencies]\nprofile.workspace = true"),
        ("services/mailer", "[dependencies]\nsalesforce-simulator.workspace = true"),
        ("services/all-in-one", "[dependencies]\nsalesforce-simulator.workspace = true"),
        ("services/mailer", "[dependencies]\ntestkit.workspace = true"),
        ("services/mailer", "[dependencies]\nrdkafka.workspace = true"),
        ("services/mailer", "[dev-dependencies]\nprofile = { workspace = true }"),
        ("services/mailer", "[target.'cfg(unix)'.dependencies]\nnix = \"0.30\""),
        ("services/mailer", "[dependencies.tokio]\nversion = \"1\""),
        ("crates/domain", "[dependencies]\ntokio.workspace = true"),
        ("crates/chassis", "[dependencies]\noutbox.workspace = true"),
        ("crates/chassis", "[dependencies]\nmailer.workspace = true"),
    ];
    for (folder, text) in cases {
        assert!(!check(&File::planted(&format!("{folder}/Cargo.toml"), text)).is_empty(), "{folder}: {text}");
    }
}

#[test]
fn a_right_dependency_passes() {
    let cases = [
        ("services/all-in-one", "[dependencies]\nprofile.workspace = true\n\n[lints]\nworkspace = true"),
        (
            "services/crm-sync",
            "[dev-dependencies]\nsalesforce-simulator.workspace = true\ntestkit.workspace = true",
        ),
        ("services/mailer", "[dependencies]\n# why\ntokio = { workspace = true, features = [\"fs\"] }"),
        (
            "crates/outbox",
            "[dependencies]\nchassis.workspace = true\n[dev-dependencies]\ntestkit.workspace = true",
        ),
        ("tests", "[dependencies]\ntestkit.workspace = true"),
    ];
    for (folder, text) in cases {
        assert_eq!(check(&File::planted(&format!("{folder}/Cargo.toml"), text)), [], "{folder}: {text}");
    }
}

#[test]
fn a_planted_folder_or_name_is_caught() {
    let found: Vec<String> =
        ["argon2-wide", "chassis", "domain", "outbox", "proto", "seventh"].map(str::to_owned).to_vec();
    let files: Vec<String> =
        check_folders("crates", &CRATES, &found).into_iter().map(|found| found.file).collect();
    assert_eq!(files, ["crates/seventh", "crates/testkit"]);
    let wrong = File::planted(
        "services/crm-sync/Cargo.toml",
        "[package]\nname = \"crm-sync\"\n[[bin]]\nname = \"crm\"",
    );
    assert_eq!(check_name(&wrong).map(|violation| violation.line), Some(4));
}
