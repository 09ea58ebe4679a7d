use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use domain::{DateTime, NaiveDate, TimeDelta, Utc, Uuid};

use crate::{
    canonical::Body,
    decoders::{Decoded, Defects},
    document_type::{FeedFlag, ResultStatus},
    entitlement::{Entitlement, Facts, Rights},
    entry::{Change, Edition, Entry, What, Withdrawal},
    fanout::Filter,
    header::{DocumentKey, Header},
    lane::Lane,
    ledger::{Head, Kind, Ledger, Receipt, Row, Submission},
    store::Missed,
};

use super::{
    cast::{self, CLIENTS, Part},
    embargoes::Embargoes,
    mutant::Mutant,
    truth::Offered,
};

/// The database: one log, its heads, and the rights.
#[derive(Debug)]
pub struct Store {
    epoch: u32,
    /// Of the newest entry.
    pub seq: i64,
    entries: Vec<Arc<Entry>>,
    /// Entries below this one were given up by retention, which spares what the state needs.
    floor: i64,
    heads: HashMap<DocumentKey, Head>,
    handles: HashMap<Uuid, i64>,
    /// Where rules of a client changed.
    rules: Vec<(i64, usize, usize)>,
    embargoes: Embargoes,
    /// The clock of every process.
    now: DateTime<Utc>,
    commits: Vec<Commit>,
    mutant: Option<Mutant>,
}

#[derive(Debug)]
struct Commit {
    seq_before: i64,
    heads_before: HashMap<DocumentKey, Head>,
    embargoes_before: Embargoes,
}

impl Store {
    /// Empty, with the first rules of each client.
    pub fn new(rules: [usize; CLIENTS.len()], mutant: Option<Mutant>) -> Self {
        Self {
            epoch: 1,
            seq: 0,
            entries: Vec::new(),
            floor: 1,
            heads: HashMap::new(),
            handles: HashMap::new(),
            rules: rules.iter().enumerate().map(|(client, rules)| (0, client, *rules)).collect(),
            embargoes: Embargoes::default(),
            now: DateTime::UNIX_EPOCH,
            commits: Vec::new(),
            mutant,
        }
    }

    /// The epoch as cursors have it.
    pub fn epoch_name(&self) -> String {
        format!("{:x}", self.epoch)
    }

    /// Time goes on.
    pub fn wait(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
    }

    /// In minutes.
    pub const fn minute(&self) -> i64 {
        self.now.timestamp() / 60
    }

    /// Writes a batch in one transaction; gives the receipts and the new entries.
    pub fn commit(&mut self, batch: &[Offered]) -> (Vec<Receipt>, Vec<Arc<Entry>>) {
        self.begin();
        let mut ledger = Ledger::new(self.seq, self.heads.clone(), self.now);
        let receipts =
            batch.iter().map(|offered| ledger.take(&submission(offered), domain::new_id())).collect();
        let (seq, heads, rows) = ledger.finish();
        self.seq = seq;
        for (key, head) in heads {
            let next = i64::try_from(self.handles.len()).unwrap() + 1;
            self.handles.entry(head.document_id).or_insert(next);
            self.heads.insert(key, head);
        }
        let entitlements = self.entitlements_at(self.seq);
        self.embargoes.hold_back(&rows, &entitlements, self.now);
        let entries: Vec<Arc<Entry>> = rows.into_iter().map(|row| Arc::new(self.entry(row))).collect();
        self.entries.extend(entries.iter().cloned());
        if self.mutant == Some(Mutant::SkippedSeq) && self.seq % 7 == 0 {
            self.seq += 1;
        }
        (receipts, entries)
    }

    /// Sets the rules of a client.
    pub fn entitle(&mut self, client: usize, rules: usize) {
        self.begin();
        self.end_embargoes();
        self.seq += 1;
        self.rules.push((self.seq, client, rules));
        let entitlement = cast::entitlement(client, rules, self.seq);
        let standing: Vec<Arc<Edition>> =
            self.standing_at(self.seq).into_values().filter_map(edition_of).collect();
        self.embargoes.begin_rules(self.seq, &entitlement, &standing, self.now);
        let what = match self.mutant {
            Some(Mutant::DeafToRights) => What::Late,
            _ => What::Entitlement(CLIENTS[client].to_owned()),
        };
        self.push(what);
    }

    /// Ends embargoes that are over, in one transaction.
    pub fn release(&mut self) {
        self.begin();
        self.end_embargoes();
    }

    fn end_embargoes(&mut self) {
        for mut release in self.embargoes.end(self.seq, self.now) {
            self.seq += 1;
            let found =
                self.entries.iter().find_map(|entry| entry.edition().filter(|_| entry.seq == release.seq));
            let Some(edition) = found else { continue };
            release.client_ids.sort_unstable();
            release.client_ids.dedup();
            let what = match self.mutant {
                Some(Mutant::LostRelease) => What::Late,
                _ => release.what(edition, self.seq),
            };
            self.push(what);
        }
    }

    // At the present number.
    fn push(&mut self, what: What) {
        let released_until = self.embargoes.released_at(self.seq);
        let (seq, received_at) = (self.seq, self.now);
        self.entries.push(Arc::new(Entry { seq, received_at, released_until, what, traceparent: None }));
    }

    fn begin(&mut self) {
        self.commits.push(Commit {
            seq_before: self.seq,
            heads_before: self.heads.clone(),
            embargoes_before: self.embargoes.clone(),
        });
    }

    /// The newest commits never were; gives the newest sequence number that is left.
    pub fn lose(&mut self, commits: usize) -> i64 {
        for _ in 0..commits {
            let Some(commit) = self.commits.pop() else { break };
            self.seq = commit.seq_before;
            self.heads = commit.heads_before;
            self.embargoes = commit.embargoes_before;
        }
        let seq = self.seq;
        self.entries.retain(|entry| entry.seq <= seq);
        self.rules.retain(|(at, _, _)| *at <= seq);
        if self.mutant != Some(Mutant::KeptEpoch) {
            self.epoch += 1;
        }
        seq
    }

    /// Keeps the newest entries alone. The state stays.
    pub fn forget_all_but(&mut self, keep: usize) {
        let from = self.entries.len().saturating_sub(keep);
        self.floor = self.entries.get(from).map_or(self.seq + 1, |entry| entry.seq).max(self.floor);
        // A log that is cut can't be wound back further.
        self.commits.retain(|commit| commit.seq_before + 1 >= self.floor);
    }

    /// Whether entries right behind a place are no longer there.
    pub const fn is_cut_behind(&self, seq: i64) -> bool {
        self.floor > seq + 1
    }

    /// Entries behind a place, up to another, that are still there.
    pub fn list_after(&self, seq: i64, last: i64) -> impl Iterator<Item = &Arc<Entry>> {
        let from = self.entries.partition_point(|entry| entry.seq <= seq.max(self.floor - 1));
        self.entries[from..].iter().take_while(move |entry| entry.seq <= last)
    }

    /// The entry that each document stood by at a place, by handle.
    fn standing_at(&self, seq: i64) -> BTreeMap<i64, &Arc<Entry>> {
        let mut standing = BTreeMap::new();
        for entry in self.entries.iter().take_while(|entry| entry.seq <= seq) {
            let is_release = matches!(entry.what, What::Release(_));
            if let Some((handle, _, _)) = entry.document().filter(|_| !is_release) {
                standing.insert(handle, entry);
            }
        }
        standing
    }

    /// A page of the state at a place, in the order of handles.
    pub fn list_state(&self, filter: &Filter, seq: i64, after: i64, most: usize) -> Vec<Arc<Edition>> {
        let standing = self.standing_at(seq).into_iter().filter(|(handle, _)| *handle > after);
        let editions = standing.filter_map(|(_, entry)| match &entry.what {
            What::Edition(change) if wants(filter, entry) => Some(Arc::clone(&change.edition)),
            _ => None,
        });
        editions.take(most).collect()
    }

    /// What a reader of a lane missed: the entry by which each changed document stands, and each that must be heard, with
    /// the places from which on it may hold versions.
    pub fn list_missed(&self, filter: &Filter, lane: Lane, after: i64, until: i64) -> Vec<Missed> {
        let (before, now) = (self.standing_at(after), self.standing_at(until));
        let mut missed = Vec::new();
        let mut counted: HashMap<i64, i64> = HashMap::new();
        for entry in self.list_after(after, until) {
            let Some((handle, _, document_type)) = entry.document() else { continue };
            let is_newest = now.get(&handle).is_some_and(|newest| newest.seq == entry.seq);
            let conflatable = matches!(&entry.what, What::Edition(change) if change.conflatable);
            if Lane::of(document_type) == lane && wants(filter, entry) && (is_newest || !conflatable) {
                let stood = before.get(&handle).map(|entry| entry.seq);
                let shown = match &entry.what {
                    What::Release(_) if self.mutant != Some(Mutant::UnknownReleased) => {
                        self.version_at(handle, entry.seq)
                    }
                    _ => entry.seq,
                };
                let from = counted.insert(handle, shown).or(stood).unwrap_or(after);
                missed.push(Missed { seq: entry.seq, from });
            }
        }
        missed
    }

    // The entry of the version that stood at a place.
    fn version_at(&self, handle: i64, seq: i64) -> i64 {
        self.standing_at(seq).get(&handle).map_or(seq, |entry| entry.seq)
    }

    /// Statuses and facts of a document's versions from one place up to before another.
    pub fn list_facts(&self, handle: i64, (from, before): (i64, i64)) -> Vec<(Option<ResultStatus>, Facts)> {
        let of_document = |entry: &&Arc<Entry>| entry.seq >= from && entry.seq < before;
        let facts = |entry: &Arc<Entry>| match &entry.what {
            What::Edition(change) if change.edition.handle == handle => {
                Some((change.edition.status, change.edition.facts.clone()))
            }
            _ => None,
        };
        self.entries.iter().filter(of_document).filter_map(facts).collect()
    }

    /// Until when embargoes were over at a place.
    pub fn released_at(&self, seq: i64) -> DateTime<Utc> {
        self.embargoes.released_at(seq)
    }

    /// What a reader may see at a place.
    pub fn rights_at(&self, part: &Part, seq: i64) -> Rights {
        let mut entitlements = self.entitlements_at(seq);
        entitlements.retain(|one| part.clients().any(|client| CLIENTS[client] == one.client_id));
        Rights::of(entitlements).at(self.released_at(seq))
    }

    /// The place behind another where a reader's rights changed next.
    pub fn next_change(&self, part: &Part, seq: i64) -> Option<i64> {
        let own = |client: usize| part.clients().any(|own| own == client);
        self.rules.iter().find(|(at, client, _)| *at > seq && own(*client)).map(|(at, _, _)| *at)
    }

    fn entitlements_at(&self, seq: i64) -> Vec<Entitlement> {
        let newest = |client: usize| {
            let changes = self.rules.iter().rev();
            let found = changes.copied().find(|(at, of, _)| *at <= seq && *of == client);
            let (at, _, rules) = found.unwrap_or_default();
            cast::entitlement(client, rules, at)
        };
        (0..CLIENTS.len()).map(newest).collect()
    }

    /// Where the rights of each client changed last.
    pub fn rights_changes(&self) -> HashMap<String, i64> {
        let changes = self.rules.iter().filter(|(at, _, _)| *at > 0);
        changes.map(|(at, client, _)| (CLIENTS[*client].to_owned(), *at)).collect()
    }

    fn entry(&self, row: Row) -> Entry {
        let handle = self.handles[&row.document_id];
        let (key, document_type, base) = (row.key, row.document_type, row.base);
        let what = match (row.kind, row.canonical, row.sha256) {
            (Kind::Document, Some(body), Some(sha256)) => {
                let (version, status, seq, size) = (row.version, row.status, row.seq, body.len());
                let edition = Edition {
                    handle,
                    key,
                    document_type,
                    version,
                    status,
                    seq,
                    body: Some(body),
                    size,
                    sha256,
                    facts: row.facts,
                };
                let conflatable = row.conflatable || self.mutant == Some(Mutant::ConflatedOfficial);
                What::Edition(Change { edition: Arc::new(edition), base, patch: row.patch, conflatable })
            }
            (Kind::Invalidation, _, _) if self.mutant == Some(Mutant::LostGone) => What::Late,
            (Kind::Invalidation, _, _) => What::Gone(Withdrawal { handle, key, document_type, base }),
            _ => What::Late,
        };
        let released_until = match self.mutant {
            Some(Mutant::ForgottenEmbargo) => DateTime::<Utc>::MAX_UTC,
            _ => self.embargoes.released_at(row.seq),
        };
        Entry { seq: row.seq, received_at: self.now, released_until, what, traceparent: None }
    }
}

fn edition_of(entry: &Arc<Entry>) -> Option<Arc<Edition>> {
    match &entry.what {
        What::Edition(change) => Some(Arc::clone(&change.edition)),
        _ => None,
    }
}

fn wants(filter: &Filter, entry: &Entry) -> bool {
    let code = entry.document().map(|(_, key, _)| key.document_code.as_str());
    code.is_some_and(|code| filter.prefixes().iter().any(|prefix| prefix.matches(code)))
}

fn submission(offered: &Offered) -> Submission {
    let key = cast::key(offered.document);
    let header = Header {
        document_type: key.document_type.parse().unwrap(),
        key,
        version: offered.version,
        status: offered.status.map(|status| status.parse().unwrap()),
        feed_flag: FeedFlag::Production,
        logical_date: NaiveDate::from_ymd_opt(2030, 8, 4).unwrap(),
        source: "SYNATH1".to_owned(),
        serial: None,
    };
    let canonical = offered.text.clone().map(Bytes::from);
    let body = canonical.clone().map(Body::new);
    Submission {
        sha256: canonical.as_ref().map(|bytes| digest(bytes)),
        canonical,
        decoded: Decoded { header, body, defects: Defects::default() },
        raw: Bytes::from_static(b"raw"),
        publisher: "model".to_owned(),
        span: tracing::Span::none(),
    }
}

// Tells texts of a run apart, and costs little.
fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0_u8; 32];
    for (at, byte) in bytes.iter().enumerate() {
        let before = digest[(at + 31) % 32];
        digest[at % 32] = digest[at % 32].rotate_left(3) ^ byte.wrapping_add(before);
    }
    digest
}
