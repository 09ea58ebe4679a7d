use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tokio::time::Instant;

use crate::{
    entitlement::{Participants, Rights},
    entry::{Entry, What},
    fanout::{
        budget::Budget,
        filter::Filter,
        telling::{Likeness, Telling},
        topic::{Representation, Topic},
        topics::Topics,
        view::{Sight, View},
    },
    lane::Lane,
    store::Position,
    stream_name::StreamName,
};

/// Most entries that the rings of a stream go back.
const LONGEST: usize = 65_536;
/// Most entries that wait behind a hole; the log has what does not find room.
const MOST_WAITING: usize = 4_096;
/// Most entries that a new topic looks back at.
const LOOK_BACK: usize = 4_096;
/// Most clients whose rights are kept.
const MOST_RIGHTS: usize = 10_000;

/// Topics that have something new, each once.
#[derive(Debug, Default)]
struct Touched {
    topics: Vec<Arc<Topic>>,
    known: HashSet<*const Topic>,
}

impl Touched {
    fn add(&mut self, topic: &Arc<Topic>) {
        if self.known.insert(Arc::as_ptr(topic)) {
            self.topics.push(Arc::clone(topic));
        }
    }
}

fn likeness((sight, participants): (Sight, Participants), topic: &Topic, previous: i64) -> Likeness {
    Likeness { sight, participants, previous, representation: topic.representation() }
}

/// What a hub guards by its lock.
#[derive(Debug)]
pub struct State {
    epoch: Arc<str>,
    /// Of the newest entry, whether it is held or not.
    seq: i64,
    entries: VecDeque<Telling>,
    waiting: BTreeMap<i64, Arc<Entry>>,
    topics: Topics,
    rights: HashMap<String, Arc<Rights>>,
    /// Where the rights of each client changed last.
    rights_at: HashMap<String, i64>,
    generation: u64,
    budget: Arc<Budget>,
}

impl State {
    /// Before anything is known of the stream.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            epoch: Arc::from(""),
            seq: 0,
            entries: VecDeque::new(),
            waiting: BTreeMap::new(),
            topics: Topics::default(),
            rights: HashMap::new(),
            rights_at: HashMap::new(),
            generation: 0,
            budget,
        }
    }

    /// Starts again; gives the topics that ended.
    pub fn restart(&mut self, position: &Position, rights_at: HashMap<String, i64>) -> Vec<Arc<Topic>> {
        while self.forget_oldest() {}
        self.waiting.clear();
        self.rights.clear();
        self.rights_at = rights_at;
        self.generation += 1;
        self.epoch = Arc::from(position.epoch.as_str());
        self.seq = position.seq;
        self.topics.remove_if(|_| true)
    }

    pub fn is_of(&self, epoch: &str) -> bool {
        *self.epoch == *epoch
    }

    pub const fn seq(&self) -> i64 {
        self.seq
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.epoch.as_ref().to_owned(), seq: self.seq }
    }

    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes entries in, in order; gives the topics that have something new.
    pub fn append(
        &mut self,
        entries: impl IntoIterator<Item = Arc<Entry>>,
        stream: StreamName,
    ) -> Vec<Arc<Topic>> {
        for entry in entries {
            if entry.seq > self.seq {
                self.waiting.insert(entry.seq, entry);
            }
            if self.waiting.len() > MOST_WAITING {
                self.waiting.pop_last();
            }
        }
        let mut touched = Touched::default();
        while let Some(entry) = self.waiting.remove(&(self.seq + 1)) {
            self.seq = entry.seq;
            self.budget.add(entry.weight());
            let mut telling = Telling::new(Arc::clone(&entry));
            match &entry.what {
                What::Entitlement(client_id) => {
                    self.change_rights(client_id, entry.seq).iter().for_each(|topic| touched.add(topic));
                }
                _ => self.show(&mut telling, stream, &mut touched),
            }
            self.entries.push_back(telling);
        }
        while (self.budget.is_spent() || self.entries.len() > LONGEST) && self.forget_oldest() {}
        touched.topics
    }

    // What an entry means is decided once for all topics of the same rights.
    fn show(&self, telling: &mut Telling, stream: StreamName, touched: &mut Touched) {
        let entry = Arc::clone(telling.entry());
        let Some((_, key, document_type)) = entry.document() else { return };
        let lane = Lane::of(document_type);
        let mut judged: HashMap<*const Rights, Option<(Sight, Participants)>> = HashMap::new();
        for topic in self.topics.wanting(&key.document_code) {
            let view = topic.view();
            debug_assert_eq!(view.stream(), stream, "a topic is of its hub's stream");
            let judge = || Some((view.judge(&entry)?, view.participants(&entry)));
            if let Some(shown) = judged.entry(Arc::as_ptr(view.rights())).or_insert_with(judge) {
                topic.push(lane, |previous| {
                    let like = likeness(shown.clone(), topic, previous);
                    telling.slot(like, &self.epoch, &self.budget)
                });
                touched.add(topic);
            }
        }
    }

    fn change_rights(&mut self, client_id: &str, seq: i64) -> Vec<Arc<Topic>> {
        self.generation += 1;
        self.rights_at.insert(client_id.to_owned(), seq);
        self.rights.retain(|_, rights| !rights.depend_on(client_id));
        let ended = self.topics.remove_if(|topic| topic.view().rights().depend_on(client_id));
        ended.iter().for_each(|topic| topic.close(Some(seq)));
        ended
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(telling) = self.entries.pop_front() else { return false };
        self.budget.give_back(telling.weight());
        let entry = telling.entry();
        if let Some((_, key, document_type)) = entry.document() {
            for topic in self.topics.wanting(&key.document_code) {
                topic.forget(Lane::of(document_type), entry.seq);
            }
        }
        true
    }

    /// The topic of this filter and view, made now where it is not there.
    pub fn topic(&mut self, filter: &Filter, view: View, representation: Representation) -> Arc<Topic> {
        if let Some(topic) = self.topics.find(filter, view.rights(), representation) {
            return topic;
        }
        let skipped = self.entries.len().saturating_sub(LOOK_BACK);
        let since = self.entries.get(skipped).map_or(self.seq, |telling| telling.entry().seq - 1);
        // Before a change of rights others were given: who comes from there is told first what the change means.
        let since = since.max(self.rights_changed_at(view.rights()));
        let topic = Arc::new(Topic::new(filter.clone(), view, representation, since));
        for telling in self.entries.iter_mut().skip(skipped).filter(|telling| telling.entry().seq > since) {
            let entry = Arc::clone(telling.entry());
            let Some((_, key, document_type)) = entry.document() else { continue };
            let is_wanted = filter.prefixes().iter().any(|prefix| prefix.matches(&key.document_code));
            if let Some(sight) = topic.view().judge(&entry).filter(|_| is_wanted) {
                let shown = (sight, topic.view().participants(&entry));
                topic.push(Lane::of(document_type), |previous| {
                    telling.slot(likeness(shown, &topic, previous), &self.epoch, &self.budget)
                });
            }
        }
        self.topics.insert(&topic);
        topic
    }

    /// All topics.
    pub fn topics(&self) -> impl Iterator<Item = Arc<Topic>> {
        self.topics.all().cloned()
    }

    pub fn rights(&self, client_id: &str) -> Option<Arc<Rights>> {
        self.rights.get(client_id).cloned()
    }

    pub fn keep_rights(&mut self, client_id: &str, rights: &Arc<Rights>, generation: u64) {
        if self.generation != generation {
            return;
        }
        if self.rights.len() >= MOST_RIGHTS {
            self.rights.clear();
        }
        self.rights.insert(client_id.to_owned(), Arc::clone(rights));
    }

    pub fn rights_changed_at(&self, rights: &Rights) -> i64 {
        let changes =
            rights.readers().into_iter().filter_map(|(client_id, _)| self.rights_at.get(&client_id).copied());
        changes.max().unwrap_or_default()
    }

    pub fn sweep(&mut self, now: Instant) -> usize {
        self.topics.sweep(now);
        self.topics.len()
    }
}
