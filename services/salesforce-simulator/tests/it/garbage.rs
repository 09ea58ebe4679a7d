use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{World, refusal};

#[tokio::test]
async fn unknown_paths_methods_and_versions_are_refused_in_salesforces_shape() {
    let world = World::new().await;
    for (method, path, status, code) in [
        (Method::GET, "/services/data/v62.0/nothing", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v99.0/limits", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v62/limits", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/latest/limits", 404, "NOT_FOUND"),
        (Method::GET, "/", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v62.0/../../../etc/passwd", 404, "NOT_FOUND"),
        (Method::PUT, "/services/data/v62.0/limits", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/services/oauth2/token", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/services/data/v62.0/jobs/ingest/750'--/", 404, "NOT_FOUND"),
        (Method::DELETE, "/services/data/v62.0/composite/sobjects", 400, "MISSING_ARGUMENT"),
    ] {
        let request =
            world.client.request(method, format!("{}{path}", world.org.base_url)).bearer_auth(&world.token);
        assert_eq!(refusal(request.send().await.unwrap()).await, (status, code.into()), "{path}");
    }
}

#[tokio::test]
async fn garbage_bodies_are_refused_and_the_org_lives_on() {
    let world = World::new().await;
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        vec![0xff; 3_000],
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{\"records\":null}".to_vec(),
        b"{\"records\":[{\"attributes\":7}]}".to_vec(),
        b"{\"state\":{}}".to_vec(),
        "[".repeat(100_000).into_bytes(),
        b"{\"object\":\"\\u0000\",\"operation\":\"\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
    ];
    let job = world.create_job(serde_json::json!({})).await;
    for body in bodies {
        for (method, path) in [
            (Method::POST, "/composite/sobjects".to_owned()),
            (Method::PATCH, "/composite/sobjects".to_owned()),
            (Method::PATCH, "/composite/sobjects/Contact/Kotinos_Id__c".to_owned()),
            (Method::POST, "/jobs/ingest".to_owned()),
            (Method::PATCH, format!("/jobs/ingest/{job}")),
        ] {
            let response = world.call(method, &path).body(body.clone()).send().await.unwrap();
            let refused = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
            assert!(refused.contains(&response.status()), "{path}");
            assert!(response.json::<Value>().await.unwrap()[0]["errorCode"].is_string());
        }
        let form = world.client.post(format!("{}/services/oauth2/token", world.org.base_url));
        let form = form.header("content-type", "application/x-www-form-urlencoded").body(body);
        assert!(form.send().await.unwrap().status().is_client_error());
    }
    let huge = world
        .client
        .post(format!("{}/services/oauth2/token", world.org.base_url))
        .form(&[("assertion", "x".repeat(100_000))]);
    assert!(huge.send().await.unwrap().json::<Value>().await.unwrap()["error"].is_string());
    world.get("/limits").await;
}

#[tokio::test]
async fn garbage_uploads_fail_their_job_and_nothing_else() {
    let world = World::new().await;
    let uploads: Vec<Vec<u8>> = vec![
        vec![0xff, 0xfe, b'\n', 0xff],
        b"Kotinos_Id__c,LastName\n\xff\xfe,x\n".to_vec(),
        b"\"Kotinos_Id__c".to_vec(),
        b"Kotinos_Id__c,LastName\n\"A,B\n".to_vec(),
        b"Kotinos_Id__c,LastName\nA,\"B".to_vec(),
        b",,,,\n,,,,\n".to_vec(),
        vec![b'\n'; 10_000],
        vec![b','; 10_000],
        vec![0; 10_000],
        format!("Kotinos_Id__c,LastName\nA,{}\n", "x".repeat(32_001)).into_bytes(),
    ];
    for upload in uploads {
        let job = world.create_job(serde_json::json!({})).await;
        let request = world.call(Method::PUT, &format!("/jobs/ingest/{job}/batches"));
        let response = request.header("content-type", "text/csv").body(upload.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        world.set_state(&job, "UploadComplete").await;
        let ended = world.ended(&job).await;
        assert_eq!(ended["state"], "Failed", "{ended} {:?}", &upload[..upload.len().min(40)]);
        for file in ["successfulResults", "failedResults", "unprocessedrecords"] {
            let response =
                world.call(Method::GET, &format!("/jobs/ingest/{job}/{file}")).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    }
    assert_eq!(world.dump().await["objects"]["Contact"], serde_json::json!([]));
}

#[tokio::test]
async fn bytes_that_are_not_http_do_not_hurt() {
    let world = World::new().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET\0/ HTTP/9\r\n\r\n",
        b"PUT / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(world.org.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
    }
    world.get("/limits").await;
}
