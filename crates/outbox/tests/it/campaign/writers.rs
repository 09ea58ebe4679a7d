//! Sixteen writers, and what they were told of their commits.

use std::{
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{Clock, EventId, Uuid, new_id};
use outbox::{Fact, inbox};
use sqlx::{PgPool, PgTransaction, postgres::PgPoolOptions};
use tokio::{task::JoinSet, time::sleep};

use super::{judge::Write, plan::Dice};
use crate::world::{SERVICE, STATES};

const WRITERS: usize = 16;
/// Of them go to the database by a way that is cut.
const CUT_OFF: usize = 4;
const KEYS: usize = 24;
const MARKERS: usize = 16;
/// Commands that may be given again.
const REMEMBERED: usize = 64;

type Failed = Box<dyn Error + Send + Sync>;

/// What was acknowledged, and what has an unknown outcome: kept here, outside the database.
#[derive(Default)]
pub struct Ledger(Mutex<(Vec<Write>, Vec<Write>)>);

impl Ledger {
    async fn commit(&self, tx: PgTransaction<'_>, writes: Vec<Write>) -> Result<(), Failed> {
        let outcome = tx.commit().await;
        let mut ledger = self.0.lock().unwrap();
        // One that failed may have happened: its answer was lost.
        if outcome.is_ok() {
            ledger.0.extend(writes);
        } else {
            ledger.1.extend(writes);
        }
        Ok(outcome?)
    }

    /// Acknowledged and unknown.
    pub fn taken(&self) -> (Vec<Write>, Vec<Write>) {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Commands(Mutex<Vec<Uuid>>);

impl Commands {
    // One of five is given a second time, soon after the first or while it is carried out.
    fn next(&self, dice: &mut Dice) -> Uuid {
        let mut given = self.0.lock().unwrap();
        if dice.percent(20) && !given.is_empty() {
            return given[dice.below(given.len())];
        }
        let new = new_id();
        if given.len() < REMEMBERED {
            given.push(new);
        } else {
            given[dice.below(REMEMBERED)] = new;
        }
        new
    }
}

/// Writers that go on until they are stopped.
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    pub fn start(seed: u64, ledger: &Arc<Ledger>, url: &str, cut_off_url: &str) -> Self {
        let pool = |url: &str, size| {
            let pool = PgPoolOptions::new().max_connections(size).acquire_timeout(Duration::from_secs(3));
            pool.connect_lazy(url).unwrap()
        };
        let (pool, cut_off) = (pool(url, 16), pool(cut_off_url, 4));
        let stop = Arc::new(AtomicBool::new(false));
        let commands = Arc::new(Commands(Mutex::default()));
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer {
                pool: if number < CUT_OFF { cut_off.clone() } else { pool.clone() },
                ledger: Arc::clone(ledger),
                commands: Arc::clone(&commands),
                dice: Dice::new(seed.wrapping_add(1_000 + u64::try_from(number).unwrap())),
            };
            tasks.spawn(writer.write_until(Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

struct Writer {
    pool: PgPool,
    ledger: Arc<Ledger>,
    commands: Arc<Commands>,
    dice: Dice,
}

impl Writer {
    async fn write_until(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::SeqCst) {
            sleep(self.dice.milliseconds(0..=40)).await;
            // Whatever went wrong: the ledger knows what may have happened.
            let _ = self.carry_out_one().await;
        }
    }

    async fn carry_out_one(&mut self) -> Result<(), Failed> {
        let mut tx = self.pool.begin().await?;
        // Gives the transaction its id long before it has the aggregate.
        let command = self.commands.next(&mut self.dice);
        if inbox::claim(&mut tx, SERVICE, "mailer.commands", &[EventId(command)]).await?.is_empty() {
            return Ok(tx.rollback().await?);
        }
        self.linger().await;
        let key = format!("key-{:02}", self.dice.below(KEYS));
        let mut writes = Vec::new();
        for _ in 0..=self.dice.below(3) {
            writes.push(write(&mut tx, command, &key).await?);
        }
        self.linger().await;
        if self.dice.percent(15) {
            return Ok(tx.rollback().await?);
        }
        self.ledger.commit(tx, writes).await
    }

    async fn linger(&mut self) {
        let most = match self.dice.below(100) {
            0..2 => 2_000,
            2..12 => 200,
            12..50 => 20,
            _ => return,
        };
        sleep(self.dice.milliseconds(0..=most)).await;
    }
}

// The aggregate's next version, its fact, and a line about both.
async fn write(tx: &mut PgTransaction<'_>, command: Uuid, key: &str) -> Result<Write, Failed> {
    let version = "insert into mailer.aggregate (aggregate_id, version) values ($1, 1)
                   on conflict (aggregate_id) do update set version = aggregate.version + 1
                   returning version";
    let version: i64 = sqlx::query_scalar(version).bind(key).fetch_one(&mut **tx).await?;
    let event_id = EventId::new();
    let fact = Fact {
        topic: &STATES,
        key: key.to_owned(),
        fact_type: "CampaignScheduled",
        payload: Some(format!("{key} {version}").into_bytes()),
        version,
        occurred_at: Clock::system().now(),
        event_id,
    };
    outbox::append(tx, SERVICE, &fact).await?;
    sqlx::query("insert into mailer.written (event_id, command_id, key, version) values ($1, $2, $3, $4)")
        .bind(event_id.0)
        .bind(command)
        .bind(key)
        .bind(version)
        .execute(&mut **tx)
        .await?;
    Ok(Write { event_id: event_id.0, key: key.to_owned(), version })
}

/// Facts of keys of their own, spread over the partitions: committed now, and given back when that is acknowledged.
pub async fn mark(pool: &PgPool, ledger: &Ledger) -> Vec<Write> {
    loop {
        match mark_once(pool, ledger).await {
            Ok(marks) => return marks,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn mark_once(pool: &PgPool, ledger: &Ledger) -> Result<Vec<Write>, Failed> {
    let mut tx = pool.begin().await?;
    let (mut marks, command) = (Vec::new(), new_id());
    for number in 0..MARKERS {
        marks.push(write(&mut tx, command, &format!("mark-{number:02}")).await?);
    }
    ledger.commit(tx, marks.clone()).await?;
    Ok(marks)
}
