//! The records of one object: insert, update, upsert, delete, with Salesforce's row errors. Knows no wire.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use crate::{
    clock, id,
    org::{Column, ObjectType, SystemField},
    refusal::RowError,
    value::{self, Input, Value},
};

/// Who writes, and when.
#[derive(Debug, Clone)]
pub struct Author {
    pub user_id: Arc<str>,
    pub at: DateTime<Utc>,
}

/// One record. A deleted one lies in the Recycle Bin; a purged one is gone from the table.
#[derive(Debug, Clone)]
pub struct Record {
    pub values: Box<[Value]>,
    pub created: Author,
    pub modified: Author,
    pub is_deleted: bool,
}

/// The cells of one incoming row, by column.
#[derive(Debug, Clone, Default)]
pub struct Cells<'a> {
    /// The record id, if the row has one.
    pub id: Option<&'a str>,
    pub values: Vec<(usize, Input<'a>)>,
}

impl<'a> Cells<'a> {
    /// Adds a cell.
    ///
    /// # Errors
    /// A column that the org writes itself.
    pub fn push(&mut self, object: &ObjectType, column: Column, input: Input<'a>) -> Result<(), RowError> {
        match (column, input) {
            (Column::Data(index), input) => self.values.push((index, input)),
            (Column::System(SystemField::Id), Input::Text(text)) => self.id = Some(text),
            (Column::System(_), _) => {
                let name = object.column_name(column);
                let message = format!(
                    "Unable to create/update fields: {name}. Please check the security settings of this field and \
                     verify that it is read/write for your profile or permission set."
                );
                return Err(RowError::on("INVALID_FIELD_FOR_INSERT_UPDATE", name, message));
            }
        }
        Ok(())
    }
}

/// What is done with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    /// By the external id field with this index.
    Upsert(usize),
    Delete,
    /// Delete without the Recycle Bin.
    HardDelete,
}

/// A row that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    pub serial: u32,
    pub created: bool,
}

/// All records of one object. A record's place gives its id, so ids cost no memory.
#[derive(Debug)]
pub struct Table {
    pub object: Arc<ObjectType>,
    records: Vec<Option<Record>>,
    /// For each external id field: lower-cased value to place.
    keys: Vec<(usize, HashMap<Box<str>, u32>)>,
    /// Before-images while an all-or-none call runs.
    journal: Option<Vec<(u32, Option<Record>)>>,
}

impl Table {
    #[must_use]
    pub fn new(object: ObjectType) -> Self {
        let external = object.fields.iter().enumerate().filter(|(_, field)| field.external_id);
        let keys = external.map(|(index, _)| (index, HashMap::new())).collect();
        Self { object: Arc::new(object), records: Vec::new(), keys, journal: None }
    }

    /// Records with their serials in order of creation, deleted ones too.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (1u32..).zip(&self.records).filter_map(|(serial, record)| Some((serial, record.as_ref()?)))
    }

    #[must_use]
    pub fn get(&self, serial: u32) -> Option<&Record> {
        self.records.get(slot(serial)?)?.as_ref()
    }

    #[must_use]
    pub fn id(&self, serial: u32) -> String {
        id::write(&self.object.key_prefix, u64::from(serial))
    }

    /// Does one row.
    ///
    /// # Errors
    /// The row error; the table is then as it was.
    pub fn apply(&mut self, operation: Operation, cells: &Cells<'_>, by: &Author) -> Result<Saved, RowError> {
        match operation {
            Operation::Insert if cells.id.is_some() => Err(RowError::on(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "Id",
                "cannot specify Id in an insert call",
            )),
            Operation::Insert => self.create(cells, by),
            Operation::Update => {
                let serial = self.live(cells.id.unwrap_or_default())?;
                self.change(serial, cells, by)
            }
            Operation::Upsert(field) => self.upsert(field, cells, by),
            Operation::Delete => self.delete(cells.id.unwrap_or_default(), by),
            Operation::HardDelete => self.purge(cells.id.unwrap_or_default()),
        }
    }

    /// From here on `rollback` can undo.
    pub fn begin(&mut self) {
        self.journal = Some(Vec::new());
    }

    pub fn commit(&mut self) {
        self.journal = None;
    }

    /// Undoes everything since `begin`.
    pub fn rollback(&mut self) {
        for (serial, before) in self.journal.take().unwrap_or_default().into_iter().rev() {
            self.replace(serial, before);
        }
    }

    fn upsert(&mut self, field: usize, cells: &Cells<'_>, by: &Author) -> Result<Saved, RowError> {
        let name = self.object.column_name(Column::Data(field)).to_owned();
        let Some(key) = key_of(cells, field) else {
            return Err(RowError::on("MISSING_ARGUMENT", &name, format!("{name} not specified")));
        };
        match self.find(field, key) {
            Some(serial) => self.change(serial, cells, by),
            None => self.create(cells, by),
        }
    }

    fn create(&mut self, cells: &Cells<'_>, by: &Author) -> Result<Saved, RowError> {
        let blank = self.object.fields.iter().map(|field| value::accept(field, Input::Clear));
        let mut values = blank.collect::<Result<Box<[Value]>, _>>()?;
        self.fill(&mut values, cells)?;
        let serial = u32::try_from(self.records.len()).ok().and_then(|len| len.checked_add(1));
        let serial =
            serial.ok_or_else(|| RowError::new("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"))?;
        self.check(&values, serial)?;
        self.records.push(None);
        self.save(
            serial,
            Some(Record { values, created: by.clone(), modified: by.clone(), is_deleted: false }),
        );
        Ok(Saved { serial, created: true })
    }

    fn change(&mut self, serial: u32, cells: &Cells<'_>, by: &Author) -> Result<Saved, RowError> {
        let mut record = self.get(serial).cloned().ok_or_else(unknown_id)?;
        self.fill(&mut record.values, cells)?;
        self.check(&record.values, serial)?;
        record.modified = by.clone();
        self.save(serial, Some(record));
        Ok(Saved { serial, created: false })
    }

    fn delete(&mut self, id: &str, by: &Author) -> Result<Saved, RowError> {
        let serial = self.live(id)?;
        let mut record = self.get(serial).cloned().ok_or_else(unknown_id)?;
        record.is_deleted = true;
        record.modified = by.clone();
        self.save(serial, Some(record));
        Ok(Saved { serial, created: false })
    }

    /// Takes the record out of the table, from the Recycle Bin as well.
    fn purge(&mut self, id: &str) -> Result<Saved, RowError> {
        let serial = self.serial(id)?;
        self.save(serial, None);
        Ok(Saved { serial, created: false })
    }

    fn fill(&self, values: &mut [Value], cells: &Cells<'_>) -> Result<(), RowError> {
        for (index, input) in &cells.values {
            let (Some(field), Some(value)) = (self.object.fields.get(*index), values.get_mut(*index)) else {
                continue;
            };
            *value = value::accept(field, *input)?;
        }
        Ok(())
    }

    /// Required fields, then uniqueness: the order in which Salesforce looks.
    fn check(&self, values: &[Value], serial: u32) -> Result<(), RowError> {
        let fields = self.object.fields.iter().zip(values);
        let missing: Vec<String> = fields
            .filter(|(field, value)| field.required && **value == Value::Null)
            .map(|(field, _)| field.name.clone())
            .collect();
        if !missing.is_empty() {
            let message = format!("Required fields are missing: [{}]", missing.join(", "));
            return Err(RowError { code: "REQUIRED_FIELD_MISSING", message, fields: missing });
        }
        for (field, _) in &self.keys {
            let Some(text) = values.get(*field).and_then(Value::text) else { continue };
            if let Some(holder) = self.find(*field, text).filter(|holder| *holder != serial) {
                let name = self.object.column_name(Column::Data(*field));
                let holder = self.id(holder);
                let message =
                    format!("duplicate value found: {name} duplicates value on record with id: {holder}");
                return Err(RowError::on("DUPLICATE_VALUE", name, message));
            }
        }
        Ok(())
    }

    fn find(&self, field: usize, key: &str) -> Option<u32> {
        let (_, places) = self.keys.iter().find(|(index, _)| *index == field)?;
        places.get(key.trim().to_lowercase().as_str()).copied()
    }

    fn serial(&self, id: &str) -> Result<u32, RowError> {
        if id.is_empty() {
            return Err(RowError::on("MISSING_ARGUMENT", "Id", "Id not specified in an update call"));
        }
        let serial = id::read(&self.object.key_prefix, id).ok_or_else(|| {
            let shown: String = id.chars().take(40).collect();
            let message = format!("{} ID: id value of incorrect type: {shown}", self.object.label);
            RowError::on("MALFORMED_ID", "Id", message)
        })?;
        let known = u32::try_from(serial).ok().filter(|serial| self.get(*serial).is_some());
        known.ok_or_else(unknown_id)
    }

    fn live(&self, id: &str) -> Result<u32, RowError> {
        let serial = self.serial(id)?;
        if self.get(serial).is_some_and(|record| record.is_deleted) {
            return Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted"));
        }
        Ok(serial)
    }

    fn save(&mut self, serial: u32, record: Option<Record>) {
        let before = self.replace(serial, record);
        if let Some(journal) = &mut self.journal {
            journal.push((serial, before));
        }
    }

    /// Puts a record in its place and keeps the keys of live records true.
    fn replace(&mut self, serial: u32, record: Option<Record>) -> Option<Record> {
        let place = slot(serial).and_then(|slot| self.records.get_mut(slot))?;
        for (field, places) in &mut self.keys {
            if let Some(key) = live_key(place.as_ref(), *field) {
                places.remove(key.as_str());
            }
            if let Some(key) = live_key(record.as_ref(), *field) {
                places.insert(key.into(), serial);
            }
        }
        std::mem::replace(place, record)
    }

    /// One column of a record as the REST API writes it.
    #[must_use]
    pub fn cell(&self, serial: u32, record: &Record, column: Column) -> Json {
        match column {
            Column::Data(index) => record.values.get(index).map_or(Json::Null, Value::to_json),
            Column::System(field) => match field {
                SystemField::Id => self.id(serial).into(),
                SystemField::IsDeleted => record.is_deleted.into(),
                SystemField::CreatedDate => clock::wire(record.created.at).into(),
                SystemField::CreatedById => (*record.created.user_id).into(),
                SystemField::LastModifiedById => (*record.modified.user_id).into(),
                SystemField::LastModifiedDate | SystemField::SystemModstamp => {
                    clock::wire(record.modified.at).into()
                }
            },
        }
    }

    /// A whole record, every column.
    #[must_use]
    pub fn dump(&self, serial: u32, record: &Record) -> Map<String, Json> {
        let cell = |column| (self.object.column_name(column).to_owned(), self.cell(serial, record, column));
        self.object.columns().map(cell).collect()
    }
}

/// The rows of one transaction (200 at most) that share an external id: Salesforce refuses all of them.
#[must_use]
pub fn doubled(rows: &[Option<&str>]) -> Vec<bool> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let keys: Vec<Option<String>> = rows.iter().map(|key| key.map(|key| key.trim().to_lowercase())).collect();
    for key in keys.iter().flatten() {
        *seen.entry(key.clone()).or_default() += 1;
    }
    keys.iter()
        .map(|key| key.as_ref().and_then(|key| seen.get(key)).is_some_and(|count| *count > 1))
        .collect()
}

/// The row error for a `doubled` row.
#[must_use]
pub fn doubled_error(field: &str, key: &str) -> RowError {
    let shown: String = key.chars().take(80).collect();
    RowError::on("DUPLICATE_VALUE", field, format!("Duplicate external id specified: {shown}"))
}

/// The external id in a row, if it has one that is not blank.
#[must_use]
pub fn key_of<'a>(cells: &Cells<'a>, field: usize) -> Option<&'a str> {
    let input = cells.values.iter().find(|(index, _)| *index == field).map(|(_, input)| *input)?;
    if let Input::Text(text) = input { Some(text).filter(|text| !text.trim().is_empty()) } else { None }
}

fn live_key(record: Option<&Record>, field: usize) -> Option<String> {
    let record = record.filter(|record| !record.is_deleted)?;
    Some(record.values.get(field)?.text()?.to_lowercase())
}

fn slot(serial: u32) -> Option<usize> {
    usize::try_from(serial).ok()?.checked_sub(1)
}

fn unknown_id() -> RowError {
    RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
}
