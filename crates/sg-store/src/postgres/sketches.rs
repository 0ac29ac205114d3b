//! Sketches in PostgreSQL: the table beside the cells, written by flushes and read with cells.

use std::collections::BTreeMap;

use sg_core::cell::CellDelta;
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::CellRow;
use sg_core::time::Timestamp;
use sg_core::window;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::names::{dimension_columns, key_columns};
use crate::sketches::{self, CellKey, Sketches};

use super::cells::{arrays, key_arrays, key_types, parameters};
use super::error::Error;
use super::measures;
use super::pool::Lease;
use super::tables::{cells_table, sketches_table};
use super::wire::{Column, Ms};

/// Bytes of sketches that are read, merged and written together, at the most.
const BYTES_PER_STATEMENT: usize = 8 << 20;
/// Cells of one statement: more save nothing.
const CELLS_PER_STATEMENT: usize = 500;

fn cells_per_statement(rollup: &Rollup) -> usize {
    rollup.sketched_cells(BYTES_PER_STATEMENT, CELLS_PER_STATEMENT)
}

/// Returns the statement that makes the table.
pub(crate) fn create(rollup: &Rollup) -> String {
    let mut columns = String::from("pane timestamptz NOT NULL");
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension} text COLLATE \"C\" NOT NULL");
    }
    columns += ", partition bigint NOT NULL";
    for column in sketches::columns(rollup) {
        columns += &format!(", {column} bytea NOT NULL");
    }
    let key = key_columns(rollup).join(", ");
    format!("CREATE TABLE {} ({columns}, PRIMARY KEY ({key}, partition));", sketches_table(&rollup.name))
}

/// Adds a flush's sketches to those of its partition, and shows what they come to in the cells. Those are written, and so
/// locked: what other partitions have written to them is seen by the statements that follow.
pub(crate) async fn write(
    lease: &Lease,
    rollup: &Rollup,
    (partition, delta): (u32, &RollupDelta),
    removed_before: Timestamp,
) -> Result<(), Error> {
    if !rollup.has_sketches() {
        return Ok(());
    }
    let sorted = delta.cells.sorted();
    let is_kept = |cell: &&CellDelta<'_>| window::end_of(cell.pane, rollup.window_ms) > removed_before;
    let kept: Vec<&CellDelta<'_>> = sorted.iter().filter(is_kept).collect();
    for cells in kept.chunks(cells_per_statement(rollup)) {
        write_some(lease, rollup, partition, cells).await?;
    }
    Ok(())
}

async fn write_some(
    lease: &Lease,
    rollup: &Rollup,
    partition: u32,
    cells: &[&CellDelta<'_>],
) -> Result<(), Error> {
    let functions = sketches::measures(rollup);
    let keys: Vec<CellKey> =
        cells.iter().map(|cell| (cell.pane, cell.dimensions().map(str::to_owned).collect())).collect();
    let mut own: BTreeMap<&CellKey, Sketches> = BTreeMap::new();
    for (key, cell) in keys.iter().zip(cells) {
        own.insert(key, functions.iter().map(|(at, _)| cell.values[*at].clone()).collect());
    }
    let mut others: BTreeMap<CellKey, Sketches> = BTreeMap::new();
    for (key, known, stored) in stored(lease, rollup, &keys).await? {
        match own.get_mut(&key) {
            Some(mine) if known == i64::from(partition) => sketches::merge(mine, &stored),
            _ => merge_into(&mut others, key, stored),
        }
    }
    put(lease, rollup, partition, &own).await?;
    for (key, mine) in &mut own {
        others.get(*key).iter().for_each(|others| sketches::merge(mine, others));
    }
    show(lease, rollup, &keys, &own).await
}

fn merge_into(all: &mut BTreeMap<CellKey, Sketches>, key: CellKey, more: Sketches) {
    match all.get_mut(&key) {
        Some(known) => sketches::merge(known, &more),
        None => drop(all.insert(key, more)),
    }
}

/// Reads the sketches of cells, of every partition.
async fn stored(
    lease: &Lease,
    rollup: &Rollup,
    keys: &[CellKey],
) -> Result<Vec<(CellKey, i64, Sketches)>, Error> {
    let key = key_columns(rollup);
    let same: Vec<String> = key.iter().map(|column| format!("s.{column} = k.{column}")).collect();
    let selected: Vec<String> = key
        .iter()
        .cloned()
        .chain(["partition".to_owned()])
        .chain(sketches::columns(rollup))
        .map(|column| format!("s.{column}"))
        .collect();
    let sql = format!(
        "SELECT {} FROM unnest({}) AS k({}) JOIN {} AS s ON {}",
        selected.join(", "),
        key_types(rollup),
        key.join(", "),
        sketches_table(&rollup.name),
        same.join(" AND "),
    );
    let columns = key_arrays(rollup, keys)?;
    let rows = lease.query(&sql, &parameters(&columns)).await?;
    rows.iter().map(|row| sketches_of(rollup, row)).collect()
}

fn sketches_of(rollup: &Rollup, row: &Row) -> Result<(CellKey, i64, Sketches), Error> {
    let width = key_columns(rollup).len();
    let dimensions = (1..width).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
    let mut read = Sketches::new();
    for (at, (_, function)) in sketches::measures(rollup).iter().enumerate() {
        read.push(sketches::read(function, row.try_get(width + 1 + at)?)?);
    }
    Ok(((row.try_get::<_, Ms>(0)?.0, dimensions), row.try_get(width)?, read))
}

/// Writes the sketches of this partition.
async fn put(
    lease: &Lease,
    rollup: &Rollup,
    partition: u32,
    own: &BTreeMap<&CellKey, Sketches>,
) -> Result<(), Error> {
    let key = key_columns(rollup);
    let names = sketches::columns(rollup);
    let mut types = vec![Type::TIMESTAMPTZ];
    types.extend(rollup.by.iter().map(|_| Type::TEXT));
    types.push(Type::INT8);
    types.extend(names.iter().map(|_| Type::BYTEA));
    let mut columns: Vec<Column> = types.iter().cloned().map(Column::of).collect();
    for ((pane, dimensions), values) in own {
        columns[0].push_time(*pane)?;
        dimensions.iter().zip(&mut columns[1..]).for_each(|(text, column)| column.push_text(text));
        columns[key.len()].push_integer(i64::from(partition));
        let sketches = values.iter().zip(&mut columns[key.len() + 1..]);
        sketches.for_each(|(value, column)| column.push_bytes(&sketches::bytes(value)));
    }
    let replaced: Vec<String> = names.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let key = key.join(", ");
    let sql = format!(
        "INSERT INTO {} ({key}, partition, {}) SELECT * FROM unnest({}) ON CONFLICT ({key}, partition) DO UPDATE SET {}",
        sketches_table(&rollup.name),
        names.join(", "),
        arrays(&types),
        replaced.join(", "),
    );
    lease.execute(&sql, &parameters(&columns)).await?;
    Ok(())
}

/// Writes what is read of sketches into their cells.
async fn show(
    lease: &Lease,
    rollup: &Rollup,
    keys: &[CellKey],
    merged: &BTreeMap<&CellKey, Sketches>,
) -> Result<(), Error> {
    let key = key_columns(rollup);
    let (mut names, mut types, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for (at, function) in sketches::measures(rollup) {
        for (name, kind) in measures::columns(function, at) {
            shown.push(Column::of(kind.clone()));
            types.push(kind);
            names.push(name);
        }
    }
    for cell in keys {
        let Some(values) = merged.get(cell) else { continue };
        for (at, ((_, function), value)) in sketches::measures(rollup).iter().zip(values).enumerate() {
            // Invariant: what is shown of a sketch is one column.
            measures::push(function, value, &mut shown[at..])?;
        }
    }
    let mut all_types = vec![Type::TIMESTAMPTZ];
    all_types.extend(rollup.by.iter().map(|_| Type::TEXT));
    all_types.extend(types);
    let set: Vec<String> = names.iter().map(|name| format!("{name} = k.{name}")).collect();
    let same: Vec<String> = key.iter().map(|column| format!("c.{column} = k.{column}")).collect();
    let sql = format!(
        "UPDATE {} AS c SET {} FROM unnest({}) AS k({}, {}) WHERE {}",
        cells_table(&rollup.name),
        set.join(", "),
        arrays(&all_types),
        key.join(", "),
        names.join(", "),
        same.join(" AND "),
    );
    let mut columns = key_arrays(rollup, keys)?;
    columns.extend(shown);
    let given: Vec<&(dyn ToSql + Sync)> = parameters(&columns);
    let updated = lease.execute(&sql, &given).await?;
    if updated != keys.len() as u64 {
        return Err(Error::corrupt(format!(
            "showing sketches of {}: {updated} of {} cells were there",
            rollup.name,
            keys.len()
        )));
    }
    Ok(())
}

/// Returns the part of a statement that removes the sketches of the removed cells `gone`.
pub(crate) fn retire(rollup: &Rollup) -> String {
    if !rollup.has_sketches() {
        return String::new();
    }
    let same: Vec<String> =
        key_columns(rollup).iter().map(|column| format!("s.{column} = gone.{column}")).collect();
    format!(
        ", sketches AS (DELETE FROM {} AS s USING gone WHERE {})",
        sketches_table(&rollup.name),
        same.join(" AND ")
    )
}

/// Gives cells their sketches, merged over all partitions.
pub(crate) async fn read(lease: &Lease, rollup: &Rollup, cells: &mut [CellRow]) -> Result<(), Error> {
    if !rollup.has_sketches() {
        return Ok(());
    }
    let keys: Vec<CellKey> = cells.iter().map(|cell| (cell.pane, cell.dimensions.clone())).collect();
    let mut found: BTreeMap<CellKey, Sketches> = BTreeMap::new();
    for keys in keys.chunks(cells_per_statement(rollup)) {
        for (key, _, more) in stored(lease, rollup, keys).await? {
            merge_into(&mut found, key, more);
        }
    }
    sketches::fill(rollup, cells, found);
    Ok(())
}
