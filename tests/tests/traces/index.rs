use std::collections::HashMap;

use testkit::{Span, SpanKind};

/// Spans by what they hang on.
#[derive(Debug, Default)]
pub struct Index<'a> {
    by_parent: HashMap<&'a str, Vec<&'a Span>>,
    by_link: HashMap<&'a str, Vec<&'a Span>>,
    traces: HashMap<&'a str, Vec<&'a Span>>,
}

impl<'a> Index<'a> {
    pub fn of(spans: &'a [Span]) -> Self {
        let mut index = Self::default();
        for span in spans {
            index.by_parent.entry(&span.parent_span_id).or_default().push(span);
            index.traces.entry(&span.trace_id).or_default().push(span);
            for link in &span.links {
                index.by_link.entry(&link.span_id).or_default().push(span);
            }
        }
        index
    }

    /// The children of a span, which need not have come itself.
    pub fn children(&self, trace_id: &str, span_id: &str) -> impl Iterator<Item = &'a Span> {
        let hanging = self.by_parent.get(span_id).into_iter().flatten();
        hanging.copied().filter(move |span| span.trace_id == trace_id)
    }

    /// The child of a span that is called so, of this kind, of this service.
    pub fn child(&self, of: &Span, kind: SpanKind, service: &str, name: &str) -> Option<&'a Span> {
        let mut children = self.children(&of.trace_id, &of.span_id);
        children.find(|span| span.kind == kind && span.service == service && span.name == name)
    }

    /// The spans that link to a span.
    pub fn linking(&self, to: &Span) -> impl Iterator<Item = &'a Span> {
        let linking = self.by_link.get(to.span_id.as_str()).into_iter().flatten();
        linking.copied().filter(move |span| links(span, to))
    }

    /// The spans of a trace, in the order of their arrival.
    pub fn trace(&self, trace_id: &str) -> &[&'a Span] {
        self.traces.get(trace_id).map_or(&[], Vec::as_slice)
    }
}

/// Whether a span links to another.
pub fn links(from: &Span, to: &Span) -> bool {
    from.links.iter().any(|link| link.trace_id == to.trace_id && link.span_id == to.span_id)
}
