//! One of several instances, as a client reaches it: an app of the test, or a process of its own that may be gone.

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use testkit::TestApp;

use super::{
    Answer, VERIFIER,
    flows::{basic, callback},
};
use crate::clients::SECRET;

/// What a client hears; an error where nobody answers.
type Heard = Result<Answer, reqwest::Error>;

pub struct Instance {
    http: reqwest::Client,
    url: String,
}

impl Instance {
    pub fn of(app: &TestApp) -> Self {
        Self::at(app.http(), app.http_url(""))
    }

    /// At this address, without a path.
    pub const fn at(http: reqwest::Client, url: String) -> Self {
        Self { http, url }
    }

    pub async fn redeem(&self, client_id: &str, code: &str) -> Heard {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback(client_id)),
            ("code_verifier", VERIFIER),
        ];
        self.post_as(client_id, "/oauth2/token", &form).await
    }

    pub async fn refresh(&self, client_id: &str, refresh_token: &str) -> Heard {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.post_as(client_id, "/oauth2/token", &form).await
    }

    pub async fn introspect(&self, client_id: &str, token: &str) -> Heard {
        self.post_as(client_id, "/oauth2/introspect", &[("token", token)]).await
    }

    /// Whether introspection says so of a token.
    pub async fn is_active(&self, client_id: &str, token: &str) -> bool {
        let answer = self.introspect(client_id, token).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["active"] == json!(true)
    }

    /// Posts a form as a client that proves itself as it is registered.
    pub async fn post_as(&self, client_id: &str, path: &str, form: &[(&str, &str)]) -> Heard {
        let mut form = form.to_vec();
        prove(client_id, &mut form);
        let mut request = self.http.post(format!("{}{path}", self.url)).form(&form);
        if let Some(basic) = basic(client_id) {
            request = request.header(AUTHORIZATION, basic);
        }
        heard(request).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Heard {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        heard(request).await
    }
}

async fn heard(request: reqwest::RequestBuilder) -> Heard {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

fn prove<'a>(client_id: &'a str, form: &mut Vec<(&'a str, &'a str)>) {
    match client_id {
        "portal" => form.push(("client_id", client_id)),
        "forum" => form.extend([("client_id", client_id), ("client_secret", SECRET)]),
        _ => {}
    }
}
