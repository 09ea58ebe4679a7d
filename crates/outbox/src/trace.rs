//! Trace contexts that wait in a row or a record, in the form of W3C Trace Context (version 00).

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The trace context of a row or a record, in the form of W3C Trace Context (version 00).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) traceparent: String,
    pub(crate) tracestate: Option<String>,
}

/// The context of the current span; none when nothing is traced.
pub(crate) fn current() -> Option<Carried> {
    of(&Span::current())
}

pub(crate) fn of(span: &Span) -> Option<Carried> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    if !context.is_valid() {
        return None;
    }
    let traceparent =
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    let state = context.trace_state().header();
    Some(Carried { traceparent, tracestate: Some(state).filter(|state| !state.is_empty()) })
}

/// Reads a carried context; none when it is not well formed.
pub(crate) fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Not left to numbers, which take a sign and capitals too.
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if !is_hex(version, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    if !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let state = tracestate.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(flags),
        true,
        state,
    );
    context.is_valid().then_some(context)
}

/// Makes `span` a child of the carried context; `linked` adds a link as well, which is what readers of asynchronous
/// work look for, while a link alone would split the trace.
pub(crate) fn continue_from(span: &Span, context: SpanContext, linked: bool) {
    if linked {
        span.add_link(context.clone());
    }
    // Fails only when nothing traces.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
}

/// The current span as a `traceparent`, for a row that will be worked on later; none when nothing is traced.
#[must_use]
pub fn traceparent() -> Option<String> {
    current().map(|carried| carried.traceparent)
}

/// Makes `span` a child of the first `traceparent` that is well formed, and links it to the next 127: one piece of work
/// serves many rows. What is not well formed is left out.
pub fn continue_rows<'a>(span: &Span, traceparents: impl IntoIterator<Item = &'a str>) {
    let mut contexts = traceparents.into_iter().filter_map(|text| parse(text, None));
    if let Some(first) = contexts.next() {
        continue_from(span, first, false);
    }
    contexts.take(127).for_each(|other| span.add_link(other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_context_is_read_back() {
        let context = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None).unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.is_sampled() && context.is_remote());
    }

    #[test]
    fn garbage_is_no_context() {
        for text in
            ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-x-y-z"]
        {
            assert_eq!(parse(text, None), None, "{text}");
        }
        let many = format!("00-{}-b7ad6b7169203331-01", "é".repeat(16));
        assert_eq!(parse(&many, None), None);
    }

    #[test]
    fn hostile_text_is_no_context() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(parse(GOOD, None).is_some());
        let huge = 1_000_000;
        let table = [
            format!("{GOOD}-"),
            format!("{GOOD}-{}", "0".repeat(huge)),
            GOOD[..54].to_owned(),
            GOOD.replace("00-", "ff-"),
            GOOD.replace('-', "_"),
            GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            GOOD.replace("b7ad6b7169203331", "b7ad6b716920333g"),
            GOOD.replace("b7ad6b7169203331", &"b7".repeat(huge)),
            GOOD.replace("0af7", "0af\0"),
            GOOD.replace("-01", "-0é"),
            format!("{GOOD}{}", "0".repeat(huge)),
            GOOD.replace("00-", "-"),
            GOOD.replace("00-", "0x-"),
            GOOD.replace("0af7", "+af7"),
            GOOD.replace("b7ad", "+7ad"),
            GOOD.replace("-01", "-+1"),
            GOOD.to_uppercase(),
            "-".repeat(huge),
            "0".repeat(huge),
            "\u{1f3c5}".repeat(huge),
        ];
        for text in table {
            assert_eq!(parse(&text, None), None, "{}", text.get(..80).unwrap_or(&text));
        }
    }

    #[test]
    fn a_state_that_is_garbage_or_too_long_leaves_the_context() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let state = |text: &str| parse(GOOD, Some(text)).unwrap().trace_state().header();
        assert_eq!(state("vendor=1, other@tenant=2"), "vendor=1,other@tenant=2");
        for garbage in ["", "a", "A=1", "a=b=c", "é=1", &",".repeat(1_000_000), &"a".repeat(1_000_000)] {
            assert_eq!(state(garbage), "", "{}", garbage.get(..80).unwrap_or(garbage));
        }
        assert_eq!(state(&"a=1,".repeat(250_000)).split(',').count(), 32);
    }

    #[test]
    fn work_continues_the_first_trace_that_its_rows_carry() {
        use opentelemetry::trace::TracerProvider as _;
        use tracing_subscriber::layer::SubscriberExt as _;

        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("send");
            let first = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            continue_rows(
                &span,
                ["garbage", first, "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            );
            let sent = span.in_scope(traceparent).unwrap();
            assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
            assert_ne!(sent, first, "the work has a span of its own");
        });
    }
}
