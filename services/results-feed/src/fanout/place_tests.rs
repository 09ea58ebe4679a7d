use std::collections::HashMap;

use bytes::Bytes;
use domain::DateTime;
use proptest::prelude::*;

use super::*;
use crate::{
    document_type::{FeedFlag, ResultStatus},
    entitlement::{Entitlement, Facts, Participants, Representation, Rights, Rule, RuleText},
    entry::{Base, Change, Edition, Withdrawal},
    fanout::telling::{Likeness, Telling},
    header::DocumentKey,
};

const LIVE: ResultStatus = ResultStatus::Live;
/// By lane.
const TYPES: [&str; LANES] = ["DT_RESULT", "DT_MEDALS", "DT_BIO_PAR"];

fn facts() -> Facts {
    Facts::plain(DateTime::UNIX_EPOCH)
}

fn key(document_type: &str) -> DocumentKey {
    DocumentKey {
        competition_code: "SYN2030".to_owned(),
        document_code: "ATHM100M--------------FNL-000100--".to_owned(),
        document_subcode: String::new(),
        document_type: document_type.to_owned(),
        document_subtype: String::new(),
        language: "ENG".to_owned(),
    }
}

fn entry(seq: i64, what: What) -> Arc<Entry> {
    Arc::new(Entry {
        seq,
        received_at: DateTime::UNIX_EPOCH,
        released_until: DateTime::UNIX_EPOCH,
        what,
        traceparent: None,
    })
}

// The document's lane is its handle's rest by three.
fn type_of(handle: i64) -> &'static str {
    TYPES[usize::try_from(handle % 3).unwrap()]
}

fn version(seq: i64, handle: i64, status: ResultStatus, base: Option<Base>, conflatable: bool) -> Arc<Entry> {
    let document_type = type_of(handle);
    let edition = Edition {
        handle,
        key: key(document_type),
        document_type: document_type.parse().unwrap(),
        version: i32::try_from(seq).unwrap(),
        status: Some(status),
        seq,
        body: Some(Bytes::from_static(b"{}")),
        size: 2,
        sha256: [0; 32],
        facts: facts(),
    };
    let patch = base.as_ref().map(|_| Bytes::from_static(b"{}"));
    entry(seq, What::Edition(Change { edition: Arc::new(edition), base, patch, conflatable }))
}

fn gone(seq: i64, handle: i64, base: Option<Base>) -> Arc<Entry> {
    let document_type = type_of(handle);
    let (key, document_type) = (key(document_type), document_type.parse().unwrap());
    entry(seq, What::Gone(Withdrawal { handle, key, document_type, base }))
}

fn base(seq: i64, status: ResultStatus) -> Option<Base> {
    Some(Base { version: i32::try_from(seq).unwrap(), status: Some(status), seq, facts: facts() })
}

fn view(statuses: &[&str]) -> View {
    let statuses = statuses.iter().map(|status| (*status).to_owned()).collect();
    let rule = Rule::parse(RuleText { statuses, ..RuleText::default() }).unwrap();
    let rights =
        Rights::of(vec![Entitlement { client_id: "partner".to_owned(), version: 1, rules: vec![rule] }]);
    View::new(Arc::new(rights), FeedFlag::Production, Representation::Json)
}

fn push(rings: &mut Rings, view: &View, entry: &Arc<Entry>) {
    let Some(sight) = view.judge(entry) else { return };
    let lane = Lane::of(entry.document().unwrap().2);
    let previous = rings.of(lane).last();
    let representation = Representation::Json;
    let like = Likeness { sight, participants: Participants::All, previous, representation };
    let slot = Telling::new(Arc::clone(entry)).slot(like, &Arc::from("7f"), &Arc::default());
    rings.push(slot.unwrap());
}

fn rings(view: &View, from: i64, entries: &[Arc<Entry>]) -> Rings {
    let mut rings = Rings::starting_at(from);
    entries.iter().for_each(|entry| push(&mut rings, view, entry));
    rings
}

fn frame(step: &Step) -> Frame {
    match step {
        Step::Slot(slot, form) => slot.frame(*form).unwrap(),
        Step::Behind(slot, form, previous) => slot.frame_behind(*form, *previous).unwrap(),
        Step::Own(frame) => frame.clone(),
    }
}

fn names(taken: &Taken) -> Vec<String> {
    let name = |frame: &Frame| match frame {
        Frame::Full { edition, previous, .. } => format!("full {} p{previous}", edition.version),
        Frame::Delta { edition, base_version, previous, .. } => {
            format!("delta {base_version}>{} p{previous}", edition.version)
        }
        Frame::Gone { previous, .. } => format!("gone p{previous}"),
        Frame::Superseded { version, previous, .. } => format!("superseded {version} p{previous}"),
        Frame::Skip { previous, seq, count, .. } => format!("skip {count} to {seq} p{previous}"),
        other => format!("{other:?}"),
    };
    let cursor = |resume: &Resume| match resume {
        Resume::No => String::new(),
        Resume::Shared => " @".to_owned(),
        Resume::At(at) => format!(" @{at:?}"),
    };
    taken.steps.iter().map(|(resume, step)| format!("{}{}", name(&frame(step)), cursor(resume))).collect()
}

#[test]
fn a_frame_names_what_this_reader_was_told_on_its_way_back() {
    let view = view(&[]);
    let entries = [version(11, 3, LIVE, None, true), version(14, 3, LIVE, base(11, LIVE), true)];
    let rings = rings(&view, 10, &entries);
    let mut place = Place::new([10; 3]);
    let before = place.tell(Lane::of(type_of(3).parse().unwrap()), 12);
    assert_eq!(before, 10);
    Lane::ALL.iter().for_each(|lane| place.arrive(*lane, 12));
    assert_eq!(names(&place.take(&rings, Mode::Every, 14, 10)), ["delta 11>14 p12 @"]);
    // Who goes on from a cursor knows of no frame before.
    let mut place = Place::new([12; 3]);
    assert_eq!(names(&place.take(&rings, Mode::Every, 14, 10)), ["delta 11>14 p11 @"]);
}

#[test]
fn each_change_is_a_patch_that_names_the_frame_before() {
    let view = view(&[]);
    let entries =
        [version(11, 3, LIVE, None, true), entry(12, What::Late), version(13, 3, LIVE, base(11, LIVE), true)];
    let taken = Place::new([10; 3]).take(&rings(&view, 10, &entries), Mode::Every, 13, 10);
    assert_eq!(names(&taken), ["full 11 p10 @", "delta 11>13 p11 @"]);
}

#[test]
fn a_late_reader_gets_the_newest_and_is_told_what_was_left_out() {
    let (view, official) = (view(&[]), ResultStatus::Official);
    let entries = [
        version(11, 3, LIVE, None, true),
        version(12, 3, LIVE, base(11, LIVE), true),
        version(13, 6, LIVE, None, true),
        version(14, 3, official, base(12, LIVE), false),
        version(15, 3, official, base(14, official), true),
    ];
    let rings = rings(&view, 10, &entries);
    let mut place = Place::new([10; 3]);
    let taken = place.take(&rings, Mode::State, 15, 10);
    // Where document 3 is still to come in a newer version, only the place before it is one to go on from.
    assert_eq!(
        names(&taken),
        ["skip 2 to 12 p10", "full 13 p12 @[10, 13, 13]", "full 14 p13 @", "delta 14>15 p14 @"]
    );
    assert_eq!((taken.conflated, place.exact()), (2, [15; 3]));
    let all = Place::new([10; 3]).take(&rings, Mode::Every, 15, 10);
    assert_eq!(all.steps.len(), 5);
}

#[test]
fn an_urgent_lane_goes_first_and_the_cursor_says_how_far_the_others_are() {
    let view = view(&[]);
    let entries = [
        version(11, 5, LIVE, None, false),
        version(12, 4, LIVE, None, false),
        version(13, 3, LIVE, None, false),
        version(14, 8, LIVE, None, false),
    ];
    let rings = rings(&view, 10, &entries);
    let mut place = Place::new([10; 3]);
    assert_eq!(
        names(&place.take(&rings, Mode::Every, 14, 2)),
        ["full 13 p10 @[13, 11, 10]", "full 12 p10 @[14, 12, 10]"]
    );
    assert_eq!(
        names(&place.take(&rings, Mode::Every, 14, 2)),
        ["full 11 p10 @[14, 14, 13]", "full 14 p11 @"]
    );
    assert_eq!(place.exact(), [14; 3]);
}

#[test]
fn a_status_that_may_not_be_seen_is_told_without_its_content() {
    let view = view(&["OFFICIAL"]);
    let (official, protested) = (ResultStatus::Official, ResultStatus::Protested);
    let entries = [
        version(11, 3, LIVE, None, true),
        version(12, 3, official, base(11, LIVE), false),
        version(13, 3, protested, base(12, official), false),
        version(14, 3, protested, base(13, protested), true),
        version(15, 3, official, base(14, protested), false),
    ];
    let taken = Place::new([10; 3]).take(&rings(&view, 10, &entries), Mode::Every, 15, 10);
    assert_eq!(names(&taken), ["full 12 p10 @", "superseded 13 p12 @", "full 15 p13 @"]);
}

#[test]
fn a_reader_that_was_told_less_is_given_a_bridge() {
    let view = view(&[]);
    let rings =
        rings(&view, 8, &[version(9, 3, LIVE, None, true), version(13, 3, LIVE, base(9, LIVE), true)]);
    // It was elsewhere until 9: a frame of its own says that nothing is missing.
    let mut place = Place::new([7, 8, 8]);
    place.arrive(Lane::Urgent, 9);
    assert_eq!(names(&place.take(&rings, Mode::State, 13, 9)), ["skip 0 to 9 p7", "delta 9>13 p9 @"]);
    // Here a heartbeat said so.
    let mut place = Place::new([9; 3]);
    place.take(&rings, Mode::State, 9, 0);
    place.arrive(Lane::Urgent, 12);
    assert_eq!(place.rest(10), None, "not every lane is there");
}

#[test]
fn a_heartbeat_moves_a_quiet_reader_on_and_only_where_nothing_is_missing() {
    let view = view(&[]);
    let mut rings = rings(&view, 10, &[]);
    let mut place = Place::new([10; 3]);
    assert!(place.take(&rings, Mode::State, 50, 9).steps.is_empty());
    assert_eq!(place.rest(50), Some([50; 3]));
    push(&mut rings, &view, &version(51, 3, LIVE, None, true));
    assert_eq!(place.rest(51), None);
    assert_eq!(names(&place.take(&rings, Mode::State, 51, 9)), ["full 51 p10 @"]);
}

#[test]
fn a_lane_that_is_behind_its_ring_does_not_hold_up_the_others() {
    let view = view(&[]);
    let entries = [
        version(11, 5, LIVE, None, true),
        version(12, 5, LIVE, base(11, LIVE), true),
        version(13, 3, LIVE, None, true),
    ];
    let mut rings = rings(&view, 10, &entries);
    rings.forget(Lane::Bulk, 11);
    let mut place = Place::new([10; 3]);
    let taken = place.take(&rings, Mode::State, 13, 9);
    assert_eq!(
        (names(&taken), taken.behind),
        (vec!["full 13 p10 @[13, 13, 10]".to_owned()], Some(Lane::Bulk))
    );
    place.arrive(Lane::Bulk, 13);
    assert_eq!(place.exact(), [13; 3]);
}

/// The log of some documents in three lanes, as the ledger would write it.
fn log() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    proptest::collection::vec((3..9_i64, 0..8_u8), 1..50).prop_map(|steps| {
        let mut heads: HashMap<i64, Option<Base>> = HashMap::new();
        let mut entries = Vec::new();
        for (at, (handle, step)) in steps.into_iter().enumerate() {
            let seq = i64::try_from(at).unwrap() + 1;
            let before = heads.get(&handle).cloned().flatten();
            if step == 0 && before.is_some() {
                entries.push(gone(seq, handle, before));
                heads.insert(handle, None);
                continue;
            }
            let status = match step {
                1 => ResultStatus::Official,
                2 | 3 => ResultStatus::Intermediate,
                _ => LIVE,
            };
            let weighty = |status: Option<ResultStatus>| status.is_some_and(ResultStatus::is_weighty);
            let status_before = before.as_ref().and_then(|base| base.status);
            let moved = status_before != Some(status);
            let conflatable = !(moved && (weighty(status_before) || weighty(Some(status))));
            entries.push(version(seq, handle, status, before, conflatable));
            heads.insert(handle, base(seq, status));
        }
        entries
    })
}

/// What the state is after entries, as far as it may be seen.
fn state(entries: &[Arc<Entry>], view: &View) -> HashMap<i64, i32> {
    let mut state = HashMap::new();
    for entry in entries {
        let Some((handle, _, _)) = entry.document() else { continue };
        match &entry.what {
            What::Edition(change) if view.sees(&change.edition, entry.released_until) => {
                state.insert(handle, change.edition.version)
            }
            _ => state.remove(&handle),
        };
    }
    state
}

/// A reader that follows the guide.
#[derive(Clone, Default)]
struct Careful {
    held: HashMap<i64, i32>,
    /// Of each document, of those that are gone too: the newest frame.
    newest: HashMap<i64, i64>,
    told: [i64; LANES],
    heard: HashSet<i64>,
}

impl Careful {
    fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::Full { edition, previous, .. } => {
                self.follow(Lane::of(edition.document_type), *previous, edition.seq);
                if self.is_news(edition.handle, edition.seq) {
                    self.held.insert(edition.handle, edition.version);
                }
            }
            Frame::Delta { edition, base_version, previous, .. } => {
                self.follow(Lane::of(edition.document_type), *previous, edition.seq);
                if self.is_news(edition.handle, edition.seq) {
                    let held = self.held.insert(edition.handle, edition.version);
                    assert_eq!(held, Some(*base_version), "a patch met another base");
                }
            }
            Frame::Gone { handle, seq, previous, lane, .. }
            | Frame::Superseded { handle, seq, previous, lane, .. } => {
                self.follow(*lane, *previous, *seq);
                if self.is_news(*handle, *seq) {
                    self.held.remove(handle);
                }
            }
            Frame::Skip { previous, seq, lane, .. } => self.follow(*lane, *previous, *seq),
            other => panic!("{other:?}"),
        }
    }

    fn follow(&mut self, lane: Lane, previous: i64, seq: i64) {
        let told = &mut self.told[lane.index()];
        assert!(previous <= *told, "a frame was lost: {previous} is behind {told}");
        *told = seq;
        self.heard.insert(seq);
    }

    // After a loss some frames come again.
    fn is_news(&mut self, handle: i64, seq: i64) -> bool {
        let newest = self.newest.entry(handle).or_default();
        let is_news = *newest < seq;
        *newest = seq.max(*newest);
        is_news
    }
}

/// What the database gives for a lane between two places: see `store::list_missed`.
fn missed(
    entries: &[Arc<Entry>],
    lane: Lane,
    after: i64,
    until: i64,
) -> Vec<(Arc<Entry>, Vec<Option<ResultStatus>>)> {
    let of_lane = |entry: &&Arc<Entry>| entry.document().is_some_and(|(_, _, kind)| Lane::of(kind) == lane);
    let of = |handle: i64| {
        entries.iter().filter(of_lane).filter(move |entry| entry.document().unwrap().0 == handle)
    };
    let counts = |handle: i64, entry: &Arc<Entry>| {
        let conflatable = matches!(&entry.what, What::Edition(change) if change.conflatable);
        let newest = of(handle).rfind(|entry| entry.seq <= until).map(|newest| newest.seq);
        entry.seq > after && entry.seq <= until && (!conflatable || newest == Some(entry.seq))
    };
    let mut missed = Vec::new();
    for entry in entries.iter().filter(of_lane) {
        let handle = entry.document().unwrap().0;
        if !counts(handle, entry) {
            continue;
        }
        let before = of(handle).rfind(|other| other.seq < entry.seq && counts(handle, other));
        let stood = of(handle).rfind(|other| other.seq <= after);
        let from = before.or(stood).map_or(after, |entry| entry.seq);
        let held = of(handle).filter(|other| other.seq >= from && other.seq < entry.seq);
        let held = held.filter_map(|entry| match &entry.what {
            What::Edition(change) => Some(change.edition.status),
            _ => None,
        });
        missed.push((Arc::clone(entry), held.collect()));
    }
    missed
}

#[derive(Debug, Clone)]
enum Act {
    /// So many entries are appended.
    Append(usize),
    /// The reader takes so many frames.
    Take(usize),
    /// The rings forget everything up to so far behind the end.
    Forget(i64),
    /// The connection is lost after so many frames of the next ones. It comes back with its cursor, and with what it held
    /// then or holds now.
    Lose(usize, bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1..8_usize).prop_map(Act::Append),
        4 => (1..6_usize).prop_map(Act::Take),
        1 => (0..6_i64).prop_map(Act::Forget),
        1 => (0..5_usize, any::<bool>()).prop_map(|(after, rewinds)| Act::Lose(after, rewinds)),
    ];
    proptest::collection::vec(act, 1..60)
}

/// One connection over rings, the log, and a reader: everything but the wire.
struct Run<'a> {
    view: &'a View,
    mode: Mode,
    entries: &'a [Arc<Entry>],
    appended: usize,
    rings: Rings,
    place: Place,
    reader: Careful,
    cursor: [i64; LANES],
    saved: Careful,
}

impl<'a> Run<'a> {
    fn new(view: &'a View, mode: Mode, entries: &'a [Arc<Entry>]) -> Self {
        Self {
            view,
            mode,
            entries,
            appended: 0,
            rings: Rings::starting_at(0),
            place: Place::new([0; 3]),
            reader: Careful::default(),
            cursor: [0; 3],
            saved: Careful::default(),
        }
    }

    fn seen(&self) -> i64 {
        i64::try_from(self.appended).unwrap()
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append(count) => {
                let until = self.entries.len().min(self.appended + count);
                for entry in &self.entries[self.appended..until] {
                    push(&mut self.rings, self.view, entry);
                }
                self.appended = until;
            }
            Act::Take(most) => {
                self.take(*most, usize::MAX);
            }
            Act::Forget(kept) => {
                for lane in Lane::ALL {
                    self.rings.forget(lane, self.seen() - kept);
                }
            }
            Act::Lose(after, rewinds) => {
                self.take(12, *after);
                self.place = Place::new(self.cursor);
                let before = if *rewinds { self.saved.clone() } else { self.reader.clone() };
                self.reader = Careful { told: self.cursor, heard: self.reader.heard.clone(), ..before };
            }
        }
    }

    // Whether there was something to do.
    fn take(&mut self, most: usize, cut: usize) -> bool {
        let seen = self.seen();
        let taken = self.place.take(&self.rings, self.mode, seen, most);
        if !taken.steps.is_empty() {
            for (resume, step) in taken.steps.iter().take(cut) {
                let shared = match step {
                    Step::Slot(slot, _) | Step::Behind(slot, ..) => [slot.seq(); 3],
                    Step::Own(_) => [0; 3],
                };
                self.give(
                    &frame(step),
                    match resume {
                        Resume::No => None,
                        Resume::Shared => Some(shared),
                        Resume::At(at) => Some(*at),
                    },
                );
            }
            return true;
        }
        let Some(lane) = taken.behind else { return false };
        match self.mode {
            Mode::Every => {
                let (entries, after) = (self.entries, self.place.at(lane));
                let logged = entries.iter().filter(|entry| {
                    let is_of_lane = entry.document().is_some_and(|(_, _, kind)| Lane::of(kind) == lane);
                    is_of_lane && entry.seq > after && entry.seq <= seen
                });
                for entry in logged.take(3) {
                    if let Some(frame) = self.place.tell_logged(self.view, entry, None) {
                        let cursor = self.place.exact();
                        self.give(&frame, Some(cursor));
                    }
                }
                if !entries.iter().any(|entry| {
                    entry.seq > self.place.at(lane)
                        && entry.seq <= seen
                        && entry.document().is_some_and(|(_, _, kind)| Lane::of(kind) == lane)
                }) {
                    self.place.arrive(lane, seen);
                }
            }
            Mode::State => {
                for (entry, held) in missed(self.entries, lane, self.place.at(lane), seen) {
                    let (_, key, kind) = entry.document().unwrap();
                    let held = held
                        .into_iter()
                        .any(|status| self.view.permits(key, kind, (status, &facts()), DateTime::UNIX_EPOCH));
                    if let Some(frame) = self.place.tell_missed(self.view, &entry, None, held) {
                        self.give(&frame, None);
                    }
                }
                self.place.arrive(lane, seen);
                self.cursor = self.place.exact();
                self.saved = self.reader.clone();
            }
        }
        true
    }

    fn give(&mut self, frame: &Frame, cursor: Option<[i64; LANES]>) {
        self.reader.take(frame);
        if let Some(cursor) = cursor {
            self.cursor = cursor;
            self.saved = self.reader.clone();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    // Whatever comes between, a reader that follows the guide ends with what its rights let it see of the state, no patch
    // ever met another base than it names, no frame was missing in a lane's chain, and every version that must be heard
    // was.
    #[test]
    fn a_reader_ends_with_the_state_and_has_heard_what_must_be_heard(
        entries in log(), every in any::<bool>(), rights in 0..3_u8, acts in acts(),
    ) {
        let statuses: &[&str] = match rights {
            0 => &[],
            1 => &["OFFICIAL"],
            _ => &["OFFICIAL", "LIVE"],
        };
        let view = view(statuses);
        let mut run = Run::new(&view, if every { Mode::Every } else { Mode::State }, &entries);
        acts.iter().for_each(|act| run.act(act));
        run.act(&Act::Append(entries.len()));
        while run.take(7, usize::MAX) {}
        prop_assert_eq!(&run.reader.held, &state(&entries, &view));
        prop_assert_eq!(run.place.exact(), [run.seen(); 3]);
        for entry in &entries {
            let must = match &entry.what {
                What::Edition(change) => (every || !change.conflatable) && view.sees(&change.edition, entry.released_until),
                _ => false,
            };
            prop_assert!(!must || run.reader.heard.contains(&entry.seq), "{} was not heard", entry.seq);
        }
    }

    #[test]
    fn a_cursor_is_never_ahead_of_what_was_given(entries in log(), acts in acts()) {
        let view = view(&[]);
        let mut run = Run::new(&view, Mode::State, &entries);
        for act in &acts {
            run.act(act);
            let cursor = run.cursor;
            // Whoever resumes with it holds at least the state at that place.
            let at_least = state(&entries[..usize::try_from(cursor.iter().copied().min().unwrap()).unwrap()], &view);
            for handle in at_least.keys() {
                let gone_later = entries[..run.appended].iter().rev().any(|entry| {
                    matches!(&entry.what, What::Gone(gone) if gone.handle == *handle)
                });
                prop_assert!(gone_later || run.saved.held.contains_key(handle));
            }
        }
    }
}
