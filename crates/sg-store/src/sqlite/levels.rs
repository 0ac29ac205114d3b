//! Levels in SQLite: the table of days beside the cells, written by flushes, moved by retention, read with cells.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};
use sg_core::definition::Rollup;
use sg_core::flush::{LevelBases, RollupDelta};
use sg_core::query::CellRow;
use sg_core::time::Timestamp;
use sg_core::window;

use crate::levels::{self, BASE, DAY_MS, Found, Standings};
use crate::names::{dimension_columns, quoted};

use super::error::Error;
use super::schema::{cells_table, modulo};

/// Returns the quoted table of a rollup's levels by day.
pub(crate) fn days_table(rollup: &str) -> String {
    quoted(&format!("sg_levels_{rollup}"))
}

/// Returns the statements that make the table, and the index that finds a day's panes of one cell.
pub(crate) fn create(rollup: &Rollup) -> String {
    let dimensions = dimension_columns(rollup);
    let columns = levels::columns(rollup);
    let declared: Vec<String> = dimensions
        .iter()
        .map(|name| format!("{name} TEXT NOT NULL"))
        .chain(["day INTEGER NOT NULL".to_owned()])
        .chain(columns.iter().map(|name| format!("{name} INTEGER NOT NULL")))
        .collect();
    let key = joined(&dimensions, &["day"]);
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID;",
        days_table(&rollup.name),
        declared.join(", ")
    );
    if !dimensions.is_empty() {
        let covered: Vec<&str> = columns.iter().map(String::as_str).collect();
        sql += &format!(
            "CREATE INDEX IF NOT EXISTS {} ON {} ({}, {});",
            quoted(&format!("sg_levels_of_{}", rollup.name)),
            cells_table(&rollup.name),
            joined(&dimensions, &["pane"]),
            covered.join(", ")
        );
    }
    sql
}

fn joined(dimensions: &[String], more: &[&str]) -> String {
    dimensions.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>().join(", ")
}

/// Adds a flush's moves to the days.
pub(crate) fn write(
    connection: &Connection,
    rollup: &Rollup,
    delta: &RollupDelta,
    removed_before: Timestamp,
) -> Result<(), Error> {
    let moves = levels::moves(rollup, delta, removed_before);
    if moves.is_empty() {
        return Ok(());
    }
    let width = rollup.by.len() + 1 + levels::places(rollup).len();
    let sql = format!(
        "INSERT INTO {} VALUES ({}) ON CONFLICT DO UPDATE SET {}",
        days_table(&rollup.name),
        vec!["?"; width].join(", "),
        added(rollup),
    );
    let mut upsert = connection.prepare_cached(&sql)?;
    for ((dimensions, day), steps) in moves {
        let mut parameters: Vec<Sql> = dimensions.into_iter().map(Sql::Text).collect();
        parameters.push(day.0.into());
        parameters.extend(steps.into_iter().map(Sql::Integer));
        upsert.execute(params_from_iter(parameters))?;
    }
    Ok(())
}

fn added(rollup: &Rollup) -> String {
    let sums =
        levels::columns(rollup).into_iter().map(|column| format!("{column} = {column} + excluded.{column}"));
    sums.collect::<Vec<_>>().join(", ")
}

/// Moves what cells that are about to be removed did to levels from their days to the base. `condition` tells the cells,
/// which end before `before`.
pub(crate) fn retire(
    connection: &Connection,
    rollup: &Rollup,
    (condition, parameters): (&str, &[Sql]),
    before: Timestamp,
) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let (days, cells) = (days_table(&rollup.name), cells_table(&rollup.name));
    let dimensions = dimension_columns(rollup);
    let columns = levels::columns(rollup);
    let day = day_of("pane");
    for (day, sign) in [(BASE.0.to_string(), ""), (day, "-")] {
        let sums: Vec<String> = columns.iter().map(|column| format!("{sign}sum({column})")).collect();
        let selected = joined(&dimensions, &[&day, &sums.join(", ")]);
        let grouped = joined(&dimensions, &[if sign.is_empty() { "true" } else { &day }]);
        let sql = format!(
            "INSERT INTO {days} SELECT {selected} FROM {cells} WHERE {condition} GROUP BY {grouped} \
             ON CONFLICT DO UPDATE SET {}",
            added(rollup)
        );
        connection.prepare_cached(&sql)?.execute(params_from_iter(parameters))?;
    }
    let zero: Vec<String> = columns.iter().map(|column| format!("{column} = 0")).collect();
    let sql = format!("DELETE FROM {days} WHERE day < ? AND {}", zero.join(" AND "));
    connection.prepare_cached(&sql)?.execute([window::start_of(before, DAY_MS).0])?;
    Ok(())
}

/// Makes a day's moves again from the cells of its panes.
pub(crate) fn recount(connection: &Connection, rollup: &Rollup, day: Timestamp) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let (days, cells) = (days_table(&rollup.name), cells_table(&rollup.name));
    let dimensions = dimension_columns(rollup);
    let sums: Vec<String> = levels::columns(rollup).iter().map(|column| format!("sum({column})")).collect();
    let moved: Vec<String> = sums.iter().map(|sum| format!("{sum} <> 0")).collect();
    connection.prepare_cached(&format!("DELETE FROM {days} WHERE day = ?"))?.execute([day.0])?;
    let sql = format!(
        "INSERT INTO {days} SELECT {} FROM {cells} WHERE pane >= ?1 AND pane < ?2 GROUP BY {} HAVING {}",
        joined(&dimensions, &["?1", &sums.join(", ")]),
        joined(&dimensions, &["true"]),
        moved.join(" OR ")
    );
    connection.prepare_cached(&sql)?.execute([day.0, day.0 + DAY_MS])?;
    Ok(())
}

/// Puts in what moved levels from before all cells that are kept. What cells did that are still to be removed stays
/// with their days.
pub(crate) fn settle(
    connection: &Connection,
    rollup: &Rollup,
    bases: &RollupDelta,
    removed_before: Timestamp,
) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let (days, cells) = (days_table(&rollup.name), cells_table(&rollup.name));
    connection.prepare_cached(&format!("DELETE FROM {days} WHERE day = ?"))?.execute([BASE.0])?;
    write(connection, rollup, bases, removed_before)?;
    let dimensions = dimension_columns(rollup);
    let less: Vec<String> = levels::columns(rollup).iter().map(|column| format!("-sum({column})")).collect();
    let sql = format!(
        "INSERT INTO {days} SELECT {} FROM {cells} WHERE pane < ?2 GROUP BY {} ON CONFLICT DO UPDATE SET {}",
        joined(&dimensions, &["?1", &less.join(", ")]),
        joined(&dimensions, &["true"]),
        added(rollup)
    );
    connection.prepare_cached(&sql)?.execute([BASE.0, removed_before.0])?;
    Ok(())
}

/// Tells cells where their levels stand.
pub(crate) fn read(
    connection: &Connection,
    rollup: &Rollup,
    cells: &mut [CellRow],
    found: Found,
) -> Result<(), Error> {
    let Some((keys, oldest)) = levels::asked(cells).filter(|_| rollup.has_levels()) else { return Ok(()) };
    let dimensions = dimension_columns(rollup);
    let key: Vec<String> = (0..dimensions.len()).map(|at| format!("?{}", at + 2)).collect();
    let places = levels::places(rollup);
    let standing: Vec<String> = places.iter().map(|at| level(rollup, *at, &key, "?1")).collect();
    let mut statement = connection.prepare_cached(&format!("SELECT {}", standing.join(", ")))?;
    let mut standing_of = |pane: Timestamp, key: &[String]| {
        let parameters = std::iter::once(Sql::Integer(pane.0)).chain(key.iter().cloned().map(Sql::Text));
        statement.query_row(params_from_iter(parameters), |row| {
            (0..places.len()).map(|at| row.get(at)).collect::<Result<Vec<i64>, _>>()
        })
    };
    if found == Found::Each {
        let own = cells.iter().map(|cell| standing_of(cell.pane, &cell.dimensions));
        let own = own.collect::<Result<Vec<_>, _>>()?;
        levels::place(rollup, cells, own);
        return Ok(());
    }
    let mut standings = Standings::new();
    for key in keys {
        let standing = standing_of(oldest, &key)?;
        standings.insert(key, standing);
    }
    levels::reach(rollup, cells, standings, oldest);
    Ok(())
}

/// Returns the base: the moves of cells that are gone, or are not shown any more.
pub(crate) fn bases(connection: &Connection, rollup: &Rollup) -> Result<LevelBases, Error> {
    if !rollup.has_levels() {
        return Ok(LevelBases::new());
    }
    let (dimensions, columns) = (dimension_columns(rollup), levels::columns(rollup));
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let listed = joined(&dimensions, &names);
    let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})")).collect();
    let summed = joined(&dimensions, &[&sums.join(", ")]);
    // While retention is under way, cells that are to go are still there.
    let sql = format!(
        "SELECT {summed} FROM (SELECT {listed} FROM {} WHERE day = ?1 UNION ALL SELECT {listed} FROM {} \
         WHERE pane < (SELECT removed_before FROM sg_rollups WHERE rollup = ?2)) GROUP BY {}",
        days_table(&rollup.name),
        cells_table(&rollup.name),
        joined(&dimensions, &["true"]),
    );
    let width = dimensions.len();
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![BASE.0, rollup.name], |row| {
        let key = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        let moves = (width..width + columns.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        Ok((key, moves))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the expression of a level at the end of a pane: `key` are the expressions of its dimensions.
pub(crate) fn level(rollup: &Rollup, at: usize, key: &[String], pane: &str) -> String {
    let same = |alias: &str| -> String {
        let names = dimension_columns(rollup);
        names.iter().zip(key).map(|(name, value)| format!("{alias}.{name} = {value} AND ")).collect()
    };
    let day = day_of(pane);
    format!(
        "(SELECT coalesce(sum(l.m{at}), 0) FROM {} l WHERE {}l.day < {day}) \
         + (SELECT coalesce(sum(p.m{at}), 0) FROM {} p WHERE {}p.pane >= {day} AND p.pane <= {pane})",
        days_table(&rollup.name),
        same("l"),
        cells_table(&rollup.name),
        same("p"),
    )
}

fn day_of(pane: &str) -> String {
    format!("({pane} - {})", modulo(pane, DAY_MS))
}
