//! One relay leads a schema. Whatever becomes of it, another goes on behind what it sent.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use testkit::{CaughtRecord, FaultProxy, TestApp, eventually, records_in_outbox};
use tokio::time::sleep;
use url::Url;

use crate::world::{DEADLINE, ORDERED, SERVICE, STATES, TOPICS, World, fact, facts, figure, records};

const KEYS: [&str; 3] = ["alice", "bob", "carol"];

async fn leads(app: &TestApp) -> bool {
    figure(app, "outbox_relay_leads{service=\"mailer\"}").await == Some(1.0)
}

async fn becomes_leader(app: &TestApp) {
    eventually(DEADLINE, || async { leads(app).await.then_some(()) }).await;
}

async fn relay_behind_a_proxy(world: &World) -> (FaultProxy, TestApp) {
    let mut url = Url::parse(&world.db.url).unwrap();
    let proxy = FaultProxy::start(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())).await;
    url.set_ip_host(proxy.addr.ip()).unwrap();
    url.set_port(Some(proxy.addr.port())).unwrap();
    let relay = world
        .start_on(url.into(), |component, process, pool| outbox::publish(component, process, pool, TOPICS));
    let relay = relay.await;
    (proxy, relay)
}

/// Tells on and on, until it is stopped.
struct Teller {
    stop: Arc<AtomicBool>,
    told: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<()>,
}

impl Teller {
    fn start(world: &World) -> Self {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (stopped, version, pool) = (Arc::clone(&stop), Arc::clone(&told), world.db.pool.clone());
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let next = version.load(Ordering::SeqCst) + 1;
                let mut tx = pool.begin().await.unwrap();
                for key in KEYS {
                    outbox::append(&mut tx, SERVICE, &fact(&ORDERED, key, next)).await.unwrap();
                }
                tx.commit().await.unwrap();
                version.store(next, Ordering::SeqCst);
                sleep(Duration::from_millis(2)).await;
            }
        });
        Self { stop, told, task }
    }

    async fn told_more(&self, more: i64) {
        let enough = self.told.load(Ordering::SeqCst) + more;
        eventually(DEADLINE, || async { (self.told.load(Ordering::SeqCst) >= enough).then_some(()) }).await;
    }

    async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.told.load(Ordering::SeqCst)
    }
}

// Repeats are allowed; the first delivery of each version is not late, and none is missing.
fn assert_complete(records: &[CaughtRecord], last: i64) {
    for key in KEYS {
        let mut seen = BTreeSet::new();
        let versions = records.iter().filter(|record| record.key == key);
        let versions = versions.map(|record| record.headers["kotinos_version"].parse::<i64>().unwrap());
        let first: Vec<i64> = versions.filter(|version| seen.insert(*version)).collect();
        assert_eq!(first, (1..=last).collect::<Vec<_>>(), "{key}");
    }
}

async fn all_arrived(app: &TestApp, last: i64) -> Vec<CaughtRecord> {
    let all = |records: &[CaughtRecord]| {
        let distinct: BTreeSet<&str> =
            records.iter().map(|record| record.headers["ce_id"].as_str()).collect();
        (distinct.len() == KEYS.len() * usize::try_from(last).unwrap()).then(|| records.to_vec())
    };
    app.records().wait_for(&[ORDERED.name()], DEADLINE, all).await
}

async fn a_killed_leader_is_followed() {
    let world = World::new().await;
    let first = world.relay().await;
    becomes_leader(&first).await;
    let second = world.relay().await;
    let teller = Teller::start(&world);
    records(&first, &ORDERED, 300).await;
    assert!(leads(&first).await && !leads(&second).await, "one leads");
    let killed = Instant::now();
    // The others go on meanwhile.
    tokio::task::spawn_blocking(|| drop(first.kill())).await.unwrap();
    teller.told_more(100).await;
    becomes_leader(&second).await;
    assert!(
        killed.elapsed() > Duration::from_secs(5),
        "it waits for what the killed one may have on its way"
    );
    teller.told_more(100).await;
    let last = teller.stop().await;
    assert_complete(&all_arrived(&second, last).await, last);
    second.stop().await;
    world.end().await;
}

// Each waits for as long as records of a lost leader may be on their way: together they take no longer than one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_a_leader_nothing_is_lost() {
    tokio::join!(
        a_killed_leader_is_followed(),
        a_leader_that_is_cut_off_from_its_database_is_followed(),
        a_leader_that_hears_nothing_from_its_database_stops_and_comes_back(),
    );
}

#[tokio::test]
async fn a_leader_that_ends_politely_is_followed_at_once_and_nothing_is_repeated() {
    let world = World::new().await;
    let first = world.relay().await;
    becomes_leader(&first).await;
    let second = world.relay().await;
    let teller = Teller::start(&world);
    records(&first, &ORDERED, 300).await;
    first.stop().await;
    let ended = Instant::now();
    becomes_leader(&second).await;
    assert!(ended.elapsed() < Duration::from_secs(4), "{:?}", ended.elapsed());
    teller.told_more(50).await;
    let last = teller.stop().await;
    let arrived = all_arrived(&second, last).await;
    assert_complete(&arrived, last);
    assert_eq!(arrived.len(), KEYS.len() * usize::try_from(last).unwrap());
    second.stop().await;
    world.end().await;
}

// Its connection swallows everything: it must take it that another leads, before another does.
async fn a_leader_that_hears_nothing_from_its_database_stops_and_comes_back() {
    let world = World::new().await;
    let (proxy, relay) = relay_behind_a_proxy(&world).await;
    becomes_leader(&relay).await;
    let teller = Teller::start(&world);
    records(&relay, &ORDERED, 150).await;
    proxy.half_open();
    let deaf = Instant::now();
    eventually(DEADLINE, || async { (!leads(&relay).await).then_some(()) }).await;
    assert!(deaf.elapsed() < Duration::from_secs(6), "{:?}", deaf.elapsed());
    teller.told_more(50).await;
    proxy.heal();
    becomes_leader(&relay).await;
    let last = teller.stop().await;
    assert_complete(&all_arrived(&relay, last).await, last);
    relay.stop().await;
    world.end().await;
}

async fn a_leader_that_is_cut_off_from_its_database_is_followed() {
    let world = World::new().await;
    let (proxy, first) = relay_behind_a_proxy(&world).await;
    becomes_leader(&first).await;
    let second = world.relay().await;
    let teller = Teller::start(&world);
    records(&first, &ORDERED, 150).await;
    proxy.cut();
    becomes_leader(&second).await;
    assert!(!leads(&first).await, "one leads");
    proxy.heal();
    teller.told_more(50).await;
    let last = teller.stop().await;
    assert_complete(&all_arrived(&second, last).await, last);
    assert!(leads(&second).await && !leads(&first).await, "the old one waits its turn");
    second.stop().await;
    first.stop().await;
    world.end().await;
}

#[tokio::test]
async fn the_keys_of_a_fence_are_sent_again_in_order_and_no_others() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.tell(&facts(&STATES, &["bob"], 2)).await;
    world.tell(&facts(&STATES, &["alice"], 3)).await;
    records(&relay, &STATES, 5).await;
    // What Alice's third fact left in flight, as a relay writes it that lost its lease.
    let fence = "insert into mailer.relay_fence (from_position, from_seq, to_position, to_seq, leader)
                 select max(position) filter (where seq = last - 1), last - 1,
                        max(position) filter (where seq = last), last, 'mailer/lost'
                 from mailer.outbox, (select max(seq) as last from mailer.outbox) as end_of_it
                 group by last";
    sqlx::raw_sql(fence).execute(&world.db.pool).await.unwrap();
    world.tell(&[fact(&STATES, "alice", 4)]).await;
    eventually(DEADLINE, || async {
        let closed = "select closed_at is not null from mailer.relay_fence";
        let closed: bool = sqlx::query_scalar(closed).fetch_one(&world.db.pool).await.unwrap();
        closed.then_some(())
    })
    .await;
    let sent = records(&relay, &STATES, 7).await;
    let of = |key: &str| -> Vec<i64> {
        let records = sent.iter().filter(|record| record.key == key);
        records.map(|record| record.headers["kotinos_version"].parse().unwrap()).collect()
    };
    assert_eq!(of("bob"), [1, 2]);
    let alice = of("alice");
    assert_eq!(alice[..3], [1, 2, 3]);
    assert_eq!(alice.last(), Some(&4), "the newest record is the newest version: {alice:?}");
    assert!(alice[3..].contains(&3), "{alice:?}");
    relay.stop().await;
    world.end().await;
}

#[tokio::test]
async fn a_copy_of_a_database_is_refused_until_somebody_says_what_it_is() {
    let world = World::new().await;
    let before = "update mailer.relay_cursor set system_identifier = 1 returning xmin::text";
    let before: String = sqlx::query_scalar(before).fetch_one(&world.db.pool).await.unwrap();
    world.tell(&[fact(&STATES, "alice", 1)]).await;
    let relay = world.relay().await;
    // It has looked at the cursor.
    eventually(DEADLINE, || async {
        let now = sqlx::query_scalar("select xmin::text from mailer.relay_cursor");
        let now: String = now.fetch_one(&world.db.pool).await.unwrap();
        (now != before).then_some(())
    })
    .await;
    assert!(!leads(&relay).await);
    assert!(relay.records().records(&[STATES.name()]).await.is_empty());
    let own = "update mailer.relay_cursor set system_identifier = null";
    sqlx::raw_sql(own).execute(&world.db.pool).await.unwrap();
    records(&relay, &STATES, 1).await;
    assert_eq!(records_in_outbox(&world.db.pool, SERVICE).await.len(), 1);
    relay.stop().await;
    world.end().await;
}
