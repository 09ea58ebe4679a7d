//! A sharing agreement: what a recipient may receive, for which purposes, when. It is signed configuration, proposed by
//! one person and activated by another.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ConsentKey, DateTime, Purpose, TimeDelta, Utc, Uuid};

/// Fields of one agreement.
pub const MOST_FIELDS: usize = 200;

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its id.
    pub agreement_id: Uuid,
    /// Who receives.
    pub recipient: String,
    /// What each row needs, all of them.
    pub purposes: Vec<ConsentKey>,
    /// What each field needs beside the row's purposes, by the recipient's field name.
    pub fields: BTreeMap<String, Vec<ConsentKey>>,
    /// Why it is lawful.
    pub legal_basis: LegalBasis,
    /// From when.
    pub not_before: DateTime<Utc>,
    /// Until when.
    pub not_after: DateTime<Utc>,
    /// Hex SHA-256 of the notices on which a consent counts; empty means any.
    pub accepted_notices: BTreeSet<String>,
    /// What becomes of the data when it ends.
    pub on_end: OnEnd,
}

/// Why sharing is lawful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegalBasis {
    /// The person said yes.
    Consent,
    /// Needed for a contract with the person.
    Contract,
    /// The recipient works on our behalf.
    Entrusted,
    /// The law demands it.
    Duty,
}

/// What becomes of shared data at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEnd {
    /// The recipient may keep it.
    Keep,
    /// It is ceased.
    Delete,
}

/// Where an agreement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for a second person.
    Proposed,
    /// In force.
    Active,
    /// Held up: only ceases go out.
    Suspended,
    /// Over.
    Ended,
}

/// An agreement with its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// What was signed.
    pub claims: Claims,
    /// SHA-256 of the signed text.
    pub sha256: [u8; 32],
    /// Where it stands.
    pub state: State,
    /// Subject of the token of whoever proposed it.
    pub proposed_by: String,
    /// Subject of the token of whoever activated it.
    pub activated_by: Option<String>,
}

/// Why a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Whoever proposed it cannot activate it.
    SamePerson,
    /// Its window is over.
    WindowOver,
    /// Not from where it stands.
    State(State),
}

impl Claims {
    /// The rules that hold beyond the form of each claim: (claim, rule).
    #[must_use]
    pub fn check(&self) -> Option<(&'static str, &'static str)> {
        let own_recipient =
            |key: &ConsentKey| key.recipient().is_empty() || key.recipient() == self.recipient;
        let fields = || self.fields.values().flatten();
        if self.legal_basis == LegalBasis::Consent
            && !self.purposes.iter().any(|key| key.purpose().needs_consent())
        {
            return Some(("purposes", "must name a purpose that needs consent, since the basis is consent"));
        }
        if self.not_after <= self.not_before {
            return Some(("not_after", "must be later than not_before"));
        }
        if self.not_after - self.not_before > TimeDelta::days(3_653) {
            return Some(("not_after", "must be at most ten years after not_before"));
        }
        if self.fields.is_empty() || self.fields.len() > MOST_FIELDS {
            return Some(("fields", "must name 1 to 200 fields"));
        }
        if !self.purposes.iter().chain(fields()).all(own_recipient) {
            return Some(("purposes", "must not name another recipient than the agreement's"));
        }
        None
    }
}

impl Agreement {
    /// A new one.
    #[must_use]
    pub fn propose(claims: Claims, sha256: [u8; 32], by: &str) -> Self {
        Self { claims, sha256, state: State::Proposed, proposed_by: by.to_owned(), activated_by: None }
    }

    /// Puts it in force, for the first time or after a suspension. True when that changed something.
    ///
    /// # Errors
    /// The same person, a window that is over, an ended agreement.
    pub fn activate(&mut self, by: &str, now: DateTime<Utc>) -> Result<bool, Refusal> {
        match self.state {
            State::Active => return Ok(false),
            State::Ended => return Err(Refusal::State(State::Ended)),
            State::Proposed | State::Suspended => {}
        }
        if self.proposed_by == by {
            return Err(Refusal::SamePerson);
        }
        if now >= self.claims.not_after {
            return Err(Refusal::WindowOver);
        }
        self.state = State::Active;
        self.activated_by = Some(by.to_owned());
        Ok(true)
    }

    /// Holds it up. True when that changed something.
    ///
    /// # Errors
    /// One that was never in force, or is over.
    pub fn suspend(&mut self) -> Result<bool, Refusal> {
        match self.state {
            State::Suspended => Ok(false),
            State::Active => {
                self.state = State::Suspended;
                Ok(true)
            }
            other => Err(Refusal::State(other)),
        }
    }

    /// Ends it. True when that changed something.
    pub fn end(&mut self) -> bool {
        let changed = self.state != State::Ended;
        self.state = State::Ended;
        changed
    }
}

/// Reads a purpose as agreements spell it: `ioc_newsletter`, `partner_offers(ioc)`.
///
/// # Errors
/// The rule that the text breaks.
pub fn parse_key(text: &str) -> Result<ConsentKey, domain::InvalidValue> {
    let (purpose, recipient) = match text.split_once('(') {
        None => (text, ""),
        Some((purpose, rest)) => {
            let wrong = domain::InvalidValue { rule: "must end with the recipient in brackets" };
            (purpose, rest.strip_suffix(')').ok_or(wrong)?)
        }
    };
    ConsentKey::new(purpose.parse::<Purpose>()?, recipient)
}

impl LegalBasis {
    /// Its name in claims.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::Entrusted => "entrusted",
            Self::Duty => "duty",
        }
    }

    /// The basis of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let all = [Self::Consent, Self::Contract, Self::Entrusted, Self::Duty];
        all.into_iter().find(|basis| basis.name() == name)
    }
}

impl OnEnd {
    /// The choice of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "keep" => Some(Self::Keep),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl State {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let all = [Self::Proposed, Self::Active, Self::Suspended, Self::Ended];
        all.into_iter().find(|state| state.name() == name)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    pub fn claims() -> Claims {
        let key = |text| parse_key(text).unwrap();
        let fields = [("Email", vec![]), ("FirstName", vec![key("partner_offers(ioc)")])];
        Claims {
            agreement_id: Uuid::from_u128(7),
            recipient: "ioc".to_owned(),
            purposes: vec![key("ioc_newsletter")],
            fields: fields.into_iter().map(|(name, keys)| (name.to_owned(), keys)).collect(),
            legal_basis: LegalBasis::Consent,
            not_before: at(0),
            not_after: at(1_000_000),
            accepted_notices: BTreeSet::new(),
            on_end: OnEnd::Delete,
        }
    }

    #[test]
    fn a_second_person_activates() {
        let mut agreement = Agreement::propose(claims(), [0; 32], "chie");
        assert_eq!(agreement.activate("chie", at(1)), Err(Refusal::SamePerson));
        assert_eq!(agreement.activate("daniel", at(1)), Ok(true));
        assert_eq!(agreement.activate("daniel", at(2)), Ok(false));
        assert_eq!(agreement.suspend(), Ok(true));
        assert_eq!(agreement.activate("chie", at(3)), Err(Refusal::SamePerson), "after a suspension as well");
        assert_eq!(agreement.activate("daniel", at(3)), Ok(true));
        assert!(agreement.end());
        assert_eq!(agreement.activate("daniel", at(4)), Err(Refusal::State(State::Ended)));
        assert_eq!(agreement.suspend(), Err(Refusal::State(State::Ended)));
    }

    #[test]
    fn one_whose_window_is_over_is_not_activated() {
        let mut agreement = Agreement::propose(claims(), [0; 32], "chie");
        assert_eq!(agreement.activate("daniel", at(1_000_000)), Err(Refusal::WindowOver));
        assert_eq!(agreement.state, State::Proposed);
    }

    #[test]
    fn claims_that_contradict_themselves_are_named() {
        assert_eq!(claims().check(), None);
        let wrong = [
            ("purposes", Claims { purposes: vec![], ..claims() }),
            ("purposes", Claims { purposes: vec![parse_key("service").unwrap()], ..claims() }),
            ("purposes", Claims { recipient: "other".to_owned(), ..claims() }),
            ("not_after", Claims { not_after: at(0), ..claims() }),
            ("not_after", Claims { not_after: at(400_000_000), ..claims() }),
            ("fields", Claims { fields: BTreeMap::new(), ..claims() }),
        ];
        for (claim, claims) in wrong {
            assert_eq!(claims.check().map(|(claim, _)| claim), Some(claim));
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for text in ["ioc_newsletter", "partner_offers(ioc)", "profiling"] {
            assert_eq!(parse_key(text).unwrap().to_string(), text);
        }
        for wrong in
            ["", "partner_offers", "partner_offers(", "partner_offers()", "profiling(ioc)", "x(ioc)", "(ioc)"]
        {
            assert!(parse_key(wrong).is_err(), "{wrong}");
        }
    }
}
