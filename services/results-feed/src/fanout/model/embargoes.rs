use std::{collections::BTreeMap, sync::Arc};

use domain::{DateTime, Utc};

use crate::{
    document_type::FeedFlag,
    entitlement::{Entitlement, Rights, Subject},
    entry::{Edition, Release, What},
    ledger::{Kind, Row},
};

/// What is held back, and up to when embargoes are over.
#[derive(Debug, Clone)]
pub struct Embargoes {
    due: Vec<Due>,
    /// From where on embargoes up to a time are over.
    released: Vec<(i64, DateTime<Utc>)>,
}

#[derive(Debug, Clone)]
struct Due {
    code: (String, String),
    seq: i64,
    at: DateTime<Utc>,
    client_id: String,
}

/// A version that is held back no longer.
#[derive(Debug)]
pub struct Ended {
    /// Of the version.
    pub seq: i64,
    /// For whom.
    pub client_ids: Vec<String>,
    before: DateTime<Utc>,
}

impl Default for Embargoes {
    fn default() -> Self {
        Self { due: Vec::new(), released: vec![(0, DateTime::UNIX_EPOCH)] }
    }
}

impl Embargoes {
    /// Up to when embargoes are over at a place.
    pub fn released_at(&self, seq: i64) -> DateTime<Utc> {
        let found = self.released.iter().rev().find(|(at, _)| *at <= seq);
        found.map_or(DateTime::UNIX_EPOCH, |(_, until)| *until)
    }

    fn newest(&self) -> DateTime<Utc> {
        self.released_at(i64::MAX)
    }

    /// Remembers what of these new versions is held back for whom, and forgets what was of the versions before.
    pub fn hold_back(&mut self, rows: &[Row], entitlements: &[Entitlement], now: DateTime<Utc>) {
        let mut newest = BTreeMap::new();
        for row in rows.iter().filter(|row| row.kind != Kind::Late) {
            newest.insert((row.key.document_code.clone(), row.key.document_type.clone()), row);
        }
        let until = self.newest().max(now);
        for (code, row) in newest {
            self.due.retain(|due| due.code != code);
            if row.kind == Kind::Document {
                let subject = Subject {
                    code: &row.key.document_code,
                    document_type: row.document_type,
                    status: row.status,
                    feed_flag: FeedFlag::Production,
                    facts: &row.facts,
                };
                for entitlement in entitlements {
                    self.due.extend(due(entitlement, &subject, (&code, row.seq), until));
                }
            }
        }
    }

    /// The rules of a client are these from a place on: what it holds back is found anew.
    pub fn begin_rules(
        &mut self,
        seq: i64,
        entitlement: &Entitlement,
        standing: &[Arc<Edition>],
        now: DateTime<Utc>,
    ) {
        let until = self.newest().max(now);
        self.released.push((seq, until));
        self.due.retain(|due| due.client_id != entitlement.client_id);
        for edition in standing {
            let code = (edition.key.document_code.clone(), edition.key.document_type.clone());
            let subject = edition.subject(FeedFlag::Production);
            self.due.extend(due(entitlement, &subject, (&code, edition.seq), until));
        }
    }

    /// Ends what is over in a log that is at `seq`: one entry for a version, however many clients and moments.
    pub fn end(&mut self, seq: i64, now: DateTime<Utc>) -> Vec<Ended> {
        let before = self.newest();
        let mut over: Vec<Due> = self.due.extract_if(.., |due| due.at <= now).collect();
        over.sort_by_key(|due| (due.at, due.seq));
        let Some(last) = over.last().map(|due| due.at) else { return Vec::new() };
        self.released.push((seq + 1, before.max(last)));
        let mut ended: Vec<Ended> = Vec::new();
        for due in over {
            match ended.iter_mut().find(|one| one.seq == due.seq) {
                Some(one) => one.client_ids.push(due.client_id),
                None => ended.push(Ended { seq: due.seq, client_ids: vec![due.client_id], before }),
            }
        }
        ended
    }
}

impl Ended {
    /// As an entry of the log says it.
    pub fn what(self, edition: &Arc<Edition>, seq: i64) -> What {
        let edition = Arc::new(Edition { seq, ..Edition::clone(edition) });
        What::Release(Release { edition, client_ids: self.client_ids.into(), before: self.before })
    }
}

fn due(
    entitlement: &Entitlement,
    subject: &Subject<'_>,
    (code, seq): (&(String, String), i64),
    until: DateTime<Utc>,
) -> Vec<Due> {
    if !entitlement.has_embargo() {
        return Vec::new();
    }
    let openings = Rights::of(vec![entitlement.clone()]).openings(subject);
    let held_back = openings.into_iter().filter(|at| *at > until.max(subject.facts.received_at));
    let client_id = &entitlement.client_id;
    held_back.map(|at| Due { code: code.clone(), seq, at, client_id: client_id.clone() }).collect()
}
