use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, config, records, refusal};

fn alice() -> Value {
    json!({
        "Kotinos_Id__c": "ALICE", "LastName": "Yamada", "FirstName": "Alice", "Email": "alice@example.org",
        "Birthdate": "1990-02-28", "MailingCountryCode": "JP", "Consent_Communication__c": true,
        "Favourite_Olympic__c": "ATH; JUD"
    })
}

fn code(result: &Value) -> &str {
    result["errors"][0]["statusCode"].as_str().unwrap_or("none")
}

#[tokio::test]
async fn an_upsert_creates_then_changes_the_same_record() {
    let world = World::new().await;
    let first = world.upsert(false, &[alice()]).await;
    assert_eq!((&first[0]["success"], &first[0]["created"]), (&json!(true), &json!(true)));
    // Keys know no case.
    let second = world.upsert(false, &[json!({ "Kotinos_Id__c": "alice", "FirstName": "Arisu" })]).await;
    assert_eq!((&second[0]["id"], &second[0]["created"]), (&first[0]["id"], &json!(false)));
    let row = &world.dump().await["objects"]["Contact"][0];
    assert_eq!((&row["FirstName"], &row["Favourite_Olympic__c"]), (&json!("Arisu"), &json!("ATH;JUD")));
}

#[tokio::test]
async fn an_absent_key_is_ignored_and_null_clears() {
    let world = World::new().await;
    world.upsert(false, &[alice()]).await;
    let change = json!({ "Kotinos_Id__c": "ALICE", "Email": null, "FirstName": "  ", "Consent_Communication__c": null });
    assert_eq!(world.upsert(false, &[change]).await[0]["success"], true);
    let row = &world.dump().await["objects"]["Contact"][0];
    assert_eq!((&row["Email"], &row["FirstName"]), (&Value::Null, &Value::Null));
    assert_eq!((&row["LastName"], &row["Birthdate"]), (&json!("Yamada"), &json!("1990-02-28")));
    assert_eq!(row["Consent_Communication__c"], false);
}

#[tokio::test]
async fn each_row_has_its_own_result_by_position() {
    let world = World::new().await;
    let long = "x".repeat(41);
    let results = world
        .upsert(
            false,
            &[
                json!({ "Kotinos_Id__c": "1", "LastName": "ok" }),
                json!({ "Kotinos_Id__c": "2" }),
                json!({ "Kotinos_Id__c": "3", "LastName": "-", "FirstName": long }),
                json!({ "Kotinos_Id__c": "4", "LastName": "-", "Email": "a..b@docomo.ne.jp" }),
                json!({ "Kotinos_Id__c": "5", "LastName": "-", "Gender__c": "robot" }),
                json!({ "Kotinos_Id__c": "6", "LastName": "-", "Shoe_Size__c": "42" }),
                json!({ "LastName": "no key" }),
                json!({ "Kotinos_Id__c": "8", "LastName": "-", "CreatedDate": "2020-01-01" }),
                json!({ "Kotinos_Id__c": "9", "LastName": 7 }),
                json!({ "Kotinos_Id__c": "twice", "LastName": "a" }),
                json!({ "Kotinos_Id__c": "TWICE", "LastName": "b" }),
            ],
        )
        .await;
    let codes: Vec<&str> = results.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            "none",
            "REQUIRED_FIELD_MISSING",
            "STRING_TOO_LONG",
            "INVALID_EMAIL_ADDRESS",
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            "INVALID_FIELD",
            "MISSING_ARGUMENT",
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            "DUPLICATE_VALUE",
            "DUPLICATE_VALUE",
        ]
    );
    assert_eq!(results[2]["errors"][0]["fields"], json!(["FirstName"]));
    assert_eq!(world.dump().await["objects"]["Contact"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn all_or_none_leaves_nothing_behind() {
    let world = World::new().await;
    world.upsert(false, &[alice()]).await;
    let rows = [
        json!({ "Kotinos_Id__c": "ALICE", "FirstName": "changed", "LastName": "changed" }),
        json!({ "Kotinos_Id__c": "BOB", "LastName": "Martin" }),
        json!({ "Kotinos_Id__c": "CAROL" }),
    ];
    let results = world.upsert(true, &rows).await;
    let codes: Vec<&str> = results.iter().map(code).collect();
    let undone = "ALL_OR_NONE_OPERATION_ROLLED_BACK";
    assert_eq!(codes, [undone, undone, "REQUIRED_FIELD_MISSING"]);
    let rows = &world.dump().await["objects"]["Contact"];
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["FirstName"]), (1, &json!("Alice")));
    // The key of the undone row is free again.
    assert_eq!(
        world.upsert(true, &[json!({ "Kotinos_Id__c": "BOB", "LastName": "M" })]).await[0]["created"],
        true
    );
}

#[tokio::test]
async fn insert_and_update_work_by_id_and_keep_keys_unique() {
    let world = World::new().await;
    let post = |rows: Vec<Value>| {
        world.call(Method::POST, "/composite/sobjects").json(&records(false, &rows)).send()
    };
    let patch = |rows: Vec<Value>| {
        world.call(Method::PATCH, "/composite/sobjects").json(&records(false, &rows)).send()
    };
    let bob = json!({ "Kotinos_Id__c": "BOB", "LastName": "Martin" });
    let results: Vec<Value> = post(vec![alice(), bob, alice()]).await.unwrap().json().await.unwrap();
    assert_eq!(code(&results[2]), "DUPLICATE_VALUE");
    assert!(
        results[2]["errors"][0]["message"].as_str().unwrap().contains(results[0]["id"].as_str().unwrap())
    );
    assert!(results[0].get("created").is_none());
    let id = results[1]["id"].as_str().unwrap();
    let updates = vec![
        json!({ "id": id, "FirstName": "Bob" }),
        json!({ "id": &id[..15], "Kotinos_Id__c": "ALICE" }),
        json!({ "id": "003000000000000AAA", "FirstName": "x" }),
        json!({ "id": "0035g0999999999", "FirstName": "x" }),
        json!({ "FirstName": "x" }),
    ];
    let results: Vec<Value> = patch(updates).await.unwrap().json().await.unwrap();
    let codes: Vec<&str> = results.iter().map(code).collect();
    assert_eq!(
        codes,
        ["none", "DUPLICATE_VALUE", "MALFORMED_ID", "INVALID_CROSS_REFERENCE_KEY", "MISSING_ARGUMENT"]
    );
}

#[tokio::test]
async fn a_deleted_record_lies_in_the_bin_and_frees_its_key() {
    let world = World::new().await;
    let id = world.upsert(false, &[alice()]).await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/composite/sobjects?ids={id},{id},003xx,001000000000000&allOrNone=false");
    let results: Vec<Value> = world.call(Method::DELETE, &path).send().await.unwrap().json().await.unwrap();
    let codes: Vec<&str> = results.iter().map(code).collect();
    assert_eq!(codes, ["none", "ENTITY_IS_DELETED", "MALFORMED_ID", "MALFORMED_ID"]);
    assert_eq!(world.query("SELECT Id FROM Contact").await["totalSize"], 0);
    let all = world.call(Method::GET, "/queryAll").query(&[("q", "SELECT Id, IsDeleted FROM Contact")]);
    let all: Value = all.send().await.unwrap().json().await.unwrap();
    assert_eq!(all["records"][0]["IsDeleted"], true);
    let again = world.upsert(false, &[alice()]).await;
    assert_eq!(again[0]["created"], true);
    assert_ne!(again[0]["id"], id.as_str());
}

#[tokio::test]
async fn a_call_that_is_wrong_as_a_whole_is_refused() {
    let mut small = config();
    small.max_body = 1_000;
    let world = World::with(small).await;
    let send = |path: &'static str, body: String| world.call(Method::PATCH, path).body(body).send();
    let upsert = "/composite/sobjects/Contact/Kotinos_Id__c";
    let too_many = json!({ "records": vec![json!({}); 201] }).to_string();
    let no_type = json!({ "records": [{ "LastName": "x" }] }).to_string();
    let other_type = json!({ "records": [{ "attributes": { "type": "Lead" } }] }).to_string();
    for (path, body, status, code) in [
        (upsert, "{".into(), 400, "JSON_PARSER_ERROR"),
        (upsert, format!("{{\"records\":{}", "[".repeat(500)), 400, "JSON_PARSER_ERROR"),
        (upsert, "{\"records\":[1]}".into(), 400, "JSON_PARSER_ERROR"),
        (upsert, too_many, 400, "EXCEEDED_ID_LIMIT"),
        (upsert, no_type, 400, "INVALID_INPUT"),
        (upsert, other_type.clone(), 400, "INVALID_INPUT"),
        ("/composite/sobjects", other_type, 400, "INVALID_TYPE"),
        ("/composite/sobjects/Contact/Email", records(false, &[]).to_string(), 404, "NOT_FOUND"),
        ("/composite/sobjects/Contact/%FF", records(false, &[]).to_string(), 400, "MALFORMED_REQUEST"),
        (upsert, " ".repeat(1_001), 413, "REQUEST_TOO_LARGE"),
    ] {
        assert_eq!(refusal(send(path, body).await.unwrap()).await, (status, code.into()), "{path}");
    }
    assert_eq!(world.dump().await["objects"]["Contact"], json!([]));
}

#[tokio::test]
async fn describe_tells_the_rules_that_rows_are_judged_by() {
    let world = World::new().await;
    let contact = world.get("/sobjects/contact/describe").await;
    let field = |name: &str| {
        let found = contact["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
        found.unwrap_or_else(|| panic!("{name}")).clone()
    };
    let key = field("Kotinos_Id__c");
    assert_eq!(
        (&key["externalId"], &key["unique"], &key["idLookup"]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert_eq!((&field("FirstName")["length"], &field("LastName")["nillable"]), (&json!(40), &json!(false)));
    assert_eq!(field("Email_Language__c")["picklistValues"][0]["value"], "ja");
    assert_eq!(field("Id")["updateable"], false);
    assert_eq!(world.get("/sobjects").await["sobjects"][0]["keyPrefix"], "003");
    let missing = world.call(Method::GET, "/sobjects/Lead/describe").send().await.unwrap();
    assert_eq!(refusal(missing).await, (404, "NOT_FOUND".into()));
}
