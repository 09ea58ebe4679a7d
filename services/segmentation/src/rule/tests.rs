use std::collections::BTreeMap;

use domain::{ConsentKey, DateTime, ProfileId, Purpose, Utc};
use proptest::prelude::*;

use super::*;
use crate::{explain::explain, person::Consent};

fn moment() -> Moment {
    Moment { now: DateTime::<Utc>::from_timestamp(1_900_000_000, 0).unwrap() }
}

fn known() -> Vec<KnownTrait> {
    vec![
        KnownTrait {
            name: "prefecture".to_owned(),
            category: "basic".to_owned(),
            multi_valued: false,
            allowed_values: Vec::new(),
        },
        KnownTrait {
            name: "favourite_olympic_sports".to_owned(),
            category: "preference".to_owned(),
            multi_valued: true,
            allowed_values: Vec::new(),
        },
    ]
}

fn lives_in_tokyo() -> Rule {
    Rule::Attribute { name: "prefecture".to_owned(), values: vec!["JP-13".to_owned()] }
}

fn likes_athletics() -> Rule {
    Rule::Set {
        name: "favourite_olympic_sports".to_owned(),
        any_of: vec!["ATH".to_owned()],
        all_of: Vec::new(),
        none_of: Vec::new(),
    }
}

fn alice() -> Person {
    let given = Consent { status: "given".to_owned(), valid_until: None, record_id: "r1".to_owned() };
    let consent = |purpose: Purpose| ((purpose.name().to_owned(), String::new()), given.clone());
    Person {
        alive: true,
        reachable: true,
        traits: BTreeMap::from([
            ("prefecture".to_owned(), TraitValue::One("JP-13".to_owned())),
            ("birth_date".to_owned(), TraitValue::One("1990-03-18".to_owned())),
            (
                "favourite_olympic_sports".to_owned(),
                TraitValue::Many(vec!["ATH".to_owned(), "JUD".to_owned()]),
            ),
        ]),
        consents: BTreeMap::from([consent(Purpose::CommitteeNewsletter), consent(Purpose::Profiling)]),
        ..Person::unknown(ProfileId::new())
    }
}

fn newsletter() -> ConsentKey {
    ConsentKey::new(Purpose::CommitteeNewsletter, "").unwrap()
}

#[test]
fn a_bound_rule_holds_only_with_the_consents() {
    let rule = Rule::All(vec![lives_in_tokyo(), likes_athletics()]);
    let bound = bind(&rule, &newsletter(), &known());
    assert!(bound.holds(&alice(), moment()));
    for purpose in ["committee_newsletter", "profiling"] {
        let mut without = alice();
        without.consents.remove(&(purpose.to_owned(), String::new()));
        assert!(!bound.holds(&without, moment()), "{purpose}");
    }
    let unreachable = Person { reachable: false, ..alice() };
    assert!(!bound.holds(&unreachable, moment()));
}

#[test]
fn a_rule_over_basic_traits_needs_no_profiling() {
    let bound = bind(&lives_in_tokyo(), &newsletter(), &known());
    let mut without = alice();
    without.consents.remove(&("profiling".to_owned(), String::new()));
    assert!(bound.holds(&without, moment()));
}

#[test]
fn an_expired_consent_does_not_permit() {
    let bound = bind(&lives_in_tokyo(), &newsletter(), &known());
    let mut expired = alice();
    let key = ("committee_newsletter".to_owned(), String::new());
    expired.consents.get_mut(&key).unwrap().valid_until = Some(moment().now);
    assert!(!bound.holds(&expired, moment()));
}

#[test]
fn explain_names_the_false_leaf_and_its_value() {
    let bound = bind(&lives_in_tokyo(), &newsletter(), &known());
    let bob = Person {
        alive: true,
        reachable: true,
        traits: BTreeMap::from([("country".to_owned(), TraitValue::One("FR".to_owned()))]),
        ..Person::unknown(ProfileId::new())
    };
    let explained = explain(&bound, &bob, moment());
    assert!(!explained.holds);
    let leaf = &explained.children[0];
    assert_eq!(
        (leaf.holds, leaf.text.as_str(), leaf.value.as_str()),
        (false, "prefecture is JP-13", "not known")
    );
    let consent = explained.children.iter().find(|node| node.text.starts_with("consent")).unwrap();
    assert_eq!((consent.holds, consent.value.as_str()), (false, "unknown"));
}

#[test]
fn age_is_counted_in_whole_years() {
    let range = |min, max| Rule::Range { name: "age".to_owned(), min, max };
    // 1990-03-18 is 40 years old on 2030-03-17T17:46:40Z only from the next day on.
    assert!(range(Some(39), Some(39)).holds(&alice(), moment()));
    assert!(!range(Some(40), None).holds(&alice(), moment()));
}

#[test]
fn an_unknown_trait_is_refused_with_the_nearest_name() {
    let typo = Rule::Any(vec![Rule::Attribute { name: "prefektur".to_owned(), values: Vec::new() }]);
    let violations = typo.check(&known()).unwrap_err();
    assert_eq!(violations[0].path, "rule.any[0].attribute.trait");
    assert!(violations[0].rule.contains("prefecture"), "{}", violations[0].rule);
}

#[test]
fn depth_and_leaves_are_bounded() {
    let mut deep = lives_in_tokyo();
    for _ in 0..20 {
        deep = Rule::All(vec![deep]);
    }
    assert!(deep.check(&known()).is_err());
    let wide = Rule::Any((0..257).map(|_| lives_in_tokyo()).collect());
    assert!(wide.check(&known()).is_err());
    assert!(Rule::Any(Vec::new()).check(&known()).is_err());
    assert!(Rule::All(Vec::new()).check(&known()).is_ok(), "no child means everyone");
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let leaf = prop_oneof![
        Just(lives_in_tokyo()),
        Just(likes_athletics()),
        Just(Rule::Range { name: "age".to_owned(), min: Some(18), max: None }),
        Just(Rule::Attribute { name: "prefecture".to_owned(), values: vec!["JP-27".to_owned()] }),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Rule::All),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Rule::Any),
            inner.prop_map(|child| Rule::Not(Box::new(child))),
        ]
    })
}

proptest! {
    #[test]
    fn the_canonical_form_means_the_same(rule in any_rule()) {
        let canonical = rule.clone().canonical();
        prop_assert_eq!(rule.holds(&alice(), moment()), canonical.holds(&alice(), moment()));
        prop_assert_eq!(canonical.clone().canonical(), canonical.clone());
        let read_back: Rule = serde_json::from_str(&canonical.canonical_json()).unwrap();
        prop_assert_eq!(read_back, canonical);
    }

    #[test]
    fn explain_agrees_with_the_rule(rule in any_rule()) {
        prop_assert_eq!(explain(&rule, &alice(), moment()).holds, rule.holds(&alice(), moment()));
    }
}
