//! Bulk API 2.0 ingest.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::Value;

use super::{App, body, observe::Version};
use crate::{
    bulk::{self, NewJob, Origin, results},
    refusal::Refusal,
};

/// Rows of one internal batch of Salesforce, the unit of the daily allocation.
const BATCH: usize = 10_000;
/// Bytes of a job's own JSON.
const MAX_JOB: usize = 64 * 1024;

type Answer = Result<Json<Value>, Refusal>;

/// The body of a PATCH.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateChange {
    state: String,
}

/// `POST /jobs/ingest`
pub(super) async fn create(
    State(app): State<App>,
    Extension(Version(version)): Extension<Version>,
    body: Body,
) -> Answer {
    let new = NewJob::parse(&body::read(body, MAX_JOB, "REQUEST_TOO_LARGE").await?)?;
    let mut guard = app.world();
    let world = &mut *guard;
    let (user_id, at) = (Arc::clone(&app.user_id), world.clock.now());
    let origin = Origin { user_id, at, version, hard_delete: app.config.hard_delete };
    Ok(Json(world.jobs.create(&new, &world.tables, &origin)?.to_json()))
}

/// `GET /jobs/ingest`
pub(super) async fn list(
    State(app): State<App>,
    Extension(Version(version)): Extension<Version>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Answer {
    // Every job here is a V2Ingest job; a list of another type is empty by asking past the end.
    let wanted = parameters.get("jobType").is_none_or(|kind| kind == "V2Ingest");
    let end = u64::MAX.to_string();
    let locator =
        if wanted { parameters.get("queryLocator").map(String::as_str) } else { Some(end.as_str()) };
    app.world().jobs.list(locator, version).map(Json)
}

/// `GET /jobs/ingest/{id}`
pub(super) async fn get(State(app): State<App>, Path((_, id)): Path<(String, String)>) -> Answer {
    Ok(Json(app.world().jobs.get(&id)?.to_json()))
}

/// `PUT /jobs/ingest/{id}/batches`
pub(super) async fn upload(
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("text/csv") {
        let message = "The Content-Type of job data must be text/csv";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
    }
    // The job is looked at before the body, and again with it: 112 MB for a job that is closed help nobody.
    app.world().jobs.get(&id)?.takes_upload()?;
    let limit = app.config.max_upload_base64 / 4 * 3;
    let content = body::read(body, limit, "CLIENTINPUTERROR").await?;
    let mut world = app.world();
    let now = world.clock.now();
    world.jobs.get_mut(&id)?.upload(content, now)?;
    Ok(StatusCode::CREATED)
}

/// `PATCH /jobs/ingest/{id}`: `UploadComplete` or `Aborted`.
pub(super) async fn change(
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let body = body::read(body, MAX_JOB, "REQUEST_TOO_LARGE").await?;
    let change: StateChange =
        serde_json::from_slice(&body).map_err(|error| Refusal::parser(error.to_string()))?;
    let mut guard = app.world();
    let world = &mut *guard;
    let now = world.clock.now();
    let job = world.jobs.get_mut(&id)?;
    match change.state.as_str() {
        "Aborted" => job.abort(now)?,
        "UploadComplete" => {
            job.takes_close()?;
            let batches = u64::try_from(job.lines().div_ceil(BATCH)).unwrap_or(u64::MAX);
            world.budget.spend_batches(now, batches)?;
            job.close(now)?;
            let task = bulk::run::run(Arc::clone(&app), job.id());
            app.tasks.spawn(task);
        }
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(Refusal::bad_request(
                "INVALIDJOBSTATE",
                format!("Cannot set a job to state {shown}"),
            ));
        }
    }
    Ok(Json(job.to_json()))
}

/// `DELETE /jobs/ingest/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    app.world().jobs.delete(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /jobs/ingest/{id}/{successfulResults | failedResults | unprocessedrecords}`
pub(super) async fn results(
    State(app): State<App>,
    Path((_, id, kind)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let kind = results::Kind::parse(&kind).ok_or_else(Refusal::not_found)?;
    let world = app.world();
    let job = world.jobs.get(&id)?.ended()?;
    let table =
        world.tables.iter().find(|table| table.object.name == job.object).ok_or_else(Refusal::not_found)?;
    let file = results::write(job, table, kind).map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN_EXCEPTION", "the results cannot be written")
    })?;
    Ok(([(header::CONTENT_TYPE, "text/csv")], file).into_response())
}
