use proptest::prelude::*;

use super::*;

fn text(value: &str) -> Literal {
    Literal::Text(value.into())
}

#[test]
fn a_whole_query_is_read() {
    let query = parse(
        "select Id, FIELDS(CUSTOM) FROM Contact where Email = 'o\\'neil@example.org' and (Gender__c in ('female','male') \
         or not Birthdate >= 1990-01-01) order by LastModifiedDate desc nulls last, Id limit 10 offset 5",
    )
    .unwrap();
    assert_eq!(query.select, Select::Items(vec![Item::Field("Id".into()), Item::Group(FieldGroup::Custom)]));
    assert_eq!((query.object.as_str(), query.limit, query.offset), ("Contact", Some(10), 5));
    let Some(Condition::And(terms)) = query.condition else { panic!("{:?}", query.condition) };
    let email = Condition::Compare {
        field: "Email".into(),
        operator: Operator::Equal,
        value: text("o'neil@example.org"),
    };
    assert_eq!(terms[0], email);
    let Condition::Or(either) = &terms[1] else { panic!("{:?}", terms[1]) };
    let values = vec![text("female"), text("male")];
    assert_eq!(either[0], Condition::In { field: "Gender__c".into(), negated: false, values });
    assert!(matches!(&either[1], Condition::Not(_)));
    assert_eq!(
        query.order[0],
        Order { field: "LastModifiedDate".into(), descending: true, nulls_last: true }
    );
    assert_eq!(query.order[1], Order { field: "Id".into(), descending: false, nulls_last: false });
}

#[test]
fn count_and_every_literal_are_read() {
    assert_eq!(parse("SELECT COUNT() FROM Contact").unwrap().select, Select::Count);
    let value =
        |literal: &str| match parse(&format!("SELECT Id FROM C WHERE f != {literal}")).unwrap().condition {
            Some(Condition::Compare { value, .. }) => value,
            other => panic!("{other:?}"),
        };
    assert_eq!(value("null"), Literal::Null);
    assert_eq!(value("TRUE"), Literal::Bool(true));
    assert_eq!(value("2026-07-24"), Literal::Date(NaiveDate::from_ymd_opt(2026, 7, 24).unwrap()));
    let noon = Literal::Moment(DateTime::from_timestamp(1_784_862_000, 0).unwrap());
    for same in ["2026-07-24T03:00:00Z", "2026-07-24T12:00:00+09:00", "2026-07-24T12:00:00.000+0900"] {
        assert_eq!(value(same), noon, "{same}");
    }
}

#[test]
fn what_is_not_in_the_subset_is_refused_with_its_token() {
    for (query, token) in [
        ("", "end of query"),
        ("SELECT", "end of query"),
        ("SELECT Id Contact", "Contact"),
        ("SELECT Id FROM Contact WHERE a = 'x' AND b = 'y' OR c = 'z'", "OR"),
        ("SELECT Id FROM Contact WHERE a LIKE 'x'", "LIKE"),
        ("SELECT Id FROM Contact WHERE a IN ()", ")"),
        ("SELECT Id FROM Contact WHERE a = 12", "12"),
        ("SELECT Id FROM Contact; DROP TABLE x", ";"),
        ("SELECT Id FROM Contact LIMIT 99999999999999999999999", "9999"),
        ("SELECT MAX(Id) FROM Contact", "MAX"),
        ("SELECT Id FROM Contact WHERE a = 'x", "does not end"),
        ("SELECT Id FROM Contact WHERE a = '\\q'", "escape"),
        ("SELECT Id FROM Contact WHERE a NOT = 'x'", "="),
        ("SELECT Id FROM 連絡先", "連"),
    ] {
        let refusal = parse(query).unwrap_err();
        assert_eq!(refusal.code, "MALFORMED_QUERY");
        assert!(refusal.message.contains(token), "{query}: {}", refusal.message);
    }
}

#[test]
fn deep_and_huge_queries_are_refused() {
    let deep = format!("SELECT Id FROM C WHERE {}a = 'x'{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).unwrap_err().message.contains("nested"));
    let nots = format!("SELECT Id FROM C WHERE {} a = 'x'", "NOT ".repeat(20_000));
    assert!(parse(&nots).unwrap_err().message.contains("nested"));
    let list = format!("SELECT Id FROM C WHERE a IN ({}'x')", "'x',".repeat(4_000));
    assert!(parse(&list).unwrap_err().message.contains("4000"));
    assert!(parse(&" ".repeat(MAX_LENGTH + 1)).unwrap_err().message.contains("100000"));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(query in "(SELECT )?[ -~あ\\\\']{0,60}( FROM )?[ -~]{0,60}") {
        let _ = parse(&query);
    }

    #[test]
    fn any_quoted_text_comes_back(value in "\\PC{0,40}") {
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        let query = parse(&format!("SELECT Id FROM C WHERE a = '{escaped}'")).unwrap();
        let expected = Condition::Compare { field: "a".into(), operator: Operator::Equal, value: Literal::Text(value) };
        prop_assert_eq!(query.condition, Some(expected));
    }
}
