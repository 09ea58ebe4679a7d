//! G8: what five hundred entitlements cost, each with a reader, beside as many readers of the public.

use std::time::Duration;

use anyhow::Result;
use proto::results::v1::EntitlementRule;
use testkit::measure::{Surroundings, Table, number};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    documents::{Head, result, unit},
    ours::Feed,
    publisher::Publisher,
    readers::{Clock, Readers},
    size::Size,
};

const RATE: u32 = 100;

pub async fn run(surroundings: &Surroundings, size: &Size) -> Result<Table> {
    let (plain, _) = one(surroundings, size, false).await?;
    let (entitled, deliveries) = one(surroundings, size, true).await?;
    let mut table = Table::new(&["readers", "CPU-s of the service a 1,000 documents"]);
    table.row(vec!["of the public".to_owned(), number(plain)]);
    table.row(vec![format!("{} entitlements", size.entitlements), number(entitled)]);
    // Frames are shared.
    let own = (entitled - plain) * 1e3 / size.entitlements as f64;
    let bound = format!("a decision, a ring and a wake of each entitlement, {own:.1} µs an entry");
    table.at_most("entitlements cost, %", (entitled / plain - 1.0) * 100.0, 5.0, &bound);
    table.note(format!(
        "{RATE} documents a second, {} readers, {deliveries} frames to entitled ones",
        size.entitlements
    ));
    Ok(table)
}

async fn one(surroundings: &Surroundings, size: &Size, is_entitled: bool) -> Result<(f64, usize)> {
    let feed = Feed::install(surroundings).await?;
    let (clock, mut publisher) = (Clock::new(), Publisher::new(feed.http, feed.key().await?));
    publisher.post(&document(1)).await?;
    let mut hails = Vec::new();
    for number in 0..size.entitlements {
        let client_id = format!("partner{number}");
        if is_entitled {
            // On top of the public's: all types of one discipline.
            let prefix = unit(number).chars().take(3).collect();
            feed.entitle(&client_id, vec![EntitlementRule { prefix, ..EntitlementRule::default() }]).await?;
        }
        let token = is_entitled.then(|| feed.token(&client_id));
        hails.push(feed.by_socket("mode=state", token.as_deref()));
    }
    let readers = Readers::connect(hails, &clock).await?;
    let last = RATE * u32::try_from(size.run.as_secs())?;
    readers.measure_from(2);
    readers.expect_last(last);
    let cpu = feed.process.cpu();
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 2..=last {
        ticks.tick().await;
        clock.send(number);
        publisher.post(&document(number)).await?;
    }
    readers.arrive(size.entitlements, Duration::from_secs(30)).await?;
    let cpu = feed.process.cpu() - cpu;
    let deliveries = readers.deliveries();
    readers.end().await;
    Ok((cpu / f64::from(last) * 1_000.0, deliveries))
}

fn document(number: u32) -> String {
    let code = unit(number as usize % 400);
    result(Head { document_type: "DT_RESULT", code: &code, version: number, status: "LIVE", number }, 6, 200)
}
