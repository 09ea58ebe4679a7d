//! Other people's programs read the feed, drop, and go on: at the end each holds what the server holds, byte for byte.
//! Here are those that a fresh machine has.

mod browser;

use std::{path::PathBuf, process::Stdio};

use serde_json::Value;
use testkit::races::{OdfDocument, hundred_metres_final};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    follower::{Followed, state},
    world::{DEADLINE, World},
};

/// What a reader gets, drops and misses: a race with a protest, an invalidation, and a correction.
fn story() -> Vec<String> {
    let race = hundred_metres_final(11);
    let official: &OdfDocument = race.iter().find(|document| document.result_status == "OFFICIAL").unwrap();
    let protested = official.xml.replace("Version=\"9\"", "Version=\"10\"").replace("OFFICIAL", "PROTESTED");
    let start = protested.find("<Competition").unwrap();
    let invalidation = format!("{}</OdfBody>", &protested[..start]);
    let corrected =
        official.xml.replace("Version=\"9\"", "Version=\"11\"").replace("KITAMORI", "KITAMORI-LÓPEZ 北森");
    let mut story: Vec<String> = race.iter().map(|document| document.xml.clone()).collect();
    story.extend([protested, invalidation, corrected]);
    // Last and of the least urgent kind, so that whoever has it has everything.
    let schedule = race.iter().rfind(|document| document.document_type == "DT_SCHEDULE_UPDATE").unwrap();
    story.push(schedule.xml.replace("DT_SCHEDULE_UPDATE", "DT_WEATHER"));
    story
}

async fn tell(world: &World, key: &str, story: &[String]) -> i64 {
    let mut seq = 0;
    for xml in story {
        let told = world.post(key, xml.clone()).await;
        assert_eq!(told.outcome, "accepted", "{told:?}");
        seq = told.seq;
    }
    seq
}

/// `handle version canonical` in the order of handles, as the server tells its state.
async fn lines(world: &World, query: &str) -> Vec<String> {
    let documents = state(&world.app.http(), &world.app.http_url(&format!("/results/v1/state{query}"))).await;
    documents.iter().map(|(handle, (version, body))| format!("{handle} {version} {body}")).collect()
}

fn own(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop").join(file)
}

#[tokio::test]
async fn pythons_standard_library_reads_drops_and_resumes() {
    for query in ["?mode=every", "?mode=state&prefix=ATH"] {
        let world = World::start().await;
        let (_, key) = world.key("P", &[]).await;
        let story = story();
        let file = std::env::temp_dir().join(format!("kotinos-reader-{}.json", domain::new_id()));
        let read = async |until: i64| {
            let done = Command::new("python3")
                .arg(own("reader.py"))
                .arg(world.app.http_url("").trim_start_matches("http://"))
                .arg(format!("/results/v1/feed{query}"))
                .arg(&file)
                .arg(until.to_string())
                .kill_on_drop(true)
                .output();
            let done = timeout(DEADLINE, done).await.expect("it ends").unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        tell(&world, &key, &story[..3]).await;
        read(0).await;
        let seen = tell(&world, &key, &story[3..7]).await;
        read(seen - 1).await;
        let last = tell(&world, &key, &story[7..]).await;
        let held = read(last).await;
        assert_eq!(held.lines().collect::<Vec<_>>(), lines(&world, query).await, "{query}");
        let _ = std::fs::remove_file(file);
        world.app.stop().await;
    }
}

/// One run of curl: what comes is taken until a condition holds, and then curl is killed.
async fn curl(world: &World, followed: &mut Followed, query: &str, until: impl Fn(&Value) -> bool) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--no-buffer", "--fail", "--noproxy", "*"]);
    if let Some(id) = followed.begin() {
        command.arg("--header").arg(format!("Last-Event-ID: {id}"));
    }
    command.arg(world.app.http_url(&format!("/results/v1/feed{query}")));
    let mut curl = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut id = None;
    loop {
        let line =
            timeout(DEADLINE, lines.next_line()).await.expect("a line in time").unwrap().expect("more");
        if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.to_owned());
        } else if let Some(text) = line.strip_prefix("data: ") {
            let frame: Value = serde_json::from_str(text).unwrap();
            followed.take(id.take().as_deref(), &frame);
            if until(&frame) {
                break;
            }
        }
    }
    curl.kill().await.unwrap();
}

#[tokio::test]
async fn curl_reads_drops_and_resumes() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let (story, query) = (story(), "?mode=every");
    let mut followed = Followed::default();
    tell(&world, &key, &story[..3]).await;
    // Once in the middle of the snapshot: nothing is kept of that.
    curl(&world, &mut followed, query, |frame| frame["t"] == "snap").await;
    curl(&world, &mut followed, query, |frame| frame["t"] == "live").await;
    let seen = tell(&world, &key, &story[3..7]).await;
    curl(&world, &mut followed, query, |frame| frame["s"].as_i64() == Some(seen - 1)).await;
    let last = tell(&world, &key, &story[7..]).await;
    curl(&world, &mut followed, query, |frame| frame["s"].as_i64() == Some(last)).await;
    // Urgent ones first.
    followed.seqs.sort_unstable();
    assert_eq!(followed.seqs, (4..=last).collect::<Vec<i64>>());
    assert_eq!(followed.faults, [""; 0]);
    let held: Vec<String> = followed
        .documents
        .iter()
        .map(|(handle, (version, body))| format!("{handle} {version} {body}"))
        .collect();
    assert_eq!(held, lines(&world, query).await);
    world.app.stop().await;
}
