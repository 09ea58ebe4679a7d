//! The generator against the service: what it makes is taken, what it spoils meets its outcome, and its command line does
//! as its help says.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::post};
use domain::Service;
use results_feed::generator::{self, Choice, Generated, Options, SYNTHETIC_DAY};
use serde_json::Value;

use crate::world::{World, config};

fn event(seed: u64, units: usize, faults: bool) -> Vec<Generated> {
    let choice = Choice { units: Some(units), ..Choice::default() };
    let competition = "SYN2030".to_owned();
    let options = Options { seed, competition, test: false, faults, keep_alive: 600 };
    generator::generate(generator::synthetic(seed, SYNTHETIC_DAY, &choice), &options).collect()
}

pub async fn unlimited() -> World {
    World::start_with(|_| {}, |config| config.publisher_rate = 0).await
}

/// A verb of the command line, beside whatever runs.
pub async fn operate(arguments: &[&str]) -> (String, Result<(), chassis::Stop>) {
    let with = (chassis::Settings::default(), domain::Clock::system());
    chassis::operate(&results_feed::VERBS, arguments, Service::ResultsFeed, with, |process| async move {
        // It works on no database.
        let component =
            results_feed::component(config("postgres://nobody@localhost:1/none"), process).await?;
        Ok(vec![component])
    })
    .await
}

pub fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("results-feed-generate-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn field(answer: &str, name: &str) -> u64 {
    let line = answer.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim().parse().expect(answer)
}

#[tokio::test]
async fn every_document_is_accepted() {
    let world = unlimited().await;
    let (_, key) = world.key("P", &[]).await;
    for generated in event(1, 6, false) {
        let told = world.post(&key, generated.document.clone()).await;
        let text = String::from_utf8_lossy(&generated.document);
        assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{told:?} {text}");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn each_fault_meets_its_outcome() {
    let world = unlimited().await;
    let (_, key) = world.key("P", &[]).await;
    let mut faults = std::collections::BTreeSet::new();
    for generated in event(5, 4, true) {
        let told = world.post(&key, generated.document.clone()).await;
        let expected = generated.expected;
        assert_eq!(
            (told.status, told.outcome.as_str(), told.reason.as_str()),
            (200, expected.outcome(), expected.reason()),
            "{:?} {}",
            generated.fault,
            String::from_utf8_lossy(&generated.document)
        );
        faults.extend(generated.fault.map(generator::Fault::name));
    }
    assert_eq!(faults.len(), 10, "{faults:?}");
    world.app.stop().await;
}

#[tokio::test]
async fn a_folder_holds_the_same_bytes_for_the_same_seed() {
    let (one, two) = (folder("one"), folder("two"));
    for folder in [&one, &two] {
        let out = folder.display().to_string();
        let (answer, ended) =
            operate(&["generate", "--seed", "9", "--units", "4", "--faults", "--out", &out]).await;
        ended.unwrap();
        assert!(answer.contains("documents"), "{answer}");
    }
    let files = |folder: &Path| {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        files
    };
    assert_eq!(files(&one), files(&two));
    for file in files(&one) {
        assert_eq!(std::fs::read(one.join(&file)).unwrap(), std::fs::read(two.join(&file)).unwrap());
    }
    let index = std::fs::read_to_string(one.join("index.csv")).unwrap();
    assert_eq!(index.lines().count(), files(&one).len());
    assert!(index.starts_with("file,offset_ms,document_type,document_code,version,result_status,fault,expected\n0000001.xml,0,DT_GLOBAL_GM,"));
    let out = one.display().to_string();
    let (_, ended) = operate(&["generate", "--seed", "9", "--out", &out]).await;
    assert_eq!(ended.unwrap_err().exit_code(), 3, "a folder that holds something is left alone");
    std::fs::remove_dir_all(&one).unwrap();
    std::fs::remove_dir_all(&two).unwrap();
}

#[tokio::test]
async fn standard_output_is_an_object_a_line() {
    let (answer, ended) =
        operate(&["generate", "--seed", "9", "--units", "1", "--keep-alive", "0", "--out", "-"]).await;
    ended.unwrap();
    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 20);
    assert!(lines.iter().all(|line| line["document"].as_str().unwrap().starts_with("<?xml")));
    assert!(lines.is_sorted_by_key(|line| line["offset_ms"].as_u64().unwrap()));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    for wrong in [
        &["generate", "--seed", "1"][..],
        &["generate", "--seed", "x", "--out", "-"],
        &["generate", "--seed", "1", "--out", "-", "--discipline", "athletics"],
        &["generate", "--seed", "1", "--out", "-", "--day", "2030-02-30"],
        &["generate", "--seed", "1", "--to", "http://localhost:1/"],
        &["generate", "--seed", "1", "--out", "-", "--discipline", "XYZ"],
    ] {
        let (_, ended) = operate(wrong).await;
        assert_eq!(ended.unwrap_err().exit_code(), 2, "{wrong:?}");
    }
    let (_, ended) = operate(&["generate", "--seed", "1", "--rows", "/nowhere", "--out", "-"]).await;
    assert!(ended.unwrap_err().to_string().contains("/nowhere/results"));
    let (_, ended) = operate(&["generate", "--help"]).await;
    let help = ended.unwrap_err().to_string();
    assert!(help.contains("Examples") && help.contains("index.csv") && help.contains("--speed"), "{help}");
}

fn key_file(name: &str, key: &str) -> String {
    let file = std::env::temp_dir().join(format!("results-feed-key-{}-{name}", std::process::id()));
    std::fs::write(&file, format!("{key}\n")).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_running_feed_takes_what_is_sent_to_it() {
    let world = unlimited().await;
    let (_, key) = world.key("P", &[]).await;
    let (url, file) = (world.app.http_url("/results/v1/odf"), key_file("running", &key));
    let arguments = [
        "generate",
        "--seed",
        "3",
        "--units",
        "6",
        "--faults",
        "--to",
        &url,
        "--key-file",
        &file,
        "--speed",
        "max",
    ];
    let (answer, ended) = operate(&arguments).await;
    ended.unwrap();
    let count = |outcome: &str| {
        // The usual keep-alive of the command line.
        let choice = Choice { units: Some(6), ..Choice::default() };
        let options =
            Options { seed: 3, competition: "SYN2030".to_owned(), test: false, faults: true, keep_alive: 20 };
        let programme = generator::synthetic(3, SYNTHETIC_DAY, &choice);
        let all = generator::generate(programme, &options);
        u64::try_from(all.filter(|generated| generated.expected.outcome() == outcome).count()).unwrap()
    };
    for outcome in ["accepted", "duplicate", "late", "quarantined"] {
        assert_eq!(field(&answer, outcome), count(outcome), "{outcome} of {answer}");
    }
    assert_eq!((field(&answer, "refused"), field(&answer, "sent again")), (0, 0), "{answer}");

    let wrong = key_file("wrong", &"A".repeat(32));
    let (_, ended) = operate(&["generate", "--seed", "3", "--to", &url, "--key-file", &wrong]).await;
    assert_eq!(ended.unwrap_err().exit_code(), 3);
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_when_the_feed_says_so() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let answer = move || {
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match nth {
                0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], String::new()).into_response(),
                1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], String::new()).into_response(),
                2 => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
                _ => r#"{"outcome":"accepted","seq":1}"#.into_response(),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/odf", listener.local_addr().unwrap());
    let serving =
        tokio::spawn(axum::serve(listener, Router::new().route("/odf", post(answer))).into_future());
    let file = key_file("again", &"B".repeat(32));
    let arguments = [
        "generate",
        "--seed",
        "3",
        "--units",
        "1",
        "--keep-alive",
        "0",
        "--to",
        &url,
        "--key-file",
        &file,
        "--speed",
        "max",
    ];
    let (answer, ended) = tokio::time::timeout(Duration::from_secs(20), operate(&arguments)).await.unwrap();
    ended.unwrap();
    serving.abort();
    assert_eq!((field(&answer, "sent again"), field(&answer, "refused")), (2, 1), "{answer}");
    let taken = field(&answer, "accepted");
    assert_eq!(u64::from(calls.load(Ordering::SeqCst)), taken + 3);
}

/// A day of Paris by the command line, whole with `KOTINOS_PARIS_DAY=all`, else a bounded part of it.
#[tokio::test]
async fn a_day_of_paris_is_accepted() {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/paris2024");
    if !rows.exists() {
        return println!("skipped: there is no ../shared/data beside the project");
    }
    let is_whole = std::env::var("KOTINOS_PARIS_DAY").is_ok_and(|day| day == "all");
    if !is_whole {
        println!(
            "swimming of one day and 40 units of athletics of another; KOTINOS_PARIS_DAY=all for the whole 28 July"
        );
    }
    let world = unlimited().await;
    let (_, key) = world.key("P", &[]).await;
    let (url, file, rows) =
        (world.app.http_url("/results/v1/odf"), key_file("paris", &key), rows.display().to_string());
    let parts: &[&[&str]] = if is_whole {
        &[&["--day", "2024-07-28"]]
    } else {
        &[
            &["--day", "2024-07-28", "--discipline", "SWM"],
            &["--day", "2024-08-03", "--discipline", "ATH", "--units", "40"],
        ]
    };
    for part in parts {
        let mut arguments =
            vec!["generate", "--seed", "1", "--rows", &rows, "--keep-alive", "300", "--to", &url];
        arguments.extend(["--key-file", &file, "--speed", "max"]);
        arguments.extend_from_slice(part);
        let (answer, ended) = operate(&arguments).await;
        ended.unwrap();
        println!("{part:?}\n{answer}");
        assert!(field(&answer, "accepted") > 200, "{answer}");
        for none in ["duplicate", "late", "quarantined", "refused"] {
            assert_eq!(field(&answer, none), 0, "{none} of {answer}");
        }
    }
    let holes: i64 = sqlx::query_scalar(
        "select (select max(seq) from results.log where stream_id = 'SYN2030-P') - count(*) from results.log where stream_id = 'SYN2030-P'",
    )
    .fetch_one(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(holes, 0);
    world.app.stop().await;
}
