//! `openapi.yaml` and the router say the same.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};

use crate::world::World;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Method and path, a parameter as `{}`.
type Operation = (String, String);

// Of the description: paths stand two columns in, methods four.
fn described() -> BTreeSet<Operation> {
    let text = fs::read_to_string(root().join("openapi.yaml")).unwrap();
    let paths = text.split("\npaths:\n").nth(1).unwrap().split("\ncomponents:\n").next().unwrap();
    let (mut operations, mut path) = (BTreeSet::new(), String::new());
    for line in paths.lines() {
        if let Some(found) = line.strip_prefix("  /") {
            path = plain(&format!("/{}", found.trim_end().trim_end_matches(':')));
        } else if let Some(method) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':'))
            && METHODS.contains(&method)
        {
            let operation = (method.to_uppercase(), path.clone());
            assert!(operations.insert(operation), "{method} {path} is described twice");
        }
    }
    operations
}

// Of the code: each `.route(path, get(...).post(...))` below src/http.
fn routed() -> BTreeSet<Operation> {
    let mut operations = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(file).unwrap();
        for call in text.split(".route(").skip(1) {
            let call = &call[..end_of_call(call)];
            let Some(path) = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
            else {
                panic!("a route's path is not written out: {call}");
            };
            let handlers = call.split_once(',').unwrap().1;
            for method in METHODS {
                let is_used = handlers.match_indices(&format!("{method}(")).any(|(at, _)| {
                    !handlers[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
                });
                if is_used {
                    operations.insert((method.to_uppercase(), plain(path)));
                }
            }
        }
    }
    operations
}

fn end_of_call(text: &str) -> usize {
    let mut depth = 1;
    let end = text.find(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or(text.len())
}

fn plain(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
    parts.join("/")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let (described, routed) = (described(), routed());
    assert!(routed.len() >= 20, "routes are not found: {routed:?}");
    let missing: Vec<_> = routed.difference(&described).collect();
    assert!(missing.is_empty(), "not in openapi.yaml: {missing:?}");
    let gone: Vec<_> = described.difference(&routed).collect();
    assert!(gone.is_empty(), "in openapi.yaml, but no route: {gone:?}");
}

#[tokio::test]
async fn every_described_operation_answers() {
    let world = World::start().await;
    let described = described();
    for (method, path) in &described {
        let url = world.app.http_url(&path.replace("{}", "x"));
        let method: Method = method.parse().unwrap();
        let status = world.app.http().request(method.clone(), &url).send().await.unwrap().status();
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        assert!(status != StatusCode::NOT_FOUND || path.contains("{}"), "{method} {path}");
        for other in METHODS.map(str::to_uppercase) {
            if described.contains(&(other.clone(), path.clone())) {
                continue;
            }
            let request = world.app.http().request(other.parse().unwrap(), &url);
            let status = request.send().await.unwrap().status();
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{other} {path}");
        }
    }
}
