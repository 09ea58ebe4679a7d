//! G3: all readers drop and come back within five seconds, a third of them from behind the ring; then the process is
//! killed and starts on a long log.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::measure::{Surroundings, Table, number};

use crate::{
    UNKNOWN,
    documents::{FINAL, Head, result, unit},
    fanout::final_at,
    ours::Feed,
    publisher::Publisher,
    readers::{Clock, Hail, Readers},
    size::Size,
};

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let mut feed = Feed::install(surroundings).await?;
    let mut publisher = Publisher::new(feed.http, feed.key().await?);
    let clock = Clock::new();
    let mut number_sent = 0;
    for _ in 0..20 {
        number_sent += 1;
        publisher.post(&final_at(number_sent)).await?;
    }
    let old = cursor(&feed).await.context("a cursor")?;
    number_sent = fill(&feed, &mut publisher, number_sent, size).await?;
    let recent = cursor(&feed).await.context("a cursor")?;
    let readers = Readers::connect(hails(&feed, size.connections, &recent, &recent), &clock).await?;
    let seen = readers.end().await;
    anyhow::ensure!(seen.cut == 0, "{} readers were cut before the storm", seen.cut);
    number_sent += 1;
    publisher.post(&final_at(number_sent)).await?;
    let begin = Instant::now();
    let readers = Readers::connect(hails(&feed, size.connections, &recent, &old), &clock).await?;
    let listening = begin.elapsed();
    number_sent += 1;
    readers.expect_last(number_sent);
    publisher.post(&final_at(number_sent)).await?;
    readers.arrive(size.connections, Duration::from_secs(60)).await?;
    let converged = begin.elapsed();
    let resident = feed.process.resident_mib();
    readers.end().await;
    feed.restart()?;
    let ready = feed.ready().await?;
    let mut table = Table::new(&["storm", "figure"]);
    table.row(vec!["all connections were answered within, s".to_owned(), number(listening.as_secs_f64())]);
    table.row(vec!["MiB after it".to_owned(), number(resident)]);
    table.at_most("all have the newest document within, s", converged.as_secs_f64(), 5.0, UNKNOWN);
    table.at_most("serving after kill -9 within, s", ready.as_secs_f64(), 2.0, UNKNOWN);
    table.note(format!(
        "{} readers, a third of them {} entries behind; {} entries in the log",
        size.connections, size.entries, size.entries
    ));
    Ok(table)
}

fn hails(feed: &Feed, count: usize, recent: &str, old: &str) -> Vec<Hail> {
    (0..count)
        .map(|number| {
            let cursor = if number % 3 == 0 { old } else { recent };
            let mut hail = feed.by_socket(&format!("prefix={FINAL}&cursor={cursor}"), None);
            hail.heard = br#""t":"hello""#;
            hail
        })
        .collect()
}

// Where the stream is: the `cursor` of the state.
async fn cursor(feed: &Feed) -> Result<String> {
    let address = format!("http://{}/results/v1/state?prefix={FINAL}&limit=1", feed.http);
    let state: serde_json::Value = serde_json::from_slice(&reqwest::get(address).await?.bytes().await?)?;
    Ok(state["cursor"].as_str().context("no cursor")?.to_owned())
}

// The first hundred documents of other units by the front door, the rest as copies of their rows.
async fn fill(feed: &Feed, publisher: &mut Publisher, mut number: u32, size: &Size) -> Result<u32> {
    for at in 0..100 {
        number += 1;
        let code = unit(at);
        let head = Head { document_type: "DT_RESULT", code: &code, version: number, status: "LIVE", number };
        publisher.post(&result(head, 8, 100)).await?;
    }
    feed.copy_rows(size.entries).await?;
    Ok(number)
}
