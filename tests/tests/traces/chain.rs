//! What an edit of a profile has to leave behind: a gRPC call, its SQL, the outbox, Kafka, its readers, and the call of
//! one of them to the next service.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
};

use domain::Service;
use testkit::{Span, SpanKind};

use crate::{
    caller::Caller,
    index::{Index, links},
};

const METHOD: &str = "kotinos.profile.v1.ProfileService/UpdateProfile";
const STATEMENTS: [&str; 3] = ["db.request.claim", "db.profile.load_for_update", "db.profile.save"];
const APPEND: &str = "append kotinos.profile.profile.v1";
const PUBLISH: &str = "publish kotinos.profile.profile.v1";
const RECEIVE: &str = "receive kotinos.profile.profile.v1";
const PROCESS: &str = "process kotinos.profile.profile.v1";
const ENQUEUE: &str = "db.pending.enqueue";
const SEND: &str = "send change lane";
/// The call of the CRM's Collections API that changes rows.
const COLLECTIONS: &str = "/composite/sobjects";

/// The services that follow profiles as members of a group.
const GROUPS: [Service; 2] = [Service::CrmSync, Service::Mailer];

/// How a change came to the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By a call in its own trace.
    Alone,
    /// By a call that served others too: it is in one's trace, and links to all.
    Shared,
}

/// Follows a change through all that it has to go through, or says what is missing. `taken` are the calls that the CRM
/// got, by trace and calling span.
pub fn follow(
    caller: &Caller,
    index: &Index<'_>,
    taken: &HashSet<(String, String)>,
) -> Result<Way, &'static str> {
    let profile = Service::Profile.name();
    let method = index.children(&caller.trace_id, &caller.span_id).find(|span| {
        span.kind == SpanKind::Server && span.service == profile && span.name == METHOD && is_ok(span)
    });
    let method = method.ok_or("the called method")?;
    for statement in STATEMENTS {
        index.child(method, SpanKind::Client, profile, statement).ok_or(statement)?;
    }
    let append = index.child(method, SpanKind::Internal, profile, APPEND).ok_or("the append")?;
    let publish = index.child(append, SpanKind::Producer, profile, PUBLISH).ok_or("the publish")?;
    for reader in GROUPS {
        let receive = index.linking(publish).find(|span| is_receive(span, reader));
        receive.ok_or(if reader == Service::CrmSync { "crm-sync's receive" } else { "mailer's receive" })?;
        process(index, publish, reader)?;
    }
    process(index, publish, Service::Segmentation)?;
    let process = process(index, publish, Service::CrmSync)?;
    let crm_sync = Service::CrmSync.name();
    index.child(process, SpanKind::Client, crm_sync, ENQUEUE).ok_or("the row that waits for the runner")?;
    has_all_parents(caller, index)?;
    let is_taken = |send: &Span| {
        let mut calls = index.children(&send.trace_id, &send.span_id);
        calls.any(|call| is_call(call) && taken.contains(&(call.trace_id.clone(), call.span_id.clone())))
    };
    let own = index.child(process, SpanKind::Internal, crm_sync, SEND);
    if own.is_some_and(is_taken) {
        return Ok(Way::Alone);
    }
    let mut shared = index.linking(process).filter(|span| span.name == SEND && span.service == crm_sync);
    if shared.any(is_taken) {
        return Ok(Way::Shared);
    }
    Err("the CRM's call")
}

fn is_ok(span: &Span) -> bool {
    span.attributes.get("rpc.response.status_code").is_some_and(|code| code == "OK")
}

fn is_receive(span: &Span, reader: Service) -> bool {
    // A batch has as many parents as records, so it is nobody's child.
    span.name == RECEIVE
        && span.kind == SpanKind::Consumer
        && span.service == reader.name()
        && span.parent_span_id.is_empty()
}

fn process<'a>(index: &Index<'a>, publish: &Span, reader: Service) -> Result<&'a Span, &'static str> {
    let found = index.child(publish, SpanKind::Consumer, reader.name(), PROCESS);
    let linked = found.filter(|process| links(process, publish));
    linked.ok_or(match reader {
        Service::CrmSync => "crm-sync's process, or its link",
        Service::Mailer => "mailer's process, or its link",
        _ => "segmentation's process, or its link",
    })
}

fn is_call(span: &Span) -> bool {
    span.kind == SpanKind::Client
        && span.service == Service::CrmSync.name()
        && span.name.contains(COLLECTIONS)
}

fn has_all_parents(caller: &Caller, index: &Index<'_>) -> Result<(), &'static str> {
    let spans = index.trace(&caller.trace_id);
    let ids: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let hangs = |span: &&Span| {
        let parent = span.parent_span_id.as_str();
        parent == caller.span_id || ids.contains(parent)
    };
    if spans.iter().all(hangs) { Ok(()) } else { Err("the parent of a span") }
}

/// How often each, in words.
pub fn told<K: Ord + Debug>(all: impl IntoIterator<Item = K>) -> String {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts.iter().map(|(one, count)| format!("{count} {one:?}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
