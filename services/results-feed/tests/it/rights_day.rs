//! A day of documents against hundreds of entitlements: nobody is given what it may not see, and everybody what it may.
//! What is right is said here a second time, from the words of the guide.
//!
//! A tenth of the million pairs, unless `KOTINOS_RIGHTS_ALL` is set.

use std::collections::{BTreeMap, BTreeSet};

use domain::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use proto::results::v1::{
    DocumentKey, EntitlementRule, ExplainAccessRequest, GetSnapshotRequest, SubscribeMode, SubscribeRequest,
    access_service_client::AccessServiceClient, feed_frame::Frame, feed_service_client::FeedServiceClient,
};
use serde_json::Value;

use crate::world::{DEADLINE, World};

const CLIENTS: usize = 500;
const NOCS: [&str; 12] = ["JPN", "FRA", "USA", "JAM", "KEN", "ITA", "CAN", "BRA", "CHN", "GER", "AUS", "NED"];
const DISCIPLINES: [&str; 4] = ["ATH", "JUD", "SWM", "BK3"];
const STATUSES: [&str; 6] = ["START_LIST", "LIVE", "LIVE", "UNOFFICIAL", "OFFICIAL", "PROTESTED"];
/// Codes of documents for everybody: when those of all lanes are there, everything before them is.
const MARK: &str = "ZZZ-------------------------------";
const MARKS: [&str; 3] = ["DT_NOTIFICATION", "DT_MEDALS", "DT_WEATHER"];

/// `SplitMix64`: the same day each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn some(&mut self, of: &[&str], most: usize) -> Vec<String> {
        let count = self.below(most + 1);
        let chosen: BTreeSet<&str> = (0..count).map(|_| self.one(of)).collect();
        chosen.into_iter().map(str::to_owned).collect()
    }
}

/// A version as it was sent, with what the guide says that rights look at.
#[derive(Debug, Clone)]
struct Sent {
    code: String,
    document_type: &'static str,
    version: u32,
    status: &'static str,
    /// Organisation of each row or participant.
    nocs: Vec<&'static str>,
    seq: i64,
    received_at: DateTime<Utc>,
    status_since: DateTime<Utc>,
}

impl Sent {
    fn has_participants(&self) -> bool {
        self.document_type == "DT_PARTIC"
    }

    fn key(&self) -> (String, String) {
        (self.code.clone(), self.document_type.to_owned())
    }

    fn xml(&self) -> String {
        let Self { code, document_type, version, .. } = self;
        let status = match self.status {
            "" => String::new(),
            status => format!(r#" ResultStatus="{status}""#),
        };
        let mut rows = String::new();
        for (at, noc) in self.nocs.iter().enumerate() {
            rows += &if self.has_participants() {
                format!(r#"<Participant Code="{at}" Organisation="{noc}" Change="{version}"/>"#)
            } else {
                format!(
                    r#"<Result SortOrder="{at}" Result="{version}"><Competitor Code="{at}" Organisation="{noc}"/></Result>"#
                )
            };
        }
        format!(
            r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="{code}" DocumentType="{document_type}" Version="{version}"{status} FeedFlag="P" Date="2030-08-04" Time="120000000" LogicalDate="2030-08-04" Source="SYN1"><Competition Gen="1">{rows}</Competition></OdfBody>"#
        )
    }
}

/// From when on a rule allows a version, as the guide tells it.
fn opens(rule: &EntitlementRule, sent: &Sent) -> Option<DateTime<Utc>> {
    let status = if sent.status.is_empty() { "NONE" } else { sent.status };
    let any = |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
    let matches = sent.code.starts_with(&rule.prefix)
        && any(&rule.types, sent.document_type)
        && any(&rule.statuses, status)
        && rule.feed_flag != "T"
        && any(&rule.representations, "json")
        && (rule.nocs.is_empty() || sent.nocs.iter().any(|noc| any(&rule.nocs, noc)));
    let until = rule.embargo_until.map(|at| DateTime::from_timestamp(at.seconds, 0).unwrap());
    let after = sent.status_since + TimeDelta::minutes(i64::from(rule.embargo_minutes));
    matches.then(|| until.unwrap_or(if rule.embargo_minutes == 0 { DateTime::<Utc>::MIN_UTC } else { after }))
}

fn may_see(rules: &[EntitlementRule], sent: &Sent, at: DateTime<Utc>) -> bool {
    sent.code == MARK || rules.iter().any(|rule| opens(rule, sent).is_some_and(|opens| opens <= at))
}

/// The participants that rules allow at a time; none: all.
fn allowed_nocs(rules: &[EntitlementRule], sent: &Sent, at: DateTime<Utc>) -> Option<BTreeSet<String>> {
    let mut nocs = BTreeSet::new();
    for rule in rules.iter().filter(|rule| opens(rule, sent).is_some_and(|opens| opens <= at)) {
        if rule.nocs.is_empty() {
            return None;
        }
        nocs.extend(rule.nocs.iter().cloned());
    }
    Some(nocs)
}

fn rules(dice: &mut Dice, now: DateTime<Utc>) -> Vec<EntitlementRule> {
    let mut rules = Vec::new();
    for _ in 0..=dice.below(6) {
        let mut rule = EntitlementRule {
            prefix: dice.one(&["", "", "ATH", "ATHM", "JUD", "SWMW", "BK3", "XYZ"]).to_owned(),
            types: dice.some(&["DT_RESULT", "DT_PARTIC", "DT_MEDALS", "DT_PDF"], 2),
            statuses: dice.some(&["LIVE", "OFFICIAL", "UNOFFICIAL", "PROTESTED", "NONE"], 3),
            nocs: dice.some(&NOCS, 3),
            feed_flag: dice.one(&["", "", "", "P", "T"]).to_owned(),
            representations: dice.some(&["json", "odf"], 1),
            ..EntitlementRule::default()
        };
        match dice.below(4) {
            0 => rule.embargo_minutes = [1, 3, 10][dice.below(3)],
            1 => {
                let until = now + TimeDelta::minutes(i64::try_from(dice.below(20)).unwrap());
                rule.embargo_until = Some(prost_types::Timestamp { seconds: until.timestamp(), nanos: 0 });
            }
            _ => {}
        }
        rules.push(rule);
    }
    rules
}

async fn send_day(world: &World, key: &str, count: usize) -> Vec<Sent> {
    let mut dice = Dice(2030);
    let mut newest: BTreeMap<(String, String), Sent> = BTreeMap::new();
    let mut day = Vec::new();
    for at in 0..count {
        if at % 20 == 19 {
            world.app.clock.advance(TimeDelta::minutes(1));
        }
        let discipline = dice.one(&DISCIPLINES);
        let (document_type, code, status) = match dice.below(5) {
            0 => ("DT_PARTIC", format!("{discipline}{:-<31}", ""), ""),
            1 => ("DT_MEDALS", format!("{discipline}{:-<31}", ""), ""),
            _ => {
                let (gender, unit) = (dice.one(&["M", "W"]), dice.below(6));
                let code = format!("{discipline}{gender}100M{:-<14}FNL-{unit:06}--", "");
                ("DT_RESULT", code, dice.one(&STATUSES))
            }
        };
        let now = world.app.clock.now();
        let before = newest.get(&(code.clone(), document_type.to_owned()));
        let mut sent = Sent {
            version: before.map_or(1, |before| before.version + 1),
            status_since: before
                .filter(|before| before.status == status)
                .map_or(now, |before| before.status_since),
            nocs: (0..=dice.below(4)).map(|_| dice.one(&NOCS)).collect(),
            code,
            document_type,
            status,
            seq: 0,
            received_at: now,
        };
        let told = world.post(key, sent.xml()).await;
        assert_eq!(told.outcome, "accepted", "{told:?} {sent:?}");
        sent.seq = told.seq;
        newest.insert(sent.key(), sent.clone());
        day.push(sent);
    }
    day
}

async fn send_marks(world: &World, key: &str) -> Vec<i64> {
    let mut seqs = Vec::new();
    for document_type in MARKS {
        let now = world.app.clock.now();
        let mark = Sent {
            code: MARK.to_owned(),
            document_type,
            version: 1,
            status: "",
            nocs: vec![],
            seq: 0,
            received_at: now,
            status_since: now,
        };
        seqs.push(world.post(key, mark.xml()).await.seq);
    }
    seqs
}

fn peer(world: &World, client_id: &str) -> FeedServiceClient<chassis::Peer> {
    let issuer = world.app.issuer();
    let token = issuer.token(&issuer.claims(client_id, client_id, &["results.subscribe"]));
    FeedServiceClient::new(world.app.grpc_with(&token))
}

/// A client and what the test knows of the day.
struct Case<'a> {
    world: &'a World,
    client_id: String,
    rules: &'a [EntitlementRule],
    day: &'a [Sent],
    by_seq: &'a BTreeMap<i64, &'a Sent>,
    end: DateTime<Utc>,
}

/// What a client holds: version by code and type.
type State = BTreeMap<(String, String), u32>;

impl Case<'_> {
    /// Reads every version from the beginning up to the marks, and gives what it holds then.
    async fn read(&self, cursor: &str) -> State {
        let request = SubscribeRequest {
            cursor: cursor.to_owned(),
            mode: SubscribeMode::Every.into(),
            ..SubscribeRequest::default()
        };
        let mut frames = peer(self.world, &self.client_id).subscribe(request).await.unwrap().into_inner();
        let (mut keys, mut state, mut given) = (BTreeMap::new(), State::new(), BTreeSet::new());
        let mut marks = 0;
        while marks < MARKS.len() {
            let frame = tokio::time::timeout(DEADLINE, frames.message()).await.expect("a frame in time");
            match frame.unwrap().unwrap().frame.unwrap() {
                Frame::Full(full) => {
                    let key = full.key.unwrap();
                    let key = (key.document_code, key.document_type);
                    marks += usize::from(key.0 == MARK);
                    self.check_full(&key, u32::try_from(full.version).unwrap(), full.seq, &full.body);
                    given.insert(full.seq);
                    keys.insert(full.handle, key.clone());
                    state.insert(key, u32::try_from(full.version).unwrap());
                }
                Frame::Delta(delta) => {
                    let sent = self.by_seq[&delta.seq];
                    assert!(may_see(self.rules, sent, sent.received_at), "{}: {sent:?}", self.client_id);
                    if sent.has_participants() {
                        assert_eq!(allowed_nocs(self.rules, sent, sent.received_at), None, "{sent:?}");
                    }
                    given.insert(delta.seq);
                    state.insert(keys[&delta.handle].clone(), u32::try_from(delta.version).unwrap());
                }
                // Of what it never had it hears nothing.
                Frame::Gone(gone) => drop(state.remove(&keys[&gone.handle])),
                Frame::Superseded(superseded) => drop(state.remove(&keys[&superseded.handle])),
                Frame::Hello(_) | Frame::Heartbeat(_) | Frame::Skip(_) => {}
                other => panic!("{}: {other:?}", self.client_id),
            }
        }
        for sent in self.day.iter().filter(|sent| may_see(self.rules, sent, sent.received_at)) {
            assert!(given.contains(&sent.seq), "{} was not given {sent:?}", self.client_id);
        }
        state.retain(|(code, _), _| code != MARK);
        state
    }

    fn check_full(&self, key: &(String, String), version: u32, seq: i64, body: &[u8]) {
        if key.0 == MARK {
            return;
        }
        let (sent, at) = match self.by_seq.get(&seq) {
            Some(sent) => (*sent, sent.received_at),
            // The end of an embargo.
            None => {
                let sent =
                    self.day.iter().find(|sent| sent.key() == *key && sent.version == version).unwrap();
                (sent, self.end)
            }
        };
        assert!(may_see(self.rules, sent, at), "{} was given {sent:?}", self.client_id);
        self.check_body(sent, at, body);
    }

    fn check_body(&self, sent: &Sent, at: DateTime<Utc>, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap();
        let rows = |name: &str| body["Competition"][name].as_object().map_or(0, serde_json::Map::len);
        if !sent.has_participants() {
            assert_eq!(rows("Result"), sent.nocs.len(), "rows are never cut: {sent:?}");
            return;
        }
        let Some(nocs) = allowed_nocs(self.rules, sent, at) else {
            return assert_eq!(rows("Participant"), sent.nocs.len());
        };
        let ours = |noc: &&&str| nocs.contains(**noc);
        if at == sent.received_at {
            assert_eq!(
                rows("Participant"),
                sent.nocs.iter().filter(ours).count(),
                "{}: {sent:?}",
                self.client_id
            );
        }
        for participant in body["Competition"]["Participant"].as_object().unwrap().values() {
            assert!(
                nocs.contains(participant["Organisation"].as_str().unwrap()),
                "{}: {sent:?}",
                self.client_id
            );
        }
    }

    /// The state as pages give it.
    async fn snapshot(&self) -> State {
        let (mut state, mut page_token) = (State::new(), String::new());
        loop {
            let request = GetSnapshotRequest { page_size: 500, page_token, ..GetSnapshotRequest::default() };
            let page = peer(self.world, &self.client_id).get_snapshot(request).await.unwrap().into_inner();
            for snap in page.documents {
                let key = snap.key.unwrap();
                let (key, version) =
                    ((key.document_code, key.document_type), u32::try_from(snap.version).unwrap());
                if key.0 != MARK {
                    let sent = self.by_seq[&snap.seq];
                    self.check_body(sent, self.end, &snap.body);
                    state.insert(key, version);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return state;
            }
        }
    }

    /// What the client should hold at the end of the day.
    fn expected(&self) -> State {
        let mut heads: BTreeMap<(String, String), &Sent> = BTreeMap::new();
        for sent in self.day {
            heads.insert(sent.key(), sent);
        }
        heads.retain(|_, sent| may_see(self.rules, sent, self.end));
        heads.into_iter().map(|(key, sent)| (key, sent.version)).collect()
    }

    async fn explain(&self, sent: &Sent, at: DateTime<Utc>) -> bool {
        let key = DocumentKey {
            document_code: sent.code.clone(),
            document_type: sent.document_type.to_owned(),
            ..DocumentKey::default()
        };
        let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap();
        let request = ExplainAccessRequest {
            client_id: self.client_id.clone(),
            key: Some(key),
            seq: sent.seq,
            at: Some(prost_types::Timestamp { seconds: at.timestamp(), nanos }),
            ..ExplainAccessRequest::default()
        };
        let mut access = AccessServiceClient::new(self.world.app.grpc(&["results.admin"]));
        let answer = access.explain_access(request).await.unwrap().into_inner();
        assert_eq!(answer.permitted, answer.reason == "PERMITTED", "{answer:?}");
        answer.permitted
    }
}

async fn wait_for_releases(world: &World) {
    let now = world.app.clock.now();
    testkit::eventually(DEADLINE, || async {
        let held: i64 = sqlx::query_scalar("select count(*) from results.embargo where due_at <= $1")
            .bind(now)
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        (held == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_is_given_what_it_may_not_see_and_everybody_what_it_may() {
    let versions = if std::env::var_os("KOTINOS_RIGHTS_ALL").is_some() { 2_000 } else { 200 };
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world
        .entitle("public", vec![EntitlementRule { prefix: "ZZZ".to_owned(), ..EntitlementRule::default() }])
        .await;
    let (mut dice, now) = (Dice(1), world.app.clock.now());
    let entitlements: Vec<Vec<EntitlementRule>> = (0..CLIENTS).map(|_| rules(&mut dice, now)).collect();
    for (number, rules) in entitlements.iter().enumerate() {
        world.entitle(&format!("noc-{number}"), rules.clone()).await;
    }
    let start = peer(&world, "noc-0").get_snapshot(GetSnapshotRequest::default()).await.unwrap();
    let start = start.into_inner().cursor;
    let day = send_day(&world, &key, versions).await;
    world.app.clock.advance(TimeDelta::minutes(2));
    wait_for_releases(&world).await;
    send_marks(&world, &key).await;

    let by_seq: BTreeMap<i64, &Sent> = day.iter().map(|sent| (sent.seq, sent)).collect();
    let end = world.app.clock.now();
    let cases = entitlements.iter().enumerate().map(|(number, rules)| {
        let client_id = format!("noc-{number}");
        (number, Case { world: &world, client_id, rules, day: &day, by_seq: &by_seq, end })
    });
    let (start, day) = (&start, &day);
    let checked = futures::stream::iter(cases).map(|(number, case)| async move {
        let expected = case.expected();
        assert_eq!(case.read(start).await, expected, "{}", case.client_id);
        assert_eq!(case.snapshot().await, expected, "{}", case.client_id);
        for (at, sent) in day.iter().enumerate() {
            // A few of all: each is a question of its own.
            if (number * 7 + at * 13) % 499 == 0 {
                for at in [sent.received_at, end] {
                    let seen = may_see(case.rules, sent, at);
                    assert_eq!(case.explain(sent, at).await, seen, "{} {sent:?} {at}", case.client_id);
                }
            }
        }
        expected.len()
    });
    let held: Vec<usize> = checked.buffer_unordered(16).collect().await;
    // The day is one on which something was to be seen, and something to be hidden.
    let documents = by_seq.values().map(|sent| sent.key()).collect::<BTreeSet<_>>().len();
    let (all, most) = (held.iter().sum::<usize>(), documents * CLIENTS);
    assert!(all > most / 20 && all < most / 2, "{all} of {most}");
    world.app.stop().await;
}
