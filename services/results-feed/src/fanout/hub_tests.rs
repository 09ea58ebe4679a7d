use bytes::Bytes;
use domain::DateTime;

use super::*;
use crate::{
    entitlement::{Entitlement, Facts, Rule, RuleText},
    entry::{Change, Edition, What},
    fanout::{
        place::{Mode, Place, Step},
        slot::Slot,
        topic::Next,
    },
    header::DocumentKey,
    lane::Lane,
};

const CODE: &str = "ATHM100M--------------FNL-000100--";

fn entry(seq: i64, what: What) -> Arc<Entry> {
    Arc::new(Entry {
        seq,
        received_at: DateTime::UNIX_EPOCH,
        released_until: DateTime::UNIX_EPOCH,
        what,
        traceparent: None,
    })
}

fn result(seq: i64) -> Arc<Entry> {
    let key = DocumentKey {
        competition_code: "SYN2030".to_owned(),
        document_code: CODE.to_owned(),
        document_subcode: String::new(),
        document_type: "DT_RESULT".to_owned(),
        document_subtype: String::new(),
        language: "ENG".to_owned(),
    };
    let edition = Edition {
        handle: 1,
        key,
        document_type: "DT_RESULT".parse().unwrap(),
        version: i32::try_from(seq).unwrap(),
        status: None,
        seq,
        body: Some(Bytes::from_static(b"{}")),
        size: 2,
        sha256: [0; 32],
        facts: Facts::plain(DateTime::UNIX_EPOCH),
    };
    let change = Change { edition: Arc::new(edition), base: None, patch: None, conflatable: true };
    entry(seq, What::Edition(change))
}

fn late(range: std::ops::RangeInclusive<i64>) -> Vec<Arc<Entry>> {
    range.map(|seq| entry(seq, What::Late)).collect()
}

fn started(seq: i64) -> Hub {
    let hub = Hub::new("SYN2030-P".to_owned(), StreamName::Production, &Arc::default(), &Arc::default());
    hub.restart(&Position { epoch: "7f".to_owned(), seq }, HashMap::new());
    hub
}

fn rights_of(client_id: &str) -> Arc<Rights> {
    let rule = Rule::parse(RuleText::default()).unwrap();
    Arc::new(Rights::of(vec![Entitlement { client_id: client_id.to_owned(), version: 1, rules: vec![rule] }]))
}

fn rights() -> Arc<Rights> {
    rights_of("partner")
}

fn topic_of(hub: &Hub, prefix: &str, rights: &Arc<Rights>, representation: Representation) -> Arc<Topic> {
    let filter = Filter::new(vec![prefix.parse().unwrap()]);
    let (generation, _) = hub.known_rights("partner");
    hub.topic(&filter, rights, representation, generation).unwrap()
}

fn topic(hub: &Hub, prefix: &str) -> Arc<Topic> {
    topic_of(hub, prefix, &rights(), Representation::Json)
}

fn slots(topic: &Topic, from: i64) -> Vec<Arc<Slot>> {
    match topic.take(&mut Place::new([from; 3]), Mode::Every, from, 100) {
        Next::Taken(taken) => {
            let slot = |(_, step)| match step {
                Step::Slot(slot, _) | Step::Behind(slot, ..) => Some(slot),
                Step::Own(_) => None,
            };
            taken.steps.into_iter().filter_map(slot).collect()
        }
        Next::Closed => panic!("the topic is closed"),
    }
}

fn seqs(topic: &Topic, from: i64) -> Vec<i64> {
    slots(topic, from).iter().map(|slot| slot.seq()).collect()
}

#[test]
fn entries_are_taken_in_order_and_once() {
    let hub = started(10);
    hub.append("7f", late(11..=12));
    hub.append("7f", late(11..=13));
    assert_eq!(hub.seq(), 13);
}

#[test]
fn nothing_is_shown_behind_a_hole_until_it_is_filled() {
    let hub = started(10);
    hub.append("7f", late(12..=13));
    assert_eq!(hub.seq(), 10);
    hub.append("7f", late(11..=11));
    assert_eq!(hub.seq(), 13);
}

#[test]
fn entries_of_a_lost_epoch_are_refused() {
    let hub = started(10);
    hub.restart(&Position { epoch: "8a".to_owned(), seq: 5 }, HashMap::new());
    hub.append("7f", late(6..=6));
    assert_eq!(hub.seq(), 5);
    hub.hear("7f", 100);
    assert_eq!(hub.heard("8a"), 0, "what a lost epoch had says nothing of this one");
}

#[test]
fn what_kafka_tells_before_the_database_is_read_is_not_forgotten() {
    let hub = Hub::new("SYN2030-P".to_owned(), StreamName::Production, &Arc::default(), &Arc::default());
    hub.hear("7f", 12);
    hub.hear("6e", 30);
    hub.hear("7f", 11);
    hub.restart(&Position { epoch: "7f".to_owned(), seq: 10 }, HashMap::new());
    assert_eq!(hub.heard("7f"), 12, "the database has lost two entries");
}

#[test]
fn readers_that_ask_for_the_same_share_a_topic_and_it_knows_what_went_before() {
    let hub = started(10);
    hub.append("7f", [result(11), result(12)]);
    let wanting = topic(&hub, "ATHM");
    assert!(Arc::ptr_eq(&wanting, &topic(&hub, "ATHM")));
    let other = topic(&hub, "JUD");
    assert!(!Arc::ptr_eq(&wanting, &other));
    hub.append("7f", [result(13)]);
    assert_eq!(seqs(&wanting, 10), [11, 12, 13]);
    assert_eq!(seqs(&other, 10), [0; 0]);
    assert!(wanting.reaches_back_to(&[10; 3]) && !wanting.reaches_back_to(&[9; 3]));
}

#[test]
fn topics_of_other_rights_share_the_frames_that_are_the_same() {
    let hub = started(10);
    let one = topic_of(&hub, "ATHM", &rights_of("one"), Representation::Json);
    hub.append("7f", [result(11), result(12)]);
    // One was there before, and one looks back.
    let two = topic_of(&hub, "ATHM", &rights_of("two"), Representation::Json);
    let (of_one, of_two) = (slots(&one, 10), slots(&two, 10));
    assert_eq!(of_one.len(), 2);
    assert!(of_one.iter().zip(&of_two).all(|(one, two)| Arc::ptr_eq(one, two)));
    // In another form, and behind another frame, it is another frame.
    let raw = topic_of(&hub, "ATHM", &rights_of("one"), Representation::Odf);
    assert!(slots(&raw, 10).iter().zip(&of_one).all(|(raw, one)| !Arc::ptr_eq(raw, one)));
    let later = Hub::topic(&hub, one.filter(), &rights_of("three"), Representation::Json, 1).unwrap();
    hub.append("7f", [result(13)]);
    assert!(Arc::ptr_eq(&slots(&one, 12)[0], &slots(&later, 12)[0]));
}

#[test]
fn what_topics_hold_is_counted_and_given_back() {
    let budget = Arc::<Budget>::default();
    let hub = Hub::new("SYN2030-P".to_owned(), StreamName::Production, &budget, &Arc::default());
    hub.restart(&Position { epoch: "7f".to_owned(), seq: 10 }, HashMap::new());
    hub.append("7f", [result(11)]);
    let alone = budget.used();
    let _one = topic_of(&hub, "ATHM", &rights_of("one"), Representation::Json);
    let with_one = budget.used();
    let _two = topic_of(&hub, "ATHM", &rights_of("two"), Representation::Json);
    assert!(budget.used() > with_one && with_one > alone);
    assert!(budget.used() - with_one < with_one - alone, "a second topic shares the frame");
    hub.restart(&Position { epoch: "8a".to_owned(), seq: 5 }, HashMap::new());
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_change_of_rights_ends_the_topics_that_it_is_about() {
    let hub = started(10);
    let ended = topic(&hub, "ATHM");
    let (generation, _) = hub.known_rights("partner");
    hub.append("7f", [entry(11, What::Entitlement("somebody".to_owned())), result(12)]);
    assert!(!ended.is_closed());
    assert!(
        hub.topic(ended.filter(), &rights(), Representation::Json, generation).is_none(),
        "rights were read before a change"
    );
    hub.append("7f", [entry(13, What::Entitlement("partner".to_owned())), result(14)]);
    assert!(ended.is_closed());
    assert_eq!(hub.rights_changed_at(&rights()), 13);
    // What came after the change never reached those of before.
    assert_eq!(seqs(&topic(&hub, "ATHM"), 13), [14]);
}

#[test]
fn the_oldest_frames_go_when_the_rings_are_full() {
    let budget = Arc::<Budget>::default();
    let hub = Hub::new("SYN2030-P".to_owned(), StreamName::Production, &budget, &Arc::default());
    hub.restart(&Position { epoch: "7f".to_owned(), seq: 0 }, HashMap::new());
    let wanting = topic(&hub, "ATHM");
    hub.append("7f", [result(1), result(2)]);
    let before = budget.used();
    assert!(before > 0);
    budget.add(256 << 20);
    hub.append("7f", [result(3)]);
    assert!(!wanting.reaches_back_to(&[0; 3]) && wanting.reaches_back_to(&[3; 3]));
    budget.give_back(256 << 20);
    assert_eq!(budget.used(), 0);
    let mut place = Place::new([1; 3]);
    let Next::Taken(taken) = wanting.take(&mut place, Mode::Every, 3, 10) else { panic!("it is open") };
    assert_eq!((taken.steps.len(), taken.behind), (0, Some(Lane::Urgent)));
}

#[test]
fn a_topic_outlives_its_readers_for_a_while() {
    let hub = started(10);
    let now = tokio::time::Instant::now();
    let topic = topic(&hub, "ATHM");
    assert_eq!(hub.sweep(now), 1);
    drop(topic);
    assert_eq!(hub.sweep(now), 1);
    assert_eq!(hub.sweep(now + std::time::Duration::from_secs(61)), 0);
    hub.append("7f", [result(11)]);
}
