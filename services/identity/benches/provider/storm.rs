//! Very many sessions end at once, some relying parties are away, and the process is killed in between.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Result;
use sqlx::types::chrono::{DateTime, Utc};
use testkit::measure::{Surroundings, Table, number, quantile, until};
use tokio::time::sleep;

use crate::{
    fakes::{PARTIES, RelyingParties},
    ours::{self, Identity},
    provider::RELYING_PARTIES,
    size::Size,
};

/// Overdue sessions are looked for once a minute.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let parties = RelyingParties::default();
    let identity = Identity::install(surroundings, Some(parties.start().await?)).await?;
    let program = ours::program("BENCH_IDENTITY")?;
    let mut process = identity.start(&program, identity.issuer())?;
    process.server.ready().await?;
    identity.fill(2).await?;
    seed(&identity, size.sessions).await?;
    parties.away.store(true, Ordering::Relaxed);
    // Of each process the first look comes at its start: the storm begins with this one.
    drop(process);
    let begin = Instant::now();
    let mut process = identity.start(&program, identity.issuer())?;
    process.server.ready().await?;
    let all = usize::try_from(size.sessions)? * RELYING_PARTIES;
    until("half of the deliveries", PATIENCE, async || Ok(parties.count() >= all / 2)).await?;
    let half = begin.elapsed();
    process = kill_and_restart(process, &identity, &program).await?;
    sleep(size.away.saturating_sub(begin.elapsed())).await;
    parties.away.store(false, Ordering::Relaxed);
    until("every delivery", PATIENCE, async || Ok(left(&identity).await? == 0)).await?;
    let table = judge(&identity, &parties, all, half).await;
    process.server.stop().await?;
    table
}

async fn kill_and_restart(
    process: ours::Process,
    identity: &Identity,
    program: &Path,
) -> Result<ours::Process> {
    // Dropped is killed.
    drop(process);
    let mut process = identity.start(program, identity.issuer())?;
    process.server.ready().await?;
    Ok(process)
}

// Sessions of the one user, each with six of the twenty relying parties, which are over.
async fn seed(identity: &Identity, sessions: i64) -> Result<()> {
    identity.add_sessions(sessions, "-1 second").await?;
    let clients = "insert into identity.session_client (session_id, client_id)
        select session_id, 'rp' || ((n + k * 3) % $1)
        from (select session_id, row_number() over (order by session_id) n from identity.browser_session
              where ended_at is null and expires_at < now()) own,
            generate_series(0, $2 - 1) k";
    sqlx::query(clients)
        .bind(i32::try_from(PARTIES)?)
        .bind(i32::try_from(RELYING_PARTIES)?)
        .execute(&identity.db.pool)
        .await?;
    Ok(())
}

async fn left(identity: &Identity) -> Result<i64> {
    let statement = "select (select count(*) from identity.logout_delivery where state <> 'delivered')
        + (select count(*) from identity.browser_session where ended_at is null and expires_at < now())";
    Ok(sqlx::query_scalar(statement).fetch_one(&identity.db.pool).await?)
}

async fn judge(identity: &Identity, parties: &RelyingParties, all: usize, half: Duration) -> Result<Table> {
    let rows: Vec<(sqlx::types::Uuid, String, DateTime<Utc>)> =
        sqlx::query_as("select delivery_id, client_id, created_at from identity.logout_delivery")
            .fetch_all(&identity.db.pool)
            .await?;
    let (now, now_here) = (domain::Clock::system().now(), Instant::now());
    let told = parties.told();
    let last = format!("rp{}", PARTIES - 1);
    let (mut lost, mut delays) = (all.saturating_sub(rows.len()), Vec::new());
    for (delivery_id, client_id, created_at) in rows {
        let Some(at) = told.get(&delivery_id.to_string()) else {
            lost += 1;
            continue;
        };
        let since_told = now_here - *at;
        if client_id != last {
            delays.push((now - created_at).as_seconds_f64() - since_told.as_secs_f64());
        }
    }
    let mut table = Table::new(&["deliveries", "lost", "the first half a second", "healthy p99, s"]);
    let a_second = all as f64 / 2.0 / half.as_secs_f64();
    let p99 = quantile(&mut delays, 0.99);
    table.row(vec![all.to_string(), lost.to_string(), number(a_second), number(p99)]);
    let bound = "the sender's rows and calls, and the process that was killed half-way";
    table.at_most("lost", lost as f64, 0.0, bound);
    table.at_least("deliveries a second", a_second, 2_000.0, bound);
    table.at_most("from the session's end to a healthy relying party, p99, s", p99, 2.0, bound);
    Ok(table)
}
