use std::collections::BTreeMap;

/// How often something happened, by name.
#[derive(Debug, Default, Clone)]
pub struct Met(BTreeMap<String, usize>);

const MUST_BE_MET: [&str; 28] = [
    "hello",
    "snap",
    "live",
    "delta",
    "full",
    "gone",
    "superseded",
    "skip",
    "hb",
    "EPOCH_CHANGED",
    "CURSOR_TOO_OLD",
    "FILTER_CHANGED",
    "accepted",
    "duplicate",
    "late",
    "quarantined",
    "resume",
    "resume older",
    "break half-way",
    "restart",
    "lose",
    "forget",
    "entitle",
    "release",
    "REVOKED",
    "EMBARGOED",
    "INVALIDATED",
    "released",
];

impl Met {
    /// Counts one.
    pub fn note(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(what.to_owned(), 1);
            }
        }
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        MUST_BE_MET.into_iter().filter(|what| !self.0.contains_key(*what)).collect()
    }
}
