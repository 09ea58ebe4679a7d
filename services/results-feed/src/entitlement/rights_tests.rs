use domain::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::{
    document_type::{FeedFlag, ResultStatus},
    entitlement::{Facts, RuleText},
};

const CODE: &str = "ATHM100M--------------FNL-000100--";
const LIVE: Option<ResultStatus> = Some(ResultStatus::Live);

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn facts(nocs: &[&str]) -> Facts {
    let nocs = nocs.iter().map(|noc| noc.parse().unwrap()).collect();
    Facts { nocs, status_since: at(0), received_at: at(5) }
}

fn rights(rules: Vec<RuleText>) -> Rights {
    let rules = rules.into_iter().map(|text| Rule::parse(text).unwrap()).collect();
    Rights::of(vec![Entitlement { client_id: "partner".to_owned(), version: 4, rules }])
}

fn subject<'a>(document_type: &str, status: Option<ResultStatus>, facts: &'a Facts) -> Subject<'a> {
    let document_type = document_type.parse().unwrap();
    Subject { code: CODE, document_type, status, feed_flag: FeedFlag::Production, facts }
}

fn reason(rights: &Rights, document: &Subject<'_>) -> Reason {
    let decision = rights.decide(document);
    assert_eq!(decision.permitted, rights.permit(document), "{decision}");
    assert_eq!(decision.permitted, decision.reason == Reason::Permitted);
    decision.reason
}

#[test]
fn without_a_rule_everything_is_denied() {
    let facts = facts(&["JPN"]);
    let decision = Rights::default().decide(&subject("DT_RESULT", LIVE, &facts));
    assert_eq!((decision.permitted, decision.rule, decision.reason), (false, None, Reason::NoRule));
}

#[test]
fn a_rule_allows_what_it_names_and_no_more() {
    let facts = facts(&["JPN", "KEN"]);
    let text = RuleText::default;
    let cases = [
        (text(), "DT_RESULT", LIVE, Reason::Permitted),
        (RuleText { prefix: "ATHM".to_owned(), ..text() }, "DT_RESULT", LIVE, Reason::Permitted),
        (RuleText { prefix: "ATHW".to_owned(), ..text() }, "DT_RESULT", LIVE, Reason::Prefix),
        (RuleText { types: strings(&["DT_MEDALS"]), ..text() }, "DT_RESULT", LIVE, Reason::Type),
        (RuleText { types: strings(&["DT_MEDALS"]), ..text() }, "DT_MEDALS", None, Reason::Permitted),
        (RuleText { statuses: strings(&["OFFICIAL", "NONE"]), ..text() }, "DT_RESULT", LIVE, Reason::Status),
        (RuleText { statuses: strings(&["NONE"]), ..text() }, "DT_MEDALS", None, Reason::Permitted),
        (RuleText { feed_flag: "T".to_owned(), ..text() }, "DT_RESULT", LIVE, Reason::FeedFlag),
        (
            RuleText { representations: strings(&["odf"]), ..text() },
            "DT_RESULT",
            LIVE,
            Reason::Representation,
        ),
        (RuleText { representations: strings(&["json"]), ..text() }, "DT_RESULT", LIVE, Reason::Permitted),
        (RuleText { nocs: strings(&["KEN", "BRA"]), ..text() }, "DT_RESULT", LIVE, Reason::Permitted),
        (RuleText { nocs: strings(&["BRA"]), ..text() }, "DT_RESULT", LIVE, Reason::Noc),
    ];
    for (rule, document_type, status, expected) in cases {
        let words = format!("{rule:?}");
        assert_eq!(reason(&rights(vec![rule]), &subject(document_type, status, &facts)), expected, "{words}");
    }
}

#[test]
fn a_document_that_names_nobody_is_no_organisations() {
    let nobody = facts(&[]);
    let rights = rights(vec![RuleText { nocs: strings(&["JPN"]), ..RuleText::default() }]);
    assert_eq!(reason(&rights, &subject("DT_MEDALS", None, &nobody)), Reason::Noc);
}

#[test]
fn an_embargo_ends_at_its_minute_and_what_came_later_is_free() {
    let mut facts = facts(&[]);
    let thirty = rights(vec![RuleText { embargo_minutes: 30, ..RuleText::default() }]);
    let held = |rights: &Rights, facts: &Facts| reason(rights, &subject("DT_RESULT", LIVE, facts));
    assert_eq!(held(&thirty, &facts), Reason::Embargo, "no time is known");
    assert_eq!(held(&thirty.clone().at(at(29)), &facts), Reason::Embargo);
    assert_eq!(held(&thirty.clone().at(at(30)), &facts), Reason::Permitted);
    let until = rights(vec![RuleText { embargo_until: Some(at(60)), ..RuleText::default() }]);
    assert_eq!(held(&until.clone().at(at(59)), &facts), Reason::Embargo);
    assert_eq!(held(&until.at(at(60)), &facts), Reason::Permitted);
    // A correction after the embargo of its status.
    facts.received_at = at(31);
    assert_eq!(held(&thirty, &facts), Reason::Permitted);
}

#[test]
fn the_earliest_end_of_an_embargo_counts() {
    let facts = facts(&["JPN"]);
    let rule = |embargo_minutes, nocs: &[&str]| RuleText {
        embargo_minutes,
        nocs: strings(nocs),
        ..RuleText::default()
    };
    let rights = rights(vec![rule(40, &[]), rule(20, &["JPN"]), rule(10, &["FRA"])]);
    let document = subject("DT_RESULT", LIVE, &facts);
    let decision = rights.decide(&document);
    assert_eq!((decision.opens_at, decision.rule.map(|rule| rule.index)), (Some(at(20)), Some(1)));
    assert_eq!(rights.openings(&document), [at(20), at(40)]);
    let decision = rights.at(at(20)).decide(&document);
    assert!(decision.permitted);
    assert_eq!(decision.to_string(), "permitted: rule 2 of partner, version 4: it allows the version");
}

#[test]
fn a_refusal_says_which_rule_came_nearest() {
    let facts = facts(&["JPN"]);
    let rights = rights(vec![
        RuleText { prefix: "JUD".to_owned(), ..RuleText::default() },
        RuleText { statuses: strings(&["OFFICIAL"]), ..RuleText::default() },
        RuleText { types: strings(&["DT_PDF"]), ..RuleText::default() },
    ]);
    assert_eq!(
        rights.decide(&subject("DT_RESULT", LIVE, &facts)).to_string(),
        "refused: the nearest is rule 2 of partner, version 4: it does not name the version's status"
    );
}

#[test]
fn participants_are_filtered_one_by_one_and_rows_are_never_cut() {
    let both = facts(&["FRA", "JPN"]);
    let rule = |nocs: &[&str]| RuleText { nocs: strings(nocs), ..RuleText::default() };
    let japan = rights(vec![rule(&["JPN"])]);
    let participants = |rights: &Rights, name: &str| rights.participants(&subject(name, None, &both));
    let of = |names: &[&str]| Participants::Of(names.iter().map(|name| name.parse().unwrap()).collect());
    assert_eq!(participants(&japan, "DT_PARTIC"), of(&["JPN"]));
    assert_eq!(participants(&japan, "DT_PARTIC_UPDATE"), of(&["JPN"]));
    assert_eq!(participants(&japan, "DT_BIO_PAR"), of(&["JPN"]));
    assert_eq!(participants(&japan, "DT_RESULT"), Participants::All);
    let all = rights(vec![rule(&["JPN"]), RuleText::default()]);
    assert_eq!(participants(&all, "DT_PARTIC"), Participants::All);
    let several = rights(vec![rule(&["JPN"]), rule(&["BRA", "FRA"])]);
    assert_eq!(participants(&several, "DT_PARTIC"), of(&["BRA", "FRA", "JPN"]));
    assert_eq!(participants(&several, "DT_BIO_PAR"), Participants::All, "its only people are theirs");
}

#[test]
fn the_original_of_a_participants_document_is_given_whole_or_not_at_all() {
    let both = facts(&["FRA", "JPN"]);
    let rule = |nocs: &[&str]| RuleText { nocs: strings(nocs), ..RuleText::default() };
    let odf = |rules| rights(rules).in_representation(Representation::Odf);
    let of = |rights: &Rights, name: &str| reason(rights, &subject(name, None, &both));
    assert_eq!(of(&odf(vec![rule(&["JPN"])]), "DT_PARTIC"), Reason::Uncut);
    assert_eq!(of(&odf(vec![rule(&["JPN", "FRA"])]), "DT_PARTIC"), Reason::Permitted);
    assert_eq!(of(&odf(vec![rule(&["JPN"]), rule(&["FRA"])]), "DT_PARTIC"), Reason::Permitted);
    assert_eq!(of(&odf(vec![RuleText::default()]), "DT_PARTIC"), Reason::Permitted);
    assert_eq!(of(&odf(vec![rule(&["JPN"])]), "DT_RESULT"), Reason::Permitted);
}

proptest! {
    #[test]
    fn another_rule_never_takes_a_right_away(
        rules in proptest::collection::vec(("[A-B]?", 0_u32..3, proptest::collection::vec("[J-K]PN", 0..2)), 1..6),
        minute in 0_i64..4,
    ) {
        let facts = facts(&["JPN"]);
        let document = Subject { code: "A", ..subject("DT_RESULT", LIVE, &facts) };
        let texts: Vec<RuleText> = rules
            .into_iter()
            .map(|(prefix, embargo_minutes, nocs)| RuleText {
                prefix,
                embargo_minutes: embargo_minutes * 6,
                nocs,
                ..RuleText::default()
            })
            .collect();
        let any = texts.iter().any(|text| rights(vec![text.clone()]).at(at(minute * 6)).permit(&document));
        let all = rights(texts).at(at(minute * 6));
        prop_assert_eq!(all.permit(&document), any);
        prop_assert_eq!(all.decide(&document).permitted, any);
    }
}
