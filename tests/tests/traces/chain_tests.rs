use std::collections::BTreeMap;

use testkit::SpanLink;

use super::*;

fn span(kind: SpanKind, service: Service, name: &str, of: &Caller) -> Span {
    Span {
        trace_id: of.trace_id.clone(),
        span_id: Caller::new().span_id,
        parent_span_id: of.span_id.clone(),
        name: name.to_owned(),
        kind,
        service: service.name().to_owned(),
        instance: String::new(),
        attributes: BTreeMap::from([("rpc.response.status_code".to_owned(), "OK".to_owned())]),
        events: Vec::new(),
        links: Vec::new(),
        start: domain::DateTime::UNIX_EPOCH,
        end: domain::DateTime::UNIX_EPOCH,
        error: None,
    }
}

/// As one that calls from within it.
fn within(span: &Span) -> Caller {
    Caller { trace_id: span.trace_id.clone(), span_id: span.span_id.clone() }
}

fn linked(mut span: Span, to: &Caller) -> Span {
    span.links.push(SpanLink { trace_id: to.trace_id.clone(), span_id: to.span_id.clone() });
    span
}

/// A whole chain: the spans, and the call that the CRM got.
fn whole(caller: &Caller, alone: bool) -> (Vec<Span>, HashSet<(String, String)>) {
    use Service::{CrmSync, Mailer, Profile, Segmentation};

    let method = span(SpanKind::Server, Profile, METHOD, caller);
    let append = span(SpanKind::Internal, Profile, APPEND, &within(&method));
    let publish = span(SpanKind::Producer, Profile, PUBLISH, &within(&append));
    let elsewhere = Caller::new();
    let mut spans: Vec<Span> =
        STATEMENTS.map(|statement| span(SpanKind::Client, Profile, statement, &within(&method))).into();
    for reader in GROUPS {
        let mut receive = linked(span(SpanKind::Consumer, reader, RECEIVE, &elsewhere), &within(&publish));
        receive.parent_span_id.clear();
        spans.push(receive);
    }
    for reader in [Mailer, Segmentation] {
        spans.push(linked(span(SpanKind::Consumer, reader, PROCESS, &within(&publish)), &within(&publish)));
    }
    let process = linked(span(SpanKind::Consumer, CrmSync, PROCESS, &within(&publish)), &within(&publish));
    let send = if alone {
        span(SpanKind::Internal, CrmSync, SEND, &within(&process))
    } else {
        linked(span(SpanKind::Internal, CrmSync, SEND, &elsewhere), &within(&process))
    };
    let call =
        span(SpanKind::Client, CrmSync, "PATCH /services/data/v62.0/composite/sobjects", &within(&send));
    let taken = HashSet::from([(call.trace_id.clone(), call.span_id.clone())]);
    spans.extend([
        span(SpanKind::Client, CrmSync, ENQUEUE, &within(&process)),
        process,
        send,
        call,
        publish,
        append,
        method,
    ]);
    (spans, taken)
}

#[test]
fn a_whole_chain_is_followed_to_the_end() {
    for (alone, way) in [(true, Way::Alone), (false, Way::Shared)] {
        let caller = Caller::new();
        let (spans, taken) = whole(&caller, alone);
        assert_eq!(follow(&caller, &Index::of(&spans), &taken), Ok(way));
        assert_eq!(follow(&caller, &Index::of(&spans), &HashSet::new()), Err("the CRM's call"));
        assert_eq!(follow(&Caller::new(), &Index::of(&spans), &taken), Err("the called method"));
    }
}

#[test]
fn each_span_that_is_missing_is_missed() {
    let caller = Caller::new();
    let (spans, taken) = whole(&caller, true);
    for at in 0..spans.len() {
        let mut spans = spans.clone();
        let missing = spans.remove(at);
        assert!(follow(&caller, &Index::of(&spans), &taken).is_err(), "nobody misses {}", missing.name);
    }
}

#[test]
fn a_wrong_kind_parent_service_or_link_breaks_the_chain() {
    let caller = Caller::new();
    let (spans, taken) = whole(&caller, true);
    for at in 0..spans.len() {
        let breaks: [fn(&mut Span); 3] = [
            |span| {
                span.kind =
                    if span.kind == SpanKind::Internal { SpanKind::Client } else { SpanKind::Internal }
            },
            |span| span.parent_span_id = "b7ad6b7169203331".to_owned(),
            |span| span.service = "portal".to_owned(),
        ];
        for broken in breaks {
            let mut spans = spans.clone();
            broken(&mut spans[at]);
            assert!(follow(&caller, &Index::of(&spans), &taken).is_err(), "{:?}", spans[at]);
        }
        let mut spans = spans.clone();
        if !std::mem::take(&mut spans[at].links).is_empty() {
            assert!(follow(&caller, &Index::of(&spans), &taken).is_err(), "{:?}", spans[at]);
        }
    }
}

#[test]
fn counts_are_told_in_order() {
    assert_eq!(told([Way::Shared, Way::Alone, Way::Shared]), "1 Alone, 2 Shared");
}
