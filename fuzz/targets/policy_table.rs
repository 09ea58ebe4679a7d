//! A file descriptor set; or, after a line `path`, the path of a gRPC call.
#![no_main]

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{LazyLock, Mutex, PoisonError},
};

use chassis::fuzzing::{Gate, Table};
use libfuzzer_sys::fuzz_target;

const OPEN: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read().expect("the descriptors of /proto"));
static GATE: LazyLock<Gate> = LazyLock::new(|| Gate::open().expect("a gate"));

fuzz_target!(
    init: let_the_library_give_up(),
    |bytes: &[u8]| match bytes.strip_prefix(b"path\n") {
        Some(path) => is_looked_up(path),
        None => are_planted(bytes),
    }
);

/// prost-reflect panics over many descriptors that it should refuse. They are part of the program, so that a process with
/// such ones does not start either way; each place is told once. Any other panic ends the run.
fn let_the_library_give_up() {
    let end = std::panic::take_hook();
    let told = Mutex::new(HashSet::new());
    std::panic::set_hook(Box::new(move |panic| match place_in_the_library(panic) {
        Some(place) => {
            if told.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone()) {
                eprintln!("the library gave up at {place}");
            }
        }
        None => end(panic),
    }));
}

fn place_in_the_library(panic: &PanicHookInfo<'_>) -> Option<String> {
    let at = panic.location()?;
    let (_, file) = at.file().split_once("/prost-reflect-")?;
    Some(format!("prost-reflect-{file}:{}", at.line()))
}

/// A path that is not in the table, to the byte, has no policy; and whoever has no token gets no further than to methods
/// that nobody has, and to those that are open to all.
fn is_looked_up(path: &[u8]) {
    let Ok(path) = std::str::from_utf8(path) else { return };
    let is_listed = |path: &str| TABLE.paths().iter().any(|listed| listed == path);
    assert_eq!(TABLE.has(path), is_listed(path));
    let Some(answer) = GATE.call(path, &[]) else { return };
    assert_eq!(TABLE.has(&answer.path), is_listed(&answer.path));
    let mut parts = answer.path.splitn(3, '/');
    let (before, service, method) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let is_utility = before == Some("") && method.is_some() && service.starts_with("grpc.");
    let is_closed = is_listed(&answer.path) || is_utility && !OPEN.contains(&service);
    assert_eq!(answer.reached, !is_closed, "{}", answer.path);
    assert!(answer.actor.is_none());
    assert_eq!(answer.reason.as_deref(), is_closed.then_some("TOKEN_MISSING"));
}

/// Hostile descriptors are refused, or each of their methods says who may call it; what `/proto` says stays.
fn are_planted(set: &[u8]) {
    let Ok(read) = catch_unwind(AssertUnwindSafe(|| TABLE.plant(set))) else { return };
    match read {
        Err(refused) => assert!(!refused.to_string().is_empty()),
        Ok(outcome) => {
            assert!(outcome.changed.is_empty(), "{:?}", outcome.changed);
            for planted in outcome.planted {
                let Some((scopes, public)) = &planted.policy else { panic!("{planted:?}") };
                assert!(scopes.is_empty() == *public, "{planted:?}");
                assert!(scopes.iter().all(|scope| !scope.is_empty()), "{planted:?}");
            }
        }
    }
}
