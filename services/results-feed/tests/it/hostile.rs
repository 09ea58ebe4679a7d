//! What senders may throw at the door: nothing panics, nothing is half-written, and only what a repeat would heal is
//! answered with an error.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use testkit::races::{FINAL_100M, hundred_metres_final};

use crate::world::{Told, World};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn quarantined(reason: &str) -> Told {
    Told { status: 200, outcome: "quarantined".to_owned(), seq: 0, reason: reason.to_owned() }
}

fn wide(attributes: usize) -> String {
    (0..attributes).map(|index| format!(" a{index}=\"1\"")).collect()
}

async fn rows(world: &World, table: &str) -> i64 {
    let sql = format!("select count(*) from results.{table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn a_malformed_document_is_taken_aside_with_its_reason() {
    let world = World::start().await;
    let (_, key) = world.key("P", &["ATH"]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    let bomb = format!("<!DOCTYPE b [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>{start_list}");
    let cases = [
        (String::new(), "NOT_XML"),
        ("{\"json\":true}".to_owned(), "NOT_XML"),
        (start_list[..start_list.len() / 2].to_owned(), "NOT_XML"),
        (bomb.replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", ""), "DOCTYPE"),
        (format!("<OdfBody>{}", "<a>".repeat(100_000)), "TOO_COMPLEX"),
        (start_list.replace(" Source=\"SYNATH1\"", ""), "HEADER_MISSING(Source)"),
        (start_list.replace(FINAL_100M, &FINAL_100M[..33]), "RSC_INVALID(34)"),
        (start_list.replace(FINAL_100M, "ATH_ATHMDECATHLON-----FNL-000100------"), "RSC_INVALID(4)"),
        (start_list.replace(FINAL_100M, &format!("{FINAL_100M}----")), "RSC_INVALID(35)"),
        (start_list.replace("encoding=\"UTF-8\"", "encoding=\"ISO-8859-1\""), "NOT_XML"),
        (format!("{}<x/>", start_list.trim_end()), "NOT_XML"),
        (start_list.replace("Source=\"SYNATH1\"", "Source=\"SYNATH1\" Source=\"SYNATH2\""), "NOT_XML"),
        (start_list.replace("<Competition", &format!("<Competition{}", wide(257))), "TOO_COMPLEX"),
        (start_list.replace("DT_RESULT", "DT_RESULTS"), "UNKNOWN_TYPE"),
        (start_list.replace("SYN2030", "OG2028"), "COMPETITION_UNKNOWN"),
        (start_list.replace("FeedFlag=\"P\"", "FeedFlag=\"T\""), "FLAG_MISMATCH"),
        (start_list.replace("ATHM100M", "JUDM100M"), "SOURCE_NOT_ALLOWED"),
        (
            start_list.replace("Source=\"SYNATH1\"", "Source=\"'; drop table results.log; --\""),
            "HEADER_INVALID(Source)",
        ),
    ];
    for (document, reason) in &cases {
        assert_eq!(world.post(&key, document.clone()).await, quarantined(reason), "{reason}");
        // The sender repeats it: one row.
        assert_eq!(world.post(&key, document.clone()).await, quarantined(reason), "{reason}");
    }
    assert_eq!(rows(&world, "quarantine").await, i64::try_from(cases.len()).unwrap());
    assert_eq!(rows(&world, "log").await, 0);
    assert_eq!(world.post(&key, start_list).await.outcome, "accepted");
    world.app.stop().await;
}

#[tokio::test]
async fn text_that_means_something_to_sql_or_html_is_text() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let hostile = hundred_metres_final(1)[2]
        .xml
        .replace("GivenName=\"Hayato\"", "GivenName=\"&apos;; drop table results.log; --\"")
        .replace("FamilyName=\"KITAMORI\"", "FamilyName=\"&lt;script&gt;alert(1)&lt;/script&gt;\"");
    assert_eq!(world.post(&key, hostile).await.outcome, "accepted");
    let page = world
        .app
        .http()
        .get(world.app.http_url(&format!("/results/live/{FINAL_100M}")))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("drop table results.log"));
    assert!(!page.contains("<script>alert"));
    world.app.stop().await;
}

#[tokio::test]
async fn another_content_under_a_taken_version_is_a_conflict_and_the_first_stands() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    let first = world.post(&key, start_list.clone()).await;
    assert_eq!(
        world.post(&key, start_list.replace("KITAMORI", "OTHER")).await,
        quarantined("VERSION_CONFLICT")
    );
    let again = world.post(&key, start_list.clone()).await;
    assert_eq!((again.outcome.as_str(), again.seq), ("duplicate", first.seq));
    let newer = world.post(&key, start_list.replace("Version=\"1\"", "Version=\"5\"")).await;
    assert_eq!(newer.outcome, "accepted");
    let late = world.post(&key, start_list.replace("Version=\"1\"", "Version=\"3\"")).await;
    assert_eq!((late.outcome.as_str(), late.seq), ("late", newer.seq + 1));
    world.app.stop().await;
}

#[tokio::test]
async fn bodies_have_limits_as_sent_and_as_inflated() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    assert_eq!(world.post(&key, vec![b' '; (10 << 20) + 1]).await.status, 413);
    let bomb = gzip(&vec![b' '; 31 << 20]);
    assert_eq!(world.post_encoded(&key, bomb, Some("gzip")).await.status, 413);
    let packed = gzip(start_list.as_bytes());
    assert_eq!(world.post_encoded(&key, packed.clone(), Some("br")).await.status, 415);
    let cut = packed[..packed.len() / 2].to_vec();
    assert_eq!(world.post_encoded(&key, cut, Some("gzip")).await, quarantined("NOT_GZIP"));
    assert_eq!(world.post_encoded(&key, packed, Some("gzip")).await.outcome, "accepted");
    world.app.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_or_no_text_are_not_xml() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    assert!(start_list.contains('é'));
    let latin: Vec<u8> = start_list.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let wide: Vec<u8> = start_list.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [latin, wide, vec![0; 1_000]] {
        assert_eq!(world.post(&key, bytes).await, quarantined("NOT_XML"));
    }
    let marked = [b"\xef\xbb\xbf", start_list.as_bytes()].concat();
    assert_eq!(world.post(&key, marked).await.outcome, "accepted", "a byte order mark is welcome");
    world.app.stop().await;
}

#[tokio::test]
async fn a_picture_is_kept_whole_and_read_to_its_header() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = &hundred_metres_final(1)[2].xml;
    let root = start_list.find("<Competition").unwrap();
    let header = start_list[..root].replace("DT_RESULT", "DT_PDF");
    let picture = |content: &str| {
        format!("{header}<Competition><Pdf>{}</Pdf></Competition></OdfBody>", content.repeat(1 << 20))
    };
    let whole = picture("JVBERi0x");
    let first = world.post(&key, whole.clone()).await;
    assert_eq!(first.outcome, "accepted");
    assert_eq!(world.post(&key, whole.clone()).await.outcome, "duplicate");
    assert_eq!(world.post(&key, picture("JVBERi0y")).await, quarantined("VERSION_CONFLICT"));
    assert_eq!(world.post(&key, whole[..whole.len() - 12].to_owned()).await, quarantined("NOT_XML"));
    let (raw, canonical): (i64, i64) =
        sqlx::query_as("select raw_size::bigint, canonical_size::bigint from results.log where seq = $1")
            .bind(first.seq)
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(raw).unwrap(), whole.len());
    assert!(canonical < 200, "{canonical}");
    world.app.stop().await;
}

#[tokio::test]
async fn who_has_no_key_is_refused_before_the_body() {
    let world = World::start().await;
    let endless = reqwest::Body::wrap_stream(futures::stream::pending::<Result<&str, std::io::Error>>());
    assert_eq!(world.post("wrong", endless).await.status, 401);
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_not_durable_is_told_so_and_may_come_again() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    let mut held = world.app.pool.begin().await.unwrap();
    sqlx::query("select 1 from results.stream for update").execute(&mut *held).await.unwrap();
    let request = world.app.http().post(world.app.http_url("/results/v1/odf")).header("x-api-key", &key);
    let answer = request.body(start_list.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    held.rollback().await.unwrap();
    // The one before may have been written meanwhile.
    let again = world.post(&key, start_list).await;
    assert!(matches!(again.outcome.as_str(), "accepted" | "duplicate"), "{again:?}");
    assert_eq!((again.seq, rows(&world, "log").await), (1, 1));
    world.app.stop().await;
}

#[tokio::test]
async fn only_a_good_key_opens_the_door() {
    let world = World::start().await;
    let (key_id, key) = world.key("P", &[]).await;
    let start_list = hundred_metres_final(1)[2].xml.clone();
    let other = format!("{}{}", &key[..8], "A".repeat(24));
    for wrong in ["", "short", other.as_str(), &"Z".repeat(32), "' or '1'='1' --                 "] {
        assert_eq!(world.post(wrong, start_list.clone()).await.status, 401, "{wrong}");
    }
    let without =
        world.app.http().post(world.app.http_url("/results/v1/odf")).body(start_list.clone()).send().await;
    assert_eq!(without.unwrap().status(), 401);

    use proto::results::v1::{RevokePublisherKeyRequest, access_service_client::AccessServiceClient};
    let mut access = AccessServiceClient::new(world.app.grpc(&["results.admin"]));
    access.revoke_publisher_key(RevokePublisherKeyRequest { key_id }).await.unwrap();
    assert_eq!(world.post(&key, start_list).await.status, 401);
    assert_eq!(rows(&world, "log").await, 0);
    world.app.stop().await;
}
