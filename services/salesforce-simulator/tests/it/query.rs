use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, refusal};

async fn people() -> World {
    let world = World::new().await;
    let person = |key: &str, name: &str, country: &str, born: Value| {
        json!({ "Kotinos_Id__c": key, "LastName": name, "MailingCountryCode": country, "Birthdate": born,
            "Direct_Marketing__c": key == "B" })
    };
    world
        .upsert(
            false,
            &[
                person("A", "Yamada", "JP", json!("1990-02-28")),
                person("B", "Martin", "FR", json!("1985-07-01")),
                person("C", "O'Neil", "IE", Value::Null),
            ],
        )
        .await;
    world
}

async fn names(world: &World, rest: &str) -> Vec<String> {
    let reply = world.query(&format!("SELECT LastName FROM Contact {rest}")).await;
    assert_eq!(reply["done"], true);
    let records = reply["records"].as_array().unwrap();
    records.iter().map(|row| row["LastName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn conditions_order_and_limits_are_followed() {
    let world = people().await;
    for (rest, expected) in [
        ("", vec!["Yamada", "Martin", "O'Neil"]),
        ("WHERE lastname = 'YAMADA'", vec!["Yamada"]),
        ("WHERE LastName = 'O\\'Neil'", vec!["O'Neil"]),
        ("WHERE MailingCountryCode IN ('JP', 'FR') AND Direct_Marketing__c = true", vec!["Martin"]),
        ("WHERE MailingCountryCode NOT IN ('JP')", vec!["Martin", "O'Neil"]),
        ("WHERE Birthdate >= 1986-01-01", vec!["Yamada"]),
        ("WHERE Birthdate = null OR (NOT Kotinos_Id__c != 'B')", vec!["Martin", "O'Neil"]),
        ("WHERE LastModifiedDate > 2020-01-01T00:00:00Z", vec!["Yamada", "Martin", "O'Neil"]),
        ("WHERE LastModifiedDate < 2020-01-01T00:00:00Z", vec![]),
        ("ORDER BY LastName", vec!["Martin", "O'Neil", "Yamada"]),
        ("ORDER BY Birthdate DESC NULLS LAST", vec!["Yamada", "Martin", "O'Neil"]),
        ("ORDER BY Birthdate", vec!["O'Neil", "Martin", "Yamada"]),
        ("ORDER BY LastName LIMIT 1 OFFSET 1", vec!["O'Neil"]),
    ] {
        assert_eq!(names(&world, rest).await, expected, "{rest}");
    }
    assert_eq!(world.query("SELECT COUNT() FROM Contact WHERE Birthdate != null").await["totalSize"], 2);
}

#[tokio::test]
async fn fields_and_system_columns_are_shown() {
    let world = people().await;
    let reply = world.query("SELECT FIELDS(ALL) FROM Contact WHERE Kotinos_Id__c = 'A' LIMIT 1").await;
    let row = &reply["records"][0];
    assert_eq!(row["attributes"]["type"], "Contact");
    assert!(
        row["Id"].as_str().unwrap().starts_with("003")
            && row["LastModifiedById"].as_str().unwrap().starts_with("005")
    );
    assert_eq!((&row["IsDeleted"], &row["Birthdate"]), (&json!(false), &json!("1990-02-28")));
    let by_id = format!("WHERE Id = '{}'", &row["Id"].as_str().unwrap()[..15]);
    assert_eq!(names(&world, &by_id).await, ["Yamada"]);
}

#[tokio::test]
async fn what_others_changed_can_be_told_apart() {
    let world = people().await;
    let me = world.dump().await["objects"]["Contact"][0]["LastModifiedById"].as_str().unwrap().to_owned();
    let change = json!({ "object": "Contact", "match": "Kotinos_Id__c",
        "records": [{ "Kotinos_Id__c": "B", "Direct_Marketing__c": false }] });
    assert_eq!(world.control("seed", change).await.0, 200);
    assert_eq!(names(&world, &format!("WHERE LastModifiedById != '{me}'")).await, ["Martin"]);
}

#[tokio::test]
async fn long_results_come_in_pages() {
    let world = World::new().await;
    let records: Vec<Value> =
        (0..450).map(|n| json!({ "Kotinos_Id__c": format!("K{n}"), "LastName": format!("{n}") })).collect();
    assert_eq!(world.control("seed", json!({ "object": "Contact", "records": records })).await.0, 200);
    let request = world.call(Method::GET, "/query").query(&[("q", "SELECT LastName FROM Contact")]);
    let mut reply: Value =
        request.header("Sforce-Query-Options", "batchSize=200").send().await.unwrap().json().await.unwrap();
    let mut seen = Vec::new();
    loop {
        assert_eq!(reply["totalSize"], 450);
        seen.extend(
            reply["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["LastName"].as_str().unwrap().to_owned()),
        );
        let Some(next) = reply["nextRecordsUrl"].as_str() else { break };
        let path = next.strip_prefix("/services/data/v62.0").unwrap().to_owned();
        let request = world.call(Method::GET, &path).header("Sforce-Query-Options", "batchSize=200");
        reply = request.send().await.unwrap().json().await.unwrap();
    }
    let expected: Vec<String> = (0..450).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    for locator in
        ["x", "01g5g0000000009AAA-200", "%27%20OR%201=1", "01g5g0000000001AAA-99999999999999999999999"]
    {
        let response = world.call(Method::GET, &format!("/query/{locator}")).send().await.unwrap();
        assert_eq!(refusal(response).await.1, "INVALID_QUERY_LOCATOR", "{locator}");
    }
}

#[tokio::test]
async fn a_query_that_does_not_fit_the_org_is_refused() {
    let world = people().await;
    for (soql, code) in [
        ("SELECT Id FROM Lead", "INVALID_TYPE"),
        ("SELECT Shoe__c FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Shoe__c = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Birthdate = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE LastName = true", "INVALID_FIELD"),
        ("SELECT Id, id FROM Contact", "MALFORMED_QUERY"),
        ("SELECT FIELDS(ALL) FROM Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("'; DROP TABLE Contact; --", "MALFORMED_QUERY"),
    ] {
        let response = world.call(Method::GET, "/query").query(&[("q", soql)]).send().await.unwrap();
        assert_eq!(refusal(response).await, (400, code.into()), "{soql}");
    }
    let response = world.call(Method::GET, "/query").send().await.unwrap();
    assert_eq!(refusal(response).await, (400, "MALFORMED_QUERY".into()));
}
