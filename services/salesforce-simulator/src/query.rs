//! Runs a parsed query over one object's records, and pages through what it found.

use std::{cmp::Ordering, collections::VecDeque};

use serde_json::{Map, Value as Json, json};

use crate::{
    clock, id,
    org::{Column, FieldKind, ObjectType, SystemField},
    refusal::Refusal,
    rows::{Record, Table},
    soql::{self, Condition, FieldGroup, Item, Literal, Operator, Query, Select},
    value::Value,
};

/// Records of one reply, unless `Sforce-Query-Options` asks for less.
pub const PAGE: usize = 2_000;
/// Cursors that stay open; the oldest goes first (Salesforce: 10 a user).
const CURSORS: usize = 10;
const MAX_OFFSET: usize = 2_000;
/// Salesforce's bound on `FIELDS(ALL)` and `FIELDS(CUSTOM)`.
const MAX_GROUP_LIMIT: usize = 200;

/// What a query found: places, not copies. A page read later shows the records as they then are.
#[derive(Debug)]
pub struct Selection {
    object: String,
    columns: Vec<Column>,
    serials: Vec<u32>,
    count_only: bool,
}

/// Finds the records.
///
/// # Errors
/// `INVALID_FIELD` for a column that the object lacks or a literal of another type; `MALFORMED_QUERY` for limits.
pub fn select(table: &Table, query: &Query, with_deleted: bool) -> Result<Selection, Refusal> {
    let object = table.object.as_ref();
    let (columns, count_only) = match &query.select {
        Select::Count => (Vec::new(), true),
        Select::Items(items) => (columns(object, items, query.limit)?, false),
    };
    if query.offset > MAX_OFFSET {
        let message = format!("Maximum SOQL offset allowed is {MAX_OFFSET}");
        return Err(Refusal::bad_request("NUMBER_OUTSIDE_VALID_RANGE", message));
    }
    let test = query.condition.as_ref().map(|condition| compile(object, condition)).transpose()?;
    let order = query
        .order
        .iter()
        .map(|order| Ok((column(object, &order.field)?, order.descending, order.nulls_last)));
    let order = order.collect::<Result<Vec<_>, Refusal>>()?;
    let mut found: Vec<(u32, &Record)> = table
        .iter()
        .filter(|(_, record)| with_deleted || !record.is_deleted)
        .filter(|(serial, record)| test.as_ref().is_none_or(|test| test.holds(table, *serial, record)))
        .collect();
    if !order.is_empty() {
        found.sort_by(|a, b| compare_rows(table, *a, *b, &order));
    }
    let serials = found.into_iter().map(|(serial, _)| serial).skip(query.offset);
    let serials = serials.take(query.limit.unwrap_or(usize::MAX)).collect();
    Ok(Selection { object: object.name.clone(), columns, serials, count_only })
}

fn column(object: &ObjectType, name: &str) -> Result<Column, Refusal> {
    // `Contact.Email` is the same as `Email` here: there are no relationships.
    let (owner, field) = name.split_once('.').unwrap_or((&object.name, name));
    let column = owner.eq_ignore_ascii_case(&object.name).then(|| object.column(field)).flatten();
    column.ok_or_else(|| {
        Refusal::bad_request("INVALID_FIELD", format!("No such column '{name}' on entity '{}'.", object.name))
    })
}

fn columns(object: &ObjectType, items: &[Item], limit: Option<usize>) -> Result<Vec<Column>, Refusal> {
    let mut columns = Vec::new();
    for item in items {
        match item {
            Item::Field(name) => columns.push(column(object, name)?),
            Item::Group(group) => {
                if *group != FieldGroup::Standard && limit.is_none_or(|limit| limit > MAX_GROUP_LIMIT) {
                    let message = "The SOQL FIELDS function must have a LIMIT of at most 200";
                    return Err(soql::malformed(message));
                }
                columns.extend(object.columns().filter(|column| in_group(object, *column, *group)));
            }
        }
    }
    for (place, column) in columns.iter().enumerate() {
        if columns.iter().skip(place + 1).any(|other| other == column) {
            let name = object.column_name(*column);
            return Err(soql::malformed(format!("duplicate field selected: {name}")));
        }
    }
    Ok(columns)
}

fn in_group(object: &ObjectType, column: Column, group: FieldGroup) -> bool {
    let custom = match column {
        Column::System(_) => false,
        Column::Data(index) => object.fields.get(index).is_some_and(crate::org::Field::is_custom),
    };
    match group {
        FieldGroup::All => true,
        FieldGroup::Standard => !custom,
        FieldGroup::Custom => custom,
    }
}

/// A condition with its columns found and its literals in the form that cells have.
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Compare(Column, Operator, Key),
    In(Column, bool, Vec<Key>),
}

/// What cells and literals are compared by. Text is folded; dates and times sort as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Null,
    Bool(bool),
    Text(String),
}

fn compile(object: &ObjectType, condition: &Condition) -> Result<Test, Refusal> {
    let several =
        |terms: &[Condition]| terms.iter().map(|term| compile(object, term)).collect::<Result<_, _>>();
    Ok(match condition {
        Condition::And(terms) => Test::All(several(terms)?),
        Condition::Or(terms) => Test::Any(several(terms)?),
        Condition::Not(term) => Test::Not(Box::new(compile(object, term)?)),
        Condition::Compare { field, operator, value } => {
            let column = column(object, field)?;
            Test::Compare(column, *operator, key(object, column, value)?)
        }
        Condition::In { field, negated, values } => {
            let column = column(object, field)?;
            let keys = values.iter().map(|value| key(object, column, value)).collect::<Result<_, _>>()?;
            Test::In(column, *negated, keys)
        }
    })
}

fn key(object: &ObjectType, column: Column, literal: &Literal) -> Result<Key, Refusal> {
    let kind = match column {
        Column::System(SystemField::IsDeleted) => "boolean",
        Column::System(SystemField::Id | SystemField::CreatedById | SystemField::LastModifiedById) => "id",
        Column::System(_) => "dateTime",
        Column::Data(index) => match object.fields.get(index).map(|field| field.kind) {
            Some(FieldKind::Boolean) => "boolean",
            Some(FieldKind::Date) => "date",
            _ => "string",
        },
    };
    match (kind, literal) {
        (_, Literal::Null) => Ok(Key::Null),
        ("boolean", Literal::Bool(value)) => Ok(Key::Bool(*value)),
        ("date", Literal::Date(day)) => Ok(Key::Text(day.format("%Y-%m-%d").to_string())),
        ("dateTime", Literal::Moment(at)) => Ok(Key::Text(clock::wire(*at))),
        ("string", Literal::Text(text)) => Ok(Key::Text(text.to_lowercase())),
        ("id", Literal::Text(text)) => Ok(Key::Text(whole_id(text))),
        _ => {
            let name = object.column_name(column);
            let message = format!("value of filter criterion for field '{name}' must be of type {kind}");
            Err(Refusal::bad_request("INVALID_FIELD", message))
        }
    }
}

/// The 18 characters of an id given with 15.
fn whole_id(text: &str) -> String {
    let prefix = text.get(..3).unwrap_or_default();
    id::read(prefix, text).map_or_else(|| text.to_owned(), |serial| id::write(prefix, serial))
}

fn cell(table: &Table, serial: u32, record: &Record, column: Column) -> Key {
    match column {
        Column::Data(index) => match record.values.get(index) {
            Some(Value::Text(text)) => Key::Text(text.to_lowercase()),
            Some(Value::Bool(value)) => Key::Bool(*value),
            Some(Value::Null) | None => Key::Null,
        },
        Column::System(_) => match table.cell(serial, record, column) {
            Json::Bool(value) => Key::Bool(value),
            Json::String(text) => Key::Text(text),
            _ => Key::Null,
        },
    }
}

impl Test {
    fn holds(&self, table: &Table, serial: u32, record: &Record) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.holds(table, serial, record)),
            Self::Any(terms) => terms.iter().any(|term| term.holds(table, serial, record)),
            Self::Not(term) => !term.holds(table, serial, record),
            Self::Compare(column, operator, key) => {
                let cell = cell(table, serial, record, *column);
                match operator {
                    Operator::Equal => cell == *key,
                    Operator::NotEqual => cell != *key,
                    // Null is neither before nor after anything.
                    _ if cell == Key::Null || *key == Key::Null => false,
                    Operator::Less => cell < *key,
                    Operator::LessOrEqual => cell <= *key,
                    Operator::Greater => cell > *key,
                    Operator::GreaterOrEqual => cell >= *key,
                }
            }
            Self::In(column, negated, keys) => {
                keys.contains(&cell(table, serial, record, *column)) != *negated
            }
        }
    }
}

fn compare_rows(
    table: &Table,
    a: (u32, &Record),
    b: (u32, &Record),
    order: &[(Column, bool, bool)],
) -> Ordering {
    for (column, descending, nulls_last) in order {
        let (left, right) = (cell(table, a.0, a.1, *column), cell(table, b.0, b.1, *column));
        let ordering = match (&left, &right) {
            (Key::Null, Key::Null) => Ordering::Equal,
            (Key::Null, _) if *nulls_last => Ordering::Greater,
            (Key::Null, _) => Ordering::Less,
            (_, Key::Null) if *nulls_last => Ordering::Less,
            (_, Key::Null) => Ordering::Greater,
            _ if *descending => right.cmp(&left),
            _ => left.cmp(&right),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// Open cursors: selections whose later pages were not read yet.
#[derive(Debug, Default)]
pub struct Cursors {
    open: VecDeque<(u64, Selection)>,
    count: u64,
}

impl Cursors {
    /// The first page; a cursor stays open if there is more.
    pub fn first(&mut self, table: &Table, selection: Selection, size: usize, version: u32) -> Json {
        if selection.count_only || selection.serials.len() <= size {
            return page(table, &selection, 0, size, version, "");
        }
        self.count += 1;
        while self.open.len() >= CURSORS {
            self.open.pop_front();
        }
        let reply = page(table, &selection, 0, size, version, &id::write("01g", self.count));
        self.open.push_back((self.count, selection));
        reply
    }

    /// A later page by its locator, `<cursor id>-<place>`. `table` finds the object by name.
    ///
    /// # Errors
    /// `INVALID_QUERY_LOCATOR` for a locator that is malformed or too old.
    pub fn next<'a>(
        &self,
        locator: &str,
        size: usize,
        version: u32,
        table: impl FnOnce(&str) -> Option<&'a Table>,
    ) -> Result<Json, Refusal> {
        let invalid = || Refusal::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator");
        let (cursor, from) = locator.rsplit_once('-').ok_or_else(invalid)?;
        let number = id::read("01g", cursor).ok_or_else(invalid)?;
        let from: usize = from.parse().map_err(|_| invalid())?;
        let (_, selection) = self.open.iter().find(|(open, _)| *open == number).ok_or_else(invalid)?;
        let table = table(&selection.object).ok_or_else(invalid)?;
        Ok(page(table, selection, from, size, version, cursor))
    }
}

fn page(table: &Table, selection: &Selection, from: usize, size: usize, version: u32, cursor: &str) -> Json {
    let total = selection.serials.len();
    if selection.count_only {
        return json!({ "totalSize": total, "done": true, "records": [] });
    }
    let records: Vec<Json> = selection
        .serials
        .iter()
        .skip(from)
        .take(size)
        .filter_map(|serial| Some((*serial, table.get(*serial)?)))
        .map(|(serial, record)| {
            let url =
                format!("/services/data/v{version}.0/sobjects/{}/{}", selection.object, table.id(serial));
            let mut row = Map::new();
            row.insert("attributes".into(), json!({ "type": selection.object, "url": url }));
            for column in &selection.columns {
                let name = table.object.column_name(*column).to_owned();
                row.insert(name, table.cell(serial, record, *column));
            }
            Json::Object(row)
        })
        .collect();
    let end = from.saturating_add(size);
    let mut reply = json!({ "totalSize": total, "done": end >= total, "records": records });
    if end < total
        && let Some(map) = reply.as_object_mut()
    {
        map.insert(
            "nextRecordsUrl".into(),
            format!("/services/data/v{version}.0/query/{cursor}-{end}").into(),
        );
    }
    reply
}
