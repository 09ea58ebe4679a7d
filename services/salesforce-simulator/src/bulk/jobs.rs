//! All jobs of the org, and what it takes to create one.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{DELIMITERS, Job, LineEnding, State};
use crate::{
    id,
    org::Column,
    refusal::Refusal,
    rows::{Operation, Table},
};

/// Jobs on one page of the list.
const PAGE: usize = 1_000;
/// Jobs kept; a new one is refused past it.
const MAX_JOBS: usize = 100_000;

/// The body that creates a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewJob {
    object: String,
    operation: String,
    external_id_field_name: Option<String>,
    content_type: Option<String>,
    line_ending: Option<String>,
    column_delimiter: Option<String>,
    #[serde(rename = "assignmentRuleId")]
    _assignment_rule_id: Option<String>,
}

impl NewJob {
    /// # Errors
    /// `JSON_PARSER_ERROR` for a body of another shape.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|error| Refusal::parser(error.to_string()))
    }

    fn operation(&self, table: &Table, hard_delete: bool) -> Result<Operation, Refusal> {
        let key = self.external_id_field_name.as_deref().unwrap_or_default();
        match self.operation.as_str() {
            "insert" => Ok(Operation::Insert),
            "update" => Ok(Operation::Update),
            "delete" => Ok(Operation::Delete),
            "hardDelete" if hard_delete => Ok(Operation::HardDelete),
            "hardDelete" => {
                let message = "hardDelete operation requires special user profile permission, please contact your \
                               system administrator";
                Err(Refusal::bad_request("FEATURENOTENABLED", message))
            }
            "upsert" => match table.object.column(key) {
                Some(Column::Data(index))
                    if table.object.fields.get(index).is_some_and(|f| f.external_id) =>
                {
                    Ok(Operation::Upsert(index))
                }
                _ => Err(Refusal::bad_request(
                    "INVALIDJOB",
                    format!("InvalidJob : Field name not found : {key}"),
                )),
            },
            other => {
                Err(Refusal::bad_request("INVALIDOPERATION", format!("Operation {other} is not supported")))
            }
        }
    }
}

/// Who creates a job, and under which rules.
#[derive(Debug, Clone)]
pub struct Origin {
    pub user_id: Arc<str>,
    pub at: DateTime<Utc>,
    pub version: u32,
    pub hard_delete: bool,
}

/// All jobs of the org.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: BTreeMap<u64, Job>,
    count: u64,
}

impl Jobs {
    /// # Errors
    /// An unknown object, operation, key field, content type, line ending or delimiter.
    pub fn create(&mut self, new: &NewJob, tables: &[Table], origin: &Origin) -> Result<&Job, Refusal> {
        let table = tables
            .iter()
            .find(|table| table.object.name.eq_ignore_ascii_case(&new.object))
            .ok_or_else(|| {
                let message = format!("Entity '{}' is not supported by the Bulk API.", new.object);
                Refusal::bad_request("INVALIDENTITY", message)
            })?;
        let operation = new.operation(table, origin.hard_delete)?;
        let option =
            |name: &str| Refusal::bad_request("INVALIDJOB", format!("InvalidJob : {name} is not supported"));
        if new.content_type.as_deref().is_some_and(|kind| kind != "CSV") {
            return Err(option("contentType"));
        }
        let line_ending = match new.line_ending.as_deref() {
            None | Some("LF") => LineEnding::Lf,
            Some("CRLF") => LineEnding::Crlf,
            Some(_) => return Err(option("lineEnding")),
        };
        let delimiter = new.column_delimiter.as_deref().unwrap_or("COMMA");
        let delimiter = DELIMITERS.iter().find(|(name, _)| *name == delimiter).map(|(_, byte)| *byte);
        if self.jobs.len() >= MAX_JOBS {
            return Err(Refusal::bad_request("EXCEEDEDQUOTA", "too many jobs: delete ended ones"));
        }
        self.count += 1;
        let job = Job {
            serial: self.count,
            object: table.object.name.clone(),
            operation,
            key_name: matches!(operation, Operation::Upsert(_))
                .then(|| new.external_id_field_name.clone())
                .flatten(),
            line_ending,
            delimiter: delimiter.ok_or_else(|| option("columnDelimiter"))?,
            state: State::Open,
            user_id: Arc::clone(&origin.user_id),
            version: origin.version,
            created_at: origin.at,
            modified_at: origin.at,
            content: None,
            outcomes: Arc::default(),
            failed: 0,
            error: None,
            processing_ms: 0,
        };
        Ok(self.jobs.entry(self.count).or_insert(job))
    }

    /// # Errors
    /// `NOT_FOUND`.
    pub fn get(&self, id: &str) -> Result<&Job, Refusal> {
        id::read("750", id).and_then(|serial| self.jobs.get(&serial)).ok_or_else(Refusal::not_found)
    }

    /// # Errors
    /// `NOT_FOUND`.
    pub fn get_mut(&mut self, id: &str) -> Result<&mut Job, Refusal> {
        id::read("750", id).and_then(|serial| self.jobs.get_mut(&serial)).ok_or_else(Refusal::not_found)
    }

    /// # Errors
    /// `NOT_FOUND`, or a job that is open or running.
    pub fn delete(&mut self, id: &str) -> Result<(), Refusal> {
        let job = self.get(id)?;
        if matches!(job.state, State::Open | State::InProgress) {
            return Err(job.wrong_state("delete"));
        }
        let serial = job.serial;
        self.jobs.remove(&serial);
        Ok(())
    }

    /// One page of the list; the locator is the serial to go on from.
    ///
    /// # Errors
    /// `INVALID_QUERY_LOCATOR`.
    pub fn list(&self, locator: Option<&str>, version: u32) -> Result<Json, Refusal> {
        let from = match locator {
            None => 0,
            Some(text) => text
                .parse::<u64>()
                .map_err(|_| Refusal::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator"))?,
        };
        let mut rest = self.jobs.range(from..).map(|(_, job)| job);
        let records: Vec<Json> = rest.by_ref().take(PAGE).map(Job::to_json).collect();
        let next = rest.next().map(|job| job.serial);
        let url = next.map(|from| format!("/services/data/v{version}.0/jobs/ingest?queryLocator={from}"));
        Ok(json!({ "done": url.is_none(), "records": records, "nextRecordsUrl": url }))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }
}
