use super::*;
use crate::decoders::odf;

fn submission(version: i32, status: &str, inside: &str) -> Submission {
    let xml = format!(
        r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="ATHM100M--------------FNL-000100--" DocumentType="DT_RESULT"
           Version="{version}" ResultStatus="{status}" FeedFlag="P" Date="2030-08-04" Time="215012345"
           LogicalDate="2030-08-04" Source="ATHTIM1">{inside}</OdfBody>"#
    );
    let decoded = odf::decode(xml.as_bytes()).unwrap();
    let canonical = decoded.body.as_ref().map(|body| body.bytes().clone());
    let sha256 = canonical.as_ref().map(|bytes| {
        let mut digest = [0; 32];
        bytes
            .iter()
            .enumerate()
            .for_each(|(at, byte)| digest[at % 32] ^= byte.rotate_left(u32::try_from(at % 7).unwrap()));
        digest
    });
    Submission {
        decoded,
        canonical,
        sha256,
        raw: Bytes::from(xml),
        publisher: "test".to_owned(),
        span: tracing::Span::none(),
    }
}

fn competition(mark: &str) -> String {
    let lanes: String = (1..=8)
        .map(|lane| {
            let mark = if lane == 4 { mark } else { "" };
            format!(r#"<Result SortOrder="{lane}" Result="{mark}"><Competitor Code="{lane}" Organisation="JPN"/></Result>"#)
        })
        .collect();
    format!("<Competition>{lanes}</Competition>")
}

fn take(ledger: &mut Ledger, submission: &Submission) -> Receipt {
    ledger.take(submission, domain::new_id())
}

#[test]
fn a_batch_is_taken_as_if_each_came_alone() {
    let mut ledger = Ledger::new(40, HashMap::new(), DateTime::UNIX_EPOCH);
    let first = submission(1, "LIVE", &competition("9.9"));
    assert_eq!(take(&mut ledger, &first), Receipt::Accepted { seq: 41 });
    assert_eq!(take(&mut ledger, &first), Receipt::Duplicate { seq: 41 });
    assert_eq!(take(&mut ledger, &submission(3, "LIVE", &competition("9.8"))), Receipt::Accepted { seq: 42 });
    assert_eq!(take(&mut ledger, &submission(2, "LIVE", &competition("9.7"))), Receipt::Late { seq: 43 });
    let other = submission(3, "LIVE", &competition("9.6"));
    assert_eq!(take(&mut ledger, &other), Receipt::Quarantined(Reason::VersionConflict));
    let (seq, heads, rows) = ledger.finish();
    assert_eq!((seq, heads.len(), rows.len()), (43, 1, 3));
    assert_eq!(rows[1].base.as_ref().map(|base| (base.version, base.seq)), Some((1, 41)));
    assert_eq!(rows[1].patch.as_deref(), Some(&br#"{"Competition":{"Result":{"4":{"Result":"9.8"}}}}"#[..]));
    assert!(rows[0].base.is_none() && rows[0].patch.is_none());
    assert!(rows.iter().all(|row| row.document_id == rows[0].document_id));
}

#[test]
fn after_an_invalidation_readers_hold_nothing() {
    let mut ledger = Ledger::new(0, HashMap::new(), DateTime::UNIX_EPOCH);
    take(&mut ledger, &submission(1, "OFFICIAL", &competition("9.9")));
    assert_eq!(take(&mut ledger, &submission(1, "OFFICIAL", "")), Receipt::Accepted { seq: 2 });
    assert_eq!(
        take(&mut ledger, &submission(1, "OFFICIAL", &competition("9.9"))),
        Receipt::Duplicate { seq: 2 }
    );
    take(&mut ledger, &submission(2, "LIVE", &competition("9.8")));
    let (_, _, rows) = ledger.finish();
    assert_eq!(rows[1].kind, Kind::Invalidation);
    assert_eq!(rows[1].base.as_ref().map(|base| base.version), Some(1));
    assert!(!rows[1].conflatable);
    assert!(rows[2].base.is_none() && rows[2].patch.is_none(), "there is nothing to patch");
}

#[test]
fn a_patch_as_large_as_its_document_is_not_kept() {
    let mut ledger = Ledger::new(0, HashMap::new(), DateTime::UNIX_EPOCH);
    take(&mut ledger, &submission(1, "LIVE", r#"<Competition A="1"/>"#));
    take(&mut ledger, &submission(2, "LIVE", r#"<Competition B="2"/>"#));
    let (_, _, rows) = ledger.finish();
    assert!(rows[1].base.is_some() && rows[1].patch.is_none());
}
