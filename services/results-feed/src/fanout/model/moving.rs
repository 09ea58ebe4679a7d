use std::sync::Arc;

use crate::{
    document_type::FeedFlag,
    entitlement::Rights,
    fanout::{
        Representation, Sent, View,
        moved::{Meaning, Move},
        place::Place,
        topic::Topic,
    },
    frame::ResetCause,
    lane::Lane,
};

use super::{
    connection::{Connection, Phase},
    mutant::Mutant,
    replica::Replica,
    store::Store,
    walk::{CatchUp, Walker},
};

/// A connection between the rights of before and those of now.
#[derive(Debug)]
pub struct Moving {
    before: Arc<Topic>,
    place: Place,
    catch_up: CatchUp,
    until: i64,
    /// It came with a cursor of behind the change: another process has told it.
    is_told: bool,
}

impl Moving {
    /// A live connection whose topic ended as its rights changed; nothing for any other.
    pub fn from_live(phase: &Phase) -> Option<Self> {
        let Phase::Live { topic, place, .. } = phase else { return None };
        let until = topic.changed_at()?;
        let mut place = place.clone();
        place.go_back();
        let is_told = Lane::ALL.iter().all(|lane| place.at(*lane) >= until);
        Some(Self { before: Arc::clone(topic), place, catch_up: CatchUp::default(), until, is_told })
    }
}

impl Connection {
    /// Goes on from a place, which may be before a change of its rights.
    pub fn go_on(&mut self, replica: &Replica, store: &Store, topic: Arc<Topic>, place: Place) {
        let from = Lane::ALL.map(|lane| place.at(lane)).into_iter().min().unwrap_or_default();
        let is_now = from >= replica.hub.rights_changed_at(topic.view().rights());
        let next = store.next_change(&self.part, from);
        let Some(until) = next.filter(|_| !is_now && self.mutant != Some(Mutant::ResumeUnmoved)) else {
            self.go_live(topic, place);
            return;
        };
        let view = view(store.rights_at(&self.part, from));
        let before = Arc::new(Topic::new(self.filter.clone(), view, Representation::Json, from));
        self.phase =
            Phase::Moving(Moving { before, place, catch_up: CatchUp::default(), until, is_told: false });
    }

    /// The next frames between rights, and whether there is nothing more for now.
    pub fn move_on(&mut self, replica: &Replica, store: &Store) -> (Vec<Sent>, bool) {
        let position = replica.hub.position().expect("a position since its start");
        if position.epoch != self.epoch && self.mutant != Some(Mutant::MovedAcrossEpochs) {
            return (self.begin_again(replica, store), false);
        }
        let Phase::Moving(moving) = &mut self.phase else { return (Vec::new(), false) };
        let (epoch, mode, until) = (&self.epoch, self.part.mode, moving.until);
        let seen = if self.mutant == Some(Mutant::CursorBeforeMove) { until } else { until - 1 };
        for lane in Lane::ALL {
            if self.mutant == Some(Mutant::MovedTooSoon) {
                moving.place.arrive(lane, seen);
            }
            let at = moving.place.at(lane);
            if at < seen {
                if self.mutant != Some(Mutant::CutLog) && store.is_cut_behind(at) {
                    let topic = self.topic(replica, store);
                    return (vec![self.reset(ResetCause::CursorTooOld, replica, topic)], false);
                }
                let walker = Walker { store, topic: &moving.before, mode, epoch, seen };
                return match moving.catch_up.walk(&walker, &mut moving.place, lane) {
                    Some(frames) => (frames, false),
                    None => (Vec::new(), true),
                };
            }
        }
        if store.epoch_name() != *epoch {
            return (Vec::new(), true);
        }
        let mut frames = Vec::new();
        if !moving.is_told || self.mutant == Some(Mutant::ToldTwice) {
            let after = view(store.rights_at(&self.part, until));
            let moved = compare(store, &moving.before, &after, until, self.mutant);
            frames = moved.tell(&mut moving.place, epoch);
        }
        let place = moving.place.clone();
        let topic = self.topic(replica, store);
        self.go_on(replica, store, topic, place);
        (frames, false)
    }
}

fn view(rights: Rights) -> View {
    View::new(Arc::new(rights), FeedFlag::Production, Representation::Json)
}

fn compare(store: &Store, before: &Topic, after: &View, seq: i64, mutant: Option<Mutant>) -> Move {
    let until = store.released_at(seq);
    let mut moved = Move::none(seq);
    for edition in store.list_state(before.filter(), seq, 0, usize::MAX) {
        match Meaning::of(before.view(), after, &edition, until) {
            Some(Meaning::Lost) if mutant != Some(Mutant::KeptRevoked) => moved.lose(&edition),
            Some(Meaning::Got(_)) => moved.get(edition.as_ref().clone(), None),
            _ => {}
        }
    }
    moved
}
