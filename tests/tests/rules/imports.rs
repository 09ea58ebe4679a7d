//! "Inside a service" of ARCHITECTURE.md: who may import what.

use super::{
    Violation, hold,
    layers::{ADAPTERS, Adapter, Layer},
    manifests::dependencies,
    source::{Names, Source},
    tree::{self, File},
};

/// What an aggregate may use beside std, core, alloc and its own crate: words and pure computation, no I/O, no time,
/// no chance.
const PURE: &[(&str, &str)] = &[
    ("domain", "words that services share"),
    ("chrono", "dates and their arithmetic"),
    ("chrono_tz", "zones, from a table in the program"),
    ("serde", "derives"),
    ("serde_json", "values of JSON"),
    ("thiserror", "derives"),
    ("uuid", "ids as values"),
    ("url", "parses links and redirect URIs"),
    ("base64", "an encoding"),
    ("bytes", "shared buffers"),
    ("subtle", "comparison in constant time"),
    ("zeroize", "secrets leave memory"),
    ("aws_lc_rs", "digests, ciphers, signatures; its `rand` is chance, and is refused"),
    ("argon2_wide", "password hashing"),
    ("jsonwebtoken", "signs and reads tokens"),
    ("quick_xml", "parses"),
    ("csv", "parses and writes"),
    ("ciborium", "parses CBOR"),
    ("flate2", "unpacks"),
    ("minijinja", "fills templates"),
];

/// Values of crates that are not pure.
const VALUES: &[&[&str]] = &[
    // The trace that a command belongs to.
    &["tracing", "Span"],
];

/// Parts of std and of pure libraries that reach outside.
const REACHING: &[&[&str]] = &[
    &["aws_lc_rs", "rand"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
];

/// Crates that have a home. Folder `services/salesforce-simulator` is no service of the suite: it shares no code or
/// shape with it, and only the rule on rdkafka holds there.
struct Home {
    crates: &'static [&'static str],
    layers: &'static [Layer],
    todo: &'static str,
}

const HOMES: &[Home] = &[
    Home {
        crates: &["prost", "prost_types", "proto"],
        layers: &[Layer::Grpc, Layer::Consumer, Layer::Events],
        todo: "parse or build wire types in grpc, consumer or events, and pass domain types inwards",
    },
    Home {
        crates: &["sqlx"],
        layers: &[Layer::Store, Layer::App, Layer::Error, Layer::Assembly],
        todo: "move the SQL into store and call it from app, which owns the transaction",
    },
    Home {
        crates: &["axum"],
        layers: &[Layer::Http],
        todo: "move it into http.rs or http/, which parses, calls app and answers",
    },
];

const SIMULATOR: &str = "salesforce-simulator";

fn check(file: &File, dependencies: &[String]) -> Vec<Violation> {
    let Some((service, below)) = file.of_service() else { return Vec::new() };
    if service == SIMULATOR || file.is_test() {
        return Vec::new();
    }
    let layer = Layer::of(service, below);
    let source = Source::read(&file.text).without_tests();
    let mut violations = Vec::new();
    for path in source.paths() {
        let found = foreign(&path, layer)
            .or_else(|| inward(&path, layer))
            .or_else(|| impure(&path, layer, dependencies));
        if let Some(todo) = found {
            let found = format!("{} in {layer_name}", path.names.join("::"), layer_name = name(layer));
            violations.push(Violation { file: file.path.clone(), line: path.line, found, todo });
        }
    }
    violations
}

fn name(layer: Layer) -> String {
    match layer {
        Layer::Adapter(adapter) => format!("the adapter {}", adapter.module),
        Layer::Aggregate => "an aggregate (any file without a layer's name)".to_owned(),
        layer => format!("{layer:?}").to_lowercase(),
    }
}

fn foreign(path: &Names, layer: Layer) -> Option<&'static str> {
    let root = path.names[0].as_str();
    let home = HOMES.iter().find(|home| home.crates.contains(&root))?;
    let named = matches!(layer, Layer::Adapter(adapter) if adapter.may_use.contains(&root));
    // lib.rs hands the generated servers to chassis; it names no message.
    let served = layer == Layer::Assembly
        && root == "proto"
        && path.names.iter().any(|name| name.ends_with("_server") || name.ends_with("_client"));
    (!home.layers.contains(&layer) && !named && !served).then_some(home.todo)
}

fn inward(path: &Names, layer: Layer) -> Option<&'static str> {
    let names = &path.names;
    let hidden =
        names[0] == "crate" && names.len() > 1 && layer.hidden_modules().contains(&names[1].as_str());
    let peer = hidden && names[1] == "grpc" && names.get(2).is_some_and(|module| layer.may_call(module));
    (hidden && !peer).then_some(
        "turn the call round (main -> lib -> {grpc, http, consumer} -> app -> {aggregate, store, events}, store -> \
         aggregate); app calls another service through crate::grpc::peers or crate::grpc::<its short name>",
    )
}

fn impure(path: &Names, layer: Layer, dependencies: &[String]) -> Option<&'static str> {
    let root = path.names[0].as_str();
    let pure = PURE.iter().any(|(name, _)| *name == root);
    let outside = dependencies.iter().any(|name| name == root) || matches!(root, "tokio" | "tracing");
    let starts = |start: &&[&str]| {
        path.names.len() >= start.len() && path.names.iter().zip(*start).all(|(name, part)| name == part)
    };
    let value = VALUES.iter().any(starts);
    (layer == Layer::Aggregate && !value && (outside && !pure || REACHING.iter().any(starts))).then_some(
        "keep the aggregate pure (std without I/O, domain, libraries of PURE in tests/tests/rules/imports.rs), or, \
         where the file talks to the outside, give it a line in ADAPTERS in tests/tests/rules/layers.rs",
    )
}

fn check_kafka(file: &File) -> Vec<Violation> {
    if file.path.starts_with("crates/outbox/") || file.path.starts_with("crates/testkit/") {
        return Vec::new();
    }
    let named = |path: &Names| path.names[0] == "rdkafka";
    let violation = |path: Names| Violation {
        file: file.path.clone(),
        line: path.line,
        found: path.names.join("::"),
        todo: "go through crate outbox: it is the only one that knows Kafka's client",
    };
    Source::read(&file.text).paths().into_iter().filter(named).map(violation).collect()
}

fn check_pure_calls(file: &File) -> Vec<Violation> {
    let Some((service, below)) = file.of_service() else { return Vec::new() };
    if service == SIMULATOR || file.is_test() || Layer::of(service, below) != Layer::Aggregate {
        return Vec::new();
    }
    let source = Source::read(&file.text).without_tests();
    let mut violations = Vec::new();
    for word in ["async", "await"] {
        for at in super::source::words(&source.code, word) {
            violations.push(Violation {
                file: file.path.clone(),
                line: source.line(at),
                found: format!("`{word}` in an aggregate"),
                todo: "keep the aggregate a plain function of its arguments; wait in app or in an adapter",
            });
        }
    }
    violations
}

#[test]
fn imports_follow_the_direction() {
    let files = tree::files();
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let service = file.of_service().map(|(service, _)| format!("services/{service}/Cargo.toml"));
        let manifest = files.iter().find(|file| Some(&file.path) == service.as_ref());
        let names = manifest.map(|manifest| dependencies(&manifest.text)).unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(|found| found.name.replace('-', "_")).collect();
        violations.extend(check(file, &names));
    }
    hold("a service's files import only what their layer may", &violations);
}

#[test]
fn only_outbox_knows_kafka() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check_kafka).collect();
    hold("rdkafka is used in crates outbox and testkit alone", &violations);
}

#[test]
fn aggregates_wait_for_nothing() {
    let violations: Vec<Violation> = tree::rust_files().iter().flat_map(check_pure_calls).collect();
    hold("an aggregate is not async", &violations);
}

#[test]
fn every_adapter_is_there() {
    let files = tree::files();
    let gone = |adapter: &&Adapter| {
        let Adapter { service, module, .. } = adapter;
        let (file, folder) =
            (format!("services/{service}/src/{module}.rs"), format!("services/{service}/src/{module}/"));
        !files.iter().any(|found| found.path == file || found.path.starts_with(&folder))
    };
    let violation = |adapter: &Adapter| Violation {
        file: "tests/tests/rules/layers.rs".to_owned(),
        line: 0,
        found: format!("services/{}/src/{} is in ADAPTERS, but not there", adapter.service, adapter.module),
        todo: "take its line out",
    };
    let started: Vec<&Adapter> =
        ADAPTERS.iter().filter(|adapter| is_started(&files, adapter.service)).collect();
    let violations: Vec<Violation> = started.into_iter().filter(gone).map(violation).collect();
    hold("the list of adapters names what exists", &violations);
    assert!(ADAPTERS.iter().all(|adapter| !adapter.reason.is_empty()));
}

fn is_started(files: &[File], service: &str) -> bool {
    files.iter().any(|file| file.path == format!("services/{service}/src/app.rs"))
}

#[test]
fn a_planted_import_is_caught() {
    let dependencies = ["tokio".to_owned(), "reqwest".to_owned(), "proto".to_owned()];
    let cases = [
        ("app.rs", "use proto::profile::v1::Profile;"),
        ("app/merge.rs", "fn a() -> prost_types::Timestamp { b() }"),
        ("lib.rs", "use proto::profile::v1::Profile;"),
        ("consent.rs", "use sqlx::PgPool;"),
        ("grpc.rs", "use sqlx::PgPool;"),
        ("grpc/pages.rs", "use axum::Router;"),
        ("consent.rs", "#[derive(sqlx::Type)] struct A;"),
        ("consent.rs", "use tokio::time::sleep;"),
        ("consent.rs", "fn a() { reqwest::get(1); }"),
        ("consent.rs", "use std::fs;"),
        ("consent.rs", "use std::net::{IpAddr, TcpStream};"),
        ("consent.rs", "use aws_lc_rs::{digest, rand::SystemRandom};"),
        ("consent.rs", "use crate::{config::Config, error::Error};"),
        ("store.rs", "use crate::app::App;"),
        ("app.rs", "fn a() { crate::grpc::to_proto() }"),
        ("consent.rs", "use crate::grpc::peers::Mailer;"),
        ("consent.rs", "fn a() { tracing::info!(1) }"),
    ];
    for (path, text) in cases {
        let file = File::planted(&format!("services/profile/src/{path}"), text);
        assert_eq!(check(&file, &dependencies).len(), 1, "{path}: {text}");
    }
}

#[test]
fn a_right_import_passes() {
    let dependencies = ["tokio".to_owned(), "proto".to_owned(), "sqlx".to_owned(), "serde".to_owned()];
    let cases = [
        ("lib.rs", "use proto::profile::v1::{profile_service_server::ProfileServiceServer};"),
        ("grpc.rs", "use proto::profile::v1 as wire;"),
        ("app/export.rs", "use crate::grpc::{peers::Mailer, segmentation};"),
        ("consent.rs", "struct A { span: tracing::Span }"),
        ("app.rs", "use sqlx::PgPool; use crate::store; // axum::Router"),
        ("http/pages.rs", "use axum::Router; use crate::app::App;"),
        ("consent.rs", "use std::net::IpAddr; use aws_lc_rs::digest;"),
        ("consent.rs", "use std::fmt; use serde::Serialize; use crate::error::Error;"),
        ("consent.rs", "#[cfg(test)] mod tests { use tokio::time; }"),
        ("consent.rs", "fn a() { sport::proto::x(); \"sqlx::query\"; }"),
    ];
    for (path, text) in cases {
        let file = File::planted(&format!("services/profile/src/{path}"), text);
        assert_eq!(check(&file, &dependencies), [], "{path}: {text}");
    }
}

#[test]
fn planted_kafka_and_async_are_caught() {
    let kafka = "use rdkafka::producer::FutureProducer;";
    assert_eq!(check_kafka(&File::planted("services/mailer/tests/it/main.rs", kafka)).len(), 1);
    assert_eq!(check_kafka(&File::planted("crates/chassis/src/lib.rs", kafka)).len(), 1);
    assert_eq!(check_kafka(&File::planted("crates/outbox/src/relay.rs", kafka)), []);
    let waits = "impl A { pub async fn b(self) { self.c().await } }";
    assert_eq!(check_pure_calls(&File::planted("services/profile/src/consent.rs", waits)).len(), 2);
    assert_eq!(check_pure_calls(&File::planted("services/profile/src/app.rs", waits)), []);
}
