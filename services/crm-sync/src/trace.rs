//! The trace of a change from the fact that brought it to the call that sends it, over the row that waits in between.
//! The form is W3C Trace Context, version 00.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The current span as a `traceparent`; none when nothing is traced.
#[must_use]
pub fn current() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return None;
    }
    Some(format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Makes `span` a child of the first carried context, and links it to the others: one call serves many changes.
pub fn continue_from<'a>(span: &Span, carried: impl IntoIterator<Item = &'a str>) {
    let mut contexts = carried.into_iter().filter_map(parse);
    if let Some(first) = contexts.next() {
        // Fails only when nothing traces.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(first));
    }
    contexts.take(127).for_each(|other| span.add_link(other));
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Not left to numbers, which take a sign and capitals too.
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_whole = is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    if version != "00" || parts.next().is_some() || !is_whole {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_continues_the_first_trace_that_its_rows_carry() {
        use opentelemetry::trace::TracerProvider as _;
        use tracing_subscriber::layer::SubscriberExt as _;

        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("send");
            let first = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            continue_from(
                &span,
                ["garbage", first, "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            );
            let sent = span.in_scope(current).unwrap();
            assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
            assert_ne!(sent, first, "the call has a span of its own");
        });
    }

    #[test]
    fn garbage_is_no_context() {
        assert!(parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_some());
        for text in [
            "",
            "00-x-y-z",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-é-é-01",
            "01-a-b-c-d",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
