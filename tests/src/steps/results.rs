//! Step 6: the 100 m final, from timing to a partner that drops and comes back, and to Alice's page.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::results::v1::{
    GetResultRequest, ListMedalStandingsRequest, result_service_client::ResultServiceClient,
};
use serde_json::Value;
use testkit::races::FINAL_100M;

use crate::{Moment, Page, Race, Walk, live_page::LivePage, partner::Partner, until};

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let mut race = Race::open(walk).await?;
    // Start list and positions at 30 m.
    race.go_on(2).await?;
    let before = race.told();
    let mut partner = Partner::new(walk.suite).await?;
    let held = partner.read_snapshot().await?;
    ensure!(held == 2, "the snapshot holds {held} documents, not schedule and result");
    let mut live = open_page(walk).await?;

    let seen = race.go_on(3).await?;
    partner.read_to(seen).await?;
    walk.at(Moment::RaceOn).await?;
    let podium = race.go_on(1).await?;
    partner.read_to(podium).await?;
    partner.drop_connection();
    let dropped_at = partner.cursor.clone();
    live.read_to(&walk.alice.browser, "the first three", |frame| frame["s"].as_i64() >= Some(podium)).await?;
    walk.at(Moment::PodiumIn).await?;
    let last = race.finish().await?;
    partner.read_to(last).await?;
    let is_official = |frame: &Value| frame["st"] == "OFFICIAL";
    live.read_to(&walk.alice.browser, "the official result", is_official).await?;

    check_partner(&mut partner, race.told() - before).await?;
    let official = official_result(walk).await?;
    let page = official_page(walk, &official).await?;
    let mut evidence = vec![format!(
        "partner: snapshot of {held}, dropped at cursor {dropped_at}, {} connections, at last {}",
        partner.connections, partner.cursor
    )];
    evidence.extend(partner.changes.iter().map(|(seq, what)| format!("seq {seq}: {what}")));
    evidence.push(format!(
        "Alice's page {}: {} live events from {}, then \"{}\"",
        page.url.path(),
        live.frames.len(),
        live.feed().path(),
        page.heading()
    ));
    evidence.extend(official);
    Ok(evidence)
}

/// Alice finds the final among the units of her favourite sports, and her page goes live.
async fn open_page(walk: &mut Walk<'_>) -> Result<LivePage> {
    let list = walk.alice.portal(walk.suite, "/my/results").await?;
    let link = list.link(FINAL_100M)?;
    let page = walk.alice.browser.visit(link.as_str()).await?.ok()?;
    let rows = page.texts("main tbody tr");
    ensure!(rows.len() == 8, "the page shows {} lanes: {rows:?}", rows.len());
    let mut live = LivePage::of(&page)?;
    live.connect(&walk.alice.browser).await?;
    live.read_to(&walk.alice.browser, "its first frame", |_| true).await?;
    Ok(live)
}

/// The partner has seen every change once and in order, and holds what is there.
async fn check_partner(partner: &mut Partner, told: usize) -> Result<()> {
    let seqs: Vec<i64> = partner.changes.iter().map(|(seq, _)| *seq).collect();
    let first = *seqs.first().context("the partner saw no change")?;
    let expected: Vec<i64> = (first..).take(told).collect();
    ensure!(seqs == expected, "the partner saw {seqs:?}, not {expected:?}");
    let present = until("a snapshot", async || Ok(Some(partner.snapshot().await?))).await?;
    ensure!(partner.documents == present, "what the partner put together differs from the snapshot");
    Ok(())
}

async fn official_result(walk: &Walk<'_>) -> Result<Vec<String>> {
    let mut results = ResultServiceClient::new(walk.daniel.channel(walk.suite, Service::ResultsFeed)?);
    let request = GetResultRequest { unit: FINAL_100M.to_owned() };
    let result = results.get_result(request).await?.into_inner().result.context("no result in the answer")?;
    ensure!(
        result.result_status == "OFFICIAL" && result.rows.len() == 8,
        "the result is {}",
        result.result_status
    );
    let ranks: Vec<&str> = result.rows.iter().map(|row| row.rank.as_str()).collect();
    ensure!(ranks == ["1", "2", "3", "4", "5", "6", "7", "8"], "the ranks are {ranks:?}");
    let standings = results.list_medal_standings(ListMedalStandingsRequest {}).await?.into_inner().standings;
    let best = standings.first().context("there are no medal standings")?;
    ensure!(best.noc == result.rows[0].noc, "{} won, and {} leads the medals", result.rows[0].noc, best.noc);
    let row =
        |row: &proto::results::v1::ResultRow| format!("{} {} {} {}", row.rank, row.name, row.noc, row.mark);
    Ok(result.rows.iter().map(row).collect())
}

async fn official_page(walk: &mut Walk<'_>, official: &[String]) -> Result<Page> {
    let page = walk.alice.portal(walk.suite, &format!("/my/results/{FINAL_100M}")).await?;
    let text = page.text();
    let mark = official[0].rsplit(' ').next().unwrap_or_default();
    ensure!(text.contains(mark), "the page does not show the winner's {mark}");
    Ok(page)
}
