//! Senders that go on whatever happens: a document is sent again until it is taken (ODF Foundation Principles 8.2).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use crate::dice::Dice;

/// Senders at a time.
const SENDERS: usize = 16;
/// Units whose results come.
const UNITS: u64 = 40;
/// One in so many is taken for lost by its sender although it was not, and sent twice.
const TWICE: u64 = 20;
/// A sender comes again after 5 s; ours are in a hurry.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A document that was answered with 200.
#[derive(Debug, Clone)]
pub struct Taken {
    pub xml: String,
    pub outcome: String,
    pub seq: i64,
}

/// The senders.
pub struct Load {
    taken: Arc<Mutex<Vec<Taken>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// A hundred documents a second with bursts, as on the busiest day, to this address.
    pub fn start(client: &reqwest::Client, url: &str, key: &str, seed: u64) -> Self {
        let (taken, stop): (Arc<Mutex<Vec<Taken>>>, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        let (give, given) = mpsc::channel(10_000);
        tasks.spawn(make(give, seed, Arc::clone(&stop)));
        let given = Arc::new(tokio::sync::Mutex::new(given));
        for sender in 0..SENDERS {
            let (client, url, key) = (client.clone(), url.to_owned(), key.to_owned());
            let (given, taken) = (Arc::clone(&given), Arc::clone(&taken));
            let mut dice = Dice::new(seed ^ (u64::try_from(sender).unwrap() << 32));
            tasks.spawn(async move {
                loop {
                    let Some(xml) = given.lock().await.recv().await else { break };
                    let again = dice.once_in(TWICE);
                    for _ in 0..=usize::from(again) {
                        let answer = send(&client, &url, &key, xml.clone()).await;
                        taken.lock().unwrap().push(answer);
                    }
                }
            });
        }
        Self { taken, stop, tasks }
    }

    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Makes no new ones, and waits until all are taken.
    pub async fn finish(mut self) -> Vec<Taken> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.taken.lock().unwrap().clone()
    }
}

async fn make(give: mpsc::Sender<String>, seed: u64, stop: Arc<AtomicBool>) {
    let mut dice = Dice::new(seed);
    let mut versions = vec![0_u32; usize::try_from(UNITS).unwrap()];
    let begun = Instant::now();
    let mut count = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        // Fifty at once, now and then.
        let burst = if dice.once_in(60) { 50 } else { 1 };
        for _ in 0..burst {
            let unit = dice.below(UNITS);
            let version = &mut versions[usize::try_from(unit).unwrap()];
            *version += if dice.once_in(10) { 2 } else { 1 };
            if give.send(document(unit, *version, &mut dice)).await.is_err() {
                return;
            }
            count += 1;
        }
        let due = Duration::from_millis(10) * count;
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
    }
}

async fn send(client: &reqwest::Client, url: &str, key: &str, xml: String) -> Taken {
    loop {
        let request = client.post(url).header("x-api-key", key).timeout(PATIENCE).body(xml.clone());
        if let Ok(answer) = request.send().await
            && answer.status() == 200
            && let Ok(bytes) = answer.bytes().await
        {
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            let outcome = answer["outcome"].as_str().unwrap().to_owned();
            return Taken { xml, outcome, seq: answer["seq"].as_i64().unwrap() };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Version `version` of a unit's result: eight rows, of which some change.
pub fn document(unit: u64, version: u32, dice: &mut Dice) -> String {
    let status = match version % 9 {
        0 => "OFFICIAL",
        8 => "UNOFFICIAL",
        _ => "LIVE",
    };
    let mut rows = String::new();
    for lane in 1..=8 {
        let mark = if lane == 1 + version % 8 { dice.below(10_000) } else { 0 };
        rows.push_str(&format!(
            r#"<Result SortOrder="{lane}" Result="{mark}"><Competitor Code="{unit}{lane}" Type="A" Organisation="JPN"><Description TeamName="A name that stays as it is"/></Competitor></Result>"#
        ));
    }
    let time = format!("{:09}", version % 1_000_000);
    format!(
        r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="ATHM100M--------------QFNL{unit:04}00--" DocumentType="DT_RESULT" Version="{version}" ResultStatus="{status}" FeedFlag="P" Date="2030-08-04" Time="{time}" LogicalDate="2030-08-04" Source="SYNATH1"><Competition Gen="SYN-1">{rows}</Competition></OdfBody>"#
    )
}
