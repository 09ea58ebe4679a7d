//! Three ways to read an outbox while twelve writers commit: by number, by windows of transaction ids, and ours.
//!
//! The first two are what is done elsewhere; they are kept here because the difference is why positions exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{EventId, Uuid};
use outbox::inbox;
use sqlx::{PgPool, PgTransaction, postgres::PgPoolOptions};
use tokio::{task::JoinSet, time::sleep};

use crate::world::{DEADLINE, ORDERED, SERVICE, World, fact, records};

const WRITERS: u64 = 12;
const KEYS: [&str; 4] = ["lane-1", "lane-2", "lane-3", "lane-4"];
const FACTS: usize = 100_000;
/// More is a standstill.
const LONGEST: Duration = Duration::from_secs(120);

/// Key and version, in the order of arrival.
type Delivered = Vec<(String, i64)>;

/// Pseudo-random numbers (xorshift, Marsaglia 2003), so that each writer does the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    async fn pause(&mut self) {
        if self.below(3) == 0 {
            sleep(Duration::from_micros(self.below(5_000))).await;
        }
    }
}

async fn write(pool: PgPool, written: Arc<AtomicUsize>, mut dice: Dice) {
    let begun = Instant::now();
    while written.load(Ordering::Relaxed) < FACTS {
        assert!(begun.elapsed() < LONGEST, "the writers stand still");
        let mut tx = pool.begin().await.unwrap();
        // The claim gives the transaction its id long before it has the aggregate.
        if dice.below(10) < 4 {
            inbox::claim(&mut tx, SERVICE, "mailer.ordering", &[EventId::new()]).await.unwrap();
        }
        dice.pause().await;
        let key = KEYS[usize::try_from(dice.below(4)).unwrap()];
        let count = if dice.below(2) == 0 {
            let count = i64::try_from(1 + dice.below(4)).unwrap();
            lock_then_append(&mut tx, key, count).await;
            count
        } else {
            let count = i64::try_from(1 + dice.below(64)).unwrap();
            lock_and_append(&mut tx, key, count).await;
            count
        };
        dice.pause().await;
        if dice.below(100) < 15 {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            written.fetch_add(usize::try_from(count).unwrap(), Ordering::Relaxed);
        }
    }
}

async fn lock_then_append(tx: &mut PgTransaction<'_>, key: &str, count: i64) {
    let sql = "update mailer.aggregate set version = version + $2 where aggregate_id = $1 returning version";
    let last: i64 = sqlx::query_scalar(sql).bind(key).bind(count).fetch_one(&mut **tx).await.unwrap();
    for version in last - count + 1..=last {
        outbox::append(tx, SERVICE, &fact(&ORDERED, key, version)).await.unwrap();
    }
}

// In one statement, whose snapshot is older than its wait for the aggregate.
async fn lock_and_append(tx: &mut PgTransaction<'_>, key: &str, count: i64) {
    let ids: Vec<Uuid> = (0..count).map(|_| domain::new_id()).collect();
    let sql = "
        with locked as (
            update mailer.aggregate
            set version = version + $2
            where aggregate_id = $1
            returning version)
        insert into mailer.outbox (id, aggregatetype, aggregateid, type, payload, version, occurred_at)
        select told.id, $3, $1, 'CampaignScheduled', 'x', locked.version - $2 + told.number, now()
        from locked, unnest($4::uuid[]) with ordinality as told (id, number)
        order by told.number";
    let appended = sqlx::query(sql).bind(key).bind(count).bind(ORDERED.name()).bind(ids);
    appended.execute(&mut **tx).await.unwrap();
}

// `where id > last`
async fn read_by_number(pool: PgPool, over: Arc<AtomicBool>) -> Delivered {
    let (mut delivered, mut last) = (Delivered::new(), 0_i64);
    loop {
        let is_over = over.load(Ordering::SeqCst);
        let sql =
            "select seq, aggregateid, version from mailer.outbox where seq > $1 order by seq limit 1000";
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(sql).bind(last).fetch_all(&pool).await.unwrap();
        if rows.is_empty() && is_over {
            return delivered;
        }
        for (seq, key, version) in rows {
            last = seq;
            delivered.push((key, version));
        }
        sleep(Duration::from_millis(5)).await;
    }
}

// Windows of ids of transactions that are over, the rows of each in the order of their numbers.
async fn read_by_transaction(pool: PgPool, all: impl Fn() -> Option<usize>) -> Delivered {
    let (mut delivered, mut low) = (Delivered::new(), 0_i64);
    let begun = Instant::now();
    while all().is_none_or(|all| delivered.len() < all) {
        assert!(begun.elapsed() < 2 * DEADLINE, "the horizon stands still");
        let horizon = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
        let horizon: i64 = sqlx::query_scalar(horizon).fetch_one(&pool).await.unwrap();
        let sql = "select aggregateid, version from mailer.outbox where xid >= $1 and xid < $2 order by seq";
        let rows: Delivered = sqlx::query_as(sql).bind(low).bind(horizon).fetch_all(&pool).await.unwrap();
        delivered.extend(rows);
        low = horizon;
        sleep(Duration::from_millis(5)).await;
    }
    delivered
}

/// Committed facts that did not arrive, and first arrivals behind a later version of their key.
fn lost_and_inverted(committed: &BTreeMap<String, i64>, delivered: &Delivered) -> (usize, usize) {
    let mut seen: BTreeSet<(&str, i64)> = BTreeSet::new();
    let mut highest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut inverted = 0;
    for (key, version) in delivered {
        assert!(*version <= committed[key], "{key} never had a version {version}");
        if seen.insert((key, *version)) {
            let highest = highest.entry(key).or_default();
            inverted += usize::from(*version < *highest);
            *highest = (*highest).max(*version);
        }
    }
    let all: usize = committed.values().map(|last| usize::try_from(*last).unwrap()).sum();
    (all - seen.len(), inverted)
}

async fn versions(pool: &PgPool) -> BTreeMap<String, i64> {
    let rows: Delivered =
        sqlx::query_as("select aggregate_id, version from mailer.aggregate").fetch_all(pool).await.unwrap();
    rows.into_iter().collect()
}

// What the other readers need, which our relay does not.
async fn prepare(world: &World) {
    sqlx::raw_sql(
        "alter table mailer.outbox add column xid bigint not null default pg_current_xact_id()::text::bigint;
         create index outbox_xid on mailer.outbox (xid);",
    )
    .execute(&world.db.pool)
    .await
    .unwrap();
    for key in KEYS {
        let insert = sqlx::query("insert into mailer.aggregate values ($1, 0)").bind(key);
        insert.execute(&world.db.pool).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_position_windows_lose_nothing_and_invert_nothing() {
    let world = World::new().await;
    prepare(&world).await;
    let relay = world.relay().await;
    let pool = PgPoolOptions::new().max_connections(16).connect(&world.db.url).await.unwrap();
    let (written, over, all) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));

    let by_number = tokio::spawn(read_by_number(pool.clone(), Arc::clone(&over)));
    let known = Arc::clone(&all);
    let by_transaction = tokio::spawn(read_by_transaction(pool.clone(), move || {
        Some(known.load(Ordering::SeqCst)).filter(|all| *all > 0)
    }));
    let mut writers = JoinSet::new();
    for seed in 1..=WRITERS {
        writers.spawn(write(
            pool.clone(),
            Arc::clone(&written),
            Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        ));
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let committed = versions(&pool).await;
    let count: usize = committed.values().map(|last| usize::try_from(*last).unwrap()).sum();
    all.store(count, Ordering::SeqCst);
    over.store(true, Ordering::SeqCst);

    let by_number = lost_and_inverted(&committed, &by_number.await.unwrap());
    let by_transaction = lost_and_inverted(&committed, &by_transaction.await.unwrap());
    let ours = records(&relay, &ORDERED, count).await;
    let version = |headers: &BTreeMap<String, String>| headers["kotinos_version"].parse().unwrap();
    let ours = ours.into_iter().map(|record| (record.key, version(&record.headers))).collect();
    let ours = lost_and_inverted(&committed, &ours);
    println!(
        "of {count} facts, lost and inverted: id > last {by_number:?}, xid windows {by_transaction:?}, ours {ours:?}"
    );
    assert!(count >= FACTS);
    assert!(by_number.0 > 0, "`id > last` loses what commits late");
    assert_eq!(by_transaction.0, 0, "windows of transaction ids lose nothing");
    assert!(by_transaction.1 > 0, "but invert what got its id early");
    assert_eq!(ours, (0, 0));
    pool.close().await;
    relay.stop().await;
    world.end().await;
}
