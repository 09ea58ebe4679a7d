use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, config, refusal};

const HEADER: &str = "Kotinos_Id__c,LastName,FirstName,Email";

#[tokio::test]
async fn a_job_runs_from_open_to_its_three_result_files() {
    let world = World::new().await;
    world
        .upsert(false, &[json!({ "Kotinos_Id__c": "ALICE", "LastName": "Y", "Email": "alice@example.org" })])
        .await;
    let csv = format!(
        "{HEADER}\nALICE,Yamada,\"A, \"\"B\"\"\",\nBOB,Martin,Bob,bob@example.org\nCAROL,,Carol,\n\
        DAN,D,Dan,dan..d@docomo.ne.jp\n"
    );
    let (job, ended) = world.load(json!({}), csv).await;
    assert_eq!(ended["state"], "JobComplete");
    assert_eq!((&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]), (&json!(4), &json!(2)));
    assert_eq!((&ended["apiVersion"], &ended["concurrencyMode"]), (&json!(62.0), &json!("Parallel")));

    let good = world.results(&job, "successfulResults").await;
    assert_eq!(good[0][..3], ["sf__Id", "sf__Created", "Kotinos_Id__c"]);
    assert_eq!(good[1][1..], ["false", "ALICE", "Yamada", "A, \"B\"", ""]);
    assert_eq!(good[2][1..], ["true", "BOB", "Martin", "Bob", "bob@example.org"]);
    let failed = world.results(&job, "failedResults").await;
    assert_eq!(failed[0][..2], ["sf__Id", "sf__Error"]);
    assert_eq!(failed[1][1], "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --");
    assert!(failed[2][1].starts_with("INVALID_EMAIL_ADDRESS:") && failed[2][1].ends_with(":Email --"));
    assert_eq!(failed[2][2..4], ["DAN", "D"]);
    assert_eq!(world.results(&job, "unprocessedrecords").await, [HEADER.split(',').collect::<Vec<_>>()]);

    let rows = world.query("SELECT Id, Email FROM Contact WHERE Kotinos_Id__c = 'alice'").await;
    assert_eq!(
        (&rows["records"][0]["Id"], &rows["records"][0]["Email"]),
        (&json!(good[1][0]), &json!("alice@example.org"))
    );
}

#[tokio::test]
async fn an_empty_cell_is_ignored_and_n_a_clears() {
    let world = World::new().await;
    let alice =
        json!({ "Kotinos_Id__c": "A", "LastName": "Y", "FirstName": "Alice", "Email": "a@example.org" });
    world.upsert(false, &[alice]).await;
    world.load(json!({}), format!("{HEADER}\nA,,\"#N/A\",\n")).await;
    let row = &world.dump().await["objects"]["Contact"][0];
    assert_eq!((&row["LastName"], &row["FirstName"]), (&json!("Y"), &Value::Null));
    assert_eq!(row["Email"], "a@example.org");
}

#[tokio::test]
async fn nothing_is_processed_before_upload_complete() {
    let world = World::new().await;
    let job = world.create_job(json!({})).await;
    world.upload(&job, format!("{HEADER}\nA,Y,,\n")).await;
    assert_eq!(world.get(&format!("/jobs/ingest/{job}")).await["state"], "Open");
    assert_eq!(world.set_state(&job, "Aborted").await.status(), StatusCode::OK);
    assert_eq!(world.ended(&job).await["state"], "Aborted");
    assert_eq!(world.dump().await["objects"]["Contact"], json!([]));
    assert_eq!(world.results(&job, "unprocessedrecords").await.len(), 2);
}

#[tokio::test]
async fn wrong_states_are_refused() {
    let mut slow = config();
    slow.bulk_delay = Duration::from_secs(600);
    let world = World::with(slow).await;
    let job = world.create_job(json!({})).await;
    let state = |code: &str| (400, code.to_owned());
    assert_eq!(refusal(world.set_state(&job, "UploadComplete").await).await, state("INVALIDJOBSTATE"));
    assert_eq!(refusal(world.set_state(&job, "JobComplete").await).await, state("INVALIDJOBSTATE"));
    let results = || world.call(Method::GET, &format!("/jobs/ingest/{job}/failedResults")).send();
    assert_eq!(refusal(results().await.unwrap()).await, state("INVALIDJOBSTATE"));
    let delete = || world.call(Method::DELETE, &format!("/jobs/ingest/{job}")).send();
    assert_eq!(refusal(delete().await.unwrap()).await, state("INVALIDJOBSTATE"));
    let wrong_kind = world.call(Method::PUT, &format!("/jobs/ingest/{job}/batches")).json(&json!([])).send();
    assert_eq!(wrong_kind.await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);

    assert_eq!(world.upload(&job, format!("{HEADER}\n")).await.status(), StatusCode::CREATED);
    assert_eq!(refusal(world.upload(&job, format!("{HEADER}\n")).await).await, state("CLIENTINPUTERROR"));
    assert_eq!(world.set_state(&job, "UploadComplete").await.status(), StatusCode::OK);
    assert_eq!(refusal(world.set_state(&job, "UploadComplete").await).await, state("INVALIDJOBSTATE"));
    assert_eq!(world.set_state(&job, "Aborted").await.status(), StatusCode::OK);
    assert_eq!(refusal(world.set_state(&job, "Aborted").await).await, state("INVALIDJOBSTATE"));
    assert_eq!(delete().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(refusal(delete().await.unwrap()).await, (404, "NOT_FOUND".into()));
}

#[tokio::test]
async fn a_job_that_cannot_be_is_not_created() {
    let mut strict = config();
    strict.hard_delete = false;
    let world = World::with(strict).await;
    for (job, code) in [
        (json!({ "object": "Lead", "operation": "insert" }), "INVALIDENTITY"),
        (json!({ "object": "Contact", "operation": "merge" }), "INVALIDOPERATION"),
        (json!({ "object": "Contact", "operation": "upsert" }), "INVALIDJOB"),
        (json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Email" }), "INVALIDJOB"),
        (json!({ "object": "Contact", "operation": "insert", "contentType": "JSON" }), "INVALIDJOB"),
        (json!({ "object": "Contact", "operation": "insert", "lineEnding": "CR" }), "INVALIDJOB"),
        (json!({ "object": "Contact", "operation": "insert", "columnDelimiter": "!" }), "INVALIDJOB"),
        (json!({ "object": "Contact", "operation": "hardDelete" }), "FEATURENOTENABLED"),
        (json!({ "object": "Contact", "operation": "insert", "colour": "red" }), "JSON_PARSER_ERROR"),
        (json!({ "operation": "insert" }), "JSON_PARSER_ERROR"),
    ] {
        let response = world.call(Method::POST, "/jobs/ingest").json(&job).send().await.unwrap();
        assert_eq!(refusal(response).await, (400, code.into()), "{job}");
    }
    assert_eq!(world.get("/jobs/ingest").await["records"], json!([]));
}

#[tokio::test]
async fn a_file_that_does_not_fit_the_job_fails_it_whole() {
    let world = World::new().await;
    for (csv, extra, text) in [
        ("Kotinos_Id__c,Shoe__c\nA,1\n".to_owned(), json!({}), "Field name not found : Shoe__c"),
        ("LastName\nA\n".into(), json!({}), "Field name not found : Kotinos_Id__c"),
        (format!("{HEADER}\r\nA,Y,,\r\n"), json!({}), "LineEnding is invalid"),
        (format!("{HEADER}\nA,Y,,\n"), json!({ "lineEnding": "CRLF" }), "LineEnding is invalid"),
        ("Kotinos_Id__c,KOTINOS_ID__C\nA,B\n".into(), json!({}), "Duplicate"),
        (String::new(), json!({}), "headers"),
        ("Id,LastName\nA,B\n".into(), json!({ "operation": "delete" }), "only ids"),
        ("LastName\nB\n".into(), json!({ "operation": "update" }), "Field name not found : Id"),
    ] {
        let (job, ended) = world.load(extra, csv.clone()).await;
        assert_eq!(ended["state"], "Failed", "{csv}");
        assert!(ended["errorMessage"].as_str().unwrap().contains(text), "{ended}");
        assert_eq!(ended["numberRecordsProcessed"], 0);
        let rows = csv.lines().count().max(1);
        assert_eq!(world.results(&job, "unprocessedrecords").await.len(), rows, "{csv}");
    }
    assert_eq!(world.dump().await["objects"]["Contact"], json!([]));
}

#[tokio::test]
async fn a_broken_row_leaves_the_rest_unprocessed() {
    let world = World::new().await;
    let (job, ended) = world.load(json!({}), format!("{HEADER}\nA,Y,,\nB,Y\nC,Y,,\n")).await;
    assert_eq!((&ended["state"], &ended["numberRecordsProcessed"]), (&json!("Failed"), &json!(1)));
    assert!(ended["errorMessage"].as_str().unwrap().contains("line 3 has 2 columns"), "{ended}");
    let rest = world.results(&job, "unprocessedRecords").await;
    assert_eq!((rest.len(), rest[1][0].as_str(), rest[2][0].as_str()), (3, "B", "C"));
    assert_eq!(world.results(&job, "successfulResults").await.len(), 2);
}

#[tokio::test]
async fn a_long_job_counts_every_row_and_a_chunk_refuses_doubled_keys() {
    let world = World::new().await;
    let mut csv = format!("{HEADER}\r\n");
    for row in 0..1_000 {
        // Rows 10 and 20 share a key within one chunk of 200; row 900 repeats that of row 0 in another.
        let key = match row {
            20 => 10,
            900 => 0,
            row => row,
        };
        csv.push_str(&format!("K{key},Y{row},,\r\n"));
    }
    let (job, ended) = world.load(json!({ "lineEnding": "CRLF" }), csv).await;
    assert_eq!((&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]), (&json!(1000), &json!(2)));
    let failed = world.results(&job, "failedResults").await;
    assert!(
        failed[1][1].starts_with("DUPLICATE_VALUE:Duplicate external id specified: K10"),
        "{:?}",
        failed[1]
    );
    let good = world.results(&job, "successfulResults").await;
    assert_eq!(good.iter().filter(|row| row[1] == "false").count(), 1);
    assert_eq!(world.query("SELECT COUNT() FROM Contact").await["totalSize"], 997);
}

#[tokio::test]
async fn delete_keeps_and_hard_delete_removes() {
    let world = World::new().await;
    let (job, _) = world.load(json!({}), format!("{HEADER}\nA,Y,,\nB,Y,,\n")).await;
    let good = world.results(&job, "successfulResults").await;
    let ids = |rows: &[&str]| format!("Id\n{}\n", rows.join("\n"));
    let soft = json!({ "operation": "delete", "externalIdFieldName": null });
    world.load(soft, ids(&[&good[1][0]])).await;
    let hard = json!({ "operation": "hardDelete", "externalIdFieldName": null });
    let (_, ended) = world.load(hard, ids(&[&good[2][0], "003"])).await;
    assert_eq!((&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]), (&json!(2), &json!(1)));
    let rows = &world.dump().await["objects"]["Contact"];
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["IsDeleted"]), (1, &json!(true)));
}

#[tokio::test]
async fn an_abort_stops_a_running_job_between_two_chunks() {
    let mut slow = config();
    slow.bulk_chunk_delay = Duration::from_millis(50);
    let world = World::with(slow).await;
    let rows: String = (0..20_000).map(|row| format!("K{row},Y,,\n")).collect();
    let job = world.create_job(json!({})).await;
    world.upload(&job, format!("{HEADER}\n{rows}")).await;
    world.set_state(&job, "UploadComplete").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while world.get(&format!("/jobs/ingest/{job}")).await["numberRecordsProcessed"] == 0 {
        assert!(std::time::Instant::now() < deadline);
    }
    assert_eq!(world.set_state(&job, "Aborted").await.status(), StatusCode::OK);
    let processed = world.ended(&job).await["numberRecordsProcessed"].as_u64().unwrap();
    assert!((200..20_000).contains(&processed), "{processed}");
    let unprocessed = world.results(&job, "unprocessedrecords").await.len() - 1;
    assert_eq!(u64::try_from(unprocessed).unwrap() + processed, 20_000);
}

#[tokio::test]
async fn an_upload_over_the_limit_and_a_day_without_batches_are_refused() {
    let mut small = config();
    small.max_upload_base64 = 400;
    small.daily_batches = 1;
    let world = World::with(small).await;
    let job = world.create_job(json!({})).await;
    assert_eq!(refusal(world.upload(&job, "x".repeat(301)).await).await, (413, "CLIENTINPUTERROR".into()));
    assert_eq!(world.upload(&job, "x".repeat(300)).await.status(), StatusCode::CREATED);
    world.load(json!({}), format!("{HEADER}\nA,Y,,\n")).await;
    let late = world.create_job(json!({})).await;
    world.upload(&late, format!("{HEADER}\nA,Y,,\n")).await;
    assert_eq!(refusal(world.set_state(&late, "UploadComplete").await).await, (400, "EXCEEDEDQUOTA".into()));
    assert_eq!(world.get(&format!("/jobs/ingest/{late}")).await["state"], "Open");
}

#[tokio::test]
async fn jobs_are_listed() {
    let world = World::new().await;
    let first = world.create_job(json!({})).await;
    world.create_job(json!({})).await;
    let list = world.get("/jobs/ingest?jobType=V2Ingest").await;
    assert_eq!((&list["done"], &list["records"][0]["id"]), (&json!(true), &json!(first)));
    assert_eq!(list["records"].as_array().unwrap().len(), 2);
    assert_eq!(world.get("/jobs/ingest?jobType=Classic").await["records"], json!([]));
    let bad = world.call(Method::GET, "/jobs/ingest?queryLocator=%27--").send().await.unwrap();
    assert_eq!(refusal(bad).await, (400, "INVALID_QUERY_LOCATOR".into()));
}
