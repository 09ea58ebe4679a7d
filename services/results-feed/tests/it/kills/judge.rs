//! What the log must say after whatever happened.

use std::collections::HashMap;

use sqlx::PgPool;

use super::load::Taken;

const STREAM: &str = "SYN2030-P";

/// Each document that was answered with 200 is in the log, as its sender was told and once in effect, and the log has no
/// hole; gives the newest sequence number.
pub async fn judge(pool: &PgPool, taken: &[Taken]) -> i64 {
    let rows: Vec<(i64, String, Vec<u8>)> =
        sqlx::query_as("select seq, kind, raw from results.log where stream_id = $1 order by seq")
            .bind(STREAM)
            .fetch_all(pool)
            .await
            .unwrap();
    let rows: Vec<(i64, String, Vec<u8>)> =
        rows.into_iter().map(|(seq, kind, raw)| (seq, kind, unpacked(raw))).collect();
    let newest: i64 = sqlx::query_scalar("select seq from results.stream where stream_id = $1")
        .bind(STREAM)
        .fetch_one(pool)
        .await
        .unwrap();
    let seqs: Vec<i64> = rows.iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(seqs, (1..=newest).collect::<Vec<i64>>(), "the log has a hole");

    let mut places: HashMap<&[u8], Vec<(i64, &str)>> = HashMap::new();
    for (seq, kind, raw) in &rows {
        places.entry(raw).or_default().push((*seq, kind));
    }
    for Taken { xml, outcome, seq } in taken {
        let places = places.get(xml.as_bytes()).map_or(&[][..], Vec::as_slice);
        assert!(
            places.iter().any(|(at, _)| at == seq),
            "{outcome} at {seq}, but in the log at {places:?}: {xml}"
        );
        let in_effect = places.iter().filter(|(_, kind)| *kind != "late").count();
        assert!(in_effect <= 1, "in effect {in_effect} times: {places:?}: {xml}");
        assert!(matches!(outcome.as_str(), "accepted" | "duplicate" | "late"), "{outcome}: {xml}");
    }
    newest
}

/// A document as it was sent: large ones are stored as Zstandard has them.
fn unpacked(raw: Vec<u8>) -> Vec<u8> {
    if raw.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::stream::decode_all(raw.as_slice()).unwrap()
    } else {
        raw
    }
}
