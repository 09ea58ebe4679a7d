use std::collections::VecDeque;

use super::{
    cast::{Cast, DOCUMENTS, Part, READERS, REPLICAS},
    client::{Client, Shown},
    connection::{Connection, Wire},
    fault::{Fault, Kind},
    met::Met,
    mutant::Mutant,
    plan::{From, Offer, STATUSES, Step},
    replica::Replica,
    store::Store,
    truth::{Offered, Truth},
};

/// Rests of a run that never ends would hang the test.
const MOST_ROUNDS: usize = 10_000;

/// Everything of a run.
#[derive(Debug)]
pub struct Stage {
    cast: Cast,
    mutant: Option<Mutant>,
    senders: Vec<Vec<Offered>>,
    waiting: Vec<Offered>,
    store: Store,
    replicas: Vec<Replica>,
    seats: Vec<Seat>,
    truth: Truth,
    contents: usize,
    met: Met,
}

/// A reader and its connection.
#[derive(Debug)]
struct Seat {
    client: Client,
    connection: Option<Connection>,
    wire: VecDeque<Wire>,
}

impl Stage {
    /// Before the first step.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let cast = Cast::of(seed);
        let store = Store::new(cast.rules, mutant);
        let seat = |part: &Part| Seat {
            client: Client::new(part.is_careful),
            connection: None,
            wire: VecDeque::new(),
        };
        Self {
            mutant,
            senders: vec![Vec::new(); DOCUMENTS.len()],
            waiting: Vec::new(),
            replicas: (0..REPLICAS).map(|_| Replica::start(&store, cast.ring)).collect(),
            seats: cast.readers.iter().map(seat).collect(),
            truth: Truth::new(cast.rules),
            store,
            cast,
            contents: 0,
            met: Met::default(),
        }
    }

    /// What happened in it.
    pub fn met(&self) -> Met {
        self.met.clone()
    }

    /// Takes a step.
    pub fn take(&mut self, step: &Step) -> Result<(), Fault> {
        match *step {
            Step::Offer { document, what } => self.offer(document, what),
            Step::Commit { replica } => return self.commit(replica),
            Step::Tail { replica, most } => self.replicas[replica].tail(&self.store, most),
            Step::Connect { reader, replica, from } => self.connect(reader, replica, from),
            Step::Receive { reader, most } => {
                self.receive(reader, most)?;
            }
            Step::Heartbeat { reader } => {
                let seat = &mut self.seats[reader];
                if let Some(connection) = seat.connection.as_mut().filter(|_| seat.wire.is_empty()) {
                    seat.wire.extend(connection.heartbeat(&self.replicas[connection.replica]));
                }
            }
            Step::Break { reader } => self.break_connection(reader),
            Step::Restart { replica } => {
                self.met.note("restart");
                for reader in 0..READERS {
                    if self.seats[reader]
                        .connection
                        .as_ref()
                        .is_some_and(|connection| connection.replica == replica)
                    {
                        self.break_connection(reader);
                    }
                }
                self.replicas[replica] = Replica::start(&self.store, self.cast.ring);
            }
            Step::Entitle { client, rules } => {
                self.met.note("entitle");
                self.store.entitle(client, rules);
                return self.truth.entitle(client, rules, self.store.minute(), self.store.seq);
            }
            Step::Wait { minutes } => self.store.wait(minutes),
            Step::Release => return self.release(),
            Step::Forget { keep } => {
                self.met.note("forget");
                self.store.forget_all_but(keep);
            }
            Step::Lose { commits } => {
                self.met.note("lose");
                let seq = self.store.lose(commits);
                self.truth.lose_after(seq);
            }
        }
        Ok(())
    }

    fn offer(&mut self, document: usize, what: Offer) {
        self.contents += 1;
        let content = self.contents;
        let sent = &self.senders[document];
        let newest = sent.iter().max_by_key(|offered| offered.version);
        let version = newest.map_or(0, |offered| offered.version);
        let notes = newest.map_or(0, |offered| offered.notes);
        let fresh = |version: i32, status: Option<&'static str>, notes: usize| Offered {
            document,
            version,
            status,
            text: Some(text(content, notes)),
            notes,
        };
        let has_status = matches!(DOCUMENTS[document].1, "DT_RESULT" | "DT_CURRENT" | "DT_MEDALLISTS");
        let offered = match what {
            Offer::Next { hole, status, note } => {
                let status = has_status.then_some(STATUSES[status]);
                Some(fresh(version + 1 + i32::try_from(hole).unwrap(), status, notes + usize::from(note)))
            }
            Offer::Again { ago } => sent.len().checked_sub(1 + ago).map(|at| sent[at].clone()),
            Offer::Conflict | Offer::Overtaken => {
                newest.map(|newest| fresh(newest.version, newest.status, newest.notes))
            }
            Offer::Late => (version > 1).then(|| fresh(version - 1, has_status.then_some("LIVE"), notes)),
            Offer::Invalidate => newest.map(|newest| Offered { text: None, status: None, ..newest.clone() }),
            Offer::InvalidateAhead => {
                Some(Offered { document, version: version + 1, status: None, text: None, notes })
            }
        };
        if let Some(offered) = offered {
            self.senders[document].push(offered.clone());
            self.waiting.push(offered);
        }
    }

    fn commit(&mut self, replica: usize) -> Result<(), Fault> {
        let batch = std::mem::take(&mut self.waiting);
        let epoch = self.store.epoch_name();
        let (receipts, entries) = self.store.commit(&batch);
        for (offered, receipt) in batch.iter().zip(&receipts) {
            self.met.note(receipt.outcome());
            self.truth.offer(offered, self.store.minute(), receipt)?;
        }
        self.replicas[replica].hub.append(&epoch, entries);
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.met.note("release");
        let before = self.store.seq;
        self.store.release();
        if self.store.seq > before {
            self.met.note("released");
        }
        self.truth.release(self.store.minute(), self.store.seq)
    }

    fn connect(&mut self, reader: usize, replica: usize, from: From) {
        self.break_connection(reader);
        let seat = &mut self.seats[reader];
        let cursor = match from {
            From::Nothing => None,
            From::Newest => seat.client.resume(0),
            From::Older { ago } => seat.client.resume(ago),
        };
        match (&cursor, from) {
            (None, _) => seat.client.begin(),
            (Some(_), From::Older { .. }) => self.met.note("resume older"),
            _ => self.met.note("resume"),
        }
        let part = &self.cast.readers[reader];
        seat.connection = Some(Connection::new(replica, part, cursor, self.cast.batch, self.mutant));
    }

    fn break_connection(&mut self, reader: usize) {
        let seat = &mut self.seats[reader];
        if seat.connection.take().is_some() && !seat.client.is_following() {
            self.met.note("break half-way");
        }
        seat.wire.clear();
        seat.client.lose_connection();
    }

    // Gives how many frames came.
    fn receive(&mut self, reader: usize, most: usize) -> Result<usize, Fault> {
        let mut count = 0;
        while count < most {
            let seat = &mut self.seats[reader];
            let Some(connection) = seat.connection.as_mut() else { break };
            if seat.wire.is_empty() {
                let replica = &self.replicas[connection.replica];
                seat.wire.extend(connection.next(replica, &self.store));
            }
            let Some(wire) = seat.wire.pop_front() else { break };
            count += 1;
            let shown = seat.client.take(&wire).map_err(|fault| of_reader(reader, &fault))?;
            self.note_frame(&wire);
            if let Some(shown) = shown {
                self.judge(reader, &shown, &wire).map_err(|fault| of_reader(reader, &fault))?;
            }
        }
        Ok(count)
    }

    fn note_frame(&mut self, wire: &Wire) {
        let text = std::str::from_utf8(&wire.json).unwrap_or_default();
        for name in ["t", "why"] {
            if let Some((_, rest)) = text.split_once(&format!("\"{name}\":\""))
                && let Some((value, _)) = rest.split_once('"')
            {
                self.met.note(value);
            }
        }
    }

    // By the rights, and the embargoes, of the place where it was shown.
    fn judge(&self, reader: usize, shown: &Shown, wire: &Wire) -> Result<(), Fault> {
        let document = DOCUMENTS
            .iter()
            .position(|(code, document_type)| *code == shown.code && *document_type == shown.document_type);
        // What the fold knows of an epoch goes with it.
        let Some(document) = document.filter(|_| wire.epoch == self.store.epoch_name()) else {
            return Ok(());
        };
        let (part, seq) = (&self.cast.readers[reader], wire.snapshot_at.unwrap_or(shown.seq));
        let (rules, until) = (self.truth.rules_at(seq), self.truth.released_at(seq));
        let standing = self.truth.standing_at(document, shown.seq);
        let is_right = standing.is_some_and(|standing| standing.status == shown.status.as_deref());
        if standing.is_some_and(|standing| is_right && part.may_see(&rules, document, standing, until)) {
            Ok(())
        } else {
            let told = format!("{part:?} was shown {shown:?} at {seq} where {standing:?} stood");
            Err(Fault::new(Kind::Forbidden, told))
        }
    }

    /// Everybody comes to rest, and holds what is right.
    pub fn settle(&mut self) -> Result<(), Fault> {
        self.commit(0)?;
        self.release()?;
        for replica in &self.replicas {
            replica.tail(&self.store, usize::MAX);
        }
        for reader in 0..READERS {
            if self.seats[reader].connection.is_none() {
                self.connect(reader, reader % REPLICAS, From::Newest);
            }
            let mut rounds = 0;
            while self.receive(reader, MOST_ROUNDS)? > 0 {
                rounds += 1;
                if rounds > MOST_ROUNDS {
                    return Err(of_reader(reader, &Fault::new(Kind::Protocol, "it never comes to rest")));
                }
            }
            self.compare(reader).map_err(|fault| of_reader(reader, &fault))?;
        }
        Ok(())
    }

    fn compare(&self, reader: usize) -> Result<(), Fault> {
        let (part, client) = (&self.cast.readers[reader], &self.seats[reader].client);
        let kept = client.kept();
        let Some(since) = kept.since.filter(|_| client.is_following()) else {
            return Err(Fault::new(Kind::Protocol, "its snapshot is not complete"));
        };
        self.truth.judge_heard(part, since, &kept.heard)?;
        let held: Vec<(&str, &str, i64, String)> = kept
            .documents
            .values()
            .map(|held| {
                (held.code.as_str(), held.document_type.as_str(), held.version, held.body.to_string())
            })
            .collect();
        let mut right = Vec::new();
        for (document, standing) in self.truth.state_of(part, self.store.minute()) {
            let (code, document_type) = DOCUMENTS[document];
            right.push((code, document_type, i64::from(standing.version), standing.text));
        }
        let (mut held, mut right) = (held, right);
        held.sort();
        right.sort();
        if held == right {
            Ok(())
        } else {
            Err(Fault::new(Kind::State, format!("holds {held:#?} instead of {right:#?}")))
        }
    }
}

fn of_reader(reader: usize, fault: &Fault) -> Fault {
    Fault::new(fault.kind, format!("reader {reader}: {fault}"))
}

/// A canonical text: large enough that patches are worth their base.
fn text(content: usize, notes: usize) -> String {
    let rows: Vec<String> = (1..=4)
        .map(|row| {
            let rank = (content + row) % 4 + 1;
            let mark = if content % 4 == row - 1 { content } else { 0 };
            format!(r#""{row}":{{"Mark":"{mark}","Name":"A competitor whose name does not change","Rank":"{rank}"}}"#)
        })
        .collect();
    let note = match notes {
        0 => String::new(),
        _ => {
            let notes: Vec<String> =
                (0..notes).map(|at| format!(r#""{at:06}":{{"Value":"note {at}"}}"#)).collect();
            format!(r#""Note":{{{}}},"#, notes.join(","))
        }
    };
    // Some rows come and go, so that patches remove.
    let rows = if content.is_multiple_of(5) { &rows[..3] } else { &rows[..] };
    format!(r#"{{"Competition":{{"Code":"{content}",{note}"Result":{{{}}}}}}}"#, rows.join(","))
}
