use bytes::Bytes;
use domain::DateTime;
use proptest::prelude::*;

use super::*;
use crate::{
    entitlement::{Entitlement, Rule, RuleText},
    stream_name::StreamName,
};

const CODE: &str = "ATHM100M--------------FNL-000100--";

fn key() -> DocumentKey {
    DocumentKey {
        competition_code: "SYN2030".to_owned(),
        document_code: CODE.to_owned(),
        document_subcode: String::new(),
        document_type: "DT_RESULT".to_owned(),
        document_subtype: String::new(),
        language: "ENG".to_owned(),
    }
}

fn entry(seq: i64, what: What) -> Arc<Entry> {
    Arc::new(Entry { seq, received_at: DateTime::UNIX_EPOCH, what })
}

/// Version `version` of document `handle`, after the one at `base`.
fn version(
    seq: i64,
    handle: i64,
    version: i32,
    status: ResultStatus,
    base: Option<Base>,
    conflatable: bool,
) -> Arc<Entry> {
    let edition = Edition {
        handle,
        key: key(),
        document_type: "DT_RESULT".parse().unwrap(),
        version,
        status: Some(status),
        seq,
        body: Some(Bytes::from_static(b"{}")),
        size: 2,
        sha256: [0; 32],
    };
    let patch = base.map(|_| Bytes::from_static(b"{}"));
    entry(seq, What::Edition(Change { edition: Arc::new(edition), base, patch, conflatable }))
}

fn base(version: i32, status: ResultStatus, seq: i64) -> Option<Base> {
    Some(Base { version, status: Some(status), seq })
}

fn asked(mode: Mode, prefix: &str) -> Subscription {
    Subscription {
        stream: StreamName::Production,
        prefixes: vec![prefix.parse().unwrap()],
        cursor: None,
        mode,
        client_id: None,
        expires_at: None,
    }
}

fn rights(statuses: &[&str]) -> Rights {
    let statuses = statuses.iter().map(|status| (*status).to_owned()).collect();
    let rule = Rule::parse(RuleText { statuses, ..RuleText::default() }).unwrap();
    Rights::of(vec![Entitlement { client_id: "partner".to_owned(), version: 1, rules: vec![rule] }])
}

fn names(taken: &Taken) -> Vec<String> {
    let name = |frame: &Frame| match frame {
        Frame::Full { edition, previous } => format!("full {} p{previous}", edition.version),
        Frame::Delta { edition, base_version, previous, .. } => {
            format!("delta {base_version}>{} p{previous}", edition.version)
        }
        Frame::Gone { previous, .. } => format!("gone p{previous}"),
        Frame::Superseded { version, previous, .. } => format!("superseded {version} p{previous}"),
        Frame::Skip { previous, seq, count } => format!("skip {count} to {seq} p{previous}"),
        other => format!("{other:?}"),
    };
    let cursor = |at: &Option<i64>| at.map_or(String::new(), |seq| format!(" @{seq}"));
    taken.frames.iter().map(|(at, frame)| format!("{}{}", name(frame), cursor(at))).collect()
}

const LIVE: ResultStatus = ResultStatus::Live;

#[test]
fn each_change_is_a_patch_that_names_the_frame_before() {
    let (rights, asked) = (rights(&[]), asked(Mode::Every, "ATH"));
    let entries = [
        version(11, 1, 1, LIVE, None, true),
        entry(12, What::Late),
        version(13, 1, 2, LIVE, base(1, LIVE, 11), true),
    ];
    let taken = Live::resumed(10).take(&View { rights: &rights, asked: &asked }, &entries);
    assert_eq!(names(&taken), ["full 1 p10 @11", "delta 1>2 p11 @13"]);
}

#[test]
fn a_late_reader_gets_the_newest_and_is_told_what_was_left_out() {
    let (rights, asked) = (rights(&[]), asked(Mode::State, "ATH"));
    let official = ResultStatus::Official;
    let entries = [
        version(11, 1, 1, LIVE, None, true),
        version(12, 1, 2, LIVE, base(1, LIVE, 11), true),
        version(13, 2, 1, LIVE, None, true),
        version(14, 1, 3, official, base(2, LIVE, 12), false),
        version(15, 1, 4, official, base(3, official, 14), true),
    ];
    let mut live = Live::resumed(10);
    let taken = live.take(&View { rights: &rights, asked: &asked }, &entries);
    // Nothing is resumable while the newest version of document 1 is still to come.
    assert_eq!(names(&taken), ["skip 2 to 12 p10", "full 1 p12", "full 3 p13 @14", "delta 3>4 p14 @15"]);
    assert!(live.is_resumable());
}

#[test]
fn a_status_that_may_not_be_seen_is_told_without_its_content() {
    let (rights, asked) = (rights(&["OFFICIAL"]), asked(Mode::Every, ""));
    let (official, protested) = (ResultStatus::Official, ResultStatus::Protested);
    let entries = [
        version(11, 1, 1, LIVE, None, true),
        version(12, 1, 2, official, base(1, LIVE, 11), false),
        version(13, 1, 3, protested, base(2, official, 12), false),
        version(14, 1, 4, protested, base(3, protested, 13), true),
        version(15, 1, 5, official, base(4, protested, 14), false),
    ];
    let taken = Live::resumed(10).take(&View { rights: &rights, asked: &asked }, &entries);
    assert_eq!(names(&taken), ["full 2 p10 @12", "superseded 3 p12 @13", "full 5 p13 @15"]);
}

#[test]
fn other_codes_are_passed_over() {
    let (rights, asked) = (rights(&[]), asked(Mode::Every, "JUD"));
    let mut live = Live::resumed(10);
    let taken = live.take(&View { rights: &rights, asked: &asked }, &[version(11, 1, 1, LIVE, None, true)]);
    assert!(taken.frames.is_empty());
    assert_eq!(live.at(), 11);
}

#[test]
fn a_snapshot_is_complete_when_the_log_has_caught_up_with_it() {
    let (rights, asked) = (rights(&[]), asked(Mode::Every, ""));
    let view = View { rights: &rights, asked: &asked };
    // Document 1 was read at seq 12; document 2 not at all, since it was there only from 13 on.
    let mut live = Live::after_snapshot(10, HashMap::from([(1, 12)]), 13);
    assert_eq!(live.completes_snapshot(), None);
    let entries = [
        version(11, 1, 2, LIVE, base(1, LIVE, 9), true),
        version(12, 1, 3, LIVE, base(2, LIVE, 11), true),
        version(13, 2, 8, LIVE, base(7, LIVE, 8), true),
        version(14, 1, 4, LIVE, base(3, LIVE, 12), true),
    ];
    assert_eq!(names(&live.take(&view, &entries)), ["full 8 p10"]);
    assert_eq!(live.completes_snapshot(), Some(13));
    assert_eq!(live.completes_snapshot(), None);
    assert_eq!(names(&live.take(&view, &entries[3..])), ["delta 3>4 p13 @14"]);
}

#[test]
fn a_change_of_rights_stops_at_its_entry() {
    let (rights, asked) = (rights(&[]), asked(Mode::Every, ""));
    let entries = [
        entry(11, What::Entitlement("somebody".to_owned())),
        version(12, 1, 1, LIVE, None, true),
        entry(13, What::Entitlement("partner".to_owned())),
        version(14, 1, 2, LIVE, base(1, LIVE, 12), true),
    ];
    let mut live = Live::resumed(10);
    let taken = live.take(&View { rights: &rights, asked: &asked }, &entries);
    assert_eq!(names(&taken), ["full 1 p10 @12"]);
    assert_eq!(taken.rights_changed_at, Some(13));
}

fn log() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    proptest::collection::vec((1..4_i64, 0..6_u8), 1..40).prop_map(|steps| {
        let mut heads: HashMap<i64, Option<Base>> = HashMap::new();
        let mut entries = Vec::new();
        for (at, (handle, step)) in steps.into_iter().enumerate() {
            let seq = i64::try_from(at).unwrap() + 1;
            let before = heads.get(&handle).copied().flatten();
            let number = i32::try_from(at).unwrap() + 1;
            match step {
                0 if before.is_some() => {
                    let gone = Withdrawal {
                        handle,
                        key: key(),
                        document_type: "DT_RESULT".parse().unwrap(),
                        base: before,
                    };
                    entries.push(entry(seq, What::Gone(gone)));
                    heads.insert(handle, None);
                }
                _ => {
                    let status = if step == 1 { ResultStatus::Official } else { LIVE };
                    let moved = before.and_then(|base| base.status) != Some(status);
                    let weighty = status == ResultStatus::Official
                        || before.and_then(|base| base.status) == Some(ResultStatus::Official);
                    entries.push(version(seq, handle, number, status, before, !(moved && weighty)));
                    heads.insert(handle, base(number, status, seq));
                }
            }
        }
        entries
    })
}

/// What a reader holds after frames; panics where a patch meets another base than it names.
fn hold(held: &mut HashMap<i64, i32>, frames: &[(Option<i64>, Frame)]) {
    for (_, frame) in frames {
        match frame {
            Frame::Full { edition, .. } => held.insert(edition.handle, edition.version),
            Frame::Delta { edition, base_version, .. } => {
                assert_eq!(held.get(&edition.handle), Some(base_version));
                held.insert(edition.handle, edition.version)
            }
            Frame::Gone { handle, .. } | Frame::Superseded { handle, .. } => held.remove(handle),
            _ => None,
        };
    }
}

fn state(entries: &[Arc<Entry>], only: Option<ResultStatus>) -> HashMap<i64, i32> {
    let mut state = HashMap::new();
    for entry in entries {
        match &entry.what {
            What::Edition(change) if only.is_none() || change.edition.status == only => {
                state.insert(change.edition.handle, change.edition.version);
            }
            What::Edition(change) => {
                state.remove(&change.edition.handle);
            }
            What::Gone(gone) => {
                state.remove(&gone.handle);
            }
            What::Late | What::Entitlement(_) => {}
        }
    }
    state
}

proptest! {
    // A reader may be cut at any frame, go on from the last cursor it was given with what it holds, and read in pieces
    // of any size: it ends with the state that its rights allow, and no patch ever met the wrong base.
    #[test]
    fn a_reader_that_is_cut_anywhere_ends_with_the_same_state(
        entries in log(), every in any::<bool>(), official_only in any::<bool>(),
        pieces in proptest::collection::vec((1..12_usize, 0..14_usize), 1..60),
    ) {
        let rights = rights(if official_only { &["OFFICIAL"] } else { &[] });
        let asked = asked(if every { Mode::Every } else { Mode::State }, "");
        let view = View { rights: &rights, asked: &asked };
        let (mut held, mut saved) = (HashMap::new(), HashMap::new());
        let mut cursor = 0_usize;
        let mut live = Live::resumed(0);
        let rest = std::iter::repeat((12, 99));
        for (size, cut) in pieces.into_iter().chain(rest) {
            let from = usize::try_from(live.at()).unwrap();
            if from >= entries.len() {
                break;
            }
            let mut taken = live.take(&view, &entries[from..entries.len().min(from + size)]);
            let is_cut = cut < taken.frames.len();
            taken.frames.truncate(cut);
            for frame in &taken.frames {
                hold(&mut held, std::slice::from_ref(frame));
                if let Some(seq) = frame.0 {
                    cursor = usize::try_from(seq).unwrap();
                    saved.clone_from(&held);
                }
            }
            if is_cut {
                // A careful reader goes back to what it held at its cursor.
                held.clone_from(&saved);
                live = Live::resumed(i64::try_from(cursor).unwrap());
            }
        }
        prop_assert_eq!(held, state(&entries, official_only.then_some(ResultStatus::Official)));
    }
}
