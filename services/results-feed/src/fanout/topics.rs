use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    filter::Filter,
    topic::{Representation, Topic},
};
use crate::{entitlement::Rights, rsc};

/// A topic without readers stays for so long: those who lost their connection come back to it.
const LINGER: Duration = Duration::from_secs(60);

/// The topics of a stream, found by what readers ask for and by the codes of documents.
#[derive(Debug, Default)]
pub struct Topics {
    by_key: HashMap<Key, Kept>,
    by_prefix: HashMap<String, Vec<Arc<Topic>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    filter: Filter,
    readers: Vec<(String, i64)>,
    representation: Representation,
}

#[derive(Debug)]
struct Kept {
    topic: Arc<Topic>,
    idle_since: Option<Instant>,
}

impl Topics {
    /// The topic of this filter, these rights and this representation.
    #[must_use]
    pub fn find(
        &self,
        filter: &Filter,
        rights: &Rights,
        representation: Representation,
    ) -> Option<Arc<Topic>> {
        let key = Key { filter: filter.clone(), readers: rights.readers(), representation };
        self.by_key.get(&key).map(|kept| Arc::clone(&kept.topic))
    }

    /// Adds a topic.
    pub fn insert(&mut self, topic: &Arc<Topic>) {
        for prefix in topic.filter().prefixes() {
            self.by_prefix.entry(prefix.as_str().to_owned()).or_default().push(Arc::clone(topic));
        }
        self.by_key.insert(Key::of(topic), Kept { topic: Arc::clone(topic), idle_since: None });
    }

    /// The topics whose readers want to see documents of this code, each once. As many look-ups as the code has prefixes,
    /// whatever the number of topics.
    pub fn wanting<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        (0..=rsc::LENGTH)
            .map_while(|length| code.get(..length))
            .filter_map(|prefix| self.by_prefix.get(prefix))
            .flatten()
    }

    /// Takes out those for which it holds.
    pub fn remove_if(&mut self, mut holds: impl FnMut(&Topic) -> bool) -> Vec<Arc<Topic>> {
        let gone: Vec<Arc<Topic>> =
            self.by_key.extract_if(|_, kept| holds(&kept.topic)).map(|(_, kept)| kept.topic).collect();
        for topic in &gone {
            self.forget_prefixes(topic);
        }
        gone
    }

    /// Takes out those that were idle for long, and snapshots that nobody comes for.
    pub fn sweep(&mut self, now: Instant) {
        for kept in self.by_key.values_mut() {
            kept.topic.forget_snapshot();
            // One here, and one for each prefix.
            let is_idle = Arc::strong_count(&kept.topic) <= 1 + kept.topic.filter().prefixes().len();
            kept.idle_since = if is_idle { kept.idle_since.or(Some(now)) } else { None };
        }
        let idle: Vec<Key> = self
            .by_key
            .iter()
            .filter(|(_, kept)| kept.idle_since.is_some_and(|since| now - since >= LINGER))
            .map(|(key, _)| key.clone())
            .collect();
        for key in idle {
            if let Some(kept) = self.by_key.remove(&key) {
                self.forget_prefixes(&kept.topic);
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_key.values().map(|kept| &kept.topic)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    fn forget_prefixes(&mut self, topic: &Arc<Topic>) {
        for prefix in topic.filter().prefixes() {
            if let Some(topics) = self.by_prefix.get_mut(prefix.as_str()) {
                topics.retain(|other| !Arc::ptr_eq(other, topic));
                if topics.is_empty() {
                    self.by_prefix.remove(prefix.as_str());
                }
            }
        }
    }
}

impl Key {
    fn of(topic: &Topic) -> Self {
        Self {
            filter: topic.filter().clone(),
            readers: topic.view().rights().readers().to_vec(),
            representation: topic.representation(),
        }
    }
}
