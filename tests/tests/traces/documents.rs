//! A document of results: the request that brings it, the batch that writes it, its way to Kafka, and the frame that its
//! readers share are one trace, or linked to it.

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Staff, Suite, until};
use proto::results::v1::{CreatePublisherKeyRequest, access_service_client::AccessServiceClient};
use testkit::{SpanKind, races::hundred_metres_final};
use tokio::task::JoinHandle;

use crate::{caller::Caller, chain, index::Index, over};

const ROUTE: &str = "POST /results/v1/odf";
const WRITE: &str = "write documents";
const FRAME: &str = "write frame";
const TOPIC: &str = "kotinos.results.document.v1";
/// What a batch does whatever is in it.
const STATEMENTS: [&str; 3] = ["db.stream.lock", "db.document.load_heads", "db.log.insert"];

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_traced_through_its_batch_to_kafka() {
    let services = [Service::Identity, Service::Mailer, Service::ResultsFeed];
    over("documents", &services, &[], go).await;
}

async fn go(suite: &Suite) -> Result<()> {
    let daniel = Staff::sign_up(suite, "daniel@staff.example", &["results.admin"]).await?;
    let mut access = AccessServiceClient::new(daniel.channel(suite, Service::ResultsFeed)?);
    let request =
        CreatePublisherKeyRequest { name: "timing".to_owned(), ..CreatePublisherKeyRequest::default() };
    let key = access.create_publisher_key(request).await?.into_inner().secret;
    // Two fans of everything: what they read is written once.
    let fans = [listen(suite).await?, listen(suite).await?];
    let callers = post(suite, &key).await?;
    until("every document's trace", async || {
        suite.spans.look(|spans| {
            let index = Index::of(spans);
            let followed: Result<Vec<Way>, &str> =
                callers.iter().map(|(caller, is_shown)| follow(caller, *is_shown, &index)).collect();
            let ways = followed.map_err(|missing| anyhow::anyhow!("without {missing}"))?;
            println!("{} documents: {}", ways.len(), chain::told(ways));
            Ok(Some(()))
        })
    })
    .await?;
    fans.iter().for_each(JoinHandle::abort);
    Ok(())
}

/// Reads the public's feed until it is aborted.
async fn listen(suite: &Suite) -> Result<JoinHandle<()>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/results/v1/feed?mode=every", suite.addresses.url(Service::ResultsFeed));
    let mut feed = http.get(url).send().await?.error_for_status()?;
    feed.chunk().await?.context("the feed says nothing")?;
    Ok(tokio::spawn(async move { while let Ok(Some(_)) = feed.chunk().await {} }))
}

/// Posts a whole race at once, so that several documents are written together. Those that a newer version overtook are
/// shown to nobody.
async fn post(suite: &Suite, key: &str) -> Result<Vec<(Caller, bool)>> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/results/v1/odf", suite.addresses.url(Service::ResultsFeed));
    let documents = hundred_metres_final(1);
    let posts = documents.iter().map(async |document| {
        let caller = Caller::new();
        let request = http.post(&url).header("x-api-key", key).header("traceparent", caller.traceparent());
        let answer = request.body(document.xml.clone()).send().await?.error_for_status()?.text().await?;
        let (is_shown, is_late) = (answer.contains("accepted"), answer.contains("late"));
        ensure!(is_shown || is_late, "{} is {answer}", document.document_type);
        Ok((caller, is_shown))
    });
    futures::future::try_join_all(posts).await.context("a document is not taken")
}

/// Whose trace a document's batch is in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    ItsOwn,
    AnothersWithALink,
}

fn follow(caller: &Caller, is_shown: bool, index: &Index<'_>) -> Result<Way, &'static str> {
    let results = Service::ResultsFeed.name();
    let mut called = index.children(&caller.trace_id, &caller.span_id);
    let request =
        called.find(|span| span.kind == SpanKind::Server && span.name == ROUTE).ok_or("the request")?;
    let append = index.child(request, SpanKind::Internal, results, &format!("append {TOPIC}"));
    let append = append.ok_or("the append")?;
    let publish = index.child(append, SpanKind::Producer, results, &format!("publish {TOPIC}"));
    publish.ok_or("the publish")?;
    let own = index.child(request, SpanKind::Internal, results, WRITE);
    let shared = index.linking(request).find(|span| span.name == WRITE);
    let write = own.or(shared).ok_or("the batch")?;
    for statement in STATEMENTS {
        index.child(write, SpanKind::Client, results, statement).ok_or(statement)?;
    }
    let mut frames = index.children(&request.trace_id, &request.span_id).filter(|span| span.name == FRAME);
    if is_shown {
        frames.next().ok_or("the frame")?;
    }
    if frames.next().is_some() {
        return Err("one frame for all");
    }
    Ok(if own.is_some() { Way::ItsOwn } else { Way::AnothersWithALink })
}
