//! How names from the configuration are quoted, and which of them may be names of views and columns; the same for
//! every backend. Decides nothing about what is behind them.

use sg_core::definition::{RawTable, Rollup};
use sg_core::ports::{ErrorKind, PortError};

/// Returns a name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the columns of a rollup's dimensions in its table of cells.
pub(crate) fn dimension_columns(rollup: &Rollup) -> Vec<String> {
    (0..rollup.by.len()).map(|at| format!("d{at}")).collect()
}

/// Returns the primary key of a table of cells.
pub(crate) fn key_columns(rollup: &Rollup) -> Vec<String> {
    std::iter::once("pane".to_owned()).chain(dimension_columns(rollup)).collect()
}

/// Returns the names under which a table of raw events is read.
pub(crate) fn raw_views(raw: &RawTable) -> impl Iterator<Item = &str> {
    std::iter::once(raw.name.as_str()).chain((raw.name == "events").then_some("web_events"))
}

fn invalid(what: String) -> PortError {
    PortError::new(ErrorKind::Invalid, what)
}

/// Checks a name under which users will read a view; `reserved` is the prefix that the database keeps for itself.
pub(crate) fn check_view(name: &str, reserved: &str) -> Result<(), PortError> {
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.contains('\0') || lower.starts_with("sg_") || lower.starts_with(reserved) {
        return Err(invalid(format!(
            "making the view {name:?}: the names that begin with sg_ or {reserved} are taken, choose another"
        )));
    }
    Ok(())
}

/// Checks that a view can show a rollup's windows: panes of sketches are merged in the program only.
pub(crate) fn check_panes(rollup: &Rollup) -> Result<(), PortError> {
    if rollup.has_sketches() && rollup.pane_ms != rollup.window_ms {
        return Err(invalid(format!(
            "preparing {}: with distinct, quantile or top its pane is its window; ask for coarser intervals instead",
            rollup.name
        )));
    }
    Ok(())
}

/// Checks that nothing made from the definitions has the name of something else: names have no case.
pub(crate) fn check_distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), PortError> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let lower = name.to_ascii_lowercase();
        if seen.contains(&lower) {
            return Err(invalid(format!("preparing {what}: two of them would be {name:?}, rename one")));
        }
        seen.push(lower);
    }
    Ok(())
}

/// Checks that no two columns of a view have one name.
pub(crate) fn check_columns<'a>(view: &str, columns: impl Iterator<Item = &'a str>) -> Result<(), PortError> {
    let mut seen: Vec<String> = Vec::new();
    for column in columns {
        let lower = column.to_ascii_lowercase();
        if lower.is_empty() || lower.contains('\0') || seen.contains(&lower) {
            return Err(invalid(format!(
                "making the view {view:?}: the column {column:?} stands there twice or has no name, rename it"
            )));
        }
        seen.push(lower);
    }
    Ok(())
}
