//! REST: versions, limits, describe, query, sObject Collections.

use std::collections::HashMap;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    App, body,
    observe::{self, Version},
};
use crate::{
    collections::{self, Goal},
    describe, query,
    refusal::Refusal,
    rows::Author,
    simulator::World,
    soql,
};

type Answer = Result<Json<Value>, Refusal>;
type Parameters = Query<HashMap<String, String>>;

/// `GET /services/data`, open to all.
pub(super) async fn versions() -> Json<Value> {
    let versions = observe::versions().map(|version| {
        let url = format!("/services/data/v{version}.0");
        json!({ "label": format!("API {version}"), "url": url, "version": format!("{version}.0") })
    });
    Json(versions.collect())
}

/// `GET /services/data/vXX.0`
pub(super) async fn resources(Extension(Version(version)): Extension<Version>) -> Json<Value> {
    let url = |name: &str| format!("/services/data/v{version}.0/{name}");
    Json(json!({
        "limits": url("limits"), "sobjects": url("sobjects"), "query": url("query"), "queryAll": url("queryAll"),
        "composite": url("composite"), "jobs": url("jobs"),
    }))
}

/// `GET /limits`
pub(super) async fn limits(State(app): State<App>) -> Json<Value> {
    Json(app.world().budget.to_json())
}

/// `GET /sobjects`
pub(super) async fn describe_global(
    State(app): State<App>,
    Extension(Version(version)): Extension<Version>,
) -> Json<Value> {
    Json(describe::global(&app.config.org, version))
}

/// `GET /sobjects/{object}/describe`
pub(super) async fn describe(
    State(app): State<App>,
    Extension(Version(version)): Extension<Version>,
    Path((_, object)): Path<(String, String)>,
) -> Answer {
    let world = app.world();
    let table = world.tables.iter().find(|table| table.object.name.eq_ignore_ascii_case(&object));
    let table = table.ok_or_else(Refusal::not_found)?;
    Ok(Json(describe::object(&table.object, version)))
}

/// `GET /query?q=`
pub(super) async fn query(
    State(app): State<App>,
    Extension(version): Extension<Version>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Answer {
    run(&mut app.world(), version, &parameters, &headers, false)
}

/// `GET /queryAll?q=`: deleted records too.
pub(super) async fn query_all(
    State(app): State<App>,
    Extension(version): Extension<Version>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Answer {
    run(&mut app.world(), version, &parameters, &headers, true)
}

fn run(
    world: &mut World,
    Version(version): Version,
    parameters: &HashMap<String, String>,
    headers: &HeaderMap,
    with_deleted: bool,
) -> Answer {
    let text = parameters.get("q").ok_or_else(|| soql::malformed("the q parameter is required"))?;
    let parsed = soql::parse(text)?;
    let table = world.tables.iter().find(|table| table.object.name.eq_ignore_ascii_case(&parsed.object));
    let table = table.ok_or_else(|| {
        let message = format!("sObject type '{}' is not supported.", parsed.object);
        Refusal::bad_request("INVALID_TYPE", message)
    })?;
    let selection = query::select(table, &parsed, with_deleted)?;
    Ok(Json(world.cursors.first(table, selection, page_size(headers), version)))
}

/// `GET /query/{locator}`: the next page.
pub(super) async fn query_more(
    State(app): State<App>,
    Extension(Version(version)): Extension<Version>,
    Path((_, locator)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let world = app.world();
    let table = |name: &str| world.tables.iter().find(|table| table.object.name == name);
    world.cursors.next(&locator, page_size(&headers), version, table).map(Json)
}

/// `Sforce-Query-Options: batchSize=N`, 200 to 2,000.
fn page_size(headers: &HeaderMap) -> usize {
    let asked = headers.get("sforce-query-options").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| value.trim().strip_prefix("batchSize=")?.parse::<usize>().ok());
    asked.map_or(query::PAGE, |size| size.clamp(200, query::PAGE))
}

/// `POST /composite/sobjects`
pub(super) async fn insert(State(app): State<App>, body: Body) -> Result<Response, Refusal> {
    save(&app, body, Goal::Insert).await
}

/// `PATCH /composite/sobjects`
pub(super) async fn update(State(app): State<App>, body: Body) -> Result<Response, Refusal> {
    save(&app, body, Goal::Update).await
}

/// `PATCH /composite/sobjects/{object}/{field}`
pub(super) async fn upsert(
    State(app): State<App>,
    Path((_, object, field)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Refusal> {
    save(&app, body, Goal::Upsert { object: &object, key: &field }).await
}

async fn save(app: &App, body: Body, goal: Goal<'_>) -> Result<Response, Refusal> {
    let body = body::read(body, app.config.max_body, "REQUEST_TOO_LARGE").await?;
    let request = collections::parse(&body)?;
    let mut world = app.world();
    let by = author(app, &world);
    Ok(Json(collections::save(&mut world.tables, &request, goal, &by)?).into_response())
}

/// `DELETE /composite/sobjects?ids=a,b&allOrNone=false`
pub(super) async fn delete(State(app): State<App>, Query(parameters): Parameters) -> Answer {
    let ids = parameters.get("ids").map_or("", String::as_str);
    let all_or_none = parameters.get("allOrNone").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut world = app.world();
    let by = author(&app, &world);
    Ok(Json(collections::delete(&mut world.tables, ids, all_or_none, &by)?.into()))
}

fn author(app: &App, world: &World) -> Author {
    Author { user_id: app.user_id.clone(), at: world.clock.now() }
}
