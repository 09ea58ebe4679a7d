//! kill -9 under load: whatever is killed when, each document that was answered with 200 is in the log once, sequence
//! numbers have no hole, and readers that come back with their cursors hold what the server holds.
//!
//! When what is killed comes from a seed, which is printed: `KOTINOS_TEST_FEED_SEED` gives the same ones again,
//! `KOTINOS_TEST_FEED_KILLS` says how many. Which instruction a kill meets the seed does not decide.

mod judge;
mod load;
mod servers;

use std::time::{Duration, Instant};

use domain::Clock;
use proto::results::v1::{CreatePublisherKeyRequest, access_service_client::AccessServiceClient};
use sqlx::{PgPool, postgres::PgPoolOptions};
use testkit::Issuer;

use crate::{
    balancer::Balancer,
    dice::{Dice, setting},
    follower::{Follower, state},
    process::{Process, Surroundings},
    world::World,
};
use judge::judge;
use load::Load;
use servers::{Server, Servers};

/// Readers: everything, the newest of everything, and a part.
const QUERIES: [&str; 3] = ["?mode=every", "", "?prefix=ATHM100M--------------QFNL000&prefix=JUD&mode=every"];

struct Field {
    around: Surroundings,
    process: Process,
    balancer: Balancer,
    client: reqwest::Client,
    followers: Vec<Follower>,
}

impl Field {
    async fn start(around: Surroundings) -> Self {
        let process = Process::start(&around).await;
        let balancer = Balancer::over(&[process.http]).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let feed = |query: &str| balancer.url(&format!("/results/v1/feed{query}"));
        let followers = QUERIES.iter().map(|query| Follower::start(&feed(query), None)).collect();
        Self { around, process, balancer, client, followers }
    }

    /// A key that may send everything.
    async fn key(&self) -> String {
        let issuer = &self.around.issuer;
        let token = issuer.token(&issuer.claims("test-client", "test-client", &["results.admin"]));
        let uri = format!("http://{}", self.process.grpc).parse().unwrap();
        let mut access = AccessServiceClient::new(chassis::Peer::fixed(uri, Some(token)));
        let request = CreatePublisherKeyRequest {
            name: "timing".to_owned(),
            feed_flag: "P".to_owned(),
            prefixes: Vec::new(),
        };
        access.create_publisher_key(request).await.unwrap().into_inner().secret
    }

    fn load(&self, key: &str, seed: u64) -> Load {
        Load::start(&self.client, &self.balancer.url("/results/v1/odf"), key, seed)
    }

    /// SIGKILL, and a successor at once; gives how long nobody served.
    async fn kill(&mut self) -> Duration {
        self.process.kill();
        let begun = Instant::now();
        let successor = Process::start(&self.around).await;
        self.balancer.lead_to(&[successor.http]);
        self.process = successor;
        begun.elapsed()
    }

    /// As whatever runs services would.
    async fn keep_alive(&mut self) {
        if let Some(ended) = self.process.ended() {
            println!("         the service ended by itself ({ended}) and was started again");
            self.kill().await;
        }
    }

    /// Everybody has everything, and everything is right.
    async fn settle(self, pool: &PgPool, load: Load) -> i64 {
        let taken = load.finish().await;
        let newest = judge(pool, &taken).await;
        let visible: Vec<i64> = sqlx::query_scalar(
            "select seq from results.log where stream_id = 'SYN2030-P' and kind <> 'late' order by seq",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        for (follower, query) in self.followers.iter().zip(QUERIES) {
            let state = state(&self.client, &self.balancer.url(&format!("/results/v1/state{query}"))).await;
            follower.wait_for(&state).await;
            let followed = follower.followed();
            assert_eq!(followed.faults, [""; 0], "{query}");
            if query == "?mode=every" {
                let since = followed.began.unwrap();
                let all: Vec<i64> = visible.iter().copied().filter(|seq| *seq > since).collect();
                assert_eq!(
                    followed.seqs, all,
                    "each change once, after {} connections",
                    followed.connections
                );
            }
        }
        println!("{} documents taken, {newest} entries", taken.len());
        newest
    }
}

fn say_seed(seed: u64) -> u64 {
    let seed = setting("KOTINOS_TEST_FEED_SEED").unwrap_or(seed);
    println!("KOTINOS_TEST_FEED_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_with_200_outlives_kills_of_the_process() {
    let seed = say_seed(1);
    let world = World::start().await;
    let mut field = Field::start(Surroundings::of(&world)).await;
    let key = field.key().await;
    let load = field.load(&key, seed);
    let mut dice = Dice::new(seed);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300 + dice.below(1_200))).await;
        let away = field.kill().await;
        println!("killed: nobody served for {} ms", away.as_millis());
    }
    let newest = field.settle(&world.app.pool, load).await;
    assert!(newest > 100, "only {newest} entries");
    world.app.stop().await;
}

/// A field on servers that may be killed.
async fn campaign() -> (Servers, Issuer, PgPool, Field) {
    let servers = tokio::task::spawn_blocking(Servers::start).await.unwrap();
    let issuer = Issuer::start(Clock::system()).await;
    let around = Surroundings {
        database_url: servers.database_url(),
        brokers: servers.brokers(),
        topic_prefix: String::new(),
        issuer: issuer.clone(),
    };
    let field = Field::start(around).await;
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&servers.database_url()).unwrap();
    (servers, issuer, pool, field)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fifty kills of the service, PostgreSQL and Kafka, some minutes: run by make faults"]
async fn what_was_answered_with_200_outlives_kills_of_the_service_its_database_and_its_broker() {
    let seed = say_seed(2);
    let kills = setting("KOTINOS_TEST_FEED_KILLS").unwrap_or(50);
    let (servers, _issuer, pool, mut field) = campaign().await;
    let servers = std::sync::Arc::new(servers);
    let key = field.key().await;
    let load = field.load(&key, seed);
    let mut dice = Dice::new(seed);
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(200 + dice.below(2_000))).await;
        let begun = Instant::now();
        let what = match dice.below(10) {
            0..=5 => {
                field.kill().await;
                "service"
            }
            6 | 7 => {
                strike(&servers, Server::Postgres).await;
                "PostgreSQL"
            }
            _ => {
                strike(&servers, Server::Kafka).await;
                "Kafka"
            }
        };
        field.keep_alive().await;
        println!(
            "kill {kill}: {what}, back after {} ms, {} taken",
            begun.elapsed().as_millis(),
            load.count()
        );
    }
    field.settle(&pool, load).await;
}

async fn strike(servers: &std::sync::Arc<Servers>, server: Server) {
    let servers = std::sync::Arc::clone(servers);
    tokio::task::spawn_blocking(move || {
        servers.kill(server);
        servers.up();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute without a broker: run by make faults"]
async fn a_minute_without_a_broker_costs_the_feed_less_than_half_a_second() {
    let (servers, _issuer, pool, field) = campaign().await;
    let key = field.key().await;
    let servers = tokio::task::spawn_blocking(move || {
        servers.kill(Server::Kafka);
        servers
    })
    .await
    .unwrap();
    let (begun, mut slowest, mut dice) = (Instant::now(), Duration::ZERO, Dice::new(3));
    let mut version = 0;
    while begun.elapsed() < Duration::from_secs(60) {
        version += 1;
        let sent = Instant::now();
        let answer = field
            .client
            .post(field.balancer.url("/results/v1/odf"))
            .header("x-api-key", &key)
            .body(load::document(1, version, &mut dice))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let seq = i64::from(version);
        field.followers[0].wait_until(|followed| followed.seqs.last() == Some(&seq)).await;
        slowest = slowest.max(sent.elapsed());
    }
    println!("{version} documents without a broker, the slowest in {} ms", slowest.as_millis());
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let newest: i64 = sqlx::query_scalar("select count(*) from results.log").fetch_one(&pool).await.unwrap();
    assert_eq!(newest, i64::from(version));
    drop(servers);
}
