use std::sync::OnceLock;

use crate::{
    entitlement::{Entitlement, Rule, RuleText},
    fanout::{Filter, Mode},
    header::DocumentKey,
};

use super::{random::Random, truth::Standing};

/// Processes over the one log.
pub const REPLICAS: usize = 2;
/// Readers of a run.
pub const READERS: usize = 3;
/// Clients with rights of their own; the first one is `public`.
pub const CLIENTS: [&str; 2] = ["public", "partner"];

/// Documents of a run: code and type. One of a unit each, and those that are never left out.
pub const DOCUMENTS: [(&str, &str); 7] = [
    ("ATHM100M--------------FNL-000100--", "DT_RESULT"),
    ("ATHM100M--------------FNL-000100--", "DT_CURRENT"),
    ("JUDW48KG--------------FNL-000100--", "DT_RESULT"),
    ("ATH-------------------------------", "DT_SCHEDULE_UPDATE"),
    ("ATHM100M--------------------------", "DT_MEDALLISTS"),
    ("GLO-------------------------------", "DT_MEDALS"),
    ("1930101", "DT_BIO_PAR"),
];

/// A rule: prefix, types, statuses, and for how many minutes it holds back what it allows.
pub type Allowed = (&'static str, &'static [&'static str], &'static [&'static str], u32);

/// Rules that a client may get.
pub const RULES: [&[Allowed]; 8] = [
    &[("", &[], &[], 0)],
    &[("", &[], &["OFFICIAL", "NONE"], 0)],
    &[("ATH", &[], &[], 0)],
    &[("", &["DT_RESULT", "DT_SCHEDULE_UPDATE"], &["LIVE", "UNOFFICIAL", "OFFICIAL", "NONE"], 0)],
    &[("JUD", &["DT_RESULT"], &["OFFICIAL", "PROTESTED"], 0), ("", &["DT_BIO_PAR"], &[], 0)],
    &[],
    &[("", &[], &["OFFICIAL", "UNOFFICIAL", "NONE"], 10), ("", &[], &["START_LIST", "LIVE"], 0)],
    &[("", &[], &[], 25), ("ATH", &[], &[], 10), ("JUD", &[], &["OFFICIAL"], 0)],
];

/// Who reads in a run, and how; from its seed alone.
#[derive(Debug, Clone)]
pub struct Cast {
    /// One of [`RULES`] for each client at the start.
    pub rules: [usize; CLIENTS.len()],
    /// The readers.
    pub readers: [Part; READERS],
    /// Entries that a server looks at in one go.
    pub batch: usize,
    /// Entries that a process keeps in memory.
    pub ring: usize,
}

/// A reader.
#[derive(Debug, Clone)]
pub struct Part {
    /// Index in [`CLIENTS`]; none reads as the public.
    pub client: Option<usize>,
    /// Any of them; none means all.
    pub prefixes: Vec<&'static str>,
    /// Which versions.
    pub mode: Mode,
    /// Goes back to what it held at its cursor; the other kind keeps all and passes over what it knows.
    pub is_careful: bool,
}

impl Cast {
    /// The same for the same seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let part = |random: &mut Random| Part {
            client: random.once_in(2).then_some(1),
            prefixes: random
                .pick(&[&[][..], &[], &["ATH"], &["JUD", "GLO"], &["ATHM100M--------------FNL"]])
                .to_vec(),
            mode: if random.once_in(3) { Mode::Every } else { Mode::State },
            is_careful: random.once_in(2),
        };
        let readers = [part(&mut random), part(&mut random), part(&mut random)];
        Self {
            rules: [random.pick(&[0, 0, 1, 2, 3, 5, 6, 7]), random.below(RULES.len())],
            readers,
            batch: random.pick(&[1, 2, 5, 256]),
            ring: random.pick(&[0, 2, 6, 100]),
        }
    }
}

impl Part {
    /// What it asks for.
    pub fn filter(&self) -> Filter {
        Filter::new(self.prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect())
    }

    /// As whom it reads.
    pub fn client_id(&self) -> &'static str {
        CLIENTS[self.client.unwrap_or_default()]
    }

    /// Whether nothing is left out for it.
    pub fn hears_all(&self) -> bool {
        self.mode == Mode::Every
    }

    /// Indices of the clients whose rules it reads under.
    pub fn clients(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.client)
    }

    /// The plain reading of the rules: whether one of the allowed things is this one, and may be seen when embargoes up to
    /// a minute are over.
    pub fn may_see(
        &self,
        rules: &[usize; CLIENTS.len()],
        document: usize,
        standing: &Standing,
        released_until: i64,
    ) -> bool {
        let code = DOCUMENTS[document].0;
        let wanted = self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| code.starts_with(prefix));
        // What came when its time had come was never held back.
        let now = released_until.max(standing.received);
        wanted
            && self.clients().any(|client| {
                opens_at(rules[client], document, standing).into_iter().any(|minute| minute <= now)
            })
    }
}

/// The minutes at which rules open a version.
pub fn opens_at(rules: usize, document: usize, standing: &Standing) -> Vec<i64> {
    let (code, document_type) = DOCUMENTS[document];
    let status = standing.status.unwrap_or("NONE");
    let meets = |(prefix, types, statuses, _): &&Allowed| {
        code.starts_with(prefix)
            && (types.is_empty() || types.contains(&document_type))
            && (statuses.is_empty() || statuses.contains(&status))
    };
    let opens = |(_, _, _, minutes): &Allowed| match minutes {
        0 => 0,
        minutes => standing.since + i64::from(*minutes),
    };
    RULES[rules].iter().filter(meets).map(opens).collect()
}

/// The key of a document.
pub fn key(document: usize) -> DocumentKey {
    let (code, document_type) = DOCUMENTS[document];
    DocumentKey {
        competition_code: "SYN2030".to_owned(),
        document_code: code.to_owned(),
        document_subcode: String::new(),
        document_type: document_type.to_owned(),
        document_subtype: String::new(),
        language: "ENG".to_owned(),
    }
}

/// What a client may read under one of [`RULES`]; parsed once, since runs are many.
pub fn entitlement(client: usize, rules: usize, version: i64) -> Entitlement {
    static PARSED: OnceLock<Vec<Vec<Rule>>> = OnceLock::new();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let parse = |(prefix, types, statuses, minutes): &Allowed| {
        let text = RuleText {
            prefix: (*prefix).to_owned(),
            types: owned(types),
            statuses: owned(statuses),
            embargo_minutes: *minutes,
            ..RuleText::default()
        };
        Rule::parse(text).unwrap()
    };
    let parsed = PARSED.get_or_init(|| RULES.iter().map(|rules| rules.iter().map(parse).collect()).collect());
    Entitlement { client_id: CLIENTS[client].to_owned(), version, rules: parsed[rules].clone() }
}
