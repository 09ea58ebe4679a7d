//! The official result is protested against: it stands no longer, and another one becomes official.

use anyhow::{Result, ensure};
use prost::Message as _;
use proto::results::v1::{MedalAwarded, MedalWithdrawn, ResultBecameOfficial};
use serde_json::Value;
use testkit::CaughtRecord;

use super::{Audience, standing::Standing};
use crate::{Moment, Race, Walk, until};

const RESULTS: &str = "kotinos.results.result.v1";
const MEDALS: &str = "kotinos.results.medal.v1";

/// Everybody sees the protest, and then who won.
pub async fn go(
    walk: &mut Walk<'_>,
    race: &mut Race,
    audience: &mut Audience,
    before: &Standing,
) -> Result<Vec<String>> {
    let protested = race.protest().await?;
    audience.partner.read_to(protested).await?;
    let is_protested = |frame: &Value| frame["st"] == "PROTESTED";
    audience.live.read_to(&walk.alice.browser, "the protest", is_protested).await?;
    let standing = Standing::wait_for(walk, "PROTESTED").await?;
    ensure!(standing.lines() == before.lines(), "a protest changes the lines to {:?}", standing.lines());
    let mut evidence = vec![format!("protest at seq {protested}")];
    evidence.extend(audience.is_shown(walk, race, &standing).await?);
    walk.at(Moment::Protested).await?;

    let last = race.finish().await?;
    audience.partner.read_to(last).await?;
    let is_decided = |frame: &Value| frame["st"] == "OFFICIAL" && frame["s"].as_i64() > Some(protested);
    audience.live.read_to(&walk.alice.browser, "the decision", is_decided).await?;
    let standing = Standing::wait_for(walk, "OFFICIAL").await?;
    check_decision(before, &standing)?;
    evidence.push(format!("decided at seq {last}"));
    evidence.extend(audience.is_shown(walk, race, &standing).await?);
    evidence.extend(standing.lines());
    evidence.push(check_facts(walk, before, &standing).await?);
    Ok(evidence)
}

/// The winner is disqualified and last, the others moved up.
fn check_decision(before: &Standing, after: &Standing) -> Result<()> {
    let codes = |standing: &Standing| -> Vec<String> {
        standing.rows.iter().map(|row| row.competitor_code.clone()).collect()
    };
    let mut expected = codes(before);
    expected.rotate_left(1);
    ensure!(codes(after) == expected, "after the protest the lines are {:?}", after.lines());
    ensure!(after.ranks() == ["1", "2", "3", "4", "5", "6", "7", ""], "the ranks are {:?}", after.ranks());
    ensure!(after.rows[7].irm == "DSQ" && after.rows[7].mark.is_empty(), "{:?} is not out", after.rows[7]);
    after.check_medals()
}

/// Other services heard it all: official, withdrawn, official; and three medals went from one to another. A record may come
/// twice; a fact has one id.
async fn check_facts(walk: &Walk<'_>, before: &Standing, after: &Standing) -> Result<String> {
    let official = [before.winner()?, after.winner()?].map(|row| row.competitor_code.clone());
    until("the facts of the final", async || {
        let results = once_each(walk.suite.facts.on(RESULTS).await);
        let kinds: Vec<&str> = results.iter().map(kind).collect();
        ensure!(
            kinds == ["ResultBecameOfficial", "ResultWithdrawn", "ResultBecameOfficial"],
            "the facts about the result are {kinds:?}"
        );
        let winners: Vec<String> = results
            .iter()
            .filter(|record| kind(record) == "ResultBecameOfficial")
            .map(|record| {
                let fact = ResultBecameOfficial::decode(record.payload.as_deref().unwrap_or_default())?;
                Ok(fact.lines.first().map(|line| line.competitor_code.clone()).unwrap_or_default())
            })
            .collect::<Result<_>>()?;
        ensure!(winners == official, "the facts say that {winners:?} won, not {official:?}");
        let medals = once_each(walk.suite.facts.on(MEDALS).await);
        let mut held = Vec::new();
        for record in &medals {
            let payload = record.payload.as_deref().unwrap_or_default();
            if kind(record) == "MedalAwarded" {
                let MedalAwarded { medal, competitor_code, .. } = MedalAwarded::decode(payload)?;
                held.push((medal, competitor_code));
            } else {
                let MedalWithdrawn { medal, competitor_code, .. } = MedalWithdrawn::decode(payload)?;
                held.retain(|one| *one != (medal.clone(), competitor_code.clone()));
            }
        }
        held.sort_unstable();
        let order = ["ME_GOLD", "ME_SILVER", "ME_BRONZE"].map(str::to_owned).into_iter();
        let mut expected: Vec<(String, String)> =
            order.zip(after.rows.iter().map(|row| row.competitor_code.clone())).collect();
        expected.sort_unstable();
        ensure!(held == expected, "by the facts {held:?} have medals, not {expected:?}");
        Ok(Some(format!("facts: {}; {} about medals", kinds.join(", "), medals.len())))
    })
    .await
}

fn kind(record: &CaughtRecord) -> &str {
    &record.ce_type
}

fn once_each(records: Vec<CaughtRecord>) -> Vec<CaughtRecord> {
    let mut seen = std::collections::HashSet::new();
    records.into_iter().filter(|record| seen.insert(record.headers.get("ce_id").cloned())).collect()
}
