//! Records wait in a topic; a consumer takes them in: claimed by batches, versioned by batches, and by a transaction each.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::measure::{Table, middle};

use crate::{
    consumers,
    limits::Limits,
    notes::Notes,
    producer, roles,
    rows::KEYS,
    size::Size,
    spawned::Spawned,
    surroundings::{Ground, Surroundings},
    usage::{TITLES, Work, watch},
};

const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(600);

const CONSUMERS: [(&str, &str); 3] = [
    ("ours, claimed", roles::CLAIMED),
    ("ours, versioned", roles::VERSIONED),
    ("a transaction a record, 4 at once", roles::PLAIN),
];

pub async fn run(surroundings: &Surroundings, limits: &Limits, size: &Size) -> Result<Table> {
    let here = surroundings.ground().await?;
    let (brokers, topic, records) = (surroundings.brokers.clone(), here.topic(), size.records);
    tokio::task::spawn_blocking(move || producer::produce(&brokers, &topic, records)).await??;
    let mut table = Table::new(&[&["consumer"], TITLES.as_slice()].concat());
    let mut runs: [Vec<Work>; 3] = Default::default();
    for run in 0..size.runs {
        for ((_, role), runs) in CONSUMERS.iter().zip(&mut runs) {
            // The plain one would need minutes for all.
            let length = if *role == roles::PLAIN { size.one_by_one } else { PATIENCE };
            let name = format!("mailer.bench-{role}-{run}");
            let work = one(surroundings, &here, (role, &name), (length, size.records)).await;
            runs.push(work.with_context(|| (*role).to_owned())?);
        }
    }
    let works = runs.map(|runs| middle(runs, Work::a_second));
    for ((name, _), work) in CONSUMERS.iter().zip(&works) {
        let cells = work.as_ref().map(Work::cells).unwrap_or_default();
        table.row([vec![(*name).to_owned()], cells].concat());
    }
    let [Some(claimed), Some(versioned), Some(plain)] = works else { anyhow::bail!("nothing was run") };
    let bound = |work: &Work| work.usage.bound("the database's answers, four at once");
    table.at_least("claimed records/s", claimed.a_second(), 15_000.0, &bound(&claimed));
    table.at_least("versioned records/s", versioned.a_second(), 30_000.0, &bound(&versioned));
    let what = "claimed, times a transaction a record";
    table.at_least(what, claimed.a_second() / plain.a_second(), 8.0, &bound(&claimed));
    table.told("versioned, times a transaction a record", versioned.a_second() / plain.a_second());
    table.note("claimed: an inbox row and an effect row a record; versioned: an upsert of 400 B".to_owned());
    for (name, work) in [("claimed", claimed), ("versioned", versioned), ("one by one", plain)] {
        table.note(format!(
            "{name}: {:.2} of what the client alone reads; bound by {}",
            work.a_second() / limits.read_a_second,
            bound(&work)
        ));
    }
    surroundings.clear(here).await?;
    Ok(table)
}

// The effects go into a database of their own.
async fn one(
    surroundings: &Surroundings,
    here: &Ground,
    (role, name): (&str, &str),
    (length, records): (Duration, i64),
) -> Result<Work> {
    let (there, notes) = (surroundings.ground().await?, Notes::create()?);
    let mut process = Spawned::role(
        surroundings,
        role,
        Some(&there),
        &[
            ("KOTINOS_TOPIC_PREFIX", here.topics.prefix.clone()),
            (consumers::NOTES, notes.path.display().to_string()),
            (consumers::NAME, name.to_owned()),
        ],
    )?;
    let work = watch(surroundings, &mut process, (LOOK, length), records, || notes.count()).await;
    process.stop().await?;
    has_effects(&there, role, notes.count()?).await?;
    surroundings.clear(there).await?;
    work
}

// What was noted is committed: an effect a record, or the newest state of each key.
async fn has_effects(there: &Ground, role: &str, records: i64) -> Result<()> {
    let (effects, states): (i64, i64) =
        sqlx::query_as("select (select count(*) from mailer.effect), (select count(*) from mailer.state)")
            .fetch_one(&there.db.pool)
            .await?;
    if role == roles::VERSIONED {
        ensure!(states == records.min(KEYS), "{states} states of {records} records");
    } else {
        ensure!(effects >= records, "{effects} effects of {records} records");
    }
    Ok(())
}
