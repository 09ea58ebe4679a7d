//! Step 6: the 100 m final, from timing to everybody who follows it: a partner that drops and comes back, a NOC's server, the
//! commentators' desk, the fans' pages and Alice's own; then a protest, which they all see decided.

mod noc;
mod protest;
mod standing;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::races::FINAL_100M;

use self::standing::Standing;
use crate::{Commentator, Moment, Race, Walk, live_page::LivePage, partner::Partner, until};

/// Who follows the final.
struct Audience {
    partner: Partner,
    live: LivePage,
    desk: Commentator,
}

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    noc::register(walk).await?;
    let desk = Commentator::sign_up(walk.suite).await?;
    let mails = mails_to_fans(walk);
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

    let mut audience = Audience { partner, live, desk };
    let official = Standing::wait_for(walk, "OFFICIAL").await?;
    ensure!(
        official.ranks() == ["1", "2", "3", "4", "5", "6", "7", "8"],
        "the ranks are {:?}",
        official.ranks()
    );
    official.check_medals()?;
    let shown = audience.is_shown(walk, &race, &official).await?;
    let after_protest = protest::go(walk, &mut race, &mut audience, &official).await?;
    check_partner(&mut audience.partner, race.told() - before).await?;
    ensure!(mails_to_fans(walk) == mails, "fans got mails while they followed the final");

    let Audience { partner, live, .. } = audience;
    let mut evidence = vec![format!(
        "partner: snapshot of {held}, dropped at cursor {dropped_at}, {} connections, at last {}",
        partner.connections, partner.cursor
    )];
    evidence.extend(partner.changes.iter().map(|(seq, what)| format!("seq {seq}: {what}")));
    evidence.push(format!("Alice's page: {} live events from {}", live.frames.len(), live.feed().path()));
    evidence.extend(shown);
    evidence.extend(official.lines());
    evidence.extend(after_protest);
    evidence.push(format!("mails to Alice and Bob: {} before, none came", mails.len()));
    Ok(evidence)
}

impl Audience {
    /// Everybody is shown how the final stands, and the NOC holds what it wants.
    async fn is_shown(
        &mut self,
        walk: &mut Walk<'_>,
        race: &Race,
        standing: &Standing,
    ) -> Result<Vec<String>> {
        Ok(vec![
            standing.is_on_alices_page(walk).await?,
            standing.is_on_the_fans_pages(walk).await?,
            standing.is_on_the_desk(&mut self.desk).await?,
            noc::has_everything(walk, race).await?,
        ])
    }
}

/// Message-IDs of everything that reached Alice and Bob.
fn mails_to_fans(walk: &Walk<'_>) -> BTreeSet<String> {
    let mails = walk.suite.sink.mails().into_iter();
    let to_fans = mails.filter(|mail| mail.is_to(walk.alice.address) || mail.is_to(walk.bob.address));
    to_fans.map(|mail| mail.message_id).collect()
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
