//! Exemplars of the histograms lead to traces that are there.

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Suite, until};
use testkit::SpanKind;

use crate::{asked::Question, caller::Caller, over};

const HISTOGRAMS: [(&str, &str, &str); 2] = [
    ("rpc_server_call_duration_seconds_bucket", "rpc_method=\"", "rpc.method"),
    ("http_server_request_duration_seconds_bucket", "http_route=\"", "http.route"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_exemplar_leads_to_the_call_that_it_counts() {
    let services = [Service::Identity, Service::Profile];
    let found = over("exemplars", &services, &[], go).await;
    println!("{}", found.join("\n"));
}

async fn go(suite: &Suite) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (service, histogram) in [(Service::Profile, HISTOGRAMS[0]), (Service::Identity, HISTOGRAMS[1])] {
        let question = Question::of(suite, service).await?;
        let callers: Vec<Caller> = (0..20).map(|_| Caller::new()).collect();
        for caller in &callers {
            ensure!(question.ask(caller).await, "{service} does not answer");
        }
        found.push(resolve(suite, service, histogram, &callers).await?);
    }
    Ok(found)
}

/// Every exemplar of a histogram is one of these calls, under the label that its span has as an attribute.
async fn resolve(
    suite: &Suite,
    service: Service,
    (name, label, attribute): (&str, &str, &str),
    callers: &[Caller],
) -> Result<String> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let page =
        http.get(suite.addresses.metrics_url(service)).send().await?.error_for_status()?.text().await?;
    let lines = page.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.split_once(" # "));
    let (mut resolved, mut ours) = (0, 0);
    for (series, exemplar) in lines {
        let trace_id = value(exemplar, "trace_id=\"").context("an exemplar without a trace")?;
        let wanted = value(series, label).context("a series without its label")?;
        let what = format!("the span of {service} behind {exemplar}");
        until(&what, async || {
            let spans = suite.spans.trace(trace_id);
            let mut servers =
                spans.iter().filter(|span| span.kind == SpanKind::Server && span.service == service.name());
            Ok(servers
                .any(|span| span.attributes.get(attribute).is_some_and(|held| held == wanted))
                .then_some(()))
        })
        .await?;
        resolved += 1;
        ours += usize::from(callers.iter().any(|caller| caller.trace_id == trace_id));
    }
    ensure!(ours > 0, "{service} shows no exemplar of our calls in {name}:\n{page}");
    Ok(format!("{service}: {resolved} exemplars of {name} lead to their calls, {ours} of them ours"))
}

fn value<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once('"').map(|(value, _)| value)
}
