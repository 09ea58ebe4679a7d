//! Who used the processors in a stretch of time, and a contestant that is watched while it works.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testkit::measure::{number, system};
use tokio::time::sleep;

use crate::{spawned::Spawned, surroundings::Surroundings};

/// Seconds of processor so far.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    at: Instant,
    own: f64,
    postgres: f64,
    kafka: f64,
    bench: f64,
    machine: (f64, f64),
}

/// Seconds of processor between two looks.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub seconds: f64,
    /// Of the contestant's processes.
    pub own: f64,
    pub postgres: f64,
    pub kafka: f64,
    /// Share of the machine's processors that was at work, for whomever.
    pub busy: f64,
    // Of the process that writes, calls and watches.
    bench: f64,
    all: f64,
}

impl Look {
    pub fn take(surroundings: &Surroundings, processes: &[&Spawned]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            own: processes.iter().map(|process| process.cpu()).sum(),
            postgres: surroundings.postgres_cpu(),
            kafka: surroundings.kafka_cpu(),
            bench: system::cpu_seconds(std::process::id()),
            machine: system::machine_seconds()?,
        })
    }

    pub fn until(&self, later: &Self) -> Usage {
        let all = later.machine.1 - self.machine.1;
        Usage {
            seconds: (later.at - self.at).as_secs_f64(),
            own: later.own - self.own,
            postgres: later.postgres - self.postgres,
            kafka: later.kafka - self.kafka,
            bench: later.bench - self.bench,
            busy: (later.machine.0 - self.machine.0) / all,
            all,
        }
    }
}

impl Usage {
    /// What holds it up, as far as the processors tell.
    pub fn bound(&self, waits_for: &str) -> String {
        let share = |seconds: f64| 100.0 * seconds / self.all;
        let rest = self.busy * self.all - self.own - self.postgres - self.kafka - self.bench;
        let shares = format!(
            "machine {:.0} % busy: contestant {:.0}, PostgreSQL {:.0}, Kafka {:.0}, bench {:.0}, others {:.0}",
            100.0 * self.busy,
            share(self.own),
            share(self.postgres),
            share(self.kafka),
            share(self.bench),
            share(rest)
        );
        if self.busy > 0.9 { format!("the processors ({shares})") } else { format!("{waits_for} ({shares})") }
    }
}

/// What a contestant did between the first record that was seen and the last, so that its start does not count.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub records: f64,
    pub usage: Usage,
    pub peak_mib: f64,
}

impl Work {
    pub fn a_second(&self) -> f64 {
        self.records / self.usage.seconds
    }

    /// Records for each second of processor of the contestant and of PostgreSQL, which works for it.
    pub fn a_cpu_second(&self) -> f64 {
        self.records / (self.usage.own + self.usage.postgres)
    }

    /// Seconds of processor for 100,000 records: the contestant's, PostgreSQL's, Kafka's; and its memory.
    pub fn cells(&self) -> Vec<String> {
        let each = |seconds: f64| number(100_000.0 * seconds / self.records);
        vec![
            number(self.a_second()),
            each(self.usage.own),
            each(self.usage.postgres),
            each(self.usage.kafka),
            number(self.peak_mib),
        ]
    }
}

/// Titles of [`Work::cells`].
pub const TITLES: [&str; 5] =
    ["records/s", "CPU-s per 100,000", "PostgreSQL CPU-s", "Kafka CPU-s", "peak MiB"];

const PATIENCE: Duration = Duration::from_secs(120);

/// Watches until `enough` records are done, or for `length`.
pub async fn watch(
    surroundings: &Surroundings,
    process: &mut Spawned,
    (look_each, length): (Duration, Duration),
    enough: i64,
    count: impl Fn() -> Result<i64>,
) -> Result<Work> {
    let (mut first, mut last) = (None::<(i64, Look)>, None::<(i64, Look)>);
    let (mut moved, mut seen) = (Instant::now(), 0);
    loop {
        process.check()?;
        let records = count()?;
        let look = Look::take(surroundings, &[process])?;
        if records > seen {
            (moved, seen) = (Instant::now(), records);
        } else if moved.elapsed() > PATIENCE {
            bail!("after {records} records nothing comes any more");
        }
        match first {
            None if records > 0 => first = Some((records, look)),
            // The end came somewhere between two looks: the one before it counts, where there is one.
            Some(_) if records < enough || last.is_none() => last = Some((records, look)),
            _ => {}
        }
        let over = first.is_some_and(|(_, first)| first.at.elapsed() > length);
        if records >= enough || over {
            break;
        }
        sleep(look_each).await;
    }
    let (Some((from, first)), Some((to, last))) = (first, last) else {
        bail!("it was over before it was seen")
    };
    Ok(Work { records: (to - from) as f64, usage: first.until(&last), peak_mib: process.peak_mib() })
}
