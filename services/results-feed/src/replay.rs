use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use domain::{DateTime, NaiveDate, Utc, Uuid};

use crate::document_type::UnknownName;

/// Highest speed of a replay: a day of 20 hours in 12 minutes.
pub const FASTEST: u32 = 100;

/// A range of a stream that is sent again into a stream of its own, in the same order and with the same pauses, divided by
/// its speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub replay_id: Uuid,
    /// Where it goes: `SYN2030-R<n>`.
    pub stream_id: String,
    /// Where it comes from.
    pub source_id: String,
    /// Only of this day; all where it is not given.
    pub logical_date: Option<NaiveDate>,
    /// The first entry that is looked at.
    pub from_seq: i64,
    /// And the last one.
    pub to_seq: i64,
    /// 1 to [`FASTEST`] times real time.
    pub speed: u32,
    /// Where it is.
    pub stage: Stage,
    /// Documents in the range when it was started.
    pub documents: i64,
    /// How many of them were sent again.
    pub replayed: i64,
    /// The entry that is looked at next.
    pub next_seq: i64,
    /// Who asked for it.
    pub started_by: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// When the last one was sent, or it was stopped.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Where a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The stream's documents of an earlier replay go.
    Clearing,
    /// Documents are sent.
    Running,
    /// All were sent.
    Done,
    /// Somebody stopped it.
    Stopped,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Clearing, Self::Running, Self::Done, Self::Stopped];

    /// The name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clearing => "clearing",
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or(UnknownName("must be a stage of a replay"))
    }
}

/// A document of the range as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Where it stands in the source.
    pub seq: i64,
    /// When it was taken.
    pub received_at: DateTime<Utc>,
    /// As it was sent.
    pub raw: Bytes,
}

/// When the documents of a replay are due: as far apart as they came, divided by the speed. After an interruption it begins
/// anew with the next document, so that none is hurried to make up for the time that was lost.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    first: DateTime<Utc>,
    speed: u32,
}

impl Pace {
    /// From the document that comes first.
    #[must_use]
    pub const fn new(first: DateTime<Utc>, speed: u32) -> Self {
        Self { first, speed }
    }

    /// How long after the first one a document is due. Clocks may have stepped back in between; then it is due at once.
    #[must_use]
    pub fn due(&self, received_at: DateTime<Utc>) -> Duration {
        let apart = (received_at - self.first).to_std().unwrap_or_default();
        apart / self.speed.max(1)
    }
}

/// A document with FeedFlag `T` in the place of what it has, and every other byte as it was; nothing where its root has no
/// such attribute.
#[must_use]
pub fn as_test(raw: &Bytes) -> Option<Bytes> {
    let (from, to) = feed_flag(raw)?;
    if &raw[from..to] == b"T" {
        return Some(raw.clone());
    }
    let mut changed = Vec::with_capacity(raw.len());
    changed.extend_from_slice(&raw[..from]);
    changed.push(b'T');
    changed.extend_from_slice(&raw[to..]);
    Some(Bytes::from(changed))
}

// Where the value of the root's FeedFlag begins and ends. The document was read when it was taken, so that it is well-formed.
fn feed_flag(raw: &[u8]) -> Option<(usize, usize)> {
    let mut at = find(raw, b"<OdfBody", prologue(raw))? + b"<OdfBody".len();
    loop {
        at += raw[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let name = raw[at..].iter().take_while(|byte| !b"=/> \t\r\n".contains(byte)).count();
        if name == 0 {
            return None;
        }
        let is_wanted = &raw[at..at + name] == b"FeedFlag";
        at += name;
        at += raw[at..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'=').count();
        let quote = *raw.get(at).filter(|byte| b"\"'".contains(byte))?;
        let length = raw[at + 1..].iter().position(|byte| *byte == quote)?;
        if is_wanted {
            return Some((at + 1, at + 1 + length));
        }
        at += length + 2;
    }
}

// Behind comments and instructions before the root, which may name anything.
fn prologue(raw: &[u8]) -> usize {
    let mut at = 0;
    while let Some(tag) = raw[at..].iter().position(|byte| *byte == b'<') {
        let tag = at + tag;
        let end: &[u8] = match &raw[tag..] {
            rest if rest.starts_with(b"<!--") => b"-->",
            rest if rest.starts_with(b"<?") => b"?>",
            _ => return tag,
        };
        match find(raw, end, tag) {
            Some(found) => at = found + end.len(),
            None => return raw.len(),
        }
    }
    raw.len()
}

fn find(raw: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    raw.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(text: &str) -> Option<String> {
        as_test(&Bytes::from(text.to_owned())).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn the_flag_of_the_root_becomes_t_and_nothing_else_moves() {
        let before = "<?xml version='1.0'?>\n<!-- <OdfBody FeedFlag=\"P\"> -->\n<OdfBody  Source='FeedFlag=\"P\"'\n FeedFlag = 'P' Version=\"1\"><a FeedFlag=\"P\"/></OdfBody>\r\n";
        let after = before.replace("FeedFlag = 'P'", "FeedFlag = 'T'");
        assert_eq!(changed(before), Some(after));
        assert_eq!(changed("<OdfBody FeedFlag=\"&#80;\"/>").as_deref(), Some("<OdfBody FeedFlag=\"T\"/>"));
        let test = "<OdfBody FeedFlag=\"T\"/>";
        assert_eq!(changed(test).as_deref(), Some(test));
    }

    #[test]
    fn a_root_without_the_flag_is_told() {
        for text in [
            "",
            "<OdfBody/>",
            "<OdfBody a=\"FeedFlag\"><b FeedFlag=\"P\"/></OdfBody>",
            "<!-- x",
            "<OdfBody FeedFlag",
        ] {
            assert_eq!(changed(text), None, "{text}");
        }
    }

    #[test]
    fn pauses_are_divided_by_the_speed() {
        let first = DateTime::UNIX_EPOCH;
        let later = first + domain::TimeDelta::seconds(50);
        assert_eq!(Pace::new(first, 1).due(later), Duration::from_secs(50));
        assert_eq!(Pace::new(first, 100).due(later), Duration::from_millis(500));
        assert_eq!(Pace::new(later, 1).due(first), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), tail in "[<OdfBy FeTlag='\"P/>!?-]{0,40}") {
            let mut raw = bytes;
            raw.extend_from_slice(b"<OdfBody ");
            raw.extend_from_slice(tail.as_bytes());
            let _ = as_test(&Bytes::from(raw));
        }
    }
}
