//! Everything hostile at once, beside documents that must get through: each is answered, nothing is lost, memory stays
//! bounded.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt, stream};
use testkit::races::hundred_metres_final;

use crate::world::World;

/// Rounds of every hostile body.
const ROUNDS: usize = 6;
/// Bodies under way at a time.
const AT_ONCE: usize = 24;
/// What the process may grow by. The bodies of a round are 80 MB as sent and over 500 MB as what they want to become.
const MOST_GROWTH: u64 = 700 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

fn inside(header: &str, body: &str) -> Vec<u8> {
    format!("{header}<Competition>{body}</Competition></OdfBody>").into_bytes()
}

/// A body, how it is packed, and the answer's status.
type Shot = (Vec<u8>, Option<&'static str>, u16);

fn hostile(header: &str, start_list: &str) -> Vec<Shot> {
    let mut wide = String::new();
    for index in 0..200_000 {
        write!(wide, " a{index}=\"1\"").unwrap();
    }
    let laughs: String = (1..10)
        .map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10)))
        .collect();
    let packed = gzip(start_list.as_bytes());
    vec![
        (gzip(&vec![b' '; 31 << 20]), Some("gzip"), 413),
        (gzip(&vec![0; 200 << 20]), Some("gzip"), 413),
        (vec![b'<'; (10 << 20) + 1], None, 413),
        (inside(header, &"<a/>".repeat(2_000_001)), None, 200),
        (inside(header, &"<a>".repeat(1 << 20)), None, 200),
        (inside(header, &format!("<a{wide}/>")), None, 200),
        (inside(header, &"&amp;".repeat(1 << 20)), None, 200),
        (
            format!("<!DOCTYPE l [<!ENTITY l0 \"lol\">{laughs}]>{header}&l9;</OdfBody>").into_bytes(),
            None,
            200,
        ),
        (start_list.as_bytes()[..start_list.len() / 2].to_vec(), None, 200),
        (packed[..packed.len() / 2].to_vec(), Some("gzip"), 200),
        (packed, Some("deflate"), 415),
        (vec![0xff; 1 << 20], None, 200),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrage_costs_bounded_memory_and_holds_up_nobody() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let start_list = &race[2].xml;
    let root = start_list.find("<OdfBody").unwrap();
    let header = &start_list[root..start_list.find("<Competition").unwrap()];
    // Of another document, so that the race itself stays whole.
    let header = header.replace("FNL-000100--", "FNL-000200--");
    let shots = hostile(&header, &start_list.replace("FNL-000100--", "FNL-000200--"));
    let before = resident_bytes();

    let barrage = async {
        stream::iter((0..ROUNDS).flat_map(|_| shots.iter()))
            .for_each_concurrent(AT_ONCE, |(body, encoding, status)| {
                let (world, key) = (&world, &key);
                async move {
                    let told = world.post_encoded(key, body.clone(), *encoding).await;
                    // 503: it is told to come again, since too much is under way.
                    assert!(told.status == *status || told.status == 503, "{told:?}, {status}");
                }
            })
            .await;
    };
    let honest = async {
        for document in &race {
            loop {
                let told = world.post(&key, document.xml.clone()).await;
                if told.status != 503 {
                    assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{told:?}");
                    break;
                }
            }
        }
    };
    tokio::join!(barrage, honest);

    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < MOST_GROWTH, "{} MiB more", grown >> 20);
    let logged: i64 = sqlx::query_scalar("select count(*) from results.log l join results.document d using (document_id) where d.document_code not like '%FNL-000200--'")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(logged).unwrap(), race.len(), "each of the race once");
    let holes: i64 = sqlx::query_scalar("select max(seq) - count(*) from results.log")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(holes, 0);
    world.app.stop().await;
}
