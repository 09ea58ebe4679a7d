//! A rollout under load: of two processes of a service one is replaced, then the other, and no call fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::Service;
use e2e::{Shape, Suite};
use tokio::time::sleep;

use crate::{
    TURN,
    balancer::Balancer,
    load::{Load, Outcome, Seen},
    reads,
};

/// Calls a second, unless `KOTINOS_STEADY_RATE` says otherwise.
const RATE: u32 = 300;
/// The same beside other tests, with programs that nothing optimised.
const LOW_RATE: u32 = 100;
/// Before, between and after the replacements.
const STEADY: Duration = Duration::from_secs(1);

/// For so long an address may be known after its process is gone: until the name is looked up again.
const LOOKUP: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn two_services_are_replaced_under_load() {
    let services = [Service::Identity, Service::Profile, Service::ResultsFeed];
    let rolled = [Service::Profile, Service::ResultsFeed];
    roll_all("rolling", &services, Rollout { of: &rolled, rate: LOW_RATE, drain: "300ms", empty: STEADY })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "six minutes, every service is replaced: run by `make faults`"]
async fn every_service_is_replaced_under_load() {
    roll_all(
        "rolling-all",
        &Service::ALL,
        Rollout { of: &Service::ALL, rate: RATE, drain: "2s", empty: LOOKUP },
    )
    .await;
}

struct Rollout<'a> {
    of: &'a [Service],
    rate: u32,
    /// So long a process takes calls after it was asked to end.
    drain: &'a str,
    /// So long its place stays empty.
    empty: Duration,
}

async fn roll_all(name: &str, services: &[Service], rollout: Rollout<'_>) {
    let _turn = TURN.lock().await;
    let settings = [("KOTINOS_DRAIN_DELAY", rollout.drain)];
    let suite = Suite::start_some(name, Shape::Services, services, &settings).await;
    let suite = suite.unwrap_or_else(|error| panic!("{error:?}"));
    let failures = match roll_each(&suite, &rollout).await {
        Ok(failures) => failures,
        Err(error) => panic!("{:?}", suite.with_logs(error).await),
    };
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(failures.is_empty(), "calls failed while a service was replaced\n{}", failures.join("\n"));
}

async fn roll_each(suite: &Suite, rollout: &Rollout<'_>) -> Result<Vec<String>> {
    let tokens = reads::tokens(suite, rollout.of).await?;
    let mut failures = Vec::new();
    for service in rollout.of {
        let token = tokens.get(service).map_or("", String::as_str);
        let seen = roll(suite, *service, token, rollout).await.context(service.name())?;
        println!("{service}: {seen}");
        if seen.failures() > 0 {
            failures.push(format!("{service}: {seen}"));
        }
    }
    Ok(failures)
}

async fn roll(suite: &Suite, service: Service, token: &str, rollout: &Rollout<'_>) -> Result<Seen> {
    let rate = match std::env::var("KOTINOS_STEADY_RATE") {
        Ok(given) => given.parse().context("KOTINOS_STEADY_RATE is no number")?,
        Err(_) => rollout.rate,
    };
    let first = suite.addresses.listeners(service);
    let mut second = suite.replica(service).await?;
    let both = [first, second.listeners];
    let (load, _balancer) = if service == Service::Portal {
        let balancer = Balancer::over(&both).await?;
        // A connection for each request: the balancer knows nothing of HTTP.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
        let url = format!("http://{}/portal", balancer.address);
        (Load::begin(rate, move || page(http.clone(), url.clone())), Some(balancer))
    } else {
        let peer = reads::peer(&both.map(|process| process.grpc_url()), token)?;
        (Load::begin(rate, move || reads::ask(service, peer.clone())), None)
    };
    sleep(STEADY).await;
    suite.replace(service, rollout.empty).await.context("the first is replaced")?;
    sleep(STEADY).await;
    second.replace(suite, rollout.empty).await.context("the second is replaced")?;
    sleep(2 * STEADY).await;
    for process in both {
        ensure!(answered(&process.metrics_url()).await? > 0, "the new process of {service} was never asked");
    }
    let seen = load.end().await;
    second.stop().await?;
    Ok(seen)
}

async fn page(http: reqwest::Client, url: String) -> Outcome {
    let answer = http.get(url).timeout(Duration::from_secs(2)).send().await;
    match answer.and_then(reqwest::Response::error_for_status) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// How many calls and pages a process has answered, by its own count.
async fn answered(metrics_url: &str) -> Result<u64> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let metrics = http.get(metrics_url).send().await?.error_for_status()?.text().await?;
    let counts = metrics.lines().filter(|line| {
        line.starts_with("rpc_server_call_duration_seconds_count")
            || (line.starts_with("http_server_request_duration_seconds_count") && line.contains("/portal"))
    });
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
