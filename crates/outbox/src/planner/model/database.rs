//! PostgreSQL's transaction ids, row locks and snapshots.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::schedule::{Flaw, KEYS, Script};
use crate::planner::Mark;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) mark: Mark,
    pub(super) key: usize,
    pub(super) version: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    TakeId,
    Lock(usize),
    DrawNumber,
    Append(usize),
    End,
}

pub(super) struct Transaction {
    pub(super) acts: VecDeque<Act>,
    pub(super) commits: bool,
    id: Option<i64>,
    number: i64,
    locked: Vec<usize>,
    pub(super) rows: Vec<Row>,
}

impl Transaction {
    pub(super) fn new(script: &Script) -> Self {
        let mut acts = VecDeque::new();
        if script.early {
            acts.push_back(Act::TakeId);
        }
        for (key, facts) in &script.facts {
            acts.push_back(Act::Lock(*key));
            for _ in 0..*facts {
                acts.extend([Act::DrawNumber, Act::Append(*key)]);
            }
        }
        acts.push_back(Act::End);
        Self { acts, commits: script.commits, id: None, number: 0, locked: Vec::new(), rows: Vec::new() }
    }
}

#[derive(Default)]
pub(super) struct Database {
    last_id: i64,
    last_number: i64,
    running: BTreeSet<i64>,
    // The highest transaction id that is over.
    completed: i64,
    locked: [bool; KEYS],
    pub(super) versions: [i64; KEYS],
    // Of committed transactions, by mark.
    pub(super) rows: BTreeMap<Mark, Row>,
}

impl Database {
    pub(super) fn of(rows: BTreeMap<Mark, Row>) -> Self {
        Self { rows, ..Self::default() }
    }

    // Both bounds as a snapshot has them: ids above the highest one that is over count as running (procarray.c).
    fn xmax(&self) -> i64 {
        self.completed + 1
    }

    pub(super) fn horizon(&self) -> i64 {
        self.running.first().map_or(self.xmax(), |first| self.xmax().min(*first))
    }

    fn id_of(&mut self, transaction: &mut Transaction) -> i64 {
        *transaction.id.get_or_insert_with(|| {
            self.last_id += 1;
            self.running.insert(self.last_id);
            self.last_id
        })
    }

    // False when it waits for a lock.
    pub(super) fn advance(&mut self, transaction: &mut Transaction, flaw: Flaw) -> bool {
        match transaction.acts.front() {
            None => return false,
            Some(Act::TakeId) => {
                self.id_of(transaction);
            }
            Some(Act::Lock(key)) => {
                if self.locked[*key] {
                    return false;
                }
                self.locked[*key] = true;
                transaction.locked.push(*key);
                self.id_of(transaction);
            }
            Some(Act::DrawNumber) => {
                self.last_number += 1;
                transaction.number = self.last_number;
            }
            Some(Act::Append(key)) => {
                let (key, id) = (*key, self.id_of(transaction));
                let position = if flaw == Flaw::OwnId { id } else { id.max(self.xmax() - 1) };
                let before = transaction.rows.iter().filter(|row| row.key == key).count();
                let version = self.versions[key] + i64::try_from(before).unwrap() + 1;
                transaction.rows.push(Row { mark: Mark { position, seq: transaction.number }, key, version });
            }
            Some(Act::End) => self.end(transaction),
        }
        transaction.acts.pop_front();
        true
    }

    fn end(&mut self, transaction: &mut Transaction) {
        if transaction.commits {
            for row in &transaction.rows {
                self.versions[row.key] = row.version;
                self.rows.insert(row.mark, *row);
            }
        }
        if let Some(id) = transaction.id {
            self.running.remove(&id);
            self.completed = self.completed.max(id);
        }
        // Last: who waits for a lock sees its holder as over.
        for key in &transaction.locked {
            self.locked[*key] = false;
        }
    }

    pub(super) fn page(&self, after: Mark, below: i64, limit: usize) -> (Vec<Row>, bool) {
        let found = self.rows.range(after..).map(|(_, row)| *row);
        let page: Vec<Row> =
            found.filter(|row| row.mark > after && row.mark.position < below).take(limit).collect();
        let full = page.len() == limit;
        (page, full)
    }
}
