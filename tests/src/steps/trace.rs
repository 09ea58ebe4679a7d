//! Step 9: one trace from Alice's edit on the portal to the call that changes her row at the CRM. It begins before step 7,
//! while she still lets the IOC have her data.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use domain::Service;
use testkit::{Span, SpanKind};

use super::profile::{SPORTS, save_account};
use crate::{Shape, Walk, until};

/// The call of the Collections API that changes rows.
const COLLECTIONS: &str = "/composite/sobjects";
/// Done once by each process, before there is any work.
const AT_START: [&str; 1] = ["db.stream.make"];

/// What else Alice tells then, as fields of the account page: nobody but profile and its readers may know.
pub const TOLD: [(&str, &str); 3] =
    [("phone", "+81355500142"), ("postal_code", "104-0061"), ("address_1", "銀杏町4-2-17 エルム202")];

/// Alice adds a favourite sport, and where she lives, and the CRM learns of the first.
pub async fn begin(walk: &mut Walk<'_>) -> Result<()> {
    let known = walk.suite.spans.spans().len();
    save_account(walk.suite, &mut walk.alice, |form| {
        form.choose(SPORTS, &["ATH", "JUD", "SWM"])?;
        for (field, value) in TOLD {
            form.fill(field, value)?;
        }
        Ok(())
    })
    .await?;
    until("the CRM to know Alice's new favourite", async || {
        let contacts = walk.suite.crm().contacts().await?;
        let known = contacts.iter().any(|contact| contact["Favourite_Olympic__c"] == "ATH;JUD;SWM");
        Ok(known.then_some(()))
    })
    .await?;
    // Spans are told in batches, some seconds later.
    walk.ids.trace = until("the span of Alice's edit", async || {
        let spans = walk.suite.spans.spans();
        let edit = spans.iter().skip(known).find(|span| is_edit(span));
        Ok(edit.map(|span| span.trace_id.clone()))
    })
    .await?;
    Ok(())
}

fn is_edit(span: &Span) -> bool {
    span.kind == SpanKind::Server
        && span.attributes.get("http.request.method").is_some_and(|method| method == "POST")
        && span.attributes.get("http.route").is_some_and(|route| route == "/account")
}

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let trace_id = walk.ids.trace.clone();
    let carried = until("the CRM's call to carry the trace", async || {
        let calls = walk.suite.crm().calls().await?.into_iter();
        let mut ours = calls.filter(|(call, traceparent)| {
            call.contains(COLLECTIONS) && traceparent.as_ref().is_some_and(|held| held.contains(&trace_id))
        });
        Ok(ours.next())
    })
    .await?;
    let spans = until("every part of the trace", async || {
        let spans = walk.suite.spans.trace(&trace_id);
        parts(&spans)?;
        Ok(Some(spans))
    })
    .await?;
    let (call, traceparent) = carried;
    let mut evidence = vec![
        format!("trace {trace_id}: {} spans", spans.len()),
        format!("at the CRM: {call}, traceparent {}", traceparent.unwrap_or_default()),
    ];
    evidence.extend(walk.suite.spans.tree(&trace_id).lines().map(str::to_owned));
    evidence.push(no_statement_stands_alone(walk)?);
    Ok(evidence)
}

/// What mails and documents led to belongs to the work that did it: no statement is a trace of its own. These two work in
/// batches of what others ask for, where that is lost easily. In one process nothing tells whose a statement is.
fn no_statement_stands_alone(walk: &Walk<'_>) -> Result<String> {
    let services = [Service::Mailer, Service::ResultsFeed].map(Service::name);
    let is_part = |span: &Span| {
        let is_statement = span.name.starts_with("db.") || span.name.starts_with("append ");
        is_statement && services.contains(&span.service.as_str()) && !AT_START.contains(&span.name.as_str())
    };
    let (parts, alone) = walk.suite.spans.look(|spans| {
        let parts = spans.iter().filter(|span| is_part(span));
        let alone = parts.clone().filter(|span| span.parent_span_id.is_empty());
        let alone: BTreeSet<String> = alone.map(|span| format!("{}: {}", span.service, span.name)).collect();
        (parts.count(), alone)
    });
    let turns = walk.suite.spans.look(|spans| {
        let turns = spans.iter().filter(|span| span.name == "turn" && !span.parent_span_id.is_empty());
        turns.count()
    });
    ensure!(turns > 0, "no turn of mailer belongs to a campaign that it sends");
    ensure!(alone.is_empty(), "statements without the work that they belong to: {alone:?}");
    ensure!(parts > 0 || walk.suite.shape == Shape::AllInOne, "no statement of {services:?} is traced");
    Ok(format!("{parts} statements and facts of {}, each within some work", services.join(" and ")))
}

/// Everything that the edit went through is in the trace, and hangs together.
fn parts(spans: &[Span]) -> Result<()> {
    let has = |what: &str, fits: &dyn Fn(&Span) -> bool| {
        ensure!(spans.iter().any(fits), "the trace has no span of {what}");
        Ok(())
    };
    let topic = |span: &Span, kind, topic: &str| span.kind == kind && span.name.contains(topic);
    has("the portal's page", &is_edit)?;
    has("the call to profile", &|span| span.kind == SpanKind::Client && span.name.contains("UpdateProfile"))?;
    has("profile's method", &|span| span.kind == SpanKind::Server && span.name.contains("UpdateProfile"))?;
    has("SQL", &|span| span.name.starts_with("db."))?;
    has("the outbox", &|span| span.name.starts_with("append kotinos.profile.profile.v1"))?;
    has("Kafka's sender", &|span| topic(span, SpanKind::Producer, "publish kotinos.profile.profile.v1"))?;
    has("Kafka's reader", &|span| {
        topic(span, SpanKind::Consumer, "process kotinos.profile.profile.v1") && is_of(span, Service::CrmSync)
    })?;
    has("the CRM's call", &|span| span.kind == SpanKind::Client && span.name.contains(COLLECTIONS))?;
    let ids: Vec<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let orphans: Vec<&str> = spans
        .iter()
        .filter(|span| !span.parent_span_id.is_empty() && !ids.contains(&span.parent_span_id.as_str()))
        .map(|span| span.name.as_str())
        .collect();
    ensure!(orphans.is_empty(), "spans whose parent is missing: {orphans:?}");
    Ok(())
}

// In a process of several services the attribute tells which of them it is.
fn is_of(span: &Span, service: Service) -> bool {
    let named = span.attributes.get("kotinos.service").unwrap_or(&span.service);
    named == service.name() || named == service.short() || span.service == Service::AllInOne.name()
}
