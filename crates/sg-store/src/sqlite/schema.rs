//! Tables and views: the numbered migrations of what every store has, and what the definitions add to it.
//! Removes nothing: the cells of a rollup that is no longer defined stay.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sg_core::definition::{RawTable, Rollup, Stream};
use sg_core::time::Timestamp;

use crate::answers;
use crate::names::{
    check_columns, check_distinct, check_panes, check_view, dimension_columns, key_columns, literal, quoted,
    raw_views,
};

use super::error::Error;
use super::raw::raw_table;
use super::{levels, measures, sketches};

/// The migrations in order; the schema's version is their number.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../sql/sqlite/0001_store.sql"),
    include_str!("../../sql/sqlite/0002_outputs.sql"),
    include_str!("../../sql/sqlite/0003_archive.sql"),
    include_str!("../../sql/sqlite/0004_replays.sql"),
    include_str!("../../sql/sqlite/0005_tombstones.sql"),
    include_str!("../../sql/sqlite/0006_lines.sql"),
    include_str!("../../sql/sqlite/0007_keys.sql"),
    include_str!("../../sql/sqlite/0008_by_hand.sql"),
    include_str!("../../sql/sqlite/0009_marks.sql"),
    include_str!("../../sql/sqlite/0010_skipped.sql"),
];

/// Returns whether the tables are those of this program, neither older nor newer.
pub(crate) fn is_of_today(connection: &Connection) -> Result<bool, Error> {
    let stored: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(stored) == Ok(MIGRATIONS.len()))
}

/// Brings the schema to this binary's version.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let stored: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len();
    let applied = usize::try_from(stored).unwrap_or(usize::MAX);
    if applied > known {
        return Err(answers::newer_schema(stored, known).into());
    }
    for migration in &MIGRATIONS[applied..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known as i64)?;
    transaction.commit()?;
    answers::tell_migrated(applied, known);
    Ok(())
}

/// Makes what the definitions need, all or nothing.
pub(crate) fn prepare(
    connection: &mut Connection,
    streams: &[Stream],
    rollups: &[Rollup],
) -> Result<(), Error> {
    check_distinct("streams", streams.iter().map(|stream| stream.name.as_str()))?;
    let raw_views = streams.iter().filter_map(|stream| stream.raw_table.as_ref()).flat_map(raw_views);
    check_distinct("views", rollups.iter().map(|rollup| rollup.name.as_str()).chain(raw_views))?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for stream in streams {
        transaction
            .prepare_cached("INSERT INTO sg_streams VALUES (?, ?, 0, 0, 0) ON CONFLICT DO NOTHING")?
            .execute(params![stream.name, Timestamp::NEVER.0])?;
        if let Some(raw) = &stream.raw_table {
            prepare_raw(&transaction, stream, raw)?;
        }
    }
    for rollup in rollups {
        prepare_rollup(&transaction, rollup)?;
    }
    transaction.commit()?;
    Ok(())
}

fn prepare_rollup(transaction: &Transaction<'_>, rollup: &Rollup) -> Result<(), Error> {
    check_view(&rollup.name, "sqlite_")?;
    check_panes(rollup)?;
    let definition = rollup.hash();
    let stored: Option<(String, String)> = transaction
        .query_row(
            "SELECT rollup, definition FROM sg_rollups WHERE rollup = ? COLLATE NOCASE",
            [&rollup.name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some((known, _)) = stored.as_ref().filter(|(known, _)| *known != rollup.name) {
        return Err(answers::another_case(&rollup.name, known).into());
    }
    match stored.map(|(_, definition)| definition) {
        Some(stored) if stored != definition => {
            return Err(answers::another_definition(&rollup.name).into());
        }
        Some(_) => {}
        None => {
            transaction.execute(
                "INSERT INTO sg_rollups VALUES (?1, ?2, ?3, ?4, ?4, NULL, ?4, 0, NULL)",
                params![rollup.name, rollup.stream, definition, Timestamp::NEVER.0],
            )?;
        }
    }
    transaction.execute_batch(&create_cells(rollup))?;
    replace_view(transaction, &rollup.name, &rollup_view(rollup)?)
}

/// Returns whether a rollup was counted under another definition.
pub(crate) fn is_of_another_definition(connection: &Connection, rollup: &Rollup) -> Result<bool, Error> {
    let stored: Option<String> = connection
        .query_row("SELECT definition FROM sg_rollups WHERE rollup = ?", [&rollup.name], |row| row.get(0))
        .optional()?;
    Ok(stored.is_some_and(|stored| stored != rollup.hash()))
}

/// Forgets a rollup that was counted under another definition.
pub(crate) fn forget(connection: &mut Connection, rollup: &Rollup) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if !is_of_another_definition(&transaction, rollup)? {
        return Ok(false);
    }
    let tables =
        [cells_table(&rollup.name), levels::days_table(&rollup.name), sketches::sketches_table(&rollup.name)];
    let mut sql = format!("DROP VIEW IF EXISTS {};", quoted(&rollup.name));
    tables.iter().for_each(|table| sql += &format!("DROP TABLE IF EXISTS {table};"));
    transaction.execute_batch(&sql)?;
    for table in ["sg_rollups", "sg_rollup_partitions"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE rollup = ?"), [&rollup.name])?;
    }
    transaction.commit()?;
    Ok(true)
}

fn create_cells(rollup: &Rollup) -> String {
    let mut columns = String::from("pane INTEGER NOT NULL");
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension} TEXT NOT NULL");
    }
    columns += ", events INTEGER NOT NULL, late_count INTEGER NOT NULL, revision INTEGER NOT NULL";
    for (at, measure) in rollup.measures.iter().enumerate() {
        let presence = if measures::is_nullable(&measure.function) { "" } else { " NOT NULL" };
        for column in measures::columns(&measure.function, at) {
            columns += &format!(", {column} {}{presence}", measures::kind(&measure.function));
        }
    }
    let key = key_columns(rollup).join(", ");
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} ({columns}, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;",
        cells_table(&rollup.name)
    );
    if rollup.has_levels() {
        sql += &levels::create(rollup);
    }
    if rollup.has_sketches() {
        sql += &sketches::create(rollup);
    }
    sql
}

/// Returns the quoted table of a rollup's cells.
pub(crate) fn cells_table(rollup: &str) -> String {
    quoted(&format!("sg_cells_{rollup}"))
}

/// Returns the select behind a rollup's view: its windows with readable columns.
fn rollup_view(rollup: &Rollup) -> Result<String, Error> {
    let fixed = ["window_start", "window_end", "late_count", "revision", "is_final"];
    let measure_names = rollup.measures.iter().map(|measure| measure.name.as_str());
    let dimension_names = rollup.by.iter().map(String::as_str);
    check_columns(&rollup.name, fixed.into_iter().chain(dimension_names).chain(measure_names))?;
    let mut columns = String::new();
    for (at, name) in rollup.by.iter().enumerate() {
        columns += &format!("d{at} AS {}, ", quoted(name));
    }
    let window_ms = rollup.window_ms;
    columns += &format!("{} AS window_start, ", time_text("pane"));
    columns += &format!("{} AS window_end", time_text(&format!("(pane + {window_ms})")));
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns += &format!(", {} AS {}", shown(rollup, at), quoted(&measure.name));
    }
    columns += &format!(", late_count, revision, pane + {window_ms} <= closed_to AS is_final");
    let standing = format!(
        "(SELECT closed_to, removed_before FROM sg_rollups WHERE rollup = {})",
        literal(&rollup.name)
    );
    Ok(format!("SELECT {columns} FROM {} AS w JOIN {standing} ON pane >= removed_before", windows(rollup)))
}

/// Returns the expression that shows a measure of a window.
fn shown(rollup: &Rollup, at: usize) -> String {
    let function = &rollup.measures[at].function;
    if !function.is_level() {
        return measures::show(function, at);
    }
    let key: Vec<String> = dimension_columns(rollup).iter().map(|name| format!("w.{name}")).collect();
    levels::level(rollup, at, &key, &format!("(w.pane + {})", rollup.window_ms - rollup.pane_ms))
}

/// Returns what a rollup's windows are read from: the table of cells itself, or its panes summed up.
fn windows(rollup: &Rollup) -> String {
    let table = cells_table(&rollup.name);
    if rollup.pane_ms == rollup.window_ms {
        return table;
    }
    let mut columns = format!("pane - {} AS pane", modulo("pane", rollup.window_ms));
    for dimension in dimension_columns(rollup) {
        columns += &format!(", {dimension}");
    }
    columns += ", sum(late_count) AS late_count, sum(revision) AS revision";
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns += &format!(", {}", measures::over_panes(&measure.function, at));
    }
    let places: Vec<String> = (1..=rollup.by.len() + 1).map(|place| place.to_string()).collect();
    format!("(SELECT {columns} FROM {table} GROUP BY {})", places.join(", "))
}

fn prepare_raw(transaction: &Transaction<'_>, stream: &Stream, raw: &RawTable) -> Result<(), Error> {
    check_view(&raw.name, "sqlite_")?;
    let table = raw_table(&stream.name);
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (position INTEGER PRIMARY KEY, event_id TEXT NOT NULL, user_id TEXT, \
         session_id TEXT, event_name TEXT NOT NULL, properties TEXT NOT NULL, event_time INTEGER NOT NULL, \
         received_at INTEGER NOT NULL, processed_at INTEGER NOT NULL) STRICT"
    ))?;
    let (timestamp, processed_at) = (time_text("event_time"), time_text("processed_at"));
    let select = format!(
        "SELECT event_id, user_id, session_id, event_name, properties AS metadata, {timestamp} AS timestamp, \
         {processed_at} AS processed_at FROM {table}"
    );
    replace_view(transaction, &raw.name, &select)?;
    if raw.name != "events" {
        return Ok(());
    }
    let select = format!(
        "SELECT position AS id, event_id, session_id, event_name AS event_type, {timestamp} AS ts, \
         properties AS payload FROM {table}"
    );
    replace_view(transaction, "web_events", &select)
}

fn replace_view(transaction: &Transaction<'_>, name: &str, select: &str) -> Result<(), Error> {
    let found: Option<String> = transaction
        .query_row("SELECT type FROM sqlite_schema WHERE name = ? COLLATE NOCASE", [name], |row| row.get(0))
        .optional()?;
    if let Some(found) = found.filter(|found| found != "view") {
        return Err(answers::not_ours(name, &found).into());
    }
    let view = quoted(name);
    transaction.execute_batch(&format!("DROP VIEW IF EXISTS {view}; CREATE VIEW {view} AS {select}"))?;
    Ok(())
}

/// Returns the expression of a time in milliseconds as RFC 3339 text with `Z`: milliseconds only where there are any.
fn time_text(ms: &str) -> String {
    let fraction = modulo(ms, 1_000);
    format!(
        "strftime('%Y-%m-%dT%H:%M:%S', ({ms} - {fraction}) / 1000, 'unixepoch') \
         || iif({fraction} = 0, 'Z', printf('.%03dZ', {fraction}))"
    )
}

/// Returns the remainder that is never negative, also before 1970.
pub(crate) fn modulo(value: &str, divisor: i64) -> String {
    format!("(({value} % {divisor} + {divisor}) % {divisor})")
}

#[cfg(test)]
mod tests;
