use super::*;
use crate::{
    agreement::tests::at,
    gate::tests::{ioc_agreement, subject},
    gate::{Held, Question, Verdict, decide},
    keys::Kek,
    mapping::ioc,
};

pub fn keys() -> DestinationKeys {
    Kek::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        .unwrap()
        .destination(domain::Uuid::from_u128(1))
        .unwrap()
}

/// The row of a person with these consents, of whom the recipient holds these fields.
pub fn row_of(person: &Subject, held: &[&str]) -> Result<Row, Unfit> {
    let (agreement, mapping, keys) = (ioc_agreement(), ioc::mapping().unwrap(), keys());
    let held = Held { fields: held.iter().map(|name| (*name).to_owned()).collect(), ceased: false };
    let cutoff = at(100);
    let question = Question {
        agreement: Some(&agreement),
        mapping: &mapping,
        subject: person,
        held: Some(&held),
        cutoff,
    };
    let Verdict::Deliver { permitted, revoked } = decide(&question) else { panic!("must be delivered") };
    let press = Press { mapping: &mapping, agreement: &agreement, keys: &keys, cutoff };
    press.deliver(person, "KEY", permitted, revoked, true)
}

fn cell(row: &Row, target: &str) -> Option<Cell> {
    let mapping = ioc::mapping().unwrap();
    let place = mapping.fields().iter().position(|field| field.target == target).unwrap();
    row.cells[place].clone()
}

fn text(text: &str) -> Option<Cell> {
    Some(Cell::Text(text.to_owned().into()))
}

#[test]
fn only_permitted_fields_have_values() {
    let row = row_of(&subject(&["ioc_newsletter"]), &[]).unwrap();
    assert_eq!(cell(&row, "Kotinos_Id__c"), text("KEY"));
    assert_eq!(cell(&row, "Email"), text("alice@example.org"));
    assert_eq!(cell(&row, "Email_Raw__c"), Some(Cell::Clear));
    assert_eq!(cell(&row, "MailingCountryCode"), text("JP"));
    assert_eq!(cell(&row, "Consent_Communication__c"), Some(Cell::Flag(true)));
    assert_eq!(cell(&row, "Direct_Marketing__c"), Some(Cell::Flag(false)));
    assert_eq!(cell(&row, "LastName"), text("-"));
    for withheld in ["FirstName", "Birthdate", "Prefecture__c", "Favourite_Olympic__c"] {
        assert_eq!(cell(&row, withheld), None, "{withheld}");
    }
}

#[test]
fn values_are_converted() {
    let row = row_of(&subject(&["ioc_newsletter", "partner_offers(ioc)", "profiling"]), &[]).unwrap();
    assert_eq!(cell(&row, "LastName"), text("Aoki"));
    assert_eq!(cell(&row, "Birthdate"), text("1990-04-01"));
    assert_eq!(cell(&row, "Favourite_Olympic__c"), text("ATH;JUD"));
    assert_eq!(cell(&row, "Direct_Marketing__c"), Some(Cell::Flag(true)));
    assert_eq!(cell(&row, "Phone"), Some(Cell::Clear), "empty, and its policy is clear");
}

#[test]
fn a_revoked_field_is_cleared_whatever_its_policy() {
    let row = row_of(&subject(&["ioc_newsletter"]), &["FirstName", "LastName", "Birthdate"]).unwrap();
    assert_eq!(cell(&row, "FirstName"), Some(Cell::Clear));
    assert_eq!(cell(&row, "LastName"), text("-"));
    assert!(row.cleared().has(4) && row.sent().has(5));
}

#[test]
fn an_address_that_the_recipient_refuses_goes_raw() {
    let mut person = subject(&["ioc_newsletter"]);
    person.email = Some(EmailAddress::classify(b"a..b@docomo.ne.jp").unwrap());
    let row = row_of(&person, &[]).unwrap();
    assert_eq!(cell(&row, "Email"), Some(Cell::Clear));
    assert_eq!(cell(&row, "Email_Raw__c"), text("a..b@docomo.ne.jp"));
    assert_eq!(cell(&row, "Email_Class__c"), text("dot_violation"));
    person.email = Some(EmailAddress::classify(&[b'a', 0xff, b'@', b'b']).unwrap());
    assert_eq!(cell(&row_of(&person, &[]).unwrap(), "Email_Raw__c"), text("a\\xFF@b"));
    person.email = Some(EmailAddress::classify(&[0xff; 254]).unwrap());
    assert!(row_of(&person, &[]).is_ok(), "an address never drops a row");
}

#[test]
fn too_long_and_reserved_values_fail_the_row() {
    let consents = ["ioc_newsletter", "partner_offers(ioc)"];
    for (value, code) in [("x".repeat(41), "TOO_LONG"), ("#N/A".to_owned(), "RESERVED_VALUE")] {
        let mut person = subject(&consents);
        let mut traits = person.traits.into_revealed();
        traits.insert("given_name".to_owned(), TraitValue::Text(value));
        person.traits = traits.into();
        assert_eq!(row_of(&person, &[]), Err(Unfit { field: "FirstName".to_owned(), code }));
    }
    let mut person = subject(&consents);
    person.traits =
        std::collections::BTreeMap::from([("given_name".to_owned(), TraitValue::Flag(true))]).into();
    assert_eq!(row_of(&person, &[]).unwrap_err().code, "WRONG_TYPE");
}

#[test]
fn a_cease_turns_flags_off_and_clears_the_rest() {
    let (agreement, mapping, keys) = (ioc_agreement(), ioc::mapping().unwrap(), keys());
    let press = Press { mapping: &mapping, agreement: &agreement, keys: &keys, cutoff: at(100) };
    let row = press.cease("KEY");
    assert_eq!(cell(&row, "Kotinos_Id__c"), text("KEY"));
    assert_eq!(cell(&row, "Consent_Communication__c"), Some(Cell::Flag(false)));
    assert_eq!(cell(&row, "LastName"), text("-"));
    let cleared = row.cells.iter().filter(|cell| **cell == Some(Cell::Clear)).count();
    assert_eq!(cleared, 15);
}

#[test]
fn the_hash_is_of_what_the_recipient_holds_afterwards() {
    let person = subject(&["ioc_newsletter"]);
    let after_revocation = row_of(&person, &["FirstName"]).unwrap();
    let plain = row_of(&person, &[]).unwrap();
    assert_eq!(after_revocation.hash, plain.hash, "cleared and never sent are the same");
    let other = row_of(&subject(&["ioc_newsletter", "profiling"]), &[]).unwrap();
    assert_ne!(other.hash, plain.hash);
}
