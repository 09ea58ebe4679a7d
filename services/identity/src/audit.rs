//! What was done by whom, and the chain of seals that shows whether somebody changed it later. A seal is a MAC over the
//! records from one position to another and over the seal before it. Its key is derived from a secret that the database
//! holds sealed only, so that writing to the database alone forges none. Pure.

use aws_lc_rs::{digest, hmac};
use domain::{DateTime, Utc, Uuid};
use subtle::ConstantTimeEq as _;

use crate::keyring::Keyring;

/// A record as it is sealed: all but the hash of the network, which is forgotten after 90 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its id.
    pub audit_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// By which client.
    pub client_id: String,
    /// With which outcome.
    pub outcome: String,
    /// As PostgreSQL writes the JSON: keys in its own order, no white space of ours.
    pub detail: String,
}

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Counted from 1, without gaps.
    pub seal_no: i64,
    /// The first position that it covers: where the one before ends.
    pub from: i64,
    /// Behind the last one.
    pub to: i64,
    /// How many records.
    pub records: i64,
    /// Over all of that, the records and the MAC before.
    pub mac: Vec<u8>,
    /// When it was made.
    pub sealed_at: DateTime<Utc>,
}

/// The digest of records, taken up one after the other.
pub struct Digest {
    context: digest::Context,
    records: i64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { context: digest::Context::new(&digest::SHA256), records: 0 }
    }
}

impl Digest {
    /// Takes up the next record, in the order of position and id. Each field stands behind its length, so that no two
    /// records read alike.
    pub fn add(&mut self, record: &Sealed) {
        self.context.update(record.audit_id.as_bytes());
        self.context.update(&record.at.timestamp_micros().to_be_bytes());
        let Sealed { actor, action, subject, client_id, outcome, detail, .. } = record;
        for text in [actor, action, subject, client_id, outcome, detail] {
            self.context.update(&(text.len() as u64).to_be_bytes());
            self.context.update(text.as_bytes());
        }
        self.records += 1;
    }

    /// How many records were taken up.
    pub const fn records(&self) -> i64 {
        self.records
    }

    /// The seal of all of them up to a position, behind the last seal.
    pub fn seal(self, keys: &Keyring, last: Option<&Seal>, to: i64, now: DateTime<Utc>) -> Seal {
        let (seal_no, from) = last.map_or((1, 0), |last| (last.seal_no + 1, last.to));
        let mut seal = Seal { seal_no, from, to, records: self.records, mac: Vec::new(), sealed_at: now };
        seal.mac = self.mac(keys, &seal, last);
        seal
    }

    /// Whether a seal behind the last one is of exactly these records.
    pub fn fits(self, keys: &Keyring, last: Option<&Seal>, seal: &Seal) -> bool {
        self.records == seal.records && bool::from(self.mac(keys, seal, last).ct_eq(&seal.mac))
    }

    fn mac(self, keys: &Keyring, seal: &Seal, last: Option<&Seal>) -> Vec<u8> {
        let key = keys.oldest().derive("audit seal", "");
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
        for number in [seal.seal_no, seal.from, seal.to, seal.records, seal.sealed_at.timestamp_micros()] {
            context.update(&number.to_be_bytes());
        }
        context.update(last.map_or([0_u8; 32].as_slice(), |last| last.mac.as_slice()));
        context.update(self.context.finish().as_ref());
        context.sign().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::{BOTH, OLD};

    fn record(actor: &str, action: &str) -> Sealed {
        Sealed {
            audit_id: Uuid::from_u128(7),
            at: "2026-07-24T10:00:00Z".parse().unwrap(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: String::new(),
            client_id: String::new(),
            outcome: "done".to_owned(),
            detail: "{}".to_owned(),
        }
    }

    fn digest(records: &[Sealed]) -> Digest {
        let mut digest = Digest::default();
        records.iter().for_each(|record| digest.add(record));
        digest
    }

    #[test]
    fn a_seal_fits_its_records_its_place_and_its_key_only() {
        let keys = Keyring::parse(OLD).unwrap();
        let now = "2026-07-24T10:00:01Z".parse().unwrap();
        let records = [record("alice", "sign_in"), record("bob", "sign_in")];
        let first = digest(&records[..1]).seal(&keys, None, 5, now);
        let second = digest(&records).seal(&keys, Some(&first), 9, now);
        assert_eq!((second.seal_no, second.from, second.to, second.records), (2, 5, 9, 2));
        let fits = |records: &[Sealed], last, seal| digest(records).fits(&keys, last, seal);
        assert!(fits(&records, Some(&first), &second));
        assert!(!fits(&records[..1], Some(&first), &second));
        assert!(!fits(&[records[1].clone(), records[0].clone()], Some(&first), &second));
        assert!(!fits(&[record("alicesign", "_in"), records[1].clone()], Some(&first), &second));
        assert!(!fits(&records, None, &second));
        assert!(!fits(&records, Some(&second), &second));
        let later = Seal { to: 10, ..second.clone() };
        assert!(!fits(&records, Some(&first), &later));
        let other = Keyring::parse(BOTH.lines().next().unwrap()).unwrap();
        assert!(!digest(&records).fits(&other, Some(&first), &second));
    }
}
