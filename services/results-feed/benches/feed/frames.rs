//! G5: bytes of a frame beside those of the whole document, by the number of competitors.

use std::time::Duration;

use anyhow::{Context, Result};
use testkit::measure::{Surroundings, Table, number};

use crate::{
    documents::{FINAL, Head, result},
    ours::Feed,
    publisher::Publisher,
    readers::{Clock, Readers},
    size::Size,
};

const VERSIONS: u32 = 40;

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let mut table = Table::new(&["competitors", "whole document", "frame", "%"]);
    for competitors in [2, 8, 10, 24, 48, 80] {
        let (whole, frame) = one(surroundings, competitors).await?;
        let share = frame / whole * 100.0;
        table.row(vec![competitors.to_string(), number(whole), number(frame), number(share)]);
        let bound = crate::UNKNOWN;
        match competitors {
            2 | 8 => table.at_most(&format!("bytes a frame with {competitors}"), frame, 200.0, bound),
            48 | 80 => table.at_most(&format!("% with {competitors}"), share, 5.0, bound),
            _ => table.at_most(&format!("% with {competitors}"), share, 8.0, bound),
        }
    }
    table.note(format!(
        "one mark and the document's marker change in each of {VERSIONS} versions; {} readers elsewhere",
        size.readers
    ));
    Ok(table)
}

async fn one(surroundings: &Surroundings, competitors: usize) -> Result<(f64, f64)> {
    let feed = Feed::install(surroundings).await?;
    let mut publisher = Publisher::new(feed.http, feed.key().await?);
    let document = |number: u32| {
        let head = Head { document_type: "DT_RESULT", code: FINAL, version: number, status: "LIVE", number };
        result(head, competitors, 0)
    };
    publisher.post(&document(1)).await?;
    let address = format!("http://{}/results/v1/state?prefix={FINAL}", feed.http);
    let state: serde_json::Value = serde_json::from_slice(&reqwest::get(address).await?.bytes().await?)?;
    let whole = state["documents"][0]["b"].to_string().len() as f64;
    let clock = Clock::new();
    let readers = Readers::connect(vec![feed.by_socket(&format!("prefix={FINAL}"), None)], &clock).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = readers.bytes_so_far();
    readers.expect_last(VERSIONS + 1);
    for number in 2..=VERSIONS + 1 {
        clock.send(number);
        publisher.post(&document(number)).await?;
    }
    readers.arrive(1, Duration::from_secs(10)).await.context("the last version")?;
    let bytes = readers.bytes_so_far() - before;
    readers.end().await;
    Ok((whole, bytes as f64 / f64::from(VERSIONS)))
}
