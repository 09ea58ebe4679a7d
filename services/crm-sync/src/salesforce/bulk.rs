//! Bulk API 2.0 ingest: create, one PUT, close, poll, results.

use std::time::Duration;

use bytes::Bytes;
use domain::DateTime;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Client, Content, Error, VERSION};
use crate::chunk::{JobState, ListedJob};

/// Largest result file: an upload of 20,000 rows comes back whole.
const MAX_RESULTS: usize = 128 << 20;
const SLOW: Duration = Duration::from_secs(300);
/// Pages of the list of jobs; a page has up to 1,000.
const MOST_PAGES: usize = 110;

/// A job as the recipient tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its state.
    pub state: JobState,
    /// Rows that were looked at, failed ones as well.
    pub processed: i64,
}

/// One of the three result files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultFile {
    /// Rows that were taken, with the ids of their records.
    Successful,
    /// Rows that were refused.
    Failed,
    /// Rows that nobody looked at.
    Unprocessed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobReply {
    id: String,
    state: String,
    #[serde(default)]
    number_records_processed: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    records: Vec<Listed>,
    next_records_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    state: String,
    object: String,
    created_by_id: String,
    created_date: String,
}

impl Client {
    /// Creates an upsert job and returns its id.
    ///
    /// # Errors
    /// The recipient's; unanswered, a job may be there all the same.
    pub async fn create_job(&self, object: &str, key_field: &str) -> Result<String, Error> {
        let body = json!({ "object": object, "operation": "upsert", "externalIdFieldName": key_field,
            "contentType": "CSV", "lineEnding": "LF", "columnDelimiter": "COMMA" });
        let path = format!("/services/data/{VERSION}/jobs/ingest");
        let job: JobReply = parse(&self.send_json(Method::POST, &path, &body).await?.body)?;
        if is_id(&job.id) { Ok(job.id) } else { Err(Error::Malformed { what: "job" }) }
    }

    /// Uploads the job's rows; once a job.
    ///
    /// # Errors
    /// The recipient's; unanswered, half of it may be there.
    pub async fn upload(&self, job_id: &str, csv: Bytes) -> Result<(), Error> {
        let path = format!("{}/batches", job_path(job_id));
        let call = Call {
            method: Method::PUT,
            path: &path,
            content: Content::Csv(csv),
            timeout: SLOW,
            limit: 1 << 20,
        };
        self.call(call).await.map(|_| ())
    }

    /// Closes the job: from here on its rows are processed.
    ///
    /// # Errors
    /// The recipient's; unanswered, it may be closed.
    pub async fn close_job(&self, job_id: &str) -> Result<(), Error> {
        self.set_state(job_id, "UploadComplete").await
    }

    /// Throws the job away. One that is gone or ended is as good as thrown away.
    ///
    /// # Errors
    /// The recipient's.
    pub async fn abort_job(&self, job_id: &str) -> Result<(), Error> {
        match self.set_state(job_id, "Aborted").await {
            Err(Error::Refused { status: 400 | 404, .. }) => Ok(()),
            other => other,
        }
    }

    async fn set_state(&self, job_id: &str, state: &str) -> Result<(), Error> {
        self.send_json(Method::PATCH, &job_path(job_id), &json!({ "state": state })).await.map(|_| ())
    }

    /// What the recipient says of a job.
    ///
    /// # Errors
    /// The recipient's.
    pub async fn get_job(&self, job_id: &str) -> Result<Job, Error> {
        match self.get(&job_path(job_id)).await {
            Ok(reply) => {
                let job: JobReply = parse(&reply.body)?;
                Ok(Job { state: JobState::of(&job.state), processed: job.number_records_processed })
            }
            Err(Error::Refused { status: 404, .. }) => Ok(Job { state: JobState::Gone, processed: 0 }),
            Err(error) => Err(error),
        }
    }

    /// All jobs of Bulk API 2.0, in no order, their times by our clock.
    ///
    /// # Errors
    /// The recipient's.
    pub async fn list_jobs(&self) -> Result<Vec<ListedJob>, Error> {
        let wrong = || Error::Malformed { what: "list of jobs" };
        let mut jobs = Vec::new();
        let mut path = format!("/services/data/{VERSION}/jobs/ingest?jobType=V2Ingest");
        for _ in 0..MOST_PAGES {
            let page: Page = parse(&self.get(&path).await?.body)?;
            for listed in page.records {
                let created_at = DateTime::parse_from_str(&listed.created_date, "%Y-%m-%dT%H:%M:%S%.f%z");
                jobs.push(ListedJob {
                    job_id: Some(listed.id).filter(|id| is_id(id)).ok_or_else(wrong)?,
                    state: JobState::of(&listed.state),
                    object: listed.object,
                    created_by: listed.created_by_id,
                    created_at: self.ours(created_at.map_err(|_| wrong())?.to_utc()),
                });
            }
            match page.next_records_url {
                None => return Ok(jobs),
                // A path of the same API, never another host.
                Some(next) if next.starts_with("/services/data/v") && !next.contains("..") => path = next,
                Some(_) => return Err(wrong()),
            }
        }
        Err(wrong())
    }

    /// A result file of an ended job.
    ///
    /// # Errors
    /// The recipient's, or a file beyond the limit.
    pub async fn results(&self, job_id: &str, file: ResultFile) -> Result<Bytes, Error> {
        let name = match file {
            ResultFile::Successful => "successfulResults",
            ResultFile::Failed => "failedResults",
            ResultFile::Unprocessed => "unprocessedrecords",
        };
        let path = format!("{}/{name}", job_path(job_id));
        let call = Call {
            method: Method::GET,
            path: &path,
            content: Content::None,
            timeout: SLOW,
            limit: MAX_RESULTS,
        };
        self.call(call).await.map(|reply| reply.body)
    }
}

fn job_path(job_id: &str) -> String {
    format!("/services/data/{VERSION}/jobs/ingest/{job_id}")
}

// Ids go into paths.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Malformed { what: "job" })
}
