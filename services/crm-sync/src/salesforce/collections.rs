//! sObject Collections: up to 200 rows in a call, upserted by key, results by position.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Client, Error, VERSION};
use crate::{
    bulk_csv::safe_code,
    mapping::Mapping,
    row::{Cell, Row},
};

/// Rows of one call.
pub const MOST_ROWS: usize = 200;

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowResult {
    /// Taken.
    Saved {
        /// Id of the record.
        record_id: String,
    },
    /// Refused. The text is dropped: it quotes values.
    Refused {
        /// Code.
        code: String,
        /// Fields that it names.
        fields: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    success: bool,
    #[serde(default)]
    errors: Vec<RowError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowError {
    status_code: String,
    #[serde(default)]
    fields: Vec<String>,
}

impl Client {
    /// Upserts rows by key; one that fails does not undo the others. The same rows again have the same effect.
    ///
    /// # Errors
    /// The recipient's; unanswered, the rows may be there.
    pub async fn upsert(
        &self,
        object: &str,
        key_field: &str,
        mapping: &Mapping,
        rows: &[&Row],
    ) -> Result<Vec<RowResult>, Error> {
        let records: Vec<Value> = rows.iter().map(|row| record(object, mapping, row)).collect();
        let body = json!({ "allOrNone": false, "records": records });
        let path = format!("/services/data/{VERSION}/composite/sobjects/{object}/{key_field}");
        let reply = self.send_json(Method::PATCH, &path, &body).await?;
        let wrong = || Error::Malformed { what: "collection" };
        let results: Vec<Answer> = serde_json::from_slice(&reply.body).map_err(|_| wrong())?;
        if results.len() != rows.len() {
            return Err(wrong());
        }
        Ok(results.into_iter().map(RowResult::from).collect())
    }
}

/// An absent key is ignored there, null clears.
fn record(object: &str, mapping: &Mapping, row: &Row) -> Value {
    let mut record = Map::new();
    record.insert("attributes".to_owned(), json!({ "type": object }));
    for (field, cell) in mapping.fields().iter().zip(&row.cells) {
        let value = match cell {
            None => continue,
            Some(Cell::Text(text)) => Value::String(text.reveal().clone()),
            Some(Cell::Flag(flag)) => Value::Bool(*flag),
            Some(Cell::Clear) => Value::Null,
        };
        record.insert(field.target.clone(), value);
    }
    Value::Object(record)
}

impl From<Answer> for RowResult {
    fn from(result: Answer) -> Self {
        if result.success {
            return Self::Saved { record_id: result.id.unwrap_or_default() };
        }
        let error = result.errors.into_iter().next();
        let is_name = |name: &String| {
            name.len() <= 80 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let (code, fields) = error.map(|error| (error.status_code, error.fields)).unwrap_or_default();
        let code = if code.is_empty() { "UNKNOWN_CODE".to_owned() } else { safe_code(&code) };
        Self::Refused { code, fields: fields.into_iter().filter(is_name).take(20).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gate::tests::subject, mapping::ioc, row::tests::row_of};

    #[test]
    fn an_absent_key_is_ignored_and_null_clears() {
        let row = row_of(&subject(&["ioc_newsletter"]), &["FirstName"]).unwrap();
        let record = record("Contact", &ioc::mapping().unwrap(), &row);
        assert_eq!(record["attributes"]["type"], "Contact");
        assert_eq!(record["Email"], "alice@example.org");
        assert_eq!(record["Consent_Communication__c"], true);
        assert_eq!(record["FirstName"], Value::Null);
        assert!(record.get("FirstName").is_some(), "a revoked field is cleared");
        assert!(record.get("Birthdate").is_none(), "a field that was never sent is left alone");
    }

    #[test]
    fn a_refusal_is_read_without_its_text() {
        let reply = r#"{"success":false,"errors":[{"statusCode":"INVALID_EMAIL_ADDRESS","message":"alice@example.org","fields":["Email"]}]}"#;
        let result = RowResult::from(serde_json::from_str::<Answer>(reply).unwrap());
        let refused =
            RowResult::Refused { code: "INVALID_EMAIL_ADDRESS".to_owned(), fields: vec!["Email".to_owned()] };
        assert_eq!(result, refused);
    }
}
