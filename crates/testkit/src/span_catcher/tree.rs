use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use super::{Span, SpanKind};

/// Spans for people: a line each, indented below its parent.
pub(super) fn tree(spans: &[Span]) -> String {
    let ids: HashSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let mut children: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        // One whose parent did not arrive stands at the left.
        let parent = span.parent_span_id.as_str();
        children.entry(if ids.contains(parent) { parent } else { "" }).or_default().push(span);
    }
    let mut lines = String::new();
    let mut waiting: Vec<(usize, &Span)> = roots(&children, "", 0);
    let mut printed: HashSet<&str> = HashSet::new();
    while let Some((depth, span)) = waiting.pop() {
        if printed.insert(&span.span_id) {
            line(&mut lines, depth, span);
            waiting.extend(roots(&children, &span.span_id, depth + 1));
        }
    }
    lines
}

// Last first, as a stack wants them.
fn roots<'a>(children: &HashMap<&str, Vec<&'a Span>>, parent: &str, depth: usize) -> Vec<(usize, &'a Span)> {
    children.get(parent).into_iter().flatten().rev().map(|span| (depth, *span)).collect()
}

fn line(lines: &mut String, depth: usize, span: &Span) {
    let kind = match span.kind {
        SpanKind::Internal => "",
        SpanKind::Server => "server ",
        SpanKind::Client => "client ",
        SpanKind::Producer => "producer ",
        SpanKind::Consumer => "consumer ",
    };
    let took = (span.end - span.start).num_microseconds().unwrap_or(i64::MAX);
    let (whole, tenth) = (took / 1_000, took % 1_000 / 100);
    let error = span.error.as_ref().map(|error| format!(" ERROR {error}")).unwrap_or_default();
    let (name, service, indent) = (&span.name, &span.service, depth * 2);
    let _ = writeln!(lines, "{:indent$}{name} ({kind}{service}, {whole}.{tenth} ms){error}", "");
}
