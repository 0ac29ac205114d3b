//! Sketches of cells, the same for every backend. A cell has one row of sketches for each partition, which only the
//! partition's owner writes; they are merged when they are read. What is read of them stands in the cell's own columns
//! too, for SQL.

use std::collections::BTreeMap;

use sg_core::cell::Value;
use sg_core::definition::{Function, Rollup};
use sg_core::ports::{ErrorKind, PortError};
use sg_core::query::CellRow;
use sg_core::time::Timestamp;

/// A cell's key: pane and dimensions.
pub(crate) type CellKey = (Timestamp, Vec<String>);
/// The sketches of one rollup's measures, in their order.
pub(crate) type Sketches = Vec<Value>;

/// Returns the measures of a rollup that are sketches, with their places.
pub(crate) fn measures(rollup: &Rollup) -> Vec<(usize, &Function)> {
    let all = rollup.measures.iter().enumerate().map(|(at, measure)| (at, &measure.function));
    all.filter(|(_, function)| function.is_sketch()).collect()
}

/// Returns the columns of sketches in their table.
pub(crate) fn columns(rollup: &Rollup) -> Vec<String> {
    measures(rollup).iter().map(|(at, _)| format!("s{at}")).collect()
}

/// Reads a sketch's bytes.
pub(crate) fn read(function: &Function, bytes: &[u8]) -> Result<Value, PortError> {
    Value::from_sketch_bytes(function, bytes)
        .map_err(|error| PortError::from_source(ErrorKind::Corrupt, "reading a sketch", error))
}

/// Returns a sketch's bytes.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    value.sketch_bytes().unwrap_or_default()
}

/// Merges sketches into others of the same measures.
pub(crate) fn merge(into: &mut Sketches, from: &Sketches) {
    into.iter_mut().zip(from).for_each(|(value, more)| value.merge(more));
}

/// Gives cells their sketches.
pub(crate) fn fill(rollup: &Rollup, cells: &mut [CellRow], mut found: BTreeMap<CellKey, Sketches>) {
    let measures = measures(rollup);
    for cell in cells {
        let Some(sketches) = found.remove(&(cell.pane, cell.dimensions.clone())) else { continue };
        measures.iter().zip(sketches).for_each(|((at, _), sketch)| cell.values[*at] = sketch);
    }
}
