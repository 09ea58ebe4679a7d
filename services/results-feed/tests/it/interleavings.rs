//! The model over real PostgreSQL: interleavings of what senders, operators, networks and processes do, each on codes and
//! under rights of its own, many at a time on two replicas. At rest every reader holds what a plain fold of the published
//! says. `KOTINOS_MODEL_ALL=1` takes five times as many, `KOTINOS_MODEL_SEED` one of them.

use std::{collections::BTreeMap, net::SocketAddr};

use futures::StreamExt;
use proto::results::v1::{
    EntitlementRule, UpdateEntitlementsRequest, access_service_client::AccessServiceClient,
};

use crate::{
    balancer::Balancer,
    dice::{Dice, setting},
    follower::Follower,
    process::{Process, Surroundings},
    world::World,
};

const RUNS: u64 = 60;
/// At a time.
const TOGETHER: usize = 6;
const STEPS: u64 = 24;
const UNITS: u64 = 3;
const STATUSES: [&str; 6] = ["LIVE", "LIVE", "UNOFFICIAL", "OFFICIAL", "OFFICIAL", "PROTESTED"];
/// Statuses that a client may see; none means all.
const RULES: [&[&str]; 4] = [&[], &["OFFICIAL"], &["LIVE", "UNOFFICIAL"], &["OFFICIAL", "PROTESTED"]];

/// A unit's result as its sender and the plain fold have it.
#[derive(Debug, Clone, Default)]
struct Unit {
    /// Everything that was sent: version, status, mark; no mark invalidates.
    sent: Vec<(u32, &'static str, Option<u64>)>,
    version: u32,
    status: &'static str,
    mark: Option<u64>,
}

impl Unit {
    /// The plain fold; gives what the sender must be told.
    fn take(&mut self, (version, status, mark): (u32, &'static str, Option<u64>)) -> &'static str {
        self.sent.push((version, status, mark));
        if version < self.version {
            return "late";
        }
        if version == self.version {
            let first = self.sent.iter().find(|(other, _, mark)| *other == version && mark.is_some());
            return match mark {
                None if self.mark.is_none() => "duplicate",
                None => {
                    self.mark = None;
                    "accepted"
                }
                Some(_) if first == Some(&(version, status, mark)) => "duplicate",
                Some(_) => "quarantined",
            };
        }
        (self.version, self.status, self.mark) = (version, status, mark);
        "accepted"
    }
}

struct Run<'w> {
    world: &'w World,
    seed: u64,
    key: &'w str,
    dice: Dice,
    units: Vec<Unit>,
    rules: usize,
    rules_version: i64,
}

impl Run<'_> {
    fn client_id(&self) -> String {
        format!("partner-{}", self.seed)
    }

    fn prefix(&self) -> String {
        format!("ATHM100M--------------Q{:03}", self.seed % 1_000)
    }

    async fn entitle(&mut self, rules: usize) {
        let rule = EntitlementRule {
            prefix: self.prefix(),
            statuses: RULES[rules].iter().map(|status| (*status).to_owned()).collect(),
            ..EntitlementRule::default()
        };
        let request = UpdateEntitlementsRequest {
            client_id: self.client_id(),
            expected_version: self.rules_version,
            rules: vec![rule],
        };
        let mut access = AccessServiceClient::new(self.world.app.grpc(&["results.admin"]));
        access.update_entitlements(request).await.unwrap();
        (self.rules, self.rules_version) = (rules, self.rules_version + 1);
    }

    async fn publish(&mut self) {
        let at = self.dice.below(UNITS);
        let unit = &self.units[usize::try_from(at).unwrap()];
        let pick = usize::try_from(self.dice.below(6)).unwrap();
        let newest = (unit.version, unit.status);
        let next = match self.dice.below(12) {
            0 if newest.0 > 0 => (newest.0, newest.1, None),
            1 if newest.0 > 0 => (newest.0, newest.1, Some(1_000_000 + self.dice.below(1_000))),
            2 if newest.0 > 1 => (newest.0 - 1, "LIVE", Some(2_000_000 + self.dice.below(1_000))),
            3 if !unit.sent.is_empty() => unit.sent[unit.sent.len() - 1],
            4 => (newest.0 + 3, STATUSES[pick], Some(self.dice.below(1_000))),
            _ => (newest.0 + 1, STATUSES[pick], Some(self.dice.below(1_000))),
        };
        let code = format!("{}UNI{at}00--", self.prefix());
        let told = self.world.post(self.key, document(&code, next)).await;
        let expected = self.units[usize::try_from(at).unwrap()].take(next);
        assert_eq!(told.outcome, expected, "KOTINOS_MODEL_SEED={}: {next:?}: {told:?}", self.seed);
    }

    /// Version, status and mark by code, as a reader must hold it.
    fn state(&self) -> BTreeMap<i64, (i64, String)> {
        let units = (0..).zip(&self.units);
        let may = |status: &str| RULES[self.rules].is_empty() || RULES[self.rules].contains(&status);
        units
            .filter(|(_, unit)| unit.version > 0 && may(unit.status))
            .filter_map(|(at, unit)| Some((at, (i64::from(unit.version), unit.mark?.to_string()))))
            .collect()
    }
}

fn document(code: &str, (version, status, mark): (u32, &str, Option<u64>)) -> String {
    let unit = &code[29..30];
    let body = mark.map_or(String::new(), |mark| {
        let row = |lane: u32| {
            format!(r#"<Result SortOrder="{lane}"><Competitor Code="{lane}" Organisation="JPN"/></Result>"#)
        };
        let rows: String = (1..=6).map(row).collect();
        format!(r#"<Competition Gen="{mark}" Sport="{unit}">{rows}</Competition>"#)
    });
    format!(
        r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="{code}" DocumentType="DT_RESULT" Version="{version}" ResultStatus="{status}" FeedFlag="P" Date="2030-08-04" Time="215012345" LogicalDate="2030-08-04" Source="SYNATH1">{body}</OdfBody>"#
    )
}

async fn run(world: &World, replicas: [SocketAddr; 2], key: &str, seed: u64) {
    let mut dice = Dice::new(seed);
    let rules = usize::try_from(dice.below(4)).unwrap();
    let units = vec![Unit::default(); usize::try_from(UNITS).unwrap()];
    let mut run = Run { world, seed, key, dice, units, rules, rules_version: 0 };
    run.entitle(rules).await;
    let issuer = world.app.issuer();
    let client_id = run.client_id();
    let token = issuer.token(&issuer.claims(&client_id, &client_id, &["results.subscribe"]));
    let balancers = [Balancer::over(&replicas).await, Balancer::over(&replicas[1..]).await];
    let follow = |at: usize, query: &str| {
        let path = format!("/results/v1/feed?prefix={}{query}", run.prefix());
        Follower::start(&balancers[at].url(&path), Some(&token))
    };
    let mut followers = vec![follow(0, "&mode=every"), follow(1, ""), follow(0, "")];
    for _ in 0..STEPS {
        match run.dice.below(16) {
            0 => {
                let rules = usize::try_from(run.dice.below(4)).unwrap();
                run.entitle(rules).await;
            }
            1 | 2 => balancers[0].hang_up(),
            3 => balancers[1].hang_up(),
            4 => balancers[1].lead_to(&replicas[..1]),
            5 => {
                let late = format!("/results/v1/feed?prefix={}", run.prefix());
                followers.push(Follower::start(&balancers[1].url(&late), Some(&token)));
            }
            _ => run.publish().await,
        }
    }
    let right = run.state();
    for follower in &followers {
        follower
            .wait_until(|followed| {
                let held = followed.documents.values().map(|(version, body)| {
                    let competition = &body["Competition"];
                    let text = |name: &str| competition[name].as_str().unwrap_or_default().to_owned();
                    (text("Sport").parse().unwrap_or_default(), (*version, text("Gen")))
                });
                held.collect::<BTreeMap<i64, _>>() == right
            })
            .await;
        assert_eq!(follower.followed().faults, [""; 0], "KOTINOS_MODEL_SEED={seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_real_database_every_reader_ends_with_what_its_rights_allow() {
    let world = World::start().await;
    // It trusts the same issuer.
    let other = Process::start(&Surroundings::of(&world)).await;
    let replicas = [world.app.http_url("").trim_start_matches("http://").parse().unwrap(), other.http];
    let (_, key) = world.key("P", &[]).await;
    // The public sees nothing, so that rights can be taken away.
    let nothing =
        UpdateEntitlementsRequest { client_id: "public".to_owned(), ..UpdateEntitlementsRequest::default() };
    AccessServiceClient::new(world.app.grpc(&["results.admin"])).update_entitlements(nothing).await.unwrap();
    let seeds: Vec<u64> = match setting("KOTINOS_MODEL_SEED") {
        Some(seed) => vec![seed],
        None if setting("KOTINOS_MODEL_ALL") == Some(1) => (0..5 * RUNS).collect(),
        None => (0..RUNS).collect(),
    };
    futures::stream::iter(seeds)
        .for_each_concurrent(TOGETHER, |seed| run(&world, replicas, &key, seed))
        .await;
    drop(other);
    world.app.stop().await;
}
