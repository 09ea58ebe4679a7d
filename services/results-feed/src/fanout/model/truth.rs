use std::collections::BTreeMap;

use crate::ledger::Receipt;

use super::{
    cast::{CLIENTS, DOCUMENTS, Part},
    fault::{Fault, Kind},
};

/// What was published, folded as plainly as can be: the highest version of each document stands, unless it was
/// invalidated.
#[derive(Debug, Clone)]
pub struct Truth {
    first_rules: [usize; CLIENTS.len()],
    records: Vec<(i64, Record)>,
    seq: i64,
    heads: BTreeMap<usize, Head>,
    told: Vec<Told>,
}

/// What reached the log.
#[derive(Debug, Clone)]
pub enum Record {
    /// A document.
    Offered(Offered),
    /// The rules of a client.
    Entitled {
        /// Whose.
        client: usize,
        /// Which.
        rules: usize,
    },
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
}

/// What an entry changed.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its place.
    pub seq: i64,
    /// Which document; none where rights changed.
    pub document: usize,
    /// What stood before.
    pub before: Option<Standing>,
    /// What stands now.
    pub after: Option<Standing>,
    /// Whether nobody may be left without it.
    pub must_be_heard: bool,
    /// Whose rights changed.
    pub client: Option<usize>,
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
}

impl Truth {
    /// Nothing was published yet.
    pub const fn new(first_rules: [usize; CLIENTS.len()]) -> Self {
        Self { first_rules, records: Vec::new(), seq: 0, heads: BTreeMap::new(), told: Vec::new() }
    }

    /// The newest sequence number.
    pub const fn seq(&self) -> i64 {
        self.seq
    }

    /// Takes a document, and complains of another receipt than the fold's.
    pub fn offer(&mut self, offered: Offered, receipt: &Receipt) -> Result<(), Fault> {
        let expected = self.fold(&offered);
        self.records.push((self.seq, Record::Offered(offered.clone())));
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
    pub fn entitle(&mut self, client: usize, rules: usize, seq: i64) -> Result<(), Fault> {
        self.entitled(client);
        self.records.push((self.seq, Record::Entitled { client, rules }));
        if seq != self.seq {
            return Err(Fault::new(Kind::Receipt, format!("rights at {seq} instead of {}", self.seq)));
        }
        Ok(())
    }

    /// Everything behind that place is gone.
    pub fn lose_after(&mut self, seq: i64) {
        let kept: Vec<Record> = std::mem::take(&mut self.records)
            .into_iter()
            .filter(|(at, _)| *at <= seq)
            .map(|(_, record)| record)
            .collect();
        *self = Self::new(self.first_rules);
        for record in kept {
            match &record {
                Record::Offered(offered) => {
                    self.fold(offered);
                }
                Record::Entitled { client, .. } => self.entitled(*client),
            }
            self.records.push((self.seq, record));
        }
    }

    fn entitled(&mut self, client: usize) {
        self.seq += 1;
        self.told.push(Told {
            seq: self.seq,
            document: DOCUMENTS.len(),
            before: None,
            after: None,
            must_be_heard: false,
            client: Some(client),
        });
    }

    fn fold(&mut self, offered: &Offered) -> (&'static str, i64) {
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
        let next = Head {
            // An invalidation says nothing of the content.
            offered: match (of_same, &offered.text) {
                (Some(head), None) => head.offered.clone(),
                _ => offered.clone(),
            },
            seq: self.seq,
            is_invalid: offered.text.is_none(),
            is_unknown: offered.text.is_none() && of_same.is_none(),
        };
        let (before, after) = (head.as_ref().and_then(standing), standing(&next));
        let notes_changed = head.as_ref().is_some_and(|head| head.offered.notes != next.offered.notes);
        self.told.push(Told {
            seq: self.seq,
            document: offered.document,
            must_be_heard: must_be_heard(offered.document, before.as_ref(), after.as_ref(), notes_changed),
            before,
            after,
            client: None,
        });
        self.heads.insert(offered.document, next);
        ("accepted", self.seq)
    }

    fn late(&mut self) -> (&'static str, i64) {
        self.seq += 1;
        ("late", self.seq)
    }

    /// Rules of every client as of a place in the log.
    pub fn rules_at(&self, seq: i64) -> [usize; CLIENTS.len()] {
        let mut rules = self.first_rules;
        for (at, record) in &self.records {
            if let Record::Entitled { client, rules: newest } = record
                && *at <= seq
            {
                rules[*client] = *newest;
            }
        }
        rules
    }

    /// What a reader holds at rest: canonical text by document.
    pub fn state_of(&self, part: &Part) -> BTreeMap<usize, Standing> {
        let rules = self.rules_at(self.seq);
        let standing = self.heads.iter().filter_map(|(document, head)| Some((*document, standing(head)?)));
        standing.filter(|(document, standing)| part.may_see(&rules, *document, standing.status)).collect()
    }

    /// Entries behind a place.
    pub fn told_after(&self, seq: i64) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.seq > seq)
    }
}

fn standing(head: &Head) -> Option<Standing> {
    let text = head.offered.text.clone().filter(|_| !head.is_invalid)?;
    Some(Standing { version: head.offered.version, status: head.offered.status, text })
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
