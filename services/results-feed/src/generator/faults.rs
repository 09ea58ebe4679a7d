use std::collections::{HashMap, HashSet, VecDeque};

use domain::NaiveDate;

use super::{
    Generated, Options,
    bodies::{self, Header},
    drafts::{Draft, Drafts, Moment},
    programme::DAY,
    random::Random,
    xml::Xml,
};
use crate::document_type::ResultStatus;

/// A unit has each fault with a chance of one in so many; the first one that can have all has all of them.
const ONE_IN: usize = 4;
/// More than a document has versions on a day: a keep-alive each second is 86,400.
const VERSIONS_A_DAY: u32 = 100_000;
/// Days after the first one that have versions of their own, so that no version outgrows 31 bits.
const MOST_DAYS: u32 = 20_000;
/// Versions that are live which a unit needs to have all faults.
const LIVE_FOR_ALL: usize = 4;

/// A mistake that senders make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A document comes twice.
    Duplicate,
    /// A version overtakes the one before.
    Reorder,
    /// A version never comes; this is the one behind it.
    Hole,
    /// Another content under a version that came.
    Conflict,
    /// A version is withdrawn.
    Invalidation,
    /// And replaced by a higher one.
    Correction,
    /// A live version comes after the official one.
    LateLive,
    /// Another system takes over, and repeats what was sent last.
    Failover,
    /// A document code of 33 characters.
    ShortRsc,
    /// A unit was put off, and its documents come after midnight, of the same logical day.
    MidnightRoll,
}

impl Fault {
    /// Its name in an index.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Hole => "hole",
            Self::Conflict => "conflict",
            Self::Invalidation => "invalidation",
            Self::Correction => "correction",
            Self::LateLive => "late-live",
            Self::Failover => "failover",
            Self::ShortRsc => "short-rsc",
            Self::MidnightRoll => "midnight-roll",
        }
    }
}

/// What becomes of a document in a feed that took everything before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expected {
    /// It is the newest version.
    Accepted,
    /// It was there.
    Duplicate,
    /// A newer one was there.
    Late,
    /// It is kept aside as a conflict of versions.
    Conflict,
    /// It is kept aside since its code is no RSC.
    InvalidRsc,
}

impl Expected {
    /// The outcome's name, as a sender is told.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Conflict | Self::InvalidRsc => "quarantined",
        }
    }

    /// The reason's name, as a sender is told; empty where nothing is wrong.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "VERSION_CONFLICT",
            Self::InvalidRsc => "RSC_INVALID(34)",
            _ => "",
        }
    }
}

/// Gives drafts their versions, and spoils some.
#[derive(Debug)]
pub struct Faults {
    drafts: Drafts,
    day: NaiveDate,
    day_number: u32,
    competition: String,
    feed_flag: &'static str,
    random: Option<Random>,
    versions: HashMap<(&'static str, String), u32>,
    units: HashMap<String, Unit>,
    failed_over: HashSet<String>,
    has_all: bool,
    begins: Option<i64>,
    ready: VecDeque<Generated>,
}

#[derive(Debug, Default)]
struct Unit {
    faults: HashSet<Fault>,
    reordered: Option<(Draft, u32)>,
    late: Option<(Draft, u32)>,
    is_behind_hole: bool,
}

impl Faults {
    /// Over drafts.
    #[must_use]
    pub fn new(drafts: Drafts, options: &Options) -> Self {
        Self {
            day: drafts.day(),
            day_number: drafts.day_number().min(MOST_DAYS),
            drafts,
            competition: options.competition.clone(),
            feed_flag: if options.test { "T" } else { "P" },
            random: options.faults.then(|| Random::new(options.seed ^ 0xbb67_ae85_84ca_a73b)),
            versions: HashMap::new(),
            units: HashMap::new(),
            failed_over: HashSet::new(),
            has_all: false,
            begins: None,
            ready: VecDeque::new(),
        }
    }

    fn take(&mut self, draft: Draft) {
        // A unit is of one day; what goes on has higher versions each day.
        let is_of_unit = matches!(draft.document_type, "DT_RESULT" | "DT_CURRENT");
        let before = if is_of_unit { 0 } else { self.day_number.saturating_mul(VERSIONS_A_DAY) };
        let version = self.versions.entry((draft.document_type, draft.code.clone())).or_insert(before);
        *version += 1;
        let version = *version;
        if self.random.is_none() || draft.moment == Moment::Other {
            let fault = (self.random.is_some() && draft.at >= DAY).then_some(Fault::MidnightRoll);
            return self.send(&draft, version, fault, Expected::Accepted);
        }
        let mut unit = self.units.remove(&draft.code).unwrap_or_default();
        self.spoil(&mut unit, draft.clone(), version);
        if draft.moment != Moment::Official {
            self.units.insert(draft.code, unit);
        }
    }

    fn spoil(&mut self, unit: &mut Unit, draft: Draft, version: u32) {
        let plain = (draft.at >= DAY).then_some(Fault::MidnightRoll);
        match draft.moment {
            Moment::StartList => {
                unit.faults = self.draw_faults();
                self.send(&draft, version, plain, Expected::Accepted);
                if unit.faults.contains(&Fault::Duplicate) {
                    self.send(&draft, version, Some(Fault::Duplicate), Expected::Duplicate);
                }
                if unit.faults.contains(&Fault::ShortRsc) {
                    self.send_short(&draft, version);
                }
            }
            Moment::Live(nth, of) => self.spoil_live(unit, draft, version, (nth, of)),
            Moment::Unofficial => {
                self.send(&draft, version, plain, Expected::Accepted);
                if unit.faults.contains(&Fault::Conflict) {
                    self.send(
                        &noted(&draft, "sent twice"),
                        version,
                        Some(Fault::Conflict),
                        Expected::Conflict,
                    );
                }
                if unit.faults.contains(&Fault::Failover) {
                    self.failed_over.insert(draft.sender.clone());
                    self.send(&draft, version, Some(Fault::Failover), Expected::Duplicate);
                }
            }
            Moment::Official => {
                self.send(&draft, version, plain, Expected::Accepted);
                if let Some((live, version)) = unit.late.take() {
                    let live = Draft { at: draft.at, ..live };
                    self.send(&live, version, Some(Fault::LateLive), Expected::Late);
                }
                if unit.faults.contains(&Fault::Invalidation) {
                    self.invalidate(&draft, version);
                }
            }
            Moment::Other => {}
        }
    }

    // First and second change places, the third is lost, the last one is held back.
    fn spoil_live(&mut self, unit: &mut Unit, draft: Draft, version: u32, (nth, of): (usize, usize)) {
        let has = |fault| unit.faults.contains(&fault);
        if nth == 1 && has(Fault::Reorder) {
            unit.reordered = Some((draft, version));
            return;
        }
        if nth == 3 && has(Fault::Hole) {
            unit.is_behind_hole = true;
            return;
        }
        if nth == of && of >= LIVE_FOR_ALL && has(Fault::LateLive) {
            unit.late = Some((draft, version));
            return;
        }
        let is_behind_hole = std::mem::take(&mut unit.is_behind_hole);
        let fault = is_behind_hole.then_some(Fault::Hole);
        let fault = fault.or((draft.at >= DAY).then_some(Fault::MidnightRoll));
        self.send(&draft, version, fault, Expected::Accepted);
        if let Some((first, version)) = unit.reordered.take() {
            self.send(&Draft { at: draft.at, ..first }, version, Some(Fault::Reorder), Expected::Late);
        }
    }

    fn draw_faults(&mut self) -> HashSet<Fault> {
        let kinds = [
            Fault::Duplicate,
            Fault::Reorder,
            Fault::Hole,
            Fault::Conflict,
            Fault::Invalidation,
            Fault::LateLive,
            Fault::Failover,
            Fault::ShortRsc,
        ];
        let has_all = std::mem::replace(&mut self.has_all, true);
        let Some(random) = &mut self.random else { return HashSet::new() };
        kinds.into_iter().filter(|_| random.below(ONE_IN) == 0 || !has_all).collect()
    }

    fn invalidate(&mut self, official: &Draft, version: u32) {
        let header = self.header(official, version);
        let document = bodies::document(&header, None);
        self.push(official, version, document, Some(Fault::Invalidation), Expected::Accepted);
        let corrected = noted(official, "corrected");
        let next = version + 1;
        self.versions.insert((official.document_type, official.code.clone()), next);
        self.send(&corrected, next, Some(Fault::Correction), Expected::Accepted);
    }

    fn send_short(&mut self, draft: &Draft, version: u32) {
        let short = Draft { code: draft.code.chars().take(33).collect(), ..draft.clone() };
        self.send(&short, version, Some(Fault::ShortRsc), Expected::InvalidRsc);
    }

    fn send(&mut self, draft: &Draft, version: u32, fault: Option<Fault>, expected: Expected) {
        let document = bodies::document(&self.header(draft, version), Some(&draft.body));
        self.push(draft, version, document, fault, expected);
    }

    fn header<'a>(&'a self, draft: &'a Draft, version: u32) -> Header<'a> {
        Header {
            competition: &self.competition,
            code: &draft.code,
            document_type: draft.document_type,
            version,
            status: draft.status.map_or("", ResultStatus::name),
            feed_flag: self.feed_flag,
            day: self.day,
            at: draft.at,
            source: format!(
                "SYN{}{}",
                draft.sender,
                if self.failed_over.contains(&draft.sender) { 2 } else { 1 }
            ),
        }
    }

    fn push(
        &mut self,
        draft: &Draft,
        version: u32,
        document: Vec<u8>,
        fault: Option<Fault>,
        expected: Expected,
    ) {
        let begins = *self.begins.get_or_insert(draft.at);
        self.ready.push_back(Generated {
            offset_ms: u64::try_from(draft.at - begins).unwrap_or_default(),
            document,
            document_type: draft.document_type,
            document_code: draft.code.clone(),
            version,
            status: draft.status,
            fault,
            expected,
        });
    }
}

impl Iterator for Faults {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        loop {
            if let Some(generated) = self.ready.pop_front() {
                return Some(generated);
            }
            let draft = self.drafts.next()?;
            self.take(draft);
        }
    }
}

fn noted(draft: &Draft, note: &str) -> Draft {
    let mut xml = Xml::default();
    xml.begin("Note").attribute("Type", "CORRECTION").attribute("Value", note).end().inside(&draft.body);
    Draft { body: xml.finish(), ..draft.clone() }
}
