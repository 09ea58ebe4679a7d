use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Receipt;

use super::{
    cast::{self, CLIENTS, DOCUMENTS, Part},
    fault::{Fault, Kind},
};

/// What was published, folded as plainly as can be: the highest version of each document stands, unless it was
/// invalidated.
#[derive(Debug, Clone)]
pub struct Truth {
    records: Vec<(i64, Record)>,
    seq: i64,
    heads: BTreeMap<usize, Head>,
    told: Vec<Told>,
    /// From where on which rules of every client hold.
    rules: Vec<(i64, [usize; CLIENTS.len()])>,
    /// From where on embargoes up to which minute are over.
    released: Vec<(i64, i64)>,
}

/// What reached the log, and in which minute.
#[derive(Debug, Clone)]
enum Record {
    /// A document.
    Offered(Offered, i64),
    /// The rules of a client.
    Entitled {
        /// Whose.
        client: usize,
        /// Which.
        rules: usize,
        /// When.
        now: i64,
    },
    /// Embargoes ended.
    Released(i64),
}

/// A document as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Index of the document.
    pub document: usize,
    /// Its version.
    pub version: i32,
    /// Its status.
    pub status: Option<&'static str>,
    /// Canonical text; none invalidates.
    pub text: Option<String>,
    /// Whether its notes differ from those of the version before: only then it counts.
    pub notes: usize,
}

#[derive(Debug, Clone)]
struct Head {
    offered: Offered,
    seq: i64,
    is_invalid: bool,
    /// Its invalidation came first, and its content never did.
    is_unknown: bool,
    /// Minute of its status.
    since: i64,
    /// Its minute.
    received: i64,
}

/// What an entry changed.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its place.
    pub seq: i64,
    /// What it is about.
    pub about: About,
    /// What stood before.
    pub before: Option<Standing>,
    /// What stands now.
    pub after: Option<Standing>,
    /// Whether nobody may be left without it.
    pub must_be_heard: bool,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A document changed.
    Document(usize),
    /// An embargo of a document ended, where embargoes up to a minute were over before.
    Release(usize, i64),
    /// The rights of a client changed.
    Rights(usize),
}

/// A version that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its version.
    pub version: i32,
    /// Its status.
    pub status: Option<&'static str>,
    /// Its canonical text.
    pub text: String,
    /// The minute in which the document reached that status.
    pub since: i64,
    /// The minute in which it came.
    pub received: i64,
}

impl Truth {
    /// Nothing was published yet.
    pub fn new(first_rules: [usize; CLIENTS.len()]) -> Self {
        Self {
            records: Vec::new(),
            seq: 0,
            heads: BTreeMap::new(),
            told: Vec::new(),
            rules: vec![(0, first_rules)],
            released: vec![(0, 0)],
        }
    }

    /// Takes a document, and complains of another receipt than the fold's.
    pub fn offer(&mut self, offered: &Offered, now: i64, receipt: &Receipt) -> Result<(), Fault> {
        let expected = self.fold(offered, now);
        self.records.push((self.seq, Record::Offered(offered.clone(), now)));
        let told = (receipt.outcome(), receipt.seq());
        if told != expected {
            return Err(Fault::new(
                Kind::Receipt,
                format!("{offered:?} got {told:?} instead of {expected:?}"),
            ));
        }
        Ok(())
    }

    /// Takes the rules of a client, at a place in the log.
    pub fn entitle(&mut self, client: usize, rules: usize, now: i64, seq: i64) -> Result<(), Fault> {
        self.entitled(client, rules, now);
        self.records.push((self.seq, Record::Entitled { client, rules, now }));
        self.must_be_at("rights", seq)
    }

    /// Takes the end of embargoes, and where that left the log.
    pub fn release(&mut self, now: i64, seq: i64) -> Result<(), Fault> {
        self.released(now);
        self.records.push((self.seq, Record::Released(now)));
        self.must_be_at("embargoes", seq)
    }

    fn must_be_at(&self, what: &str, seq: i64) -> Result<(), Fault> {
        if seq == self.seq {
            return Ok(());
        }
        Err(Fault::new(Kind::Receipt, format!("{what} at {seq} instead of {}", self.seq)))
    }

    /// Everything behind that place is gone.
    pub fn lose_after(&mut self, seq: i64) {
        let records = std::mem::take(&mut self.records);
        let first_rules = self.rules_at(0);
        *self = Self::new(first_rules);
        for (_, record) in records.into_iter().filter(|(at, _)| *at <= seq) {
            match &record {
                Record::Offered(offered, now) => {
                    self.fold(offered, *now);
                }
                Record::Entitled { client, rules, now } => self.entitled(*client, *rules, *now),
                Record::Released(now) => self.released(*now),
            }
            self.records.push((self.seq, record));
        }
    }

    fn entitled(&mut self, client: usize, rules: usize, now: i64) {
        self.released(now);
        self.seq += 1;
        let mut newest = self.rules_at(self.seq);
        newest[client] = rules;
        self.rules.push((self.seq, newest));
        let until = self.released_at(self.seq).max(now);
        self.released.push((self.seq, until));
        self.tell(About::Rights(client), (None, None), false);
    }

    // A version is released once, however many rules open it; the first one to open is the first one in the log.
    fn released(&mut self, now: i64) {
        let (rules, from) = (self.rules_at(self.seq), self.released_at(self.seq));
        let (mut opened, mut until) = (BTreeSet::new(), from);
        for (document, head) in &self.heads {
            let Some(standing) = standing(head) else { continue };
            let minutes = rules.iter().flat_map(|rules| cast::opens_at(*rules, *document, &standing));
            let over: Vec<i64> =
                minutes.filter(|minute| *minute > from.max(standing.received) && *minute <= now).collect();
            until = over.iter().copied().fold(until, i64::max);
            opened.extend(over.iter().min().map(|minute| (*minute, head.seq, *document)));
        }
        if !opened.is_empty() {
            self.released.push((self.seq + 1, until));
        }
        for (_, _, document) in opened {
            self.seq += 1;
            let stands = self.heads.get(&document).and_then(standing);
            self.tell(About::Release(document, from), (stands.clone(), stands), true);
        }
    }

    fn tell(
        &mut self,
        about: About,
        (before, after): (Option<Standing>, Option<Standing>),
        must_be_heard: bool,
    ) {
        self.told.push(Told { seq: self.seq, about, before, after, must_be_heard });
    }

    fn fold(&mut self, offered: &Offered, now: i64) -> (&'static str, i64) {
        let head = self.heads.get(&offered.document).cloned();
        let place = head.as_ref().map_or(0, |head| head.offered.version);
        if offered.version < place {
            return self.late();
        }
        if let Some(head) = head.as_ref().filter(|_| offered.version == place) {
            match &offered.text {
                None if head.is_invalid => return ("duplicate", head.seq),
                Some(_) if head.is_unknown => return self.late(),
                Some(_) if offered.text == head.offered.text && offered.status == head.offered.status => {
                    return ("duplicate", head.seq);
                }
                Some(_) => return ("quarantined", 0),
                None => {}
            }
        }
        self.seq += 1;
        let of_same = head.as_ref().filter(|head| head.offered.version == offered.version);
        let before = head.as_ref().and_then(standing);
        let same_status = before.as_ref().filter(|standing| standing.status == offered.status);
        let next = Head {
            // An invalidation says nothing of the content.
            offered: match (of_same, &offered.text) {
                (Some(head), None) => head.offered.clone(),
                _ => offered.clone(),
            },
            seq: self.seq,
            is_invalid: offered.text.is_none(),
            is_unknown: offered.text.is_none() && of_same.is_none(),
            since: same_status.map_or(now, |standing| standing.since),
            received: now,
        };
        let after = standing(&next);
        let notes_changed = head.as_ref().is_some_and(|head| head.offered.notes != next.offered.notes);
        let must_be_heard = must_be_heard(offered.document, before.as_ref(), after.as_ref(), notes_changed);
        self.tell(About::Document(offered.document), (before, after), must_be_heard);
        self.heads.insert(offered.document, next);
        ("accepted", self.seq)
    }

    fn late(&mut self) -> (&'static str, i64) {
        self.seq += 1;
        ("late", self.seq)
    }

    /// Rules of every client as of a place in the log.
    pub fn rules_at(&self, seq: i64) -> [usize; CLIENTS.len()] {
        self.rules.iter().rev().find(|(at, _)| *at <= seq).map_or([0; CLIENTS.len()], |(_, rules)| *rules)
    }

    /// Up to which minute embargoes are over at a place in the log.
    pub fn released_at(&self, seq: i64) -> i64 {
        self.released.iter().rev().find(|(at, _)| *at <= seq).map_or(0, |(_, until)| *until)
    }

    /// The version that stood at a place in the log.
    pub fn standing_at(&self, document: usize, seq: i64) -> Option<&Standing> {
        let of_document = |told: &&Told| told.seq <= seq && told.about == About::Document(document);
        self.told.iter().rev().find(of_document)?.after.as_ref()
    }

    /// What a reader holds at rest, in a minute up to which all embargoes were ended: canonical text by document.
    pub fn state_of(&self, part: &Part, now: i64) -> BTreeMap<usize, Standing> {
        let rules = self.rules_at(self.seq);
        let standing = self.heads.iter().filter_map(|(document, head)| Some((*document, standing(head)?)));
        standing.filter(|(document, standing)| part.may_see(&rules, *document, standing, now)).collect()
    }

    /// Whether a reader heard of everything behind a place of which it must hear.
    pub fn judge_heard(&self, part: &Part, since: i64, heard: &BTreeSet<i64>) -> Result<(), Fault> {
        let mut holds: BTreeMap<usize, bool> = BTreeMap::new();
        for told in self.told.iter().filter(|told| told.seq > since) {
            let (rules, until) = (self.rules_at(told.seq), self.released_at(told.seq));
            let is_heard = heard.contains(&told.seq);
            let must_hear = match told.about {
                About::Rights(client) => {
                    part.clients().any(|own| own == client) && self.is_moved(part, told.seq, &mut holds)
                }
                About::Release(document, from) => {
                    let sees = |until| {
                        let stands = told.after.as_ref();
                        stands.is_some_and(|standing| part.may_see(&rules, document, standing, until))
                    };
                    let is_opened = sees(until) && !sees(from);
                    if is_opened {
                        holds.insert(document, true);
                    }
                    is_opened
                }
                About::Document(document) => {
                    let sees = |standing: &Option<Standing>| {
                        standing
                            .as_ref()
                            .is_some_and(|standing| part.may_see(&rules, document, standing, until))
                    };
                    let holds = holds.entry(document).or_insert_with(|| sees(&told.before));
                    let (held, shown) = (*holds, sees(&told.after));
                    // Who was given none of a document's versions needs no word of its end.
                    *holds = shown && (held || is_heard);
                    (told.must_be_heard || part.hears_all()) && (shown || held)
                }
            };
            if must_hear && !is_heard {
                return Err(Fault::new(Kind::Missing, format!("{told:?}")));
            }
        }
        Ok(())
    }

    // Whether a change of rights gives or takes anything; who hears of it holds what it may see.
    fn is_moved(&self, part: &Part, seq: i64, holds: &mut BTreeMap<usize, bool>) -> bool {
        let (before, after) = (self.rules_at(seq - 1), self.rules_at(seq));
        let until = self.released_at(seq);
        let mut is_moved = false;
        for document in 0..DOCUMENTS.len() {
            let Some(standing) = self.standing_at(document, seq) else { continue };
            let (held, sees) = (
                part.may_see(&before, document, standing, until),
                part.may_see(&after, document, standing, until),
            );
            is_moved |= held != sees;
            holds.insert(document, sees);
        }
        is_moved
    }
}

fn standing(head: &Head) -> Option<Standing> {
    let text = head.offered.text.clone().filter(|_| !head.is_invalid)?;
    let (version, status) = (head.offered.version, head.offered.status);
    Some(Standing { version, status, text, since: head.since, received: head.received })
}

// Into and out of OFFICIAL and PROTESTED, invalidations of what stood, changed notes, and updates.
fn must_be_heard(
    document: usize,
    before: Option<&Standing>,
    after: Option<&Standing>,
    notes_changed: bool,
) -> bool {
    let status = |standing: Option<&Standing>| standing.and_then(|standing| standing.status);
    let weighty = |status: Option<&str>| matches!(status, Some("OFFICIAL" | "PROTESTED"));
    let (from, to) = (status(before), status(after));
    let moved = from != to && (weighty(from) || weighty(to));
    let noted = notes_changed && before.is_some() && after.is_some();
    moved || noted || after.is_none() || DOCUMENTS[document].1.ends_with("_UPDATE")
}
