//! Levels in PostgreSQL: the table of days beside the cells, written by flushes, moved by retention, read with cells.
//! Its rows are locked after those of the rollup's cells, in the order of their key.

use sg_core::definition::Rollup;
use sg_core::flush::{LevelBases, RollupDelta};
use sg_core::query::CellRow;
use sg_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::faults::Faults;
use crate::levels::{self, BASE, DAY_MS, Found, Standings};
use crate::names::{dimension_columns, key_columns};
use crate::sketches::CellKey;

use super::cells::{arrays, boxed, key_arrays, key_types, parameters};
use super::error::Error;
use super::pool::{Lease, Prepared};
use super::tables::{cells_table, days_table};
use super::wire::{Column, Ms};

/// Returns the statements that make the table, and the index that finds a day's panes of one cell.
pub(crate) fn create(rollup: &Rollup) -> String {
    let (dimensions, columns) = (dimension_columns(rollup), levels::columns(rollup));
    let declared: Vec<String> = dimensions
        .iter()
        .map(|name| format!("{name} text COLLATE \"C\" NOT NULL"))
        .chain(["day timestamptz NOT NULL".to_owned()])
        .chain(columns.iter().map(|name| format!("{name} bigint NOT NULL")))
        .collect();
    let key = joined(&dimensions, &["day"]);
    let mut sql = format!(
        "CREATE TABLE {} ({}, PRIMARY KEY ({key})) WITH (fillfactor = 70);",
        days_table(&rollup.name),
        declared.join(", ")
    );
    if !dimensions.is_empty() {
        // Not over the moves themselves: then a flush would have to touch the index with every change of a cell.
        sql +=
            &format!("CREATE INDEX ON {} ({});", cells_table(&rollup.name), joined(&dimensions, &["pane"]));
    }
    sql
}

fn joined(dimensions: &[String], more: &[&str]) -> String {
    dimensions.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>().join(", ")
}

/// Returns the statement that adds a flush's moves to the days, if it has any.
pub(crate) async fn upsert(
    lease: &Lease,
    rollup: &Rollup,
    delta: &RollupDelta,
    removed_before: Timestamp,
) -> Result<Option<Prepared>, Error> {
    let moves = levels::moves(rollup, delta, removed_before);
    if moves.is_empty() {
        return Ok(None);
    }
    let width = rollup.by.len();
    let mut types = vec![Type::TEXT; width];
    types.push(Type::TIMESTAMPTZ);
    types.extend(levels::places(rollup).iter().map(|_| Type::INT8));
    let mut columns: Vec<Column> = types.iter().cloned().map(Column::of).collect();
    for ((dimensions, day), steps) in moves {
        dimensions.iter().zip(&mut columns).for_each(|(text, column)| column.push_text(text));
        columns[width].push_time(day)?;
        steps.iter().zip(&mut columns[width + 1..]).for_each(|(step, column)| column.push_integer(*step));
    }
    let sql = format!(
        "INSERT INTO {} AS l SELECT * FROM unnest({}) ON CONFLICT ({}) DO UPDATE SET {}",
        days_table(&rollup.name),
        arrays(&types),
        joined(&dimension_columns(rollup), &["day"]),
        added(rollup),
    );
    Ok(Some((lease.statement(&sql).await?, boxed(columns))))
}

fn added(rollup: &Rollup) -> String {
    let sums = levels::columns(rollup)
        .into_iter()
        .map(|column| format!("{column} = l.{column} + excluded.{column}"));
    sums.collect::<Vec<_>>().join(", ")
}

/// Returns the parts of a statement that move what the removed cells `gone` did to levels from their days to the base.
pub(crate) fn retire(rollup: &Rollup) -> String {
    if !rollup.has_levels() {
        return String::new();
    }
    let days = days_table(&rollup.name);
    let (dimensions, columns) = (dimension_columns(rollup), levels::columns(rollup));
    let key = joined(&dimensions, &["day"]);
    let mut parts = String::new();
    for (name, day, sign) in
        [("base", "'-infinity'::timestamptz".to_owned(), ""), ("days", day_of("pane"), "-")]
    {
        let sums: Vec<String> =
            columns.iter().map(|column| format!("({sign}sum({column}))::bigint")).collect();
        let selected = joined(&dimensions, &[&format!("{day} AS day"), &sums.join(", ")]);
        parts += &format!(
            ", {name} AS (INSERT INTO {days} AS l SELECT {selected} FROM gone GROUP BY {key} ORDER BY {key} \
             ON CONFLICT ({key}) DO UPDATE SET {})",
            added(rollup)
        );
    }
    parts
}

/// Removes days of which retention has left nothing.
pub(crate) async fn sweep(lease: &Lease, rollup: &Rollup, before: Timestamp) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let zero: Vec<String> = levels::columns(rollup).iter().map(|column| format!("{column} = 0")).collect();
    let sql = format!(
        "DELETE FROM {} WHERE day < {} AND {}",
        days_table(&rollup.name),
        day_of("$1::timestamptz"),
        zero.join(" AND ")
    );
    lease.execute(&sql, &[&Ms(before)]).await?;
    Ok(())
}

/// Makes a day's moves again from the cells of its panes.
pub(crate) async fn recount(lease: &Lease, rollup: &Rollup, day: Timestamp) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let (days, cells) = (days_table(&rollup.name), cells_table(&rollup.name));
    let dimensions = dimension_columns(rollup);
    let sums: Vec<String> =
        levels::columns(rollup).iter().map(|column| format!("sum({column})::bigint")).collect();
    let moved: Vec<String> = sums.iter().map(|sum| format!("{sum} <> 0")).collect();
    lease.execute(&format!("DELETE FROM {days} WHERE day = $1"), &[&Ms(day)]).await?;
    let sql = format!(
        "INSERT INTO {days} SELECT {} FROM {cells} WHERE pane >= $1 AND pane < $2 GROUP BY {} HAVING {}",
        joined(&dimensions, &["$1::timestamptz", &sums.join(", ")]),
        joined(&dimensions, &["()"]),
        moved.join(" OR ")
    );
    lease.execute(&sql, &[&Ms(day), &Ms(Timestamp(day.0 + DAY_MS))]).await?;
    Ok(())
}

/// Puts in what moved levels from before all cells that are kept. What cells did that are still to be removed stays
/// with their days.
pub(crate) async fn settle(
    lease: &Lease,
    rollup: &Rollup,
    bases: &RollupDelta,
    removed_before: Timestamp,
    faults: &Faults,
) -> Result<(), Error> {
    if !rollup.has_levels() {
        return Ok(());
    }
    let (days, cells) = (days_table(&rollup.name), cells_table(&rollup.name));
    lease.execute(&format!("DELETE FROM {days} WHERE day = $1"), &[&Ms(BASE)]).await?;
    let moved = upsert(lease, rollup, bases, removed_before).await?;
    lease.pipeline(moved.as_slice(), faults).await?;
    let dimensions = dimension_columns(rollup);
    let less: Vec<String> =
        levels::columns(rollup).iter().map(|column| format!("(-sum({column}))::bigint")).collect();
    let sql = format!(
        "INSERT INTO {days} AS l SELECT {} FROM {cells} WHERE pane < $2 GROUP BY {} ON CONFLICT ({}) DO UPDATE SET {}",
        joined(&dimensions, &["$1::timestamptz", &less.join(", ")]),
        joined(&dimensions, &["()"]),
        joined(&dimensions, &["day"]),
        added(rollup)
    );
    lease.execute(&sql, &[&Ms(BASE), &Ms::bound(removed_before)]).await?;
    Ok(())
}

/// Tells cells where their levels stand.
pub(crate) async fn read(
    lease: &Lease,
    rollup: &Rollup,
    cells: &mut [CellRow],
    found: Found,
) -> Result<(), Error> {
    let Some((keys, oldest)) = levels::asked(cells).filter(|_| rollup.has_levels()) else { return Ok(()) };
    if found == Found::Each {
        let keys: Vec<CellKey> = cells.iter().map(|cell| (cell.pane, cell.dimensions.clone())).collect();
        let own = standings_at(lease, rollup, &keys).await?;
        levels::place(rollup, cells, own);
        return Ok(());
    }
    let keys: Vec<CellKey> = keys.into_iter().map(|dimensions| (oldest, dimensions)).collect();
    let read = standings_at(lease, rollup, &keys).await?;
    let standings: Standings = keys.into_iter().map(|(_, dimensions)| dimensions).zip(read).collect();
    levels::reach(rollup, cells, standings, oldest);
    Ok(())
}

/// Returns where the levels of dimensions stand at the ends of panes, in the order of the keys.
async fn standings_at(lease: &Lease, rollup: &Rollup, keys: &[CellKey]) -> Result<Vec<Vec<i64>>, Error> {
    let key: Vec<String> = dimension_columns(rollup).iter().map(|name| format!("k.{name}")).collect();
    let places = levels::places(rollup);
    let selected: Vec<String> = places.iter().map(|at| level(rollup, *at, &key, "k.pane")).collect();
    let sql = format!(
        "SELECT {} FROM unnest({}) WITH ORDINALITY AS k({}, nth) ORDER BY nth",
        selected.join(", "),
        key_types(rollup),
        key_columns(rollup).join(", "),
    );
    let columns = key_arrays(rollup, keys)?;
    let rows = lease.query(&sql, &parameters(&columns)).await?;
    let standing = |row: &Row| (0..places.len()).map(|at| row.try_get(at)).collect::<Result<Vec<i64>, _>>();
    Ok(rows.iter().map(standing).collect::<Result<_, _>>()?)
}

/// Returns the base: the moves of cells that are gone, or are not shown any more.
pub(crate) async fn bases(lease: &Lease, rollup: &Rollup) -> Result<LevelBases, Error> {
    if !rollup.has_levels() {
        return Ok(LevelBases::new());
    }
    let (dimensions, columns) = (dimension_columns(rollup), levels::columns(rollup));
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let listed = joined(&dimensions, &names);
    let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})::bigint")).collect();
    let summed = joined(&dimensions, &[&sums.join(", ")]);
    let grouped = match dimensions.join(", ").as_str() {
        "" => "HAVING count(*) > 0".to_owned(),
        names => format!("GROUP BY {names}"),
    };
    // While retention is under way, cells that are to go are still there.
    let sql = format!(
        "SELECT {summed} FROM (SELECT {listed} FROM {} WHERE day = $1 UNION ALL SELECT {listed} FROM {} \
         WHERE pane < (SELECT removed_before FROM sg_rollups WHERE rollup = $2)) AS gone {grouped}",
        days_table(&rollup.name),
        cells_table(&rollup.name),
    );
    let width = dimensions.len();
    let rows = lease.query(&sql, &[&Ms(BASE), &rollup.name]).await?;
    let bases = rows.iter().map(|row| {
        let key = (0..width).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        let moves = (width..width + columns.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        Ok((key, moves))
    });
    bases.collect()
}

/// Returns the expression of a level at the end of a pane: `key` are the expressions of its dimensions.
pub(crate) fn level(rollup: &Rollup, at: usize, key: &[String], pane: &str) -> String {
    let same = |alias: &str| -> String {
        let names = dimension_columns(rollup);
        names.iter().zip(key).map(|(name, value)| format!("{alias}.{name} = {value} AND ")).collect()
    };
    let day = day_of(pane);
    format!(
        "((SELECT coalesce(sum(l.m{at}), 0) FROM {} l WHERE {}l.day < {day}) \
         + (SELECT coalesce(sum(p.m{at}), 0) FROM {} p WHERE {}p.pane >= {day} AND p.pane <= {pane}))::bigint",
        days_table(&rollup.name),
        same("l"),
        cells_table(&rollup.name),
        same("p"),
    )
}

fn day_of(pane: &str) -> String {
    format!("sg_window_start({pane}, {DAY_MS})")
}
