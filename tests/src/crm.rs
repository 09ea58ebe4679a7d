use anyhow::{Context, Result};
use serde_json::Value;

use crate::suite::Addresses;

/// What the simulated CRM shows of itself on its control port.
#[derive(Debug, Clone)]
pub struct Crm {
    dump_url: String,
    http: reqwest::Client,
}

impl Crm {
    pub(crate) fn new(addresses: &Addresses) -> Self {
        // Without settings that could be wrong: making a client has no way to fail but those.
        let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
        Self { dump_url: format!("{}/_sim/dump", addresses.crm_control_url()), http }
    }

    /// Everything it holds.
    ///
    /// # Errors
    /// No answer.
    pub async fn dump(&self) -> Result<Value> {
        Ok(self.http.get(&self.dump_url).send().await?.error_for_status()?.json().await?)
    }

    /// Its contacts.
    ///
    /// # Errors
    /// No answer.
    pub async fn contacts(&self) -> Result<Vec<Value>> {
        let mut dump = self.dump().await?;
        match dump["objects"]["Contact"].take() {
            Value::Array(contacts) => Ok(contacts),
            _ => Ok(Vec::new()),
        }
    }

    /// Calls that it got, in order, as `METHOD path status`, with the `traceparent` that came along.
    ///
    /// # Errors
    /// No answer.
    pub async fn calls(&self) -> Result<Vec<(String, Option<String>)>> {
        let dump = self.dump().await?;
        let calls = dump["calls"].as_array().context("the dump holds no calls")?;
        let text = |call: &Value, name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let call = |call: &Value| {
            let line = format!("{} {} {}", text(call, "method"), text(call, "path"), call["status"]);
            (line, call["traceparent"].as_str().map(str::to_owned))
        };
        Ok(calls.iter().map(call).collect())
    }
}
