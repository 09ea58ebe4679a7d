use std::collections::HashMap;

use csv::StringRecord;

/// A table that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {rule}")]
pub struct BrokenTable {
    /// Its file.
    pub table: String,
    /// What is wrong with it.
    pub rule: String,
}

/// Rows under the names of their columns (RFC 4180).
#[derive(Debug)]
pub struct Table {
    columns: HashMap<String, usize>,
    rows: Vec<StringRecord>,
}

/// A row of a [`Table`].
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    record: &'a StringRecord,
}

impl Table {
    /// Reads a table that must have these columns.
    ///
    /// # Errors
    /// One that is missing, or a row that can't be read.
    pub fn read(name: &str, text: &str, needed: &[&str]) -> Result<Self, BrokenTable> {
        let broken = |rule: String| BrokenTable { table: name.to_owned(), rule };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let head = reader.headers().map_err(|error| broken(error.to_string()))?;
        let columns: HashMap<String, usize> =
            head.iter().enumerate().map(|(at, column)| (column.trim().to_owned(), at)).collect();
        if let Some(missing) = needed.iter().find(|column| !columns.contains_key(**column)) {
            return Err(broken(format!("has no column {missing}")));
        }
        let rows = reader.records().collect::<Result<_, _>>().map_err(|error| broken(error.to_string()))?;
        Ok(Self { columns, rows })
    }

    /// Every row, in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|record| Row { table: self, record })
    }
}

impl<'a> Row<'a> {
    /// The field of that column; empty where there is none.
    #[must_use]
    pub fn get(&self, column: &str) -> &'a str {
        let at = self.table.columns.get(column);
        at.and_then(|at| self.record.get(*at)).unwrap_or_default().trim()
    }
}
