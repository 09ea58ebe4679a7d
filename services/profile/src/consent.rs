use std::collections::BTreeMap;

use domain::{ConsentKey, DateTime, ProfileId, Purpose, TimeDelta, Utc, Uuid};

/// All answers of one person, newest per purpose and recipient. Records are only ever added.
#[derive(Debug, Clone)]
pub struct ConsentLedger {
    /// Whose.
    pub profile_id: ProfileId,
    /// Raised by each change.
    pub version: i64,
    /// The newest answer of each key.
    pub heads: BTreeMap<ConsentKey, Head>,
}

/// The newest answer for one purpose and recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the person said.
    pub status: Status,
    /// Until when a given consent holds.
    pub valid_until: Option<DateTime<Utc>>,
    /// The record that says so.
    pub record_id: Uuid,
    /// Hash of the words that were shown; none for an answer that needs none.
    pub notice_sha256: Option<[u8; 32]>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a person said. Whoever said nothing is `unknown` on the wire, and that is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Given,
    /// No, never given before.
    Refused,
    /// Not any more.
    Withdrawn,
}

/// The words that were shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Version of the text.
    pub version: u32,
    /// ja, en, fr.
    pub language: String,
    /// SHA-256 of the text.
    pub sha256: [u8; 32],
}

/// One answer, as it is to be recorded.
#[derive(Debug, Clone)]
pub struct Answer {
    /// About what.
    pub key: ConsentKey,
    /// What the person says.
    pub status: Status,
    /// The published notice that was shown; `given` needs one.
    pub notice: Option<Notice>,
}

/// Where an answer came from.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Channel, page and form.
    pub method: String,
    /// The client that recorded it.
    pub client_id: String,
}

/// One line of the ledger, with the fields of ISO/IEC TS 27560:2023.
#[derive(Debug, Clone)]
pub struct ConsentRecord {
    /// Its id.
    pub record_id: Uuid,
    /// About what.
    pub key: ConsentKey,
    /// What the person said.
    pub status: Status,
    /// The words that were shown.
    pub notice: Option<Notice>,
    /// Where it came from.
    pub evidence: Evidence,
    /// When.
    pub at: DateTime<Utc>,
    /// Until when it holds.
    pub valid_until: Option<DateTime<Utc>>,
}

/// What is fixed about a purpose.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Who is responsible for the data.
    pub controller: &'static str,
    /// Legal basis.
    pub lawful_basis: &'static str,
    /// How long an answer holds.
    pub validity: TimeDelta,
}

/// The terms of a purpose. Consents are asked for again after two years, as data protection authorities advise.
#[must_use]
pub const fn terms(purpose: Purpose) -> Terms {
    let controller = match purpose {
        Purpose::IocNewsletter => "ioc",
        _ => "committee",
    };
    let lawful_basis = if purpose.needs_consent() { "consent" } else { "contract" };
    Terms { controller, lawful_basis, validity: TimeDelta::days(730) }
}

/// A consent that is asked for without the words that were shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeMissing(pub ConsentKey);

impl ConsentLedger {
    /// The ledger of a person who has said nothing yet.
    #[must_use]
    pub const fn empty(profile_id: ProfileId) -> Self {
        Self { profile_id, version: 0, heads: BTreeMap::new() }
    }

    /// Records answers. A withdrawal is always taken; an answer that repeats the head adds nothing, but for a consent
    /// that is given again, which starts its validity anew.
    ///
    /// # Errors
    /// A consent without its notice; then nothing is recorded.
    pub fn record(
        &mut self,
        answers: Vec<(Uuid, Answer)>,
        evidence: &Evidence,
        now: DateTime<Utc>,
    ) -> Result<Vec<ConsentRecord>, NoticeMissing> {
        if let Some((_, answer)) =
            answers.iter().find(|(_, answer)| answer.status == Status::Given && answer.notice.is_none())
        {
            return Err(NoticeMissing(answer.key.clone()));
        }
        let mut records = Vec::new();
        for (record_id, mut answer) in answers {
            answer.status = self.meant(&answer);
            if self.repeats(&answer) {
                continue;
            }
            let record = ConsentRecord::new(record_id, answer, evidence.clone(), now);
            self.heads.insert(record.key.clone(), record.head());
            records.push(record);
        }
        if !records.is_empty() {
            self.version += 1;
        }
        Ok(records)
    }

    /// Whether this purpose is permitted at this time: only a given, valid consent permits; silence does not.
    #[must_use]
    pub fn permits(&self, key: &ConsentKey, at: DateTime<Utc>) -> bool {
        !key.purpose().needs_consent()
            || self.heads.get(key).is_some_and(|head| {
                head.status == Status::Given && head.valid_until.is_none_or(|until| at < until)
            })
    }

    // Saying no to what was given is a withdrawal, whatever the form called it.
    fn meant(&self, answer: &Answer) -> Status {
        let given = self.heads.get(&answer.key).is_some_and(|head| head.status == Status::Given);
        match answer.status {
            Status::Refused if given => Status::Withdrawn,
            other => other,
        }
    }

    fn repeats(&self, answer: &Answer) -> bool {
        self.heads
            .get(&answer.key)
            .is_some_and(|head| head.status == answer.status && answer.status != Status::Given)
    }
}

impl ConsentRecord {
    fn new(record_id: Uuid, answer: Answer, evidence: Evidence, now: DateTime<Utc>) -> Self {
        let valid_until =
            (answer.status == Status::Given).then(|| now + terms(answer.key.purpose()).validity);
        Self {
            record_id,
            key: answer.key,
            status: answer.status,
            notice: answer.notice,
            evidence,
            at: now,
            valid_until,
        }
    }

    fn head(&self) -> Head {
        Head {
            status: self.status,
            valid_until: self.valid_until,
            record_id: self.record_id,
            notice_sha256: self.notice.as_ref().map(|notice| notice.sha256),
            at: self.at,
        }
    }
}

impl Status {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Given, Self::Refused, Self::Withdrawn].into_iter().find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ConsentKey {
        ConsentKey::new(Purpose::CommitteeNewsletter, "").unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn answer(status: Status) -> (Uuid, Answer) {
        let notice = Notice { version: 1, language: "ja".to_owned(), sha256: [7; 32] };
        (domain::new_id(), Answer { key: key(), status, notice: Some(notice) })
    }

    fn evidence() -> Evidence {
        Evidence { method: "portal /account/consents".to_owned(), client_id: "portal".to_owned() }
    }

    #[test]
    fn silence_is_no() {
        let ledger = ConsentLedger::empty(ProfileId::new());
        assert!(!ledger.permits(&key(), at(0)));
        let service = ConsentKey::new(Purpose::Service, "").unwrap();
        assert!(ledger.permits(&service, at(0)), "what a person asked for needs no consent");
    }

    #[test]
    fn a_consent_without_its_notice_is_refused() {
        let mut ledger = ConsentLedger::empty(ProfileId::new());
        let bare = Answer { notice: None, ..answer(Status::Given).1 };
        assert!(ledger.record(vec![(domain::new_id(), bare)], &evidence(), at(0)).is_err());
        assert_eq!(ledger.version, 0);
    }

    #[test]
    fn a_given_consent_ends_with_its_validity() {
        let mut ledger = ConsentLedger::empty(ProfileId::new());
        ledger.record(vec![answer(Status::Given)], &evidence(), at(0)).unwrap();
        let end = at(0) + terms(Purpose::CommitteeNewsletter).validity;
        assert!(ledger.permits(&key(), end - TimeDelta::seconds(1)));
        assert!(!ledger.permits(&key(), end));
    }

    #[test]
    fn no_to_what_was_given_is_a_withdrawal() {
        let mut ledger = ConsentLedger::empty(ProfileId::new());
        ledger.record(vec![answer(Status::Given)], &evidence(), at(0)).unwrap();
        let records = ledger.record(vec![answer(Status::Refused)], &evidence(), at(1)).unwrap();
        assert_eq!(records[0].status, Status::Withdrawn);
        assert!(ledger.record(vec![answer(Status::Withdrawn)], &evidence(), at(2)).unwrap().is_empty());
    }

    proptest! {
        // A naive oracle: the last answer decides.
        #[test]
        fn the_last_answer_decides(answers in proptest::collection::vec(0_u8..3, 0..20)) {
            let mut ledger = ConsentLedger::empty(ProfileId::new());
            for (step, status) in answers.iter().enumerate() {
                let status = [Status::Given, Status::Refused, Status::Withdrawn][usize::from(*status)];
                let at = at(i64::try_from(step).unwrap());
                ledger.record(vec![answer(status)], &evidence(), at).unwrap();
            }
            let expected = answers.last() == Some(&0);
            prop_assert_eq!(ledger.permits(&key(), at(100)), expected);
        }
    }
}
