//! The log in parts: few pages for a look-up, old parts that go, and what stays.

use std::time::Duration;

use domain::TimeDelta;
use proto::results::v1::{
    GetManifestRequest, GetManifestResponse, GetSnapshotRequest, ListChangesRequest, ListGapsRequest,
    StartReplayRequest, SubscribeMode, feed_frame::Frame, feed_service_client::FeedServiceClient,
    rehearsal_service_client::RehearsalServiceClient,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row};
use testkit::{eventually, races::hundred_metres_final};
use tonic::Code;

use crate::{
    control::{ALL_SPORTS, Control, DAY, VENUE_CODE},
    world::{Partner, World, lowest},
};

async fn parts(pool: &PgPool) -> Vec<(i64, i64, bool)> {
    let sql = "select from_seq, to_seq, compacted_at is not null as compacted from results.log_part \
               where stream_id = 'SYN2030-P' order by from_seq";
    let rows = sqlx::query(sql).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| (row.get("from_seq"), row.get("to_seq"), row.get("compacted"))).collect()
}

async fn count(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.unwrap()
}

/// Pages that a statement touched, and the parts that it looked into.
async fn cost(pool: &PgPool, sql: &str) -> (i64, Vec<String>) {
    let explain = format!("explain (analyze, buffers, format json) {sql}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(pool).await.unwrap();
    let mut looked = Vec::new();
    executed(&plan[0]["Plan"], &mut looked);
    let buffers = |name: &str| plan[0]["Plan"][name].as_i64().unwrap_or_default();
    (buffers("Shared Hit Blocks") + buffers("Shared Read Blocks"), looked)
}

fn executed(node: &Value, looked: &mut Vec<String>) {
    let name = node["Relation Name"].as_str().unwrap_or_default();
    if name.starts_with("log_") && node["Actual Loops"].as_f64().unwrap_or_default() > 0.0 {
        looked.push(name.to_owned());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        executed(child, looked);
    }
}

async fn small() -> World {
    World::start_with(
        |_| {},
        |config| {
            config.log_part_entries = 10;
            config.log_days = 2;
        },
    )
    .await
}

/// Sends so many keep-alives: one document of many versions.
async fn fill(world: &World, key: &str, versions: std::ops::RangeInclusive<u32>) -> i64 {
    let mut seq = 0;
    for version in versions {
        seq = world.control(key, &Control::new("DT_KA", VENUE_CODE, version)).await;
    }
    seq
}

#[tokio::test]
async fn a_look_up_by_number_asks_one_part() {
    let world = small().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(1)).await;
    // Parts are made ahead of their entries, as long as those leave time for it.
    for (versions, enough) in [(1..=20, 7), (21..=40, 9)] {
        fill(&world, &key, versions).await;
        eventually(Duration::from_secs(20), || async {
            (parts(&world.app.pool).await.len() >= enough).then_some(())
        })
        .await;
    }
    assert_eq!(count(&world.app.pool, "select count(*) from results.log_default").await, 0);
    // Of statistics a plan needs some, as in a database that runs.
    sqlx::raw_sql("analyze results.log; analyze results.document").execute(&world.app.pool).await.unwrap();

    let by_number = "select canonical from results.log where stream_id = 'SYN2030-P' and seq = 25";
    let (pages, looked) = cost(&world.app.pool, by_number).await;
    assert_eq!(looked, ["log_SYN2030-P_21"]);
    assert!(pages <= 4, "{pages} pages");
    // As the state is read: the part is known only when the document is.
    let join = "select l.canonical from results.document d join results.log l on l.stream_id = d.stream_id and l.seq = d.seq \
                where d.stream_id = 'SYN2030-P' and d.document_type = 'DT_MEDALS'";
    sqlx::raw_sql("set enable_hashjoin = off; set enable_mergejoin = off")
        .execute(&world.app.pool)
        .await
        .unwrap();
    let (_, looked) = cost(&world.app.pool, join).await;
    assert_eq!(looked.len(), 1, "{looked:?}");
    // As a reader that was away reads on.
    let page = "select seq from results.log where stream_id = 'SYN2030-P' and seq > 12 and seq <= 54 order by seq limit 3";
    let (_, looked) = cost(&world.app.pool, page).await;
    assert_eq!(looked, ["log_SYN2030-P_11"], "in order, without sorting what follows");
    world.app.stop().await;
}

#[tokio::test]
async fn old_parts_go_and_the_state_of_documents_stays() {
    let world = small().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(2);
    world.send(&key, &race).await;
    let before = snapshot(&world).await;
    let stood = count(
        &world.app.pool,
        "select count(distinct document_id) from results.log where seq < 11 and kind in ('document', 'invalidation')",
    )
    .await;
    assert!(stood < 10);
    world.app.clock.advance(TimeDelta::days(3));
    // The next part has begun, and the parts with the race are old from end to end.
    let last = fill(&world, &key, 1..=10).await;
    eventually(Duration::from_secs(30), || async {
        parts(&world.app.pool).await.first().is_some_and(|(_, _, compacted)| *compacted).then_some(())
    })
    .await;
    assert_eq!(parts(&world.app.pool).await[0], (1, 11, true));
    // Only what was superseded before went: what stood there carries everything behind it.
    let kept = count(&world.app.pool, "select count(*) from results.log where seq < 11").await;
    assert_eq!(kept, stood);
    assert_eq!(count(&world.app.pool, "select count(*) from results.log where seq >= 11").await, last - 10);

    // What is gone in part is not sent again as if it were whole.
    let mut rehearsals = RehearsalServiceClient::new(world.app.grpc(&["results.admin"]));
    let mut replay = async |from_seq| {
        let request = StartReplayRequest { from_seq, speed: 100, ..StartReplayRequest::default() };
        rehearsals.start_replay(request).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(replay(10).await, Err(Code::InvalidArgument));
    assert_eq!(replay(11).await, Ok(()));

    let mut after = snapshot(&world).await;
    after.retain(|(key, _, _)| key != "DT_KA");
    assert_eq!(after, before);
    // A later version of a document whose newest one was in an old part is still a difference.
    let told = world.post(&key, race[1].xml.replace("Version=\"2\"", "Version=\"9\"")).await;
    assert_eq!(told.outcome, "accepted");
    // What is gone is refused, not shown with holes.
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let past = GetSnapshotRequest { as_of: "5".to_owned(), ..GetSnapshotRequest::default() };
    assert_eq!(feed.get_snapshot(past).await.unwrap_err().code(), Code::InvalidArgument);
    let (_, epoch) = first_page(&world, "").await;
    let (frames, _) = first_page(&world, &format!("{epoch}.3")).await;
    assert!(
        matches!(frames.as_slice(), [Frame::Reset(reset)] if reset.why == "CURSOR_TOO_OLD"),
        "{frames:?}"
    );
    let gaps = feed.list_gaps(ListGapsRequest::default()).await.unwrap().into_inner().versions;
    let holes: Vec<(i32, i32)> = gaps.iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(holes, [(5, 8)], "versions that went are none that never came");
    world.app.stop().await;
}

/// The first page behind a cursor, and the stream's epoch.
async fn first_page(world: &World, cursor: &str) -> (Vec<Frame>, String) {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = ListChangesRequest { cursor: cursor.to_owned(), ..ListChangesRequest::default() };
    let page = feed.list_changes(request).await.unwrap().into_inner();
    let epoch = page.cursor.split_once('.').unwrap().0.to_owned();
    (page.frames.into_iter().filter_map(|frame| frame.frame).collect(), epoch)
}

/// Type, version and document of everything.
async fn snapshot(world: &World) -> Vec<(String, i32, Value)> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let page = feed.get_snapshot(GetSnapshotRequest::default()).await.unwrap().into_inner();
    page.documents
        .into_iter()
        .map(|snap| {
            (snap.key.unwrap().document_type, snap.version, serde_json::from_slice(&snap.body).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn what_the_version_before_writes_is_read_and_lies_in_the_default_part_where_no_other_takes_it() {
    let world = World::start_with(
        |_| {},
        |config| {
            config.log_part_entries = 10;
            config.log_zstd = results_feed::LogZstd::Off;
        },
    )
    .await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(3)[..3]).await;
    // Its statement, word for word but for the values: no size of what lies there as it is.
    sqlx::raw_sql(
        "insert into results.log
             (stream_id, received_at, seq, kind, document_id, version, result_status, base_version, base_status, base_seq,
              conflatable, logical_date, source, raw, canonical, patch, sha256)
         select stream_id, received_at, 4, kind, document_id, 2, 'LIVE', 1, 'START_LIST', 3, conflatable, logical_date, source,
                raw, canonical, null, sha256
         from results.log where stream_id = 'SYN2030-P' and seq = 3;
         insert into results.log
             (stream_id, received_at, seq, kind, document_id, version, result_status, base_version, base_status, base_seq,
              conflatable, logical_date, source, raw, canonical, patch, sha256)
         select 'SYN2030-T', received_at, 1000000, kind, document_id, 2, 'LIVE', 1, 'START_LIST', 3, conflatable, logical_date,
                source, raw, canonical, null, sha256
         from results.log where stream_id = 'SYN2030-P' and seq = 3;
         update results.document set version = 2, result_status = 'LIVE', seq = 4 where seq = 3;
         update results.log set canonical_size = null where stream_id = 'SYN2030-P';
         update results.stream set seq = 4 where stream_id = 'SYN2030-P'",
    )
    .execute(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(count(&world.app.pool, "select count(*) from results.log_default").await, 1);
    let state = snapshot(&world).await;
    assert!(state.iter().any(|(name, version, _)| name == "DT_RESULT" && *version == 2));
    let (frames, _) = first_page(&world, "").await;
    assert!(matches!(frames.last(), Some(Frame::Full(full)) if full.version == 2), "{frames:?}");
    world.app.stop().await;
}

#[tokio::test]
async fn documents_are_compressed_and_come_back_the_same() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(4);
    world.send(&key, &race).await;
    let sql = "select raw, canonical, canonical_size from results.log where seq = 3";
    let row = sqlx::query(sql).fetch_one(&world.app.pool).await.unwrap();
    let (raw, canonical): (Vec<u8>, Vec<u8>) = (row.get("raw"), row.get("canonical"));
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    assert!(raw.starts_with(&magic) && canonical.starts_with(&magic));
    assert_eq!(zstd::stream::decode_all(raw.as_slice()).unwrap(), race[2].xml.as_bytes());
    let document = zstd::stream::decode_all(canonical.as_slice()).unwrap();
    assert_eq!(i32::try_from(document.len()).unwrap(), row.get::<i32, _>("canonical_size"));
    assert!(raw.len() * 2 < race[2].xml.len(), "{} of {}", raw.len(), race[2].xml.len());
    world.app.stop().await;
}

/// Handles and versions of the state behind an entry.
async fn state_at(world: &World, seq: i64) -> Vec<(i64, i32)> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request =
        GetSnapshotRequest { as_of: seq.to_string(), page_size: 500, ..GetSnapshotRequest::default() };
    let page = feed.get_snapshot(request).await.unwrap().into_inner();
    page.documents.into_iter().map(|snap| (snap.handle, snap.version)).collect()
}

async fn manifest(world: &World, revision: u32) -> Option<GetManifestResponse> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = GetManifestRequest {
        logical_date: DAY.to_owned(),
        revision,
        page_size: 500,
        ..GetManifestRequest::default()
    };
    feed.get_manifest(request).await.ok().map(tonic::Response::into_inner)
}

#[tokio::test]
async fn what_is_kept_of_the_old_log_carries_states_manifests_and_readers_that_come_back() {
    let world = small().await;
    let (_, key) = world.key("P", &[]).await;
    // A document that stands when the first part ends, and whose versions all end later.
    let picture = |version: u32| Control::new("DT_WEATHER", ALL_SPORTS, version);
    world.control(&key, &picture(1)).await;
    world.control(&key, &picture(2)).await;
    world.control(&key, &Control::new("DT_MEDALS", ALL_SPORTS, 1)).await;
    world.control(&key, &Control::new("DT_GLOBAL_GN", ALL_SPORTS, 1)).await;
    let first = eventually(Duration::from_secs(20), || manifest(&world, 1)).await;
    world.control(&key, &Control::new("DT_MEDALS", ALL_SPORTS, 2)).await;
    let second = eventually(Duration::from_secs(20), || manifest(&world, 2)).await;
    let on_the_next_day = |version: u32| Control::new("DT_KA", VENUE_CODE, version).on("2030-08-05");
    let mut reader = Partner::default();
    for version in 1..=5 {
        world.control(&key, &on_the_next_day(version)).await;
    }
    reader.connect(&world, SubscribeMode::State, &[]).await;
    reader.read_snapshot().await;
    assert_eq!(lowest(&reader.cursor), 10);
    reader.drop_connection();
    let xml = picture(2).xml();
    let invalidation = format!("{}</OdfBody>", &xml[..xml.find("<Competition ").unwrap()]);
    assert_eq!(world.post(&key, invalidation).await.seq, 11);
    for version in 6..=12 {
        world.control(&key, &on_the_next_day(version)).await;
    }
    let mut states = Vec::new();
    for seq in 10..=18 {
        states.push((seq, state_at(&world, seq).await));
    }
    world.app.clock.advance(TimeDelta::days(3));
    fill(&world, &key, 13..=16).await;
    eventually(Duration::from_secs(30), || async {
        let swept =
            count(&world.app.pool, "select swept_until from results.stream where stream_id = 'SYN2030-P'")
                .await;
        (swept == 11).then_some(())
    })
    .await;
    assert_eq!(count(&world.app.pool, "select count(*) from results.log where seq in (1, 6, 7)").await, 0);
    for (seq, state) in states {
        assert_eq!(state_at(&world, seq).await, state, "{seq}");
    }
    assert_eq!(manifest(&world, 1).await.unwrap(), first);
    assert_eq!(manifest(&world, 2).await.unwrap(), second);
    for mode in [SubscribeMode::Every, SubscribeMode::State] {
        let mut late = Partner::with_cursor(&reader.cursor);
        late.connect(&world, mode, &[]).await;
        late.read_to(18).await;
        assert_eq!(late.seen, ["gone"], "{mode:?}");
    }

    // With the next part what only that one needed goes too.
    world.app.clock.advance(TimeDelta::days(3));
    fill(&world, &key, 17..=30).await;
    eventually(Duration::from_secs(30), || async {
        let swept =
            count(&world.app.pool, "select swept_until from results.stream where stream_id = 'SYN2030-P'")
                .await;
        (swept == 21).then_some(())
    })
    .await;
    assert_eq!(count(&world.app.pool, "select count(*) from results.log where seq = 10").await, 0);
    assert_eq!(manifest(&world, 1).await.unwrap(), first);
    world.app.stop().await;
}
