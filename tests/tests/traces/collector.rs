//! Nobody takes spans: calls go on, memory has a bound, and a collector that comes gets spans again.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::Suite;
use testkit::{Span, SpanCatcher};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{asked::Question, caller::Caller, over};

const CALLERS: usize = 16;
/// Calls until a process keeps as many spans as it ever does (8,192): each makes two, the method's and its statement's.
const FILLING: usize = 4_500;
/// Calls beside each kind of no collector, when memory is looked at.
const CALLS: usize = 2_500;
/// What memory may grow by meanwhile, in bytes; the spans of those calls would be more than 10 MB.
const GROWTH: f64 = 6e6;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_calls_go_on_and_memory_stays() {
    let hole = BlackHole::open().await;
    let endpoint = format!("http://{}", hole.address);
    let settings = [("KOTINOS_OTLP_ENDPOINT", endpoint.as_str())];
    over("collector", &[Service::Identity, Service::Profile], &settings, async |suite| go(suite, hole).await)
        .await;
}

async fn go(suite: &Suite, hole: BlackHole) -> Result<()> {
    let question = Question::of(suite, Service::Profile).await?;
    let address = hole.address;
    load(&question, FILLING).await?;
    ensure!(hole.has_callers(), "nobody tried to tell spans");
    let before = resident(suite).await?;
    load(&question, CALLS).await?;
    // From now on the connection is refused.
    drop(hole);
    load(&question, CALLS).await?;
    let after = resident(suite).await?;
    println!(
        "no call failed beside a collector that is silent, and none beside none; memory {:.1} MB, then {:.1} MB",
        before / 1e6,
        after / 1e6
    );
    ensure!(after - before < GROWTH, "memory has grown by {:.1} MB", (after - before) / 1e6);
    comes_back(&question, address).await
}

/// A collector on the same address hears of new calls.
async fn comes_back(question: &Question, address: SocketAddr) -> Result<()> {
    let catcher = SpanCatcher::start_on(address).await.context("the collector's port")?;
    let begun = Instant::now();
    let heard = async {
        let mut asked = Vec::new();
        loop {
            let caller = Caller::new();
            ensure!(question.ask(&caller).await, "a call failed");
            asked.push(caller);
            sleep(Duration::from_millis(100)).await;
            let is_ours = |span: &Span| asked.iter().any(|caller| caller.span_id == span.parent_span_id);
            if catcher.look(|spans| spans.iter().any(is_ours)) {
                return Ok(());
            }
        }
    };
    timeout(Duration::from_secs(20), heard).await.context("the collector is back and hears nothing")??;
    println!("spans come again {:.1} s after the collector did", begun.elapsed().as_secs_f32());
    Ok(())
}

/// So many calls without a break; one that fails fails the test.
async fn load(question: &Question, calls: usize) -> Result<()> {
    let begun = Instant::now();
    let caller = async || {
        for _ in 0..calls.div_ceil(CALLERS) {
            ensure!(question.ask(&Caller::new()).await, "a call failed after {:?}", begun.elapsed());
        }
        Ok(())
    };
    futures::future::try_join_all((0..CALLERS).map(|_| caller())).await.map(drop)
}

async fn resident(suite: &Suite) -> Result<f64> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = suite.addresses.metrics_url(Service::Profile);
    let page = http.get(url).send().await?.error_for_status()?.text().await?;
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    Ok(value.context("the process does not show its memory")?.parse()?)
}

/// Takes connections, and never says a word.
struct BlackHole {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    callers: tokio::sync::watch::Receiver<usize>,
}

impl BlackHole {
    async fn open() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, callers) = tokio::sync::watch::channel(0);
        let accepting = tokio::spawn(async move {
            let mut held: Vec<TcpStream> = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
                count.send_replace(held.len());
            }
        });
        Self { address, accepting, callers }
    }

    fn has_callers(&self) -> bool {
        *self.callers.borrow() > 0
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
