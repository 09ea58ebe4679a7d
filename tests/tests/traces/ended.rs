//! What a process did is told although it was asked to end meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use domain::{Clock, DateTime, Service, Utc};
use e2e::{Suite, until};
use proto::results::v1::{SubscribeMode, SubscribeRequest, feed_service_client::FeedServiceClient};
use testkit::{Span, SpanKind};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    asked::{Question, channel},
    caller::Caller,
    index::Index,
    over,
};

/// Callers at once, each with a pause after an answer.
const CALLERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(5);
/// Calls before the signal.
const BEFORE: Duration = Duration::from_millis(500);

/// What was asked of a service around its end.
struct Around {
    service: Service,
    signalled_at: DateTime<Utc>,
    answered: Vec<Caller>,
    /// The feed that was open all the time.
    stream: Option<Caller>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Told {
    answered: usize,
    lost: usize,
    /// Calls that the old process answered after the signal was on its way.
    late: usize,
    /// How many spans a call has, and how often.
    sizes: BTreeMap<usize, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_span_is_lost_when_a_process_is_asked_to_end() {
    let told = over("ended", &Service::ALL, &[], go).await;
    let mut late = 0;
    for (service, told) in &told {
        println!("{service}: {told:?}");
        assert_eq!(told.lost, 0, "spans of {service} are lost: {told:?}");
        assert!(told.answered > 2 * CALLERS, "{service} was hardly asked: {told:?}");
        late += told.late;
    }
    assert!(late > 0, "no call was under way when its process was asked to end");
}

async fn go(suite: &Suite) -> Result<Vec<(Service, Told)>> {
    let mut told = Vec::new();
    for service in Service::ALL {
        let around = end(suite, service).await.with_context(|| format!("{service} ends"))?;
        told.push((service, settle(suite, &around).await?));
    }
    Ok(told)
}

/// Asks a service without a break while its process is asked to end, ends, and another one comes.
async fn end(suite: &Suite, service: Service) -> Result<Around> {
    let question = Question::of(suite, service).await?;
    ensure!(question.ask(&Caller::new()).await, "{service} does not answer");
    let stream = if service == Service::ResultsFeed { Some(open_feed(suite).await?) } else { None };
    let enough = CancellationToken::new();
    let answered: Arc<Mutex<Vec<Caller>>> = Arc::default();
    let callers = TaskTracker::new();
    for _ in 0..CALLERS {
        let (question, enough, answered) = (question.clone(), enough.clone(), Arc::clone(&answered));
        callers.spawn(async move {
            while !enough.is_cancelled() {
                let caller = Caller::new();
                if question.ask(&caller).await {
                    answered.lock().unwrap().push(caller);
                }
                sleep(PAUSE).await;
            }
        });
    }
    sleep(BEFORE).await;
    let signalled_at = Clock::system().now();
    suite.replace(service, Duration::ZERO).await?;
    enough.cancel();
    callers.close();
    callers.wait().await;
    let stream = match stream {
        Some((caller, reading)) => {
            reading.await.context("the feed goes on although its process has ended")?;
            Some(caller)
        }
        None => None,
    };
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    Ok(Around { service, signalled_at, answered, stream })
}

/// A feed, read until it ends: its span is as long as it is.
async fn open_feed(suite: &Suite) -> Result<(Caller, JoinHandle<()>)> {
    let caller = Caller::new();
    let channel = channel(suite, "broadcaster", Service::ResultsFeed).await?;
    let request = SubscribeRequest { mode: SubscribeMode::Every.into(), ..SubscribeRequest::default() };
    let mut frames = FeedServiceClient::new(channel).subscribe(caller.request(request)).await?.into_inner();
    frames.message().await?.context("the feed says nothing")?;
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = frames.message().await {} });
    Ok((caller, reading))
}

/// Counts once everything should have come: the new process tells its spans each second.
async fn settle(suite: &Suite, around: &Around) -> Result<Told> {
    let mut asked: Vec<&Caller> = around.answered.iter().collect();
    asked.extend(&around.stream);
    let waited = until("every answered call's span", async || {
        let told = suite.spans.look(|spans| count(&Index::of(spans), around, &asked));
        if told.lost == 0 { Ok(Some(told)) } else { anyhow::bail!("{told:?}") }
    });
    // What is not there after some seconds never comes.
    match tokio::time::timeout(Duration::from_secs(10), waited).await {
        Ok(told) => told,
        Err(_) => Ok(suite.spans.look(|spans| count(&Index::of(spans), around, &asked))),
    }
}

fn count(index: &Index<'_>, around: &Around, asked: &[&Caller]) -> Told {
    let mut told = Told { answered: asked.len(), ..Told::default() };
    let old = old_instance(index, around, asked);
    for caller in asked {
        let method = server(index, around.service, caller);
        let spans = index.trace(&caller.trace_id);
        *told.sizes.entry(spans.len()).or_default() += 1;
        match method {
            None => told.lost += 1,
            Some(method) => {
                let from_old = old.is_some_and(|old| old == method.instance);
                told.late += usize::from(from_old && method.end > around.signalled_at);
            }
        }
    }
    told
}

fn server<'a>(index: &Index<'a>, service: Service, caller: &Caller) -> Option<&'a Span> {
    let mut called = index.children(&caller.trace_id, &caller.span_id);
    called.find(|span| span.kind == SpanKind::Server && span.service == service.name())
}

// The process that answered before the signal.
fn old_instance<'a>(index: &Index<'a>, around: &Around, asked: &[&Caller]) -> Option<&'a str> {
    let mut methods = asked.iter().filter_map(|caller| server(index, around.service, caller));
    let before = methods.find(|method| method.start < around.signalled_at);
    before.map(|method| method.instance.as_str())
}
