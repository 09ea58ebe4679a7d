//! A day that is sent again ends as a day does: with a manifest that anybody can compute again, and with its embargoes.

use std::path::Path;

use domain::TimeDelta;
use proto::results::v1::{
    EntitlementRule, GetManifestRequest, GetManifestResponse, GetSnapshotRequest, StartReplayRequest,
    feed_service_client::FeedServiceClient,
};
use results_feed::generator::SYNTHETIC_DAY;
use testkit::eventually;

use crate::{
    days::root_of_rows,
    generator::{folder, operate},
    rehearsal::{done, may_read_tests, of_day, send, small_day, start},
    world::{DEADLINE, World},
};

async fn manifest(
    world: &World,
    feed_flag: &str,
    day: &str,
    page_token: &str,
) -> Option<GetManifestResponse> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = GetManifestRequest {
        feed_flag: feed_flag.to_owned(),
        logical_date: day.to_owned(),
        page_size: 500,
        page_token: page_token.to_owned(),
        ..GetManifestRequest::default()
    };
    feed.get_manifest(request).await.ok().map(tonic::Response::into_inner)
}

/// The hashes of a manifest's lines, of all its pages.
async fn hashes(world: &World, feed_flag: &str, day: &str) -> Vec<String> {
    let (mut hashes, mut token) = (Vec::new(), String::new());
    loop {
        let page = manifest(world, feed_flag, day, &token).await.expect("a manifest");
        hashes.extend(page.lines.into_iter().map(|line| line.hash));
        token = page.next_page_token;
        if token.is_empty() {
            return hashes;
        }
    }
}

/// The manifest of a day, which must come to equal a computation from the rows of its stream.
async fn closed(world: &World, stream: &str, day: &str) -> GetManifestResponse {
    let feed_flag = stream.rsplit('-').next().unwrap();
    let (documents, root) = root_of_rows(world, stream, day).await;
    let told = eventually(DEADLINE, || async {
        manifest(world, feed_flag, day, "").await.filter(|told| told.root == root)
    })
    .await;
    assert_eq!(i64::from(told.documents), documents);
    assert_eq!(hashes(world, feed_flag, day).await.len(), usize::try_from(documents).unwrap());
    told
}

/// How long a replay of a day may take that goes on after midnight, at 100 times: half a minute, and what a slow machine adds.
const DAY: std::time::Duration = std::time::Duration::from_secs(90);

#[tokio::test]
async fn a_day_sent_again_ends_in_the_manifest_of_the_first_time() {
    let world = World::with_plain_rows().await;
    may_read_tests(&world).await;
    send(&world, &small_day(true)).await;
    let day = SYNTHETIC_DAY.to_string();
    let first = closed(&world, "SYN2030-P", &day).await;
    assert!(first.documents > 15, "{}", first.documents);

    let request = || StartReplayRequest { number: 1, ..of_day(100) };
    let replay = start(&world, request()).await.unwrap();
    done(&world, &replay, DAY).await;
    let again = closed(&world, "SYN2030-R1", &day).await;
    assert_eq!((again.documents, &again.root), (first.documents, &first.root));
    assert_eq!(hashes(&world, "R1", &day).await, hashes(&world, "P", &day).await);

    // Once more into the same rehearsal: nothing of the first one's day is left, its revisions neither.
    let replay = start(&world, request()).await.unwrap();
    done(&world, &replay, DAY).await;
    assert_eq!(closed(&world, "SYN2030-R1", &day).await.root, first.root);
    let revisions: Vec<i32> = sqlx::query_scalar(
        "select revision from results.manifest where stream_id = 'SYN2030-R1' order by revision",
    )
    .fetch_all(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(revisions.first(), Some(&1), "{revisions:?}");
    let made: i64 = sqlx::query_scalar(
        "select count(*) from results.manifest m join results.stream s using (stream_id)
         where m.stream_id = 'SYN2030-R1' and m.up_to_seq > s.seq",
    )
    .fetch_one(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(made, 0, "a manifest of entries that are not there");
    world.app.stop().await;
}

/// Official results an hour after they became so, the others at once.
fn embargo_of_an_hour(feed_flag: &str) -> Vec<EntitlementRule> {
    let all = EntitlementRule { feed_flag: feed_flag.to_owned(), ..EntitlementRule::default() };
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let others = ["START_LIST", "LIVE", "INTERMEDIATE", "UNCONFIRMED", "UNOFFICIAL", "NONE"];
    vec![
        EntitlementRule { statuses: strings(&others), ..all.clone() },
        EntitlementRule { statuses: strings(&["OFFICIAL"]), embargo_minutes: 60, ..all },
    ]
}

async fn official(world: &World) -> usize {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request =
        GetSnapshotRequest { feed_flag: "R1".to_owned(), page_size: 500, ..GetSnapshotRequest::default() };
    let page = feed.get_snapshot(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    page.documents.iter().filter(|snap| snap.result_status == "OFFICIAL").count()
}

async fn counted(world: &World, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn an_embargo_holds_in_a_rehearsal_and_ends_there() {
    let world = World::with_plain_rows().await;
    world.entitle(&world.client_id(), embargo_of_an_hour("T")).await;
    send(&world, &small_day(false)).await;
    let replay = start(&world, of_day(100)).await.unwrap();
    done(&world, &replay, DEADLINE).await;
    assert_eq!(official(&world).await, 0);
    const HELD: &str = "select count(*) from results.embargo where stream_id = 'SYN2030-R1'";
    const RELEASED: &str =
        "select count(*) from results.log where stream_id = 'SYN2030-R1' and kind = 'release'";
    let held = counted(&world, HELD).await;
    assert!(held > 0);

    world.app.clock.advance(TimeDelta::minutes(61));
    eventually(DEADLINE, || async { (counted(&world, HELD).await == 0).then_some(()) }).await;
    assert_eq!(counted(&world, RELEASED).await, held);
    assert_eq!(i64::try_from(official(&world).await).unwrap(), held);
    let day = SYNTHETIC_DAY.to_string();
    closed(&world, "SYN2030-R1", &day).await;

    // What was held back and decided goes with the documents of the first replay.
    let replay = start(&world, of_day(100)).await.unwrap();
    assert_eq!(replay.stream, "SYN2030-R1");
    done(&world, &replay, DEADLINE).await;
    assert_eq!((counted(&world, HELD).await, counted(&world, RELEASED).await), (held, 0));
    assert_eq!(official(&world).await, 0);
    world.app.stop().await;
}

/// A day of Paris at 100 times: by default 40 units with their pauses divided by 100, with `KOTINOS_PARIS_DAY=all`
/// the whole 28 July with its own, which takes a quarter of an hour.
#[tokio::test]
async fn a_day_of_paris_sent_again_at_100_times_ends_in_its_manifest() {
    const DAY: &str = "2024-07-28";
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/paris2024");
    if !rows.exists() {
        return println!("skipped: there is no ../shared/data beside the project");
    }
    let is_whole = std::env::var("KOTINOS_PARIS_DAY").is_ok_and(|day| day == "all");
    let world = World::start_with(
        |_| {},
        |config| {
            config.publisher_rate = 0;
            config.log_zstd = results_feed::LogZstd::Off;
        },
    )
    .await;
    may_read_tests(&world).await;
    let (out, rows) = (folder("paris-day"), rows.display().to_string());
    let out_name = out.display().to_string();
    let mut arguments = vec!["generate", "--seed", "1", "--rows", &rows, "--day", DAY, "--out", &out_name];
    arguments.extend(["--keep-alive", "600"]);
    if !is_whole {
        println!("40 units, 100 times as fast; KOTINOS_PARIS_DAY=all for the whole {DAY}");
        arguments.extend(["--units", "40"]);
    }
    let (_, ended) = operate(&arguments).await;
    ended.unwrap();

    let (_, key) = world.key("P", &[]).await;
    let index = std::fs::read_to_string(out.join("index.csv")).unwrap();
    let (mut before, mut sent) = (0, 0);
    for line in index.lines().skip(1) {
        let (file, rest) = line.split_once(',').unwrap();
        let offset: i64 = rest.split(',').next().unwrap().parse().unwrap();
        let pause = if is_whole { offset - before } else { (offset - before) / 100 };
        before = offset;
        world.app.clock.advance(TimeDelta::milliseconds(pause));
        let told = world.post(&key, std::fs::read(out.join(file)).unwrap()).await;
        assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{told:?} {line}");
        sent += 1;
    }
    std::fs::remove_dir_all(&out).unwrap();
    assert!(sent > 300, "{sent}");
    let first = closed(&world, "SYN2030-P", DAY).await;
    let replay =
        start(&world, StartReplayRequest { logical_date: DAY.to_owned(), ..of_day(100) }).await.unwrap();
    assert_eq!(replay.documents, sent);
    // As long as the day is at that speed, and what a slow machine adds.
    let day = std::time::Duration::from_millis(u64::try_from(before).unwrap() / 100);
    done(&world, &replay, if is_whole { day * 2 } else { DEADLINE * 3 }).await;
    let again = closed(&world, "SYN2030-R1", DAY).await;
    println!("{sent} documents, {} of the day, root {}", again.documents, again.root);
    assert_eq!((again.documents, &again.root), (first.documents, &first.root));
    world.app.stop().await;
}
