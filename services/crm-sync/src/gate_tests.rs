use std::collections::{BTreeMap, BTreeSet};

use domain::{Locale, ProfileId, TimeDelta};
use proptest::prelude::*;

use super::*;
use crate::{
    agreement::{
        parse_key,
        tests::{at, claims},
    },
    mapping::ioc,
    subject::{Head, TraitValue},
};

const PURPOSES: [&str; 3] = ["ioc_newsletter", "partner_offers(ioc)", "profiling"];
const NOTICE: &str = "aa";

/// What the shipped mapping's fields need beside the row's purpose, as the table of the exchange says.
pub fn needs(target: &str) -> Vec<&'static str> {
    match target {
        "FirstName" | "LastName" | "MailingPostalCode" | "Prefecture__c" | "Address_1__c"
        | "Address_2__c" | "Phone" => {
            vec![PURPOSES[1]]
        }
        "Birthdate" | "Gender__c" | "Favourite_Olympic__c" | "Favourite_Paralympic__c" => vec![PURPOSES[2]],
        _ => vec![],
    }
}

pub fn ioc_agreement() -> Agreement {
    let mut claims = claims();
    claims.fields = ioc::mapping()
        .unwrap()
        .fields()
        .iter()
        .map(|field| {
            let keys = needs(&field.target).into_iter().map(|text| parse_key(text).unwrap()).collect();
            (field.target.clone(), keys)
        })
        .collect();
    let mut agreement = Agreement::propose(claims, [1; 32], "chie");
    agreement.activate("daniel", at(0)).unwrap();
    agreement
}

pub fn subject(given: &[&str]) -> Subject {
    let head =
        Head { status: Status::Given, valid_until: Some(at(500_000)), notice_sha256: NOTICE.to_owned() };
    let text = |text: &str| TraitValue::Text(text.to_owned());
    let traits = BTreeMap::from([
        ("given_name".to_owned(), text("Alice")),
        ("family_name".to_owned(), text("Aoki")),
        ("prefecture".to_owned(), text("JP-13")),
        ("country".to_owned(), text("JP")),
        ("birth_date".to_owned(), TraitValue::Date("1990-04-01".to_owned())),
        ("favourite_olympic_sports".to_owned(), TraitValue::Set(vec!["ATH".to_owned(), "JUD".to_owned()])),
    ]);
    Subject {
        profile_id: ProfileId::new(),
        ordinal: 1,
        profile_version: 3,
        consent_version: 2,
        state: Standing::Active,
        restricted: false,
        locale: Some(Locale::Ja),
        email: Some(domain::EmailAddress::conforming("alice@example.org").unwrap()),
        traits: traits.into(),
        heads: given.iter().map(|key| (parse_key(key).unwrap(), head.clone())).collect(),
    }
}

fn ask(agreement: &Agreement, subject: &Subject, held: Option<&Held>) -> Verdict {
    let mapping = ioc::mapping().unwrap();
    decide(&Question { agreement: Some(agreement), mapping: &mapping, subject, held, cutoff: at(100) })
}

fn names(mask: Mask) -> Vec<String> {
    ioc::mapping().unwrap().names(mask)
}

fn held(fields: &[&str]) -> Held {
    Held { fields: fields.iter().map(|name| (*name).to_owned()).collect(), ceased: false }
}

#[test]
fn the_newsletter_alone_permits_the_columns_that_need_nothing_else() {
    let verdict = ask(&ioc_agreement(), &subject(&PURPOSES[..1]), None);
    let expected = [
        "Kotinos_Id__c",
        "Email",
        "Email_Raw__c",
        "Email_Class__c",
        "MailingCountryCode",
        "Consent_Communication__c",
        "Email_Language__c",
        "Direct_Marketing__c",
    ];
    assert_eq!(names(verdict.permitted()), expected);
}

#[test]
fn every_consent_permits_every_column() {
    let verdict = ask(&ioc_agreement(), &subject(&PURPOSES), None);
    assert_eq!(names(verdict.permitted()).len(), 19);
}

#[test]
fn silence_withholds_and_a_withdrawal_ceases_what_is_held() {
    let agreement = ioc_agreement();
    let withheld = Verdict::Withhold { reason: Reason::ConsentMissing };
    assert_eq!(ask(&agreement, &subject(&[]), None), withheld);
    let mut withdrawn = subject(&PURPOSES);
    withdrawn.heads.get_mut(&parse_key(PURPOSES[0]).unwrap()).unwrap().status = Status::Withdrawn;
    let ceased = Verdict::Cease { reason: Reason::ConsentWithdrawn };
    assert_eq!(ask(&agreement, &withdrawn, Some(&held(&["Email"]))), ceased);
    let empty = Held { ceased: true, ..Held::default() };
    let again = Verdict::Withhold { reason: Reason::ConsentWithdrawn };
    assert_eq!(ask(&agreement, &withdrawn, Some(&empty)), again, "a record is ceased once");
}

#[test]
fn a_field_that_lost_its_consent_is_cleared() {
    let verdict =
        ask(&ioc_agreement(), &subject(&PURPOSES[..1]), Some(&held(&["Email", "FirstName", "Birthdate"])));
    let Verdict::Deliver { revoked, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(names(revoked), ["FirstName", "Birthdate"]);
}

#[test]
fn an_agreement_that_is_held_up_stops_rows_but_not_ceases() {
    let mut agreement = ioc_agreement();
    agreement.suspend().unwrap();
    let suspended = Verdict::Withhold { reason: Reason::AgreementSuspended };
    assert_eq!(ask(&agreement, &subject(&PURPOSES), Some(&held(&["Email"]))), suspended);
    let ceased = Verdict::Cease { reason: Reason::ConsentMissing };
    assert_eq!(ask(&agreement, &subject(&[]), Some(&held(&["Email"]))), ceased);
}

#[test]
fn what_becomes_of_the_data_at_the_end_is_agreed() {
    let mut agreement = ioc_agreement();
    agreement.end();
    let reason = Reason::AgreementEnded;
    assert_eq!(ask(&agreement, &subject(&PURPOSES), Some(&held(&["Email"]))), Verdict::Cease { reason });
    agreement.claims.on_end = OnEnd::Keep;
    assert_eq!(ask(&agreement, &subject(&PURPOSES), Some(&held(&["Email"]))), Verdict::Withhold { reason });
}

#[test]
fn only_listed_notices_count_where_notices_are_listed() {
    let mut agreement = ioc_agreement();
    agreement.claims.accepted_notices = BTreeSet::from(["bb".to_owned()]);
    let refused = Verdict::Withhold { reason: Reason::NoticeNotAccepted };
    assert_eq!(ask(&agreement, &subject(&PURPOSES), None), refused);
    agreement.claims.accepted_notices.insert(NOTICE.to_owned());
    assert!(matches!(ask(&agreement, &subject(&PURPOSES), None), Verdict::Deliver { .. }));
}

#[test]
fn the_decision_id_follows_every_input() {
    let (agreement, mapping) = (ioc_agreement(), ioc::mapping().unwrap());
    let person = subject(&PURPOSES);
    let question = Question {
        agreement: Some(&agreement),
        mapping: &mapping,
        subject: &person,
        held: None,
        cutoff: at(100),
    };
    let verdict = decide(&question);
    let id = decision_id(&question, verdict);
    assert_eq!(id, decision_id(&question, verdict));
    assert_ne!(id, decision_id(&Question { cutoff: at(101), ..question }, verdict));
    assert_ne!(id, decision_id(&question, Verdict::Withhold { reason: Reason::Restricted }));
    let newer = Subject { consent_version: 9, ..person.clone() };
    assert_ne!(id, decision_id(&Question { subject: &newer, ..question }, verdict));
}

#[test]
fn a_row_exceeds_a_newer_verdict_that_allows_less() {
    let all = ask(&ioc_agreement(), &subject(&PURPOSES), None);
    let less = ask(&ioc_agreement(), &subject(&PURPOSES[..1]), None);
    let none = Verdict::Withhold { reason: Reason::ConsentMissing };
    assert!(all.exceeds(less) && all.exceeds(none));
    assert!(!less.exceeds(all) && !none.exceeds(all));
}

/// The oracle knows nothing of masks or order: it asks of each field whether it may go.
fn oracle(
    agreement: &Agreement,
    subject: &Subject,
    holds: bool,
    cutoff: i64,
) -> Result<Vec<String>, &'static str> {
    let given = |key: &ConsentKey| {
        subject.heads.iter().any(|(other, head)| {
            other == key
                && head.status == Status::Given
                && head.valid_until.is_none_or(|until| until > at(cutoff))
                && (agreement.claims.accepted_notices.is_empty()
                    || agreement.claims.accepted_notices.contains(&head.notice_sha256))
        })
    };
    let may = subject.state == Standing::Active
        && !subject.restricted
        && agreement.claims.purposes.iter().all(given);
    let open = at(cutoff) >= agreement.claims.not_before && at(cutoff) < agreement.claims.not_after;
    let over = agreement.state == State::Ended
        || agreement.state == State::Active && at(cutoff) >= agreement.claims.not_after;
    if !may {
        let known = subject.state != Standing::Unknown;
        return Err(if holds && known { "cease" } else { "withhold" });
    }
    if over && agreement.claims.on_end == OnEnd::Delete && holds {
        return Err("cease");
    }
    if agreement.state != State::Active || !open {
        return Err("withhold");
    }
    let all = ioc::mapping().unwrap();
    let fields = all.fields().iter().filter(|field| {
        agreement.claims.fields.get(&field.target).is_some_and(|needs| needs.iter().all(given))
    });
    Ok(fields.map(|field| field.target.clone()).collect())
}

fn head() -> impl Strategy<Value = Option<Head>> {
    let status = prop_oneof![
        4 => Just(Status::Given), 1 => Just(Status::Refused), 1 => Just(Status::Withdrawn), 1 => Just(Status::Unknown)
    ];
    let until = prop_oneof![3 => Just(None), 1 => Just(Some(at(50))), 1 => Just(Some(at(500)))];
    let notice = prop_oneof![Just("aa".to_owned()), Just("bb".to_owned())];
    proptest::option::weighted(
        0.8,
        (status, until, notice).prop_map(|(status, valid_until, notice_sha256)| Head {
            status,
            valid_until,
            notice_sha256,
        }),
    )
}

proptest! {
    #[test]
    fn the_gate_agrees_with_the_oracle(
        heads in proptest::array::uniform3(head()),
        standing in prop_oneof![6 => Just("active"), 1 => Just("merged"), 1 => Just("erased"), 1 => Just("unknown")],
        restricted in proptest::bool::weighted(0.1),
        agreement_state in prop_oneof![
            4 => Just(State::Active), 1 => Just(State::Proposed), 1 => Just(State::Suspended), 1 => Just(State::Ended)
        ],
        keep in any::<bool>(),
        only_aa in any::<bool>(),
        holds in any::<bool>(),
        cutoff in -10_i64..400,
    ) {
        let mut agreement = ioc_agreement();
        agreement.state = agreement_state;
        agreement.claims.not_after = at(0) + TimeDelta::seconds(300);
        agreement.claims.on_end = if keep { OnEnd::Keep } else { OnEnd::Delete };
        if only_aa {
            agreement.claims.accepted_notices.insert("aa".to_owned());
        }
        let mut person = subject(&[]);
        person.state = Standing::of(standing);
        person.restricted = restricted;
        for (key, head) in PURPOSES.iter().zip(heads) {
            if let Some(head) = head {
                person.heads.insert(parse_key(key).unwrap(), head);
            }
        }
        let shadow = held(&["Email", "FirstName"]);
        let mapping = ioc::mapping().unwrap();
        let question = Question {
            agreement: Some(&agreement), mapping: &mapping, subject: &person,
            held: holds.then_some(&shadow), cutoff: at(cutoff),
        };
        match (decide(&question), oracle(&agreement, &person, holds, cutoff)) {
            (Verdict::Deliver { permitted, revoked }, Ok(expected)) => {
                prop_assert_eq!(names(permitted), expected.clone());
                let lost = holds && !expected.contains(&"FirstName".to_owned());
                prop_assert_eq!(names(revoked), if lost { vec!["FirstName".to_owned()] } else { vec![] });
            }
            (verdict, Err(expected)) => prop_assert_eq!(verdict.name(), expected),
            (verdict, expected) => prop_assert!(false, "{:?} against {:?}", verdict, expected),
        }
    }
}
