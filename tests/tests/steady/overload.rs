//! Twice the load that one process can bear: what is too much is refused at once, and what is taken in stays fast.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Shape, Suite};
use proto::profile::v1::{ListNoticesRequest, consent_service_client::ConsentServiceClient};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    TURN,
    load::{Outcome, Seen, closed_loop, open_loop_for, quantile},
    reads,
};

/// The promise: what is taken in takes at most so many times as long, and is at least this part of what can be borne.
const PROMISE: Promise = Promise { slower: 2.0, answered: 0.5 };
/// Beside other tests, with programs that nothing optimised, a figure says little, and a refusal costs half a call.
const WIDE: Promise = Promise { slower: 20.0, answered: 0.05 };
/// How a call is told that was refused for load, and hears when to come back.
const SHED: &str = "shed";
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_at_once() {
    overload("overload", Duration::from_secs(2), &WIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure of optimised programs on a machine that does nothing else: run by `make faults`"]
async fn twice_the_load_leaves_the_admitted_calls_fast() {
    overload("overload-figure", Duration::from_secs(10), &PROMISE).await;
}

struct Promise {
    slower: f64,
    answered: f64,
}

async fn overload(name: &str, time: Duration, promise: &Promise) {
    let _turn = TURN.lock().await;
    let services = [Service::Identity, Service::Profile];
    let suite = Suite::start_some(name, Shape::Services, &services, &[("KOTINOS_CPUS", "1")]).await;
    let suite = suite.unwrap_or_else(|error| panic!("{error:?}"));
    if let Err(error) = measure(&suite, time, promise).await {
        panic!("{:?}", suite.with_logs(error).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn measure(suite: &Suite, time: Duration, promise: &Promise) -> Result<()> {
    let caller = Caller::of(suite).await?;
    let ask = move || caller.clone().ask();
    closed_loop(8, time / 2, ask.clone()).await;
    let capacity = capacity(time, &ask).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "calls a second")]
    let twice = (2.0 * capacity.rate()) as u32;
    let seen = open_loop_for(twice.max(1), time, ask).await;
    println!("at twice that, {twice}/s: {seen}");
    for (how, times) in &seen.failed {
        ensure!(how == SHED, "{} calls failed: {how}", times.len());
    }
    let shed = seen.failed.get(SHED).context("nothing was refused: the load was not too much")?;
    let (p99, shed_p99) = (seen.p99(), quantile(shed, 0.99));
    let ratio = p99.as_secs_f64() / capacity.p99().as_secs_f64();
    println!("p99 of the admitted is {ratio:.1} times that at capacity; a refusal takes {shed_p99:?}");
    ensure!(ratio <= promise.slower, "the admitted became {ratio:.1} times as slow");
    let answered = seen.rate() / capacity.rate();
    ensure!(answered >= promise.answered, "only {answered:.2} of what can be borne is answered");
    Ok(())
}

/// What the process can bear: the most callers at once of whom none is refused.
async fn capacity<F>(time: Duration, ask: &impl Fn() -> F) -> Result<Seen>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut borne = None;
    for callers in [4, 8, 16, 24, 32, 48, 64, 96, 128, 192] {
        let seen = closed_loop(callers, time / 2, ask).await;
        println!("{callers} callers: {seen}");
        if seen.failed.contains_key(SHED) {
            break;
        }
        ensure!(seen.failures() == 0, "calls failed without too much load: {seen}");
        borne = Some(seen);
    }
    borne.context("nothing is borne without refusals")
}

/// Asks without the channel of services, whose retries would add to the load.
#[derive(Clone)]
struct Caller {
    channels: Arc<[Channel]>,
    turn: Arc<AtomicUsize>,
    bearer: MetadataValue<Ascii>,
}

impl Caller {
    async fn of(suite: &Suite) -> Result<Self> {
        let tokens = reads::tokens(suite, &[Service::Profile]).await?;
        let bearer = format!("Bearer {}", tokens[&Service::Profile]).parse()?;
        let endpoint = Endpoint::from_shared(suite.addresses.grpc_url(Service::Profile))?;
        // More than one, so that no connection's own limit of streams is met.
        let channels = (0..4).map(|_| endpoint.connect_lazy()).collect();
        Ok(Self { channels, turn: Arc::default(), bearer })
    }

    async fn ask(self) -> Outcome {
        let mut request = Request::new(ListNoticesRequest::default());
        request.metadata_mut().insert("authorization", self.bearer);
        request.set_timeout(DEADLINE);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let channel = self.channels[turn % self.channels.len()].clone();
        match ConsentServiceClient::new(channel).list_notices(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(told(&status)),
        }
    }
}

fn told(status: &Status) -> String {
    let comes_back = status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some());
    if status.code() == Code::Unavailable && comes_back { SHED.to_owned() } else { reads::told(status) }
}
