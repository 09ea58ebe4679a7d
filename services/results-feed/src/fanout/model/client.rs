use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::{cursor::Cursor, lane::LANES};

use super::{
    connection::Wire,
    fault::{Fault, Kind},
};

/// Cursors that a reader remembers.
const MOST_SAVED: usize = 6;

/// A reader as the guide tells it to be, on what came over the wire alone.
#[derive(Debug, Clone, Default)]
pub struct Client {
    is_careful: bool,
    kept: Kept,
    saved: VecDeque<(String, Kept)>,
    place: Place,
}

/// What a reader keeps between connections.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Documents by handle.
    pub documents: BTreeMap<i64, Held>,
    /// The newest entry that was taken of each document, also of those that are gone.
    newest: BTreeMap<i64, i64>,
    /// Where its snapshot was complete; none while it has none.
    pub since: Option<i64>,
    /// Entries of which it heard.
    pub heard: BTreeSet<i64>,
}

/// A document that a reader holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its code.
    pub code: String,
    /// Its type.
    pub document_type: String,
    /// Its version.
    pub version: i64,
    /// Its body.
    pub body: Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Away,
    /// Nothing came yet.
    Greeted(Option<[Last; LANES]>),
    Snapshot,
    /// By lane, the `s` of the frame before.
    Following([Last; LANES]),
}

/// What the next frame of a lane may name as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The frame that came before on this connection.
    Exactly(i64),
    /// None came yet: nothing above the cursor.
    AtMost(i64),
}

/// What a frame shows of a document, for those who judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its code.
    pub code: String,
    /// Its type.
    pub document_type: String,
    /// Its status.
    pub status: Option<String>,
    /// Of the entry that brought it.
    pub seq: i64,
}

impl Client {
    /// One of either kind.
    pub fn new(is_careful: bool) -> Self {
        Self { is_careful, ..Self::default() }
    }

    /// What it keeps.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether its snapshot is complete.
    pub const fn is_following(&self) -> bool {
        matches!(self.place, Place::Following(_))
    }

    /// Connects without a cursor: what it held is void.
    pub fn begin(&mut self) {
        self.kept = Kept::default();
        self.saved.clear();
        self.place = Place::Greeted(None);
    }

    /// Connects with the newest cursor but so many; gives it.
    pub fn resume(&mut self, ago: usize) -> Option<String> {
        let at = self.saved.len().checked_sub(1)?.saturating_sub(ago);
        let (text, kept) = self.saved.get(at)?.clone();
        if self.is_careful || self.kept.since.is_none() {
            self.kept = kept;
            self.saved.truncate(at + 1);
        }
        let cursor: Cursor = text.parse().ok()?;
        self.place = Place::Greeted(Some(cursor.at.map(Last::AtMost)));
        Some(text)
    }

    /// Its connection is gone.
    pub fn lose_connection(&mut self) {
        self.place = Place::Away;
    }

    /// Takes a frame.
    pub fn take(&mut self, Wire { id, json, .. }: &Wire) -> Result<Option<Shown>, Fault> {
        let frame: Value =
            serde_json::from_slice(json).map_err(|error| Fault::new(Kind::Protocol, error.to_string()))?;
        let shown = self.follow(&frame, id.is_some())?;
        if let Some(id) = id {
            if !self.is_following() {
                return Err(Fault::new(
                    Kind::Cursor,
                    format!("a cursor before the snapshot is complete: {frame}"),
                ));
            }
            self.saved.push_back((id.clone(), self.kept.clone()));
            if self.saved.len() > MOST_SAVED {
                self.saved.pop_front();
            }
        }
        Ok(shown)
    }

    fn follow(&mut self, frame: &Value, has_id: bool) -> Result<Option<Shown>, Fault> {
        match (frame["t"].as_str().unwrap_or_default(), self.place) {
            ("hello", Place::Greeted(None)) => self.place = Place::Snapshot,
            ("hello", Place::Greeted(Some(at))) => self.place = Place::Following(at),
            ("snap" | "ref", Place::Snapshot) => {
                self.hold(frame)?;
                return Ok(Some(self.shown(frame)?));
            }
            ("live", Place::Snapshot) if has_id => {
                let cursor: Cursor = text(frame, "cursor").parse().map_err(|_| protocol(frame))?;
                self.kept.since = Some(cursor.lowest());
                self.kept.heard.clear();
                self.place = Place::Following(cursor.at.map(Last::AtMost));
            }
            ("full" | "ref" | "delta" | "gone" | "superseded" | "skip", Place::Following(mut last)) => {
                let (previous, seq) = (number(frame, "p")?, number(frame, "s")?);
                let lane =
                    frame["l"].as_u64().and_then(|lane| usize::try_from(lane).ok()).unwrap_or_default();
                let of_lane = last.get_mut(lane).ok_or_else(|| protocol(frame))?;
                let is_right = match *of_lane {
                    Last::Exactly(last) => previous == last,
                    Last::AtMost(last) => previous <= last,
                };
                // A change of rights is one place, whatever it gives and takes.
                let is_on = seq > previous || (seq == previous && *of_lane == Last::Exactly(seq));
                if !is_right || !is_on {
                    return Err(Fault::new(
                        Kind::Chain,
                        format!("the frame before was {of_lane:?}: {frame}"),
                    ));
                }
                *of_lane = Last::Exactly(seq);
                self.place = Place::Following(last);
                if frame["t"] == "skip" {
                    return Ok(None);
                }
                self.kept.heard.insert(seq);
                return self.change(frame);
            }
            // No frame of a lane.
            ("hb", Place::Following(_)) => {}
            ("reset", Place::Snapshot | Place::Following(_)) => {
                self.kept = Kept::default();
                self.place = Place::Snapshot;
            }
            _ => return Err(protocol(frame)),
        }
        Ok(None)
    }

    fn change(&mut self, frame: &Value) -> Result<Option<Shown>, Fault> {
        let (handle, seq) = (number(frame, "k")?, number(frame, "s")?);
        let shows = frame["t"] != "gone" && frame["t"] != "superseded";
        if self.kept.newest.get(&handle).is_some_and(|newest| *newest >= seq) {
            // It came before a loss.
            return Ok(None);
        }
        match frame["t"].as_str() {
            Some("delta") => {
                let base = number(frame, "bv")?;
                let held = self.kept.documents.get_mut(&handle).filter(|held| held.version == base);
                let Some(held) = held else {
                    return Err(Fault::new(Kind::Patch, format!("does not hold that version: {frame}")));
                };
                merge(&mut held.body, &frame["d"]);
                held.version = number(frame, "v")?;
            }
            Some("gone" | "superseded") => {
                self.kept.documents.remove(&handle);
            }
            _ => self.hold(frame)?,
        }
        self.kept.newest.insert(handle, seq);
        if shows { self.shown(frame).map(Some) } else { Ok(None) }
    }

    fn hold(&mut self, frame: &Value) -> Result<(), Fault> {
        let held = Held {
            code: text(&frame["key"], "document_code").to_owned(),
            document_type: text(&frame["key"], "document_type").to_owned(),
            version: number(frame, "v")?,
            body: frame["b"].clone(),
        };
        self.kept.newest.insert(number(frame, "k")?, number(frame, "s")?);
        self.kept.documents.insert(number(frame, "k")?, held);
        Ok(())
    }

    fn shown(&self, frame: &Value) -> Result<Shown, Fault> {
        let (code, document_type) = match frame.get("key") {
            Some(key) => (text(key, "document_code").to_owned(), text(key, "document_type").to_owned()),
            None => {
                let held = self.kept.documents.get(&number(frame, "k")?);
                let held =
                    held.ok_or_else(|| Fault::new(Kind::Patch, format!("holds no such document: {frame}")))?;
                (held.code.clone(), held.document_type.clone())
            }
        };
        let status = frame["st"].as_str().map(str::to_owned);
        Ok(Shown { code, document_type, status, seq: number(frame, "s")? })
    }
}

/// RFC 7396, written a second time.
fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = document else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

fn protocol(frame: &Value) -> Fault {
    Fault::new(Kind::Protocol, format!("out of place: {frame}"))
}

fn text<'a>(frame: &'a Value, name: &str) -> &'a str {
    frame[name].as_str().unwrap_or_default()
}

fn number(frame: &Value, name: &str) -> Result<i64, Fault> {
    frame[name].as_i64().ok_or_else(|| Fault::new(Kind::Protocol, format!("no {name}: {frame}")))
}
