//! One org and one client a test.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use salesforce_simulator::{Config, Running, Simulator};
use serde_json::{Value, json};

pub const CLIENT_ID: &str = "kotinos-consumer-key";
pub const USERNAME: &str = "integration@example.org";
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The connected app's key: (private, public), PEM.
static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("RSA PUBLIC KEY", key.public_key().as_ref()))
});

fn pem(tag: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

pub fn config() -> Config {
    Config::new(KEY.1.clone(), CLIENT_ID, USERNAME)
}

pub fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_rsa_pem(KEY.0.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub struct World {
    pub org: Running,
    pub client: reqwest::Client,
    pub token: String,
}

impl World {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        let org = Simulator::start(config).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let mut world = Self { org, client, token: String::new() };
        world.sign_in().await;
        world
    }

    pub fn claims(&self) -> Value {
        json!({ "iss": CLIENT_ID, "sub": USERNAME, "aud": self.org.base_url, "exp": unix_now() + 180 })
    }

    pub async fn sign_in(&mut self) {
        // By the org's time, as a client that minds the `Date` header would.
        let now = self.dump().await["now"].as_str().unwrap().to_owned();
        let now = chrono::DateTime::parse_from_str(&now, "%Y-%m-%dT%H:%M:%S%.f%z").unwrap();
        let mut claims = self.claims();
        claims["exp"] = json!(now.timestamp() + 180);
        let response = self.ask_token(JWT_BEARER, &sign(&claims)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = response.json().await.unwrap();
        self.token = body["access_token"].as_str().unwrap().to_owned();
    }

    pub async fn ask_token(&self, grant_type: &str, assertion: &str) -> Response {
        let url = format!("{}/services/oauth2/token", self.org.base_url);
        let form = [("grant_type", grant_type), ("assertion", assertion)];
        self.client.post(url).form(&form).send().await.unwrap()
    }

    /// A call below `/services/data/v62.0`.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/services/data/v62.0{path}", self.org.base_url);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.call(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Rows of one upsert by `Kotinos_Id__c`, and their results.
    pub async fn upsert(&self, all_or_none: bool, rows: &[Value]) -> Vec<Value> {
        let request = self.call(Method::PATCH, "/composite/sobjects/Contact/Kotinos_Id__c");
        let response = request.json(&records(all_or_none, rows)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn query(&self, soql: &str) -> Value {
        let response = self.call(Method::GET, "/query").query(&[("q", soql)]).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{soql}");
        response.json().await.unwrap()
    }

    pub async fn control(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/_sim/{path}", self.org.control_url());
        let response = self.client.post(url).json(&body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn dump(&self) -> Value {
        let url = format!("{}/_sim/dump", self.org.control_url());
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    pub async fn fault(&self, fault: Value) {
        assert_eq!(self.control("faults", fault).await.0, StatusCode::OK);
    }

    /// Creates a job; `extra` overrides its properties.
    pub async fn create_job(&self, extra: Value) -> String {
        let mut job = json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Kotinos_Id__c",
            "contentType": "CSV", "lineEnding": "LF" });
        job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        job.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let response = self.call(Method::POST, "/jobs/ingest").json(&job).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["state"], &body["jobType"]), (&json!("Open"), &json!("V2Ingest")));
        body["id"].as_str().unwrap().to_owned()
    }

    pub async fn upload(&self, job: &str, csv: impl Into<String>) -> Response {
        let request = self.call(Method::PUT, &format!("/jobs/ingest/{job}/batches"));
        request.header("content-type", "text/csv; charset=UTF-8").body(csv.into()).send().await.unwrap()
    }

    pub async fn set_state(&self, job: &str, state: &str) -> Response {
        let request = self.call(Method::PATCH, &format!("/jobs/ingest/{job}"));
        request.json(&json!({ "state": state })).send().await.unwrap()
    }

    /// Polls until the job has ended.
    pub async fn ended(&self, job: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let body = self.get(&format!("/jobs/ingest/{job}")).await;
            if ["JobComplete", "Failed", "Aborted"].contains(&body["state"].as_str().unwrap()) {
                return body;
            }
            assert!(Instant::now() < deadline, "{body}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Create, upload, close, wait.
    pub async fn load(&self, extra: Value, csv: impl Into<String>) -> (String, Value) {
        let job = self.create_job(extra).await;
        assert_eq!(self.upload(&job, csv).await.status(), StatusCode::CREATED);
        assert_eq!(self.set_state(&job, "UploadComplete").await.status(), StatusCode::OK);
        let ended = self.ended(&job).await;
        (job, ended)
    }

    pub async fn results(&self, job: &str, file: &str) -> Vec<Vec<String>> {
        let response = self.call(Method::GET, &format!("/jobs/ingest/{job}/{file}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/csv");
        let text = response.text().await.unwrap();
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }
}

/// The body of a Collections call on Contact.
pub fn records(all_or_none: bool, rows: &[Value]) -> Value {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.as_object_mut().unwrap().insert("attributes".into(), json!({ "type": "Contact" }));
    }
    json!({ "allOrNone": all_or_none, "records": rows })
}

/// Status and error code of a refusal in Salesforce's shape.
pub async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body[0]["message"].is_string(), "{body}");
    (status, body[0]["errorCode"].as_str().unwrap().to_owned())
}
