//! Sketches in SQLite: the table beside the cells, written by flushes and read with cells.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;
use rusqlite::{CachedStatement, Connection, params_from_iter};
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::CellRow;
use sg_core::time::Timestamp;
use sg_core::window;

use crate::names::{dimension_columns, key_columns, quoted};
use crate::sketches::{self, CellKey, Sketches};

use super::error::Error;
use super::measures;
use super::schema::cells_table;

/// Returns the quoted table of a rollup's sketches.
pub(crate) fn sketches_table(rollup: &str) -> String {
    quoted(&format!("sg_sketches_{rollup}"))
}

/// Returns the statement that makes the table.
pub(crate) fn create(rollup: &Rollup) -> String {
    let mut columns = String::from("pane INTEGER NOT NULL");
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension} TEXT NOT NULL");
    }
    columns += ", partition INTEGER NOT NULL";
    for column in sketches::columns(rollup) {
        columns += &format!(", {column} BLOB NOT NULL");
    }
    let key = key_columns(rollup).join(", ");
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY ({key}, partition)) STRICT, WITHOUT ROWID;",
        sketches_table(&rollup.name)
    )
}

/// The sketches of single cells.
struct Rows<'a> {
    statement: CachedStatement<'a>,
    rollup: &'a Rollup,
}

impl<'a> Rows<'a> {
    fn of(connection: &'a Connection, rollup: &'a Rollup) -> Result<Rows<'a>, Error> {
        let same: Vec<String> = key_columns(rollup).iter().map(|column| format!("{column} = ?")).collect();
        let sql = format!(
            "SELECT partition, {} FROM {} WHERE {}",
            sketches::columns(rollup).join(", "),
            sketches_table(&rollup.name),
            same.join(" AND ")
        );
        Ok(Rows { statement: connection.prepare_cached(&sql)?, rollup })
    }

    /// Returns a cell's sketches by partition.
    fn get(&mut self, pane: Timestamp, dimensions: &[String]) -> Result<Vec<(u32, Sketches)>, Error> {
        let key = std::iter::once(Sql::Integer(pane.0)).chain(dimensions.iter().cloned().map(Sql::Text));
        let mut rows = self.statement.query(params_from_iter(key))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let mut read = Vec::new();
            for (at, (_, function)) in sketches::measures(self.rollup).iter().enumerate() {
                let bytes = row.get_ref(at + 1)?.as_blob().map_err(rusqlite::Error::from)?;
                read.push(sketches::read(function, bytes)?);
            }
            found.push((row.get(0)?, read));
        }
        Ok(found)
    }
}

/// Adds a flush's sketches to those of its partition, and shows what they come to in the cells, which are written.
pub(crate) fn write(
    connection: &Connection,
    rollup: &Rollup,
    (partition, delta): (u32, &RollupDelta),
    removed_before: Timestamp,
) -> Result<(), Error> {
    if !rollup.has_sketches() {
        return Ok(());
    }
    let functions = sketches::measures(rollup);
    let mut rows = Rows::of(connection, rollup)?;
    let width = key_columns(rollup).len() + 1 + functions.len();
    let mut put = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO {} VALUES ({})",
        sketches_table(&rollup.name),
        vec!["?"; width].join(", ")
    ))?;
    let mut show = connection.prepare_cached(&show_sql(rollup))?;
    for cell in delta.cells.sorted() {
        if window::end_of(cell.pane, rollup.window_ms) <= removed_before {
            continue;
        }
        let dimensions: Vec<String> = cell.dimensions().map(str::to_owned).collect();
        let mut own: Sketches = functions.iter().map(|(at, _)| cell.values[*at].clone()).collect();
        let mut others: Option<Sketches> = None;
        for (known, stored) in rows.get(cell.pane, &dimensions)? {
            match &mut others {
                _ if known == partition => sketches::merge(&mut own, &stored),
                None => others = Some(stored),
                Some(others) => sketches::merge(others, &stored),
            }
        }
        let key: Vec<Sql> =
            std::iter::once(Sql::Integer(cell.pane.0)).chain(dimensions.into_iter().map(Sql::Text)).collect();
        let mut stored = key.clone();
        stored.push(Sql::Integer(i64::from(partition)));
        stored.extend(own.iter().map(|sketch| Sql::Blob(sketches::bytes(sketch))));
        put.execute(params_from_iter(stored))?;
        others.iter().for_each(|others| sketches::merge(&mut own, others));
        let mut shown = Vec::new();
        for ((_, function), sketch) in functions.iter().zip(&own) {
            measures::bind(function, sketch, &mut shown)?;
        }
        show.execute(params_from_iter(shown.into_iter().chain(key)))?;
    }
    Ok(())
}

fn show_sql(rollup: &Rollup) -> String {
    let functions = sketches::measures(rollup);
    let columns = functions.iter().flat_map(|(at, function)| measures::columns(function, *at));
    let shown: Vec<String> = columns.map(|column| format!("{column} = ?")).collect();
    let same: Vec<String> = key_columns(rollup).iter().map(|column| format!("{column} = ?")).collect();
    format!("UPDATE {} SET {} WHERE {}", cells_table(&rollup.name), shown.join(", "), same.join(" AND "))
}

/// Gives cells their sketches, merged over all partitions.
pub(crate) fn read(connection: &Connection, rollup: &Rollup, cells: &mut [CellRow]) -> Result<(), Error> {
    if !rollup.has_sketches() {
        return Ok(());
    }
    let mut rows = Rows::of(connection, rollup)?;
    let mut found: BTreeMap<CellKey, Sketches> = BTreeMap::new();
    for cell in cells.iter() {
        let mut merged: Option<Sketches> = None;
        for (_, stored) in rows.get(cell.pane, &cell.dimensions)? {
            match &mut merged {
                None => merged = Some(stored),
                Some(merged) => sketches::merge(merged, &stored),
            }
        }
        found.extend(merged.map(|merged| ((cell.pane, cell.dimensions.clone()), merged)));
    }
    sketches::fill(rollup, cells, found);
    Ok(())
}
