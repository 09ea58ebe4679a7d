//! What the control port does to the org: dump, seed. Faults and clock have their own modules.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    clock, collections, id,
    org::Column,
    refusal::RowError,
    rows::{Author, Operation, Table},
    simulator::World,
};

/// Records of one seed.
const MAX_SEED: usize = 1_000_000;

/// Records written as somebody else of the org, or as a person at its screen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    pub object: String,
    /// External id field to upsert by; without it records are inserted.
    #[serde(default, rename = "match")]
    pub key: Option<String>,
    pub records: Vec<Map<String, Json>>,
    /// Who writes; by default a user that is not the integration user.
    #[serde(default)]
    pub user_id: Option<String>,
}

/// Everything the org holds: every record with every field, deleted ones too, jobs, limits, calls, waiting faults.
#[must_use]
pub fn dump(world: &World) -> Json {
    let records = |table: &Table| {
        let rows = table.iter().map(|(serial, record)| Json::Object(table.dump(serial, record)));
        (table.object.name.clone(), rows.collect::<Json>())
    };
    let objects: Map<String, Json> = world.tables.iter().map(records).collect();
    let jobs: Vec<Json> = world.jobs.iter().map(crate::bulk::Job::to_json).collect();
    json!({
        "now": clock::wire(world.clock.now()), "objects": objects, "jobs": jobs,
        "limits": world.budget.to_json(), "calls": world.calls.kept(), "faults": world.faults.waiting(),
    })
}

/// Writes the records, all or none, by the org's own rules. Returns their ids in order.
///
/// # Errors
/// Names the field of the request, or the record and its row error.
pub fn seed(world: &mut World, seed: &Seed) -> Result<Vec<String>, String> {
    if seed.records.len() > MAX_SEED {
        return Err(format!("records: at most {MAX_SEED}"));
    }
    let user_id = seed.user_id.clone().unwrap_or_else(|| id::write("005", 2));
    if id::read("005", &user_id).is_none() {
        return Err("user_id: must be a user's id, 005...".into());
    }
    let by = Author { user_id: Arc::from(user_id), at: world.clock.now() };
    let table = world.tables.iter_mut().find(|table| table.object.name.eq_ignore_ascii_case(&seed.object));
    let table = table.ok_or_else(|| "object: unknown in this org".to_owned())?;
    let operation = match seed.key.as_deref() {
        None => Operation::Insert,
        Some("Id") => Operation::Update,
        Some(name) => match table.object.column(name) {
            Some(Column::Data(index)) if table.object.fields.get(index).is_some_and(|f| f.external_id) => {
                Operation::Upsert(index)
            }
            _ => return Err("match: must be Id or an external id field".into()),
        },
    };
    let object = table.object.clone();
    let mut ids = Vec::with_capacity(seed.records.len());
    table.begin();
    for (place, record) in seed.records.iter().enumerate() {
        let saved = collections::cells(&object, record).and_then(|cells| table.apply(operation, &cells, &by));
        match saved {
            Ok(saved) => ids.push(table.id(saved.serial)),
            Err(RowError { code, message, .. }) => {
                table.rollback();
                return Err(format!("records[{place}]: {code}: {message}"));
            }
        }
    }
    table.commit();
    Ok(ids)
}
