use opentelemetry_proto::tonic::{
    collector::trace::v1::trace_service_client::TraceServiceClient, resource::v1::Resource,
    trace::v1::ScopeSpans,
};

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn span(id: u8, parent: u8, name: &str, start: u64) -> otlp::Span {
    let id_of = |id: u8| if id == 0 { Vec::new() } else { vec![id; 8] };
    otlp::Span {
        trace_id: u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec(),
        span_id: id_of(id),
        parent_span_id: id_of(parent),
        name: name.to_owned(),
        kind: otlp::span::SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_250_000,
        attributes: vec![attribute("rpc.method", Value::StringValue("Get".to_owned()))],
        events: vec![otlp::span::Event {
            name: "retried".to_owned(),
            attributes: vec![attribute("try", Value::IntValue(2))],
            ..Default::default()
        }],
        links: vec![otlp::span::Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Default::default() }],
        ..Default::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn export(service: &str, spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", Value::StringValue(service.to_owned())),
            attribute("service.instance.id", Value::StringValue("1".to_owned())),
        ],
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let of = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![of] }
}

#[tokio::test]
async fn spans_of_several_services_make_one_tree() {
    let catcher = SpanCatcher::start().await;
    let mut client = TraceServiceClient::connect(catcher.endpoint()).await.unwrap();
    let failed = otlp::Status { message: "no".to_owned(), code: StatusCode::Error.into() };
    let second = otlp::Span { status: Some(failed), ..span(3, 1, "second", 3_000_000) };
    client.export(export("profile", vec![span(2, 1, "first", 2_000_000), second])).await.unwrap();
    client.export(export("portal", vec![span(1, 0, "GET /", 1_000_000)])).await.unwrap();
    let found =
        catcher.wait_for(Duration::from_secs(5), |spans| (spans.len() == 3).then(|| spans.to_vec())).await;
    assert_eq!(found[0].attributes["rpc.method"], "Get");
    assert_eq!((found[0].service.as_str(), found[0].instance.as_str()), ("profile", "1"));
    assert_eq!(
        found[0].events,
        [("retried".to_owned(), BTreeMap::from([("try".to_owned(), "2".to_owned())]))]
    );
    assert_eq!(found[0].links, [SpanLink { trace_id: "01".repeat(16), span_id: "02".repeat(8) }]);
    assert_eq!(catcher.trace(TRACE).len(), 3);
    assert_eq!(
        catcher.tree(TRACE),
        "GET / (server portal, 1.2 ms)\n  first (server profile, 1.2 ms)\n  second (server profile, 1.2 ms) ERROR no\n"
    );
    assert_eq!(catcher.tree("another"), "");
    catcher.stop().await;
}

#[tokio::test]
#[should_panic(expected = "what came: {}")]
async fn what_does_not_come_fails_the_test_with_what_did() {
    SpanCatcher::start().await.wait_for(Duration::from_millis(50), |_| None::<()>).await;
}

#[test]
fn an_orphan_stands_at_the_left_and_a_circle_ends() {
    let resource = BTreeMap::from([("service.name".to_owned(), "s".to_owned())]);
    let spans: Vec<Span> =
        [span(2, 9, "orphan", 1), span(3, 3, "circle", 2)].map(|span| read(span, &resource)).into();
    assert_eq!(tree::tree(&spans), "orphan (server s, 1.2 ms)\n");
}
