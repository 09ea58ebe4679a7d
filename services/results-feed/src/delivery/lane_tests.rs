use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::entitlement::Facts;

const RETRY: Duration = Duration::from_secs(5);

fn candidate(seq: i64, document: u8, conflatable: bool) -> Candidate {
    Candidate {
        seq,
        version_seq: seq,
        document_id: Uuid::from_bytes([document; 16]),
        code: String::new(),
        document_type: "DT_RESULT".parse().unwrap(),
        status: None,
        conflatable,
        received_at: DateTime::UNIX_EPOCH,
        facts: Facts::plain(DateTime::UNIX_EPOCH),
        released_until: DateTime::UNIX_EPOCH,
        refused_since: None,
    }
}

fn lane(mode: DeliveryMode, documents: &[u8]) -> Lane {
    let mut lane = Lane::new(mode, &Progress { acknowledged: 0, ahead: vec![], failing_since: None });
    for (at, document) in documents.iter().enumerate() {
        lane.push(candidate(i64::try_from(at).unwrap() + 1, *document, true));
    }
    lane
}

fn take_all(lane: &mut Lane, now: Instant) -> Vec<i64> {
    std::iter::from_fn(|| lane.take(now, RETRY)).map(|candidate| candidate.seq).collect()
}

#[tokio::test]
async fn four_documents_go_at_once_and_one_version_of_each() {
    let now = Instant::now();
    let mut lane = lane(DeliveryMode::Every, &[1, 1, 2, 3, 4, 5]);
    assert_eq!(take_all(&mut lane, now), [1, 3, 4, 5]);
    lane.taken(3);
    assert_eq!(take_all(&mut lane, now), [6]);
    assert_eq!(lane.progress().acknowledged, 0);
    assert_eq!(lane.progress().ahead, [3]);
    lane.taken(1);
    assert_eq!(take_all(&mut lane, now), [2]);
    assert_eq!((lane.progress().acknowledged, lane.progress().ahead), (1, vec![3]));
}

#[tokio::test]
async fn a_target_that_is_down_is_asked_by_few() {
    let now = Instant::now();
    let mut lane = lane(DeliveryMode::Every, &[1, 2, 3, 4, 5, 6, 7]);
    for seq in take_all(&mut lane, now) {
        lane.refused(seq, now + RETRY, DateTime::UNIX_EPOCH);
    }
    // One that was not tried yet, in case only those four are the trouble.
    assert_eq!(take_all(&mut lane, now), [5]);
    lane.refused(5, now + RETRY, DateTime::UNIX_EPOCH);
    assert_eq!(take_all(&mut lane, now), [0; 0]);
    assert_eq!(lane.due(now), Some(now + RETRY));
    let later = now + RETRY;
    assert_eq!(take_all(&mut lane, later), [1, 2, 3, 4]);
    // One success, and everything goes.
    lane.taken(2);
    assert_eq!(take_all(&mut lane, later), [5]);
    lane.taken(1);
    lane.taken(3);
    assert_eq!(take_all(&mut lane, later), [6, 7]);
}

#[tokio::test]
async fn in_state_mode_a_newer_version_takes_the_place_of_one_that_waits() {
    let now = Instant::now();
    let mut lane = lane(DeliveryMode::State, &[1, 1, 1]);
    assert_eq!(take_all(&mut lane, now), [3]);
    // Under way, and one that counts in itself.
    lane.push(candidate(4, 1, false));
    lane.push(candidate(5, 1, true));
    lane.refused(3, now, DateTime::UNIX_EPOCH);
    lane.push(candidate(6, 1, true));
    assert_eq!(take_all(&mut lane, now), [3]);
    lane.taken(3);
    assert_eq!(take_all(&mut lane, now), [4]);
    lane.taken(4);
    assert_eq!(take_all(&mut lane, now), [6]);
    lane.taken(6);
    assert_eq!(lane.progress(), Progress { acknowledged: 6, ahead: vec![], failing_since: None });
}

#[tokio::test]
async fn a_document_that_is_refused_while_hundreds_are_taken_is_set_aside() {
    let now = Instant::now();
    let mut lane = lane(DeliveryMode::Every, &[0, 0]);
    let first = lane.take(now, RETRY).unwrap().seq;
    lane.refused(first, now + RETRY, DateTime::UNIX_EPOCH);
    for seq in 3..3 + i64::try_from(WINDOW / 2).unwrap() {
        assert_eq!(lane.set_aside(DateTime::UNIX_EPOCH), None);
        lane.push(candidate(seq, 1, true));
        assert_eq!(take_all(&mut lane, now), [seq]);
        lane.taken(seq);
    }
    let aside = lane.set_aside(DateTime::UNIX_EPOCH).unwrap();
    assert_eq!(aside.seqs, [1, 2]);
    assert_eq!((lane.progress().acknowledged, lane.progress().ahead), (514, vec![]));
    assert_eq!(lane.progress().failing_since, None);
}

#[tokio::test]
async fn what_may_not_be_sent_any_more_is_dropped() {
    let mut lane = lane(DeliveryMode::Every, &[1, 2]);
    lane.retain(|candidate| candidate.seq != 1);
    assert_eq!(take_all(&mut lane, Instant::now()), [2]);
    lane.retain(|_| false);
    lane.taken(2);
    lane.pass(9);
    assert_eq!(lane.progress().acknowledged, 9);
}

#[tokio::test]
async fn the_time_of_the_first_refusal_survives() {
    let now = Instant::now();
    let failing_since = Some(DateTime::UNIX_EPOCH);
    let mut lane =
        Lane::new(DeliveryMode::State, &Progress { acknowledged: 3, ahead: vec![5], failing_since });
    for seq in 4..=6 {
        lane.push(candidate(seq, 1, true));
    }
    assert_eq!(lane.progress().failing_since, failing_since);
    assert_eq!(take_all(&mut lane, now), [6], "5 was taken before");
    lane.taken(6);
    assert_eq!(lane.progress(), Progress { acknowledged: 6, ahead: vec![], failing_since: None });
}

proptest! {
    // Whatever is refused and however often the process dies: each is taken, the versions of a document in order, and none
    // a second time that was saved.
    #[test]
    fn every_document_is_taken_once_and_in_order(
        documents in proptest::collection::vec(0_u8..6, 1..60), verdicts in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let (mut now, mut verdicts) = (Instant::now(), verdicts.into_iter().cycle());
        let mut taken: Vec<i64> = Vec::new();
        let mut saved = Progress { acknowledged: 0, ahead: vec![], failing_since: None };
        let mut rounds = 0;
        'lives: loop {
            let mut lane = Lane::new(DeliveryMode::Every, &saved);
            for (at, document) in documents.iter().enumerate() {
                let seq = i64::try_from(at).unwrap() + 1;
                if seq > saved.acknowledged {
                    lane.push(candidate(seq, *document, true));
                }
            }
            loop {
                for seq in take_all(&mut lane, now) {
                    match verdicts.next().unwrap() {
                        0..=90 => lane.refused(seq, now + RETRY, DateTime::UNIX_EPOCH),
                        _ => {
                            lane.taken(seq);
                            taken.push(seq);
                        }
                    }
                    saved = lane.progress();
                }
                if lane.seqs().is_empty() {
                    break 'lives;
                }
                now += RETRY;
                rounds += 1;
                // A verdict list of refusals alone never ends.
                prop_assume!(rounds < 5_000);
                if verdicts.next().unwrap() > 240 {
                    continue 'lives;
                }
            }
        }
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        let all: Vec<i64> = (1..=i64::try_from(documents.len()).unwrap()).collect();
        prop_assert_eq!(sorted, all);
        for document in 0..6 {
            let of_one: Vec<i64> =
                taken.iter().copied().filter(|seq| documents[usize::try_from(seq - 1).unwrap()] == document).collect();
            prop_assert!(of_one.is_sorted());
        }
    }
}
