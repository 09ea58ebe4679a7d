//! Bulk API 2.0 ingest: jobs and their states. Source: Bulk API 2.0 guide, "Bulk API 2.0 Ingest".
//!
//! `Open -> UploadComplete -> InProgress -> JobComplete | Failed`, and `Aborted` from the first three. Nothing of an
//! upload is looked at before `UploadComplete`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use crate::{
    clock, id,
    refusal::{Refusal, RowError},
    rows::Operation,
};

mod jobs;
pub mod load;
pub mod results;
pub(crate) mod run;

pub use jobs::{Jobs, NewJob, Origin};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl State {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    fn is_ended(self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// What became of one row; rows past the last outcome were never processed.
#[derive(Debug, Clone)]
pub enum Outcome {
    Saved { serial: u32, created: bool },
    Failed(Box<RowError>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    Lf,
    Crlf,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub serial: u64,
    pub object: String,
    pub operation: Operation,
    pub key_name: Option<String>,
    pub line_ending: LineEnding,
    pub delimiter: u8,
    pub state: State,
    pub user_id: Arc<str>,
    pub version: u32,
    pub created_at: DateTime<Utc>,
    pub modified_at: DateTime<Utc>,
    pub content: Option<Bytes>,
    pub outcomes: Arc<Vec<Outcome>>,
    pub failed: usize,
    pub error: Option<String>,
    /// Time from the first row to the last, in milliseconds.
    pub processing_ms: u64,
}

const DELIMITERS: [(&str, u8); 6] = [
    ("COMMA", b','),
    ("TAB", b'\t'),
    ("SEMICOLON", b';'),
    ("PIPE", b'|'),
    ("CARET", b'^'),
    ("BACKQUOTE", b'`'),
];

impl Job {
    #[must_use]
    pub fn id(&self) -> String {
        id::write("750", self.serial)
    }

    /// Whether an upload would be taken.
    ///
    /// # Errors
    /// A second upload, or a job that is no longer open.
    pub fn takes_upload(&self) -> Result<(), Refusal> {
        if self.content.is_some() {
            let message = format!(
                "Found multiple contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current Job then \
                 create a new Job and make sure you only do 'PUT' once on a given Job.",
                self.id()
            );
            return Err(Refusal::bad_request("CLIENTINPUTERROR", message));
        }
        if self.state != State::Open {
            return Err(self.wrong_state("upload data"));
        }
        Ok(())
    }

    /// # Errors
    /// As `takes_upload`.
    pub fn upload(&mut self, content: Bytes, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.takes_upload()?;
        self.content = Some(content);
        self.modified_at = now;
        Ok(())
    }

    /// Whether the job can be closed.
    ///
    /// # Errors
    /// A job that is not open, or has nothing uploaded.
    pub fn takes_close(&self) -> Result<(), Refusal> {
        if self.state != State::Open {
            return Err(self.wrong_state("close"));
        }
        if self.content.is_none() {
            return Err(Refusal::bad_request(
                "INVALIDJOBSTATE",
                "Job has no content: upload data before closing it",
            ));
        }
        Ok(())
    }

    /// The commit point: from here on rows are processed.
    ///
    /// # Errors
    /// As `takes_close`.
    pub fn close(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.takes_close()?;
        self.state = State::UploadComplete;
        self.modified_at = now;
        Ok(())
    }

    /// Rows that were processed already stay as they are.
    ///
    /// # Errors
    /// A job that has ended.
    pub fn abort(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        if self.state.is_ended() {
            return Err(self.wrong_state("abort"));
        }
        self.state = State::Aborted;
        self.modified_at = now;
        Ok(())
    }

    /// # Errors
    /// A job that has not ended.
    pub fn ended(&self) -> Result<&Self, Refusal> {
        if self.state.is_ended() { Ok(self) } else { Err(self.wrong_state("read results of")) }
    }

    fn wrong_state(&self, act: &str) -> Refusal {
        let message = format!("Cannot {act} job {} in state {}", self.id(), self.state.name());
        Refusal::bad_request("INVALIDJOBSTATE", message)
    }

    /// Lines of the upload, an upper bound of its rows.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.content.as_ref().map_or(0, |content| count_lines(content))
    }

    #[must_use]
    pub fn to_json(&self) -> Json {
        let operation = match self.operation {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Upsert(_) => "upsert",
            Operation::Delete => "delete",
            Operation::HardDelete => "hardDelete",
        };
        let delimiter = DELIMITERS.iter().find(|(_, byte)| *byte == self.delimiter).map(|(name, _)| *name);
        let mut job = json!({
            "id": self.id(), "object": self.object, "operation": operation, "state": self.state.name(),
            "createdById": &*self.user_id, "createdDate": clock::wire(self.created_at),
            "systemModstamp": clock::wire(self.modified_at), "concurrencyMode": "Parallel", "contentType": "CSV",
            "apiVersion": f64::from(self.version), "jobType": "V2Ingest", "columnDelimiter": delimiter,
            "lineEnding": if self.line_ending == LineEnding::Lf { "LF" } else { "CRLF" },
            "retries": 0, "totalProcessingTime": self.processing_ms, "apiActiveProcessingTime": self.processing_ms,
            "apexProcessingTime": 0, "numberRecordsProcessed": self.outcomes.len(),
            "numberRecordsFailed": self.failed,
        });
        let content_url = format!("services/data/v{}.0/jobs/ingest/{}/batches", self.version, self.id());
        let optional = [
            ("contentUrl", (self.state == State::Open).then_some(content_url)),
            ("externalIdFieldName", self.key_name.clone()),
            ("errorMessage", self.error.clone()),
        ];
        if let Some(map) = job.as_object_mut() {
            map.extend(
                optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))),
            );
        }
        job
    }
}

fn count_lines(content: &[u8]) -> usize {
    content.iter().filter(|byte| **byte == b'\n').count()
}
