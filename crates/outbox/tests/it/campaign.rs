//! The kill -9 campaign: relays, readers, PostgreSQL and Kafka are killed, stopped and cut off while sixteen writers go
//! on, and afterwards every committed fact has arrived, in order, once in effect, and nothing else has.
//!
//! The plan of faults and the dice of each writer come from a seed, which is printed: `KOTINOS_TEST_CAMPAIGN_SEED` gives the
//! same ones again, `KOTINOS_TEST_CAMPAIGN_KILLS` says how many. Which instruction a fault meets the seed does not decide.
//! What the nodes logged is in `target/tmp/campaign-<kills>`.
#![expect(clippy::print_stdout, reason = "what was done when is told to whoever runs it")]

mod evidence;
mod judge;
mod node;
mod plan;
mod servers;
mod strike;
mod writers;

use std::{
    convert::Infallible,
    fs,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Clock;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use testkit::{FaultProxy, Issuer, eventually};
use tokio::time::{sleep, timeout};

use crate::world::DEADLINE;
use node::Node;
use plan::rounds;
use servers::{Ports, Servers};
use strike::Field;
use writers::{Ledger, Writers, mark};

/// From the healing of a round until facts committed after it had their effects.
const RECOVERY: Duration = Duration::from_secs(10);
/// The same among other tests, which take the processor: six seconds of it are a killed leader's wait by design.
const RECOVERY_UNDER_LOAD: Duration = Duration::from_secs(40);
/// Longer nobody waits to learn how long it would have taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run is about, and what went wrong in it.
struct Campaign {
    seed: u64,
    field: Field,
    ledger: Arc<Ledger>,
    failures: Vec<String>,
    recoveries: Vec<Duration>,
    _issuer: Issuer,
}

/// Says the seed however a run ends.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("repeat it with KOTINOS_TEST_CAMPAIGN_SEED={}", self.0);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

async fn run(seed: u64, kills: usize, together: RangeInclusive<usize>, within: Duration) {
    let seed = Seed(setting("KOTINOS_TEST_CAMPAIGN_SEED").unwrap_or(seed));
    let kills = setting("KOTINOS_TEST_CAMPAIGN_KILLS").map_or(kills, |kills| usize::try_from(kills).unwrap());
    let begun = Instant::now();
    println!("KOTINOS_TEST_CAMPAIGN_SEED={} KOTINOS_TEST_CAMPAIGN_KILLS={kills}", seed.0);
    let mut campaign = Campaign::prepare(seed.0, kills).await;
    println!("{:>6.1} s: all answer", begun.elapsed().as_secs_f32());
    let field = &campaign.field;
    let cut_off = field.servers.database_url("kotinos", Some(field.writers.addr.port()));
    let writers =
        Writers::start(seed.0, &campaign.ledger, &field.servers.database_url("kotinos", None), &cut_off);
    for round in rounds(seed.0, kills, together) {
        sleep(round.after).await;
        let healed = campaign.field.strike(&round.faults).await;
        let recovery = campaign.recover(healed).await;
        let at = begun.elapsed().as_secs_f32();
        println!("{at:>6.1} s: {:?}: after {:.1} s", round.faults, recovery.as_secs_f32());
        if recovery >= within {
            campaign.failures.push(format!("{:?} needed {recovery:?} to recover", round.faults));
        }
    }
    writers.stop().await;
    campaign.judge(begun).await;
}

impl Campaign {
    async fn prepare(seed: u64, kills: usize) -> Self {
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("campaign-{kills}"));
        fs::create_dir_all(&logs).unwrap();
        let ports = Ports::free();
        let kafka = FaultProxy::start(format!("localhost:{}", ports.kafka_behind_proxy)).await;
        let advertised = kafka.addr.port();
        let servers = tokio::task::spawn_blocking(move || Servers::start(ports, advertised)).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(3));
        let pool = pool.connect_lazy(&servers.database_url("kotinos", None)).unwrap();
        let issuer = Issuer::start(Clock::system()).await;
        let [relay_0, relay_1, reader_0, reader_1] = ["relay_0", "relay_1", "reader_0", "reader_1"]
            .map(|name| node(name, &servers, &issuer, &pool, &logs));
        let field = Field {
            relays: [Arc::new(relay_0.await), Arc::new(relay_1.await)],
            readers: [Arc::new(reader_0.await), Arc::new(reader_1.await)],
            writers: FaultProxy::start(servers.postgres()).await,
            servers: Arc::new(servers),
            pool,
            kafka,
        };
        let ledger = Arc::default();
        let mut campaign =
            Self { seed, field, ledger, failures: Vec::new(), recoveries: Vec::new(), _issuer: issuer };
        campaign.recover(Instant::now()).await;
        campaign.recoveries.clear();
        campaign
    }

    // Until facts that are committed now had their effects.
    async fn recover(&mut self, healed: Instant) -> Duration {
        let arrived = async {
            let marks = mark(&self.field.pool, &self.ledger).await;
            while !evidence::are_taken_in(&self.field.pool, &marks).await.unwrap_or(false) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let arrived = tokio::select! {
            arrived = timeout(PATIENCE, arrived) => arrived,
            never = self.keep_alive() => match never {},
        };
        if arrived.is_err() {
            self.give_up("what is committed after a fault does not arrive");
        }
        self.recoveries.push(healed.elapsed());
        healed.elapsed()
    }

    fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.field.relays.iter().chain(&self.field.readers)
    }

    // As whatever runs services would.
    async fn keep_alive(&self) -> Infallible {
        loop {
            for node in self.nodes() {
                if let Some(ended) = node.revive() {
                    println!("         {} ended by itself ({ended}) and was started again", node.name);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn give_up(&self, why: &str) -> ! {
        for node in self.nodes() {
            println!("{}", node.last_words());
        }
        panic!("{why}; seed {}; before that: {:?}", self.seed, self.failures)
    }

    async fn judge(mut self, begun: Instant) {
        let settled = async {
            while !evidence::is_settled(&self.field.pool).await.unwrap_or(false) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let settled = tokio::select! {
            settled = timeout(DEADLINE, settled) => settled,
            never = self.keep_alive() => match never {},
        };
        if settled.is_err() {
            self.failures.push(format!("something is still under way {DEADLINE:?} after the last write"));
        }
        // Readers last: they may take in what relays send while they end.
        let nodes: Vec<Arc<Node>> = self.nodes().map(Arc::clone).collect();
        let ended =
            tokio::task::spawn_blocking(move || nodes.iter().map(|node| node.stop()).collect::<Vec<_>>());
        self.failures.extend(ended.await.unwrap().into_iter().filter(|wrong| !wrong.is_empty()));
        let seen = evidence::read(&self.field.pool, self.field.servers.brokers(), self.ledger.taken()).await;
        let verdict = judge::judge(&seen);
        self.recoveries.sort();
        println!(
            "{:>6.1} s: {} acknowledged, {} unknown, {} committed, {} records, {} effects; recovered within {:.1?}\n{verdict}",
            begun.elapsed().as_secs_f32(),
            seen.acknowledged.len(),
            seen.unknown.len(),
            seen.state.len(),
            seen.log.len(),
            seen.effects.len(),
            self.recoveries,
        );
        if !verdict.is_clean() {
            self.failures.push(verdict.to_string());
        }
        if !self.failures.is_empty() {
            self.give_up("the campaign failed");
        }
    }
}

// Each behind a proxy of its own, under a role of its own.
async fn node(name: &'static str, servers: &Servers, issuer: &Issuer, pool: &PgPool, logs: &Path) -> Node {
    eventually(DEADLINE, || async {
        let role = AssertSqlSafe(format!("create role {name} superuser login"));
        sqlx::query(role).execute(pool).await.ok()
    })
    .await;
    let proxy = FaultProxy::start(servers.postgres()).await;
    let any_port = "127.0.0.1:0";
    let environment = vec![
        ("MAILER_DATABASE_URL", servers.database_url(name, Some(proxy.addr.port()))),
        ("MAILER_ROLE", name.trim_end_matches(['_', '0', '1']).to_owned()),
        ("KOTINOS_KAFKA_BROKERS", servers.brokers_behind_proxy()),
        ("KOTINOS_AUTH_ISSUER", issuer.url().to_string()),
        ("KOTINOS_AUTH_JWKS_URL", issuer.keys_url().to_string()),
        ("KOTINOS_HTTP_ADDR", any_port.to_owned()),
        ("KOTINOS_GRPC_ADDR", any_port.to_owned()),
        ("KOTINOS_OPS_ADDR", any_port.to_owned()),
        ("KOTINOS_DRAIN_DELAY", "0s".to_owned()),
    ];
    Node::start(name, proxy, environment, logs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_lose_nothing_invent_nothing_and_repeat_no_effect() {
    run(4, 10, 3..=4, RECOVERY_UNDER_LOAD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a quarter of an hour: run by `make faults`"]
async fn a_hundred_kills_lose_nothing_invent_nothing_and_repeat_no_effect() {
    let now = u64::try_from(Clock::system().now().timestamp_micros()).unwrap();
    run(now, 100, 1..=3, RECOVERY).await;
}
