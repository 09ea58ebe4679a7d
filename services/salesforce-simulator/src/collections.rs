//! sObject Collections: up to 200 rows in a call, results by position. Source: REST API guide, "sObject Collections".

use serde_json::{Map, Value as Json, json};

use crate::{
    org::{Column, ObjectType},
    refusal::{Refusal, RowError},
    rows::{self, Author, Cells, Operation, Saved, Table},
    value::Input,
};

/// Rows of one call.
pub const MAX_ROWS: usize = 200;

/// The body of a POST or PATCH.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default, rename = "allOrNone")]
    pub all_or_none: bool,
    pub records: Vec<Map<String, Json>>,
}

/// What the URL and method ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal<'a> {
    /// Each row names its object.
    Insert,
    /// Each row names its object and its id.
    Update,
    Upsert {
        object: &'a str,
        key: &'a str,
    },
}

/// Reads a body.
///
/// # Errors
/// `JSON_PARSER_ERROR`, or `EXCEEDED_ID_LIMIT` past 200 rows.
pub fn parse(body: &[u8]) -> Result<Request, Refusal> {
    let request: Request =
        serde_json::from_slice(body).map_err(|error| Refusal::parser(error.to_string()))?;
    limit(request.records.len())?;
    Ok(request)
}

fn limit(rows: usize) -> Result<(), Refusal> {
    if rows > MAX_ROWS {
        let message = "record limit reached. cannot submit more than 200 records into this call";
        return Err(Refusal::bad_request("EXCEEDED_ID_LIMIT", message));
    }
    Ok(())
}

/// Does the rows and returns one result each.
///
/// # Errors
/// A call that is refused as a whole: a row without a known `attributes.type`, an unknown key field.
pub fn save(
    tables: &mut [Table],
    request: &Request,
    goal: Goal<'_>,
    by: &Author,
) -> Result<Vec<Json>, Refusal> {
    let targets =
        request.records.iter().map(|record| target(tables, record, goal)).collect::<Result<Vec<_>, _>>()?;
    let operation = match goal {
        Goal::Insert => Operation::Insert,
        Goal::Update => Operation::Update,
        Goal::Upsert { object, key } => Operation::Upsert(key_field(tables, object, key)?),
    };
    begin(tables, request.all_or_none);
    let mut outcomes = Vec::with_capacity(request.records.len());
    let doubled = doubled(tables, &targets, request, operation);
    for ((record, place), doubled) in request.records.iter().zip(&targets).zip(doubled) {
        let Some(table) = tables.get_mut(*place) else { continue };
        outcomes.push((*place, row(table, record, operation, doubled, by)));
    }
    finish(tables, request.all_or_none, &mut outcomes);
    let upsert = matches!(goal, Goal::Upsert { .. });
    Ok(outcomes.into_iter().map(|(place, outcome)| result(tables, place, outcome, upsert)).collect())
}

/// Deletes by id into the Recycle Bin.
///
/// # Errors
/// No ids, or more than 200.
pub fn delete(tables: &mut [Table], ids: &str, all_or_none: bool, by: &Author) -> Result<Vec<Json>, Refusal> {
    let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    limit(ids.len())?;
    if ids.is_empty() {
        return Err(Refusal::bad_request("MISSING_ARGUMENT", "The ids parameter is required"));
    }
    begin(tables, all_or_none);
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        let place = tables.iter().position(|table| id.starts_with(&table.object.key_prefix));
        let Some((place, table)) = place.and_then(|place| Some((place, tables.get_mut(place)?))) else {
            let shown: String = id.chars().take(40).collect();
            outcomes.push((0, Err(RowError::on("MALFORMED_ID", "Id", format!("malformed id {shown}")))));
            continue;
        };
        let cells = Cells { id: Some(id), values: Vec::new() };
        outcomes.push((place, table.apply(Operation::Delete, &cells, by)));
    }
    finish(tables, all_or_none, &mut outcomes);
    Ok(outcomes.into_iter().map(|(place, outcome)| result(tables, place, outcome, false)).collect())
}

/// The cells of a JSON record: an absent key is no cell, null clears.
///
/// # Errors
/// The row error for a field that the object lacks.
pub fn cells<'a>(object: &ObjectType, record: &'a Map<String, Json>) -> Result<Cells<'a>, RowError> {
    let mut cells = Cells::default();
    for (name, value) in record {
        if name == "attributes" {
            continue;
        }
        let column = object.column(name).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            let message = format!("No such column '{shown}' on sobject of type {}", object.name);
            RowError::on("INVALID_FIELD", &shown, message)
        })?;
        cells.push(object, column, Input::from_json(value))?;
    }
    Ok(cells)
}

fn target(tables: &[Table], record: &Map<String, Json>, goal: Goal<'_>) -> Result<usize, Refusal> {
    let named = record.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Json::as_str);
    let named = named.ok_or_else(|| {
        Refusal::bad_request("INVALID_INPUT", "Include an \"attributes\" map with a \"type\" in each record")
    })?;
    if let Goal::Upsert { object, .. } = goal
        && !object.eq_ignore_ascii_case(named)
    {
        let message = format!("records of type {named} do not belong to the {object} of the request URI");
        return Err(Refusal::bad_request("INVALID_INPUT", message));
    }
    find(tables, named)
}

fn find(tables: &[Table], object: &str) -> Result<usize, Refusal> {
    let place = tables.iter().position(|table| table.object.name.eq_ignore_ascii_case(object));
    place.ok_or_else(|| {
        Refusal::bad_request("INVALID_TYPE", format!("sObject type '{object}' is not supported."))
    })
}

fn key_field(tables: &[Table], object: &str, key: &str) -> Result<usize, Refusal> {
    let unknown = || {
        let message = format!("Provided external ID field does not exist or is not accessible: {key}");
        Refusal::new(::http::StatusCode::NOT_FOUND, "NOT_FOUND", message)
    };
    let object = &tables.get(find(tables, object)?).ok_or_else(unknown)?.object;
    let Some(Column::Data(index)) = object.column(key) else { return Err(unknown()) };
    let external = object.fields.get(index).is_some_and(|field| field.external_id);
    if external { Ok(index) } else { Err(unknown()) }
}

fn doubled(tables: &[Table], targets: &[usize], request: &Request, operation: Operation) -> Vec<bool> {
    let (Operation::Upsert(field), Some(table)) =
        (operation, targets.first().and_then(|place| tables.get(*place)))
    else {
        return vec![false; targets.len()];
    };
    let name = table.object.column_name(Column::Data(field));
    let key = |record: &'_ Map<String, Json>| {
        let found = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str()).map(str::to_owned)
    };
    let keys: Vec<Option<String>> = request.records.iter().map(key).collect();
    rows::doubled(&keys.iter().map(Option::as_deref).collect::<Vec<_>>())
}

fn row(
    table: &mut Table,
    record: &Map<String, Json>,
    operation: Operation,
    doubled: bool,
    by: &Author,
) -> Result<Saved, RowError> {
    let object = table.object.clone();
    let cells = cells(&object, record)?;
    if let Operation::Upsert(field) = operation {
        if cells.id.is_some() {
            let message = "The Id field should not be specified in the sobject data.";
            return Err(RowError::on("INVALID_FIELD", "Id", message));
        }
        if doubled {
            let name = object.column_name(Column::Data(field));
            return Err(rows::doubled_error(name, rows::key_of(&cells, field).unwrap_or_default()));
        }
    }
    table.apply(operation, &cells, by)
}

fn begin(tables: &mut [Table], all_or_none: bool) {
    if all_or_none {
        tables.iter_mut().for_each(Table::begin);
    }
}

/// Keeps the rows, or with `allOrNone` and one error undoes all of them.
fn finish(tables: &mut [Table], all_or_none: bool, outcomes: &mut [(usize, Result<Saved, RowError>)]) {
    if !all_or_none {
        return;
    }
    if outcomes.iter().all(|(_, outcome)| outcome.is_ok()) {
        tables.iter_mut().for_each(Table::commit);
        return;
    }
    tables.iter_mut().for_each(Table::rollback);
    for (_, outcome) in outcomes.iter_mut().filter(|(_, outcome)| outcome.is_ok()) {
        let message = "Record rolled back because not all records were valid and the request was using AllOrNone \
                       header";
        *outcome = Err(RowError::new("ALL_OR_NONE_OPERATION_ROLLED_BACK", message));
    }
}

fn result(tables: &[Table], place: usize, outcome: Result<Saved, RowError>, upsert: bool) -> Json {
    match outcome {
        Ok(saved) => {
            let id = tables.get(place).map(|table| table.id(saved.serial));
            let mut result = json!({ "id": id, "success": true, "errors": [] });
            if upsert && let Some(map) = result.as_object_mut() {
                map.insert("created".into(), saved.created.into());
            }
            result
        }
        Err(error) => json!({
            "success": false,
            "errors": [{ "statusCode": error.code, "message": error.message, "fields": error.fields }],
        }),
    }
}
