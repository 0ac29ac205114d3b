//! Names of private tables and how names from the configuration are quoted. Decides nothing about what is in them.

use sg_core::definition::Rollup;

use super::error::Error;

/// Returns a name as an SQL identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns the quoted table of a rollup's cells.
pub(crate) fn cells_table(rollup: &str) -> String {
    quoted(&format!("sg_cells_{rollup}"))
}

/// Returns the quoted table of a stream's raw events.
pub(crate) fn raw_table(stream: &str) -> String {
    quoted(&format!("sg_raw_{stream}"))
}

/// Returns the columns of a rollup's dimensions in its table of cells.
pub(crate) fn dimension_columns(rollup: &Rollup) -> Vec<String> {
    (0..rollup.by.len()).map(|at| format!("d{at}")).collect()
}

/// Checks a name under which users will read a view.
pub(crate) fn check_view(name: &str) -> Result<(), Error> {
    let lower = name.to_ascii_lowercase();
    if name.is_empty() || name.contains('\0') || lower.starts_with("sg_") || lower.starts_with("sqlite_") {
        return Err(Error::invalid(format!(
            "making the view {name:?}: the names that begin with sg_ or sqlite_ are taken, choose another"
        )));
    }
    Ok(())
}

/// Checks that nothing made from the definitions has the name of something else: SQLite's names have no case.
pub(crate) fn check_distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let lower = name.to_ascii_lowercase();
        if seen.contains(&lower) {
            return Err(Error::invalid(format!(
                "preparing {what}: two of them would be {name:?}, rename one"
            )));
        }
        seen.push(lower);
    }
    Ok(())
}

/// Checks that no two columns of a view have one name.
pub(crate) fn check_columns<'a>(view: &str, columns: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen: Vec<String> = Vec::new();
    for column in columns {
        let lower = column.to_ascii_lowercase();
        if lower.is_empty() || lower.contains('\0') || seen.contains(&lower) {
            return Err(Error::invalid(format!(
                "making the view {view:?}: the column {column:?} stands there twice or has no name, rename it"
            )));
        }
        seen.push(lower);
    }
    Ok(())
}
