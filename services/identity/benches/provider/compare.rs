//! Identity and Keycloak with the same workloads, in turn.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use testkit::measure::{Surroundings, Table, middle, number};
use tokio::task::JoinSet;

use crate::{
    hash::{self, COST},
    keycloak,
    load::{self, Run},
    ours::{self, Identity},
    provider::{Provider, Worker},
    server::Server,
    size::{Size, Workload},
};

struct Contestant {
    provider: Arc<Provider>,
    server: Server,
    // Kept while it runs.
    _ground: Box<dyn std::any::Any>,
}

/// What is asked for: so many a second, and so many times Keycloak's work for a second of processor.
struct Target {
    a_second: Option<f64>,
    times: Option<f64>,
    half_p99_ms: Option<f64>,
}

const fn target(workload: Workload) -> Target {
    let (a_second, times, half_p99_ms) = match workload {
        Workload::Login => (None, Some(6.0), None),
        Workload::Sso => (Some(800.0), Some(8.0), Some(25.0)),
        Workload::Refresh => (Some(1_500.0), Some(10.0), None),
        Workload::Machine => (Some(4_000.0), None, None),
        Workload::Introspection => (Some(12_000.0), None, None),
        _ => (Some(30_000.0), None, None),
    };
    Target { a_second, times, half_p99_ms }
}

pub async fn run(surroundings: &Surroundings, size: &Size, workloads: &[Workload]) -> Result<()> {
    let mut contestants = vec![identity(surroundings, size).await.context("identity")?];
    match keycloak(size).await {
        Ok(keycloak) => contestants.push(keycloak),
        Err(error) => println!("\n{error:#}: identity is measured alone, and no ratio is given."),
    }
    for workload in workloads {
        println!("\n## {workload}\n");
        let mut runs: Vec<Vec<Run>> = contestants.iter().map(|_| Vec::new()).collect();
        for _ in 0..size.runs {
            for (contestant, runs) in contestants.iter().zip(&mut runs) {
                let Contestant { provider, server, .. } = contestant;
                let run = load::drive(surroundings, provider, server, *workload, size).await;
                runs.push(run.with_context(|| format!("{} of {}", workload, provider.name))?);
            }
        }
        let runs: Vec<Run> = runs.into_iter().filter_map(|runs| middle(runs, Run::cpu_ms)).collect();
        let mut table = table(*workload, &contestants, &runs);
        if *workload == Workload::Login
            && let Some(ours) = runs.first()
        {
            let ceiling = tokio::task::spawn_blocking(hash::ceiling).await??;
            table.note(format!("{} hashes a second, were nothing else to do", number(ceiling)));
            let bound = "what else a login costs, in the provider, PostgreSQL and the generator";
            table.at_least(
                "share of the hashes that the machine can do",
                ours.a_second / ceiling,
                0.85,
                bound,
            );
        }
        println!("{table}");
    }
    if workloads.contains(&Workload::Refresh) {
        println!("{}", one_token_at_once(&contestants[0].provider).await?);
    }
    Ok(())
}

async fn identity(surroundings: &Surroundings, size: &Size) -> Result<Contestant> {
    let identity = Identity::install(surroundings, None).await?;
    let mut process = identity.start(&ours::program("BENCH_IDENTITY")?, identity.issuer())?;
    process.server.ready().await?;
    identity.fill(size.users).await?;
    let phc: String =
        sqlx::query_scalar("select phc from identity.password limit 1").fetch_one(&identity.db.pool).await?;
    let cost = format!("$m={},t={},p={}$", COST.memory, COST.passes, COST.lanes);
    ensure!(phc.contains(&cost), "identity's hashes do not cost {cost}, as Keycloak's do");
    let provider = identity.provider(size.users);
    Ok(Contestant { provider, server: process.server, _ground: Box::new(identity) })
}

async fn keycloak(size: &Size) -> Result<Contestant> {
    let home = keycloak::home().context("Keycloak could not be had")?;
    let (server, provider, db) = keycloak::start(home, size.users).await.context("Keycloak does not run")?;
    Ok(Contestant { provider, server, _ground: Box::new(db) })
}

fn table(workload: Workload, contestants: &[Contestant], runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        "provider",
        "a second",
        "CPU-s per 1,000",
        "of it PostgreSQL",
        "WAL, B",
        "p99, ms",
        "p99 at half, ms",
        "RSS, MiB",
        "failures",
        "machine busy",
    ]);
    for (contestant, run) in contestants.iter().zip(runs) {
        table.row(vec![
            contestant.provider.name.to_owned(),
            number(run.a_second),
            number(run.cpu_ms()),
            number(run.postgres_ms),
            number(run.logged),
            number(run.p99_ms),
            number(run.half_p99_ms),
            number(run.resident_mib),
            run.failures.to_string(),
            format!("{:.0} %", 100.0 * run.busy),
        ]);
        if let Some(failure) = &run.first_failure {
            table.note(format!("{}, first failure: {failure}", contestant.provider.name));
        }
    }
    let Some(ours) = runs.first() else { return table };
    let bound = format!(
        "{:.2} CPU-ms here, {:.2} in PostgreSQL; the generator's time comes on top",
        ours.own_ms, ours.postgres_ms
    );
    let target = target(workload);
    if let Some(a_second) = target.a_second {
        table.at_least("a second", ours.a_second, a_second, &bound);
    }
    if let Some(most) = target.half_p99_ms {
        table.at_most("p99 at half the rate, ms", ours.half_p99_ms, most, &bound);
    }
    if workload == Workload::Refresh {
        table.at_most("WAL of a refresh, B", ours.logged, 1_024.0, "what one commit logs");
    }
    table.at_most("failures", ours.failures as f64, 0.0, "see the first failure");
    if let Some(peer) = runs.get(1) {
        let (what, times) = ("times Keycloak's work for a CPU-second", peer.cpu_ms() / ours.cpu_ms());
        match target.times {
            Some(least) => table.at_least(what, times, least, &bound),
            None => table.told(what, times),
        }
    }
    table
}

// A hundred tabs refresh with one token: all get the one successor.
async fn one_token_at_once(provider: &Arc<Provider>) -> Result<String> {
    let mut worker = Worker::new(Arc::clone(provider), 1_000_003);
    worker.prepare(Workload::Refresh, 1).await?;
    let mut tabs = JoinSet::new();
    for _ in 0..100 {
        let mut tab = worker.twin();
        tabs.spawn(async move { tab.successor().await });
    }
    let mut successors: Vec<String> = tabs.join_all().await.into_iter().collect::<Result<_>>()?;
    successors.sort_unstable();
    successors.dedup();
    ensure!(successors.len() == 1, "{} successors of one token", successors.len());
    Ok("100 parallel uses of one refresh token: one successor, no error".to_owned())
}
