//! Writing and reading cells. When a window is final, removed or announced is not decided here.

use std::collections::BTreeMap;

use rusqlite::types::Value as Sql;
use rusqlite::{CachedStatement, Connection, Row, params, params_from_iter};
use sg_core::cell::CellDelta;
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::{CellOrder, CellQuery, CellRow, Tally, TallyQuery, Totals};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::announced::Keys;
use crate::answers;
use crate::faults::Faults;
use crate::levels::Found;
use crate::names::{dimension_columns, key_columns};
use crate::unfit::to_integer;

use super::error::{Error, from_integer};
use super::schema::cells_table;
use super::{levels, measures, sketches};

/// Where a rollup stands while a flush writes its cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Windows that end no later were final before this flush.
    pub(crate) closed_to: Timestamp,
    /// Windows that end no later have been removed.
    pub(crate) removed_before: Timestamp,
}

/// What became of the cells of one flush.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Events that came after their window had been removed.
    pub(crate) expired: u64,
    /// Windows × dimensions that were final and have changed.
    pub(crate) corrected: Keys,
}

/// Adds a flush's cells to the table, in the order of its key.
pub(crate) fn write(
    connection: &Connection,
    rollup: &Rollup,
    (partition, delta): (u32, &RollupDelta),
    standing: Standing,
    faults: &Faults,
) -> Result<Written, Error> {
    let written = put(connection, rollup, delta, standing, faults)?;
    levels::write(connection, rollup, delta, standing.removed_before)?;
    sketches::write(connection, rollup, (partition, delta), standing.removed_before)?;
    faults.step()?;
    Ok(written)
}

/// Adds cells to the table, without what lies beside it.
pub(crate) fn put(
    connection: &Connection,
    rollup: &Rollup,
    delta: &RollupDelta,
    standing: Standing,
    faults: &Faults,
) -> Result<Written, Error> {
    let mut written = Written::default();
    let mut corrected: BTreeMap<(Timestamp, Vec<String>), ()> = BTreeMap::new();
    let mut upsert = connection.prepare_cached(&upsert_sql(rollup))?;
    let mut parameters: Vec<Sql> = Vec::new();
    for (index, cell) in delta.cells.sorted().iter().enumerate() {
        let end = window::end_of(cell.pane, rollup.window_ms);
        if end <= standing.removed_before {
            written.expired += cell.events;
            continue;
        }
        let is_final = end <= standing.closed_to;
        parameters.clear();
        for (measure, value) in rollup.measures.iter().zip(cell.values) {
            measures::bind(&measure.function, value, &mut parameters)?;
        }
        bind_cell(&mut upsert, cell, is_final, &parameters)?;
        if index == 0 {
            faults.step()?;
        }
        if is_final {
            let dimensions = cell.dimensions().map(str::to_owned).collect();
            corrected.insert((window::start_of(cell.pane, rollup.window_ms), dimensions), ());
        }
    }
    written.corrected = corrected.into_keys().collect();
    Ok(written)
}

fn bind_cell(
    upsert: &mut rusqlite::Statement<'_>,
    cell: &CellDelta<'_>,
    is_final: bool,
    measures: &[Sql],
) -> Result<(), Error> {
    upsert.raw_bind_parameter(1, cell.pane.0)?;
    let mut at = 2;
    for dimension in cell.dimensions() {
        upsert.raw_bind_parameter(at, dimension)?;
        at += 1;
    }
    upsert.raw_bind_parameter(at, to_integer(cell.events)?)?;
    upsert.raw_bind_parameter(at + 1, to_integer(cell.late)?)?;
    upsert.raw_bind_parameter(at + 2, i64::from(is_final))?;
    for (offset, measure) in measures.iter().enumerate() {
        upsert.raw_bind_parameter(at + 3 + offset, measure)?;
    }
    upsert.raw_execute()?;
    Ok(())
}

/// A new cell of a final window begins with revision 1; one that is there already has its revision grow.
fn upsert_sql(rollup: &Rollup) -> String {
    let mut columns = key_columns(rollup);
    columns.extend(["events", "late_count", "revision"].map(str::to_owned));
    let mut merges = ["events", "late_count", "revision"]
        .map(|column| format!("{column} = {column} + excluded.{column}"))
        .to_vec();
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns.extend(measures::columns(&measure.function, at));
        merges.push(measures::merge(&measure.function, at));
    }
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO UPDATE SET {}",
        cells_table(&rollup.name),
        columns.join(", "),
        vec!["?"; columns.len()].join(", "),
        merges.join(", "),
    )
}

/// Returns the cells of a query in its order, as many as it asks for.
pub(crate) fn read(connection: &Connection, query: &CellQuery) -> Result<Vec<CellRow>, Error> {
    let rollup = &query.rollup;
    let mut columns = key_columns(rollup);
    columns.extend(["events", "late_count", "revision"].map(str::to_owned));
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns.extend(measures::columns(&measure.function, at));
    }
    // Each key is looked up: joined the other way round all cells between would be read.
    let from_windows = if query.windows.is_empty() { "" } else { "json_each(?5) AS k CROSS JOIN " };
    let mut sql = format!(
        "SELECT {} FROM {from_windows}{} WHERE pane >= max(?1, coalesce((SELECT removed_before FROM sg_rollups \
         WHERE rollup = ?4), ?1)) AND pane < ?2",
        columns.join(", "),
        cells_table(&rollup.name),
    );
    let limit = i64::try_from(query.cells_max).unwrap_or(i64::MAX);
    let mut parameters: Vec<Sql> =
        vec![query.from.0.into(), query.to.0.into(), limit.into(), rollup.name.clone().into()];
    if !query.windows.is_empty() {
        let places = key_columns(rollup).into_iter().enumerate();
        places.for_each(|(at, column)| sql += &format!(" AND {column} = k.value ->> '$[{at}]'"));
        parameters.push(
            serde_json::json!(query.panes().iter().map(key_json).collect::<Vec<_>>()).to_string().into(),
        );
    }
    for (dimension, value) in &query.filters {
        if *dimension >= rollup.by.len() {
            return Err(answers::no_dimension(&rollup.name, *dimension).into());
        }
        parameters.push(value.clone().into());
        sql += &format!(" AND d{dimension} = ?{}", parameters.len());
    }
    if let Some((pane, dimensions)) = &query.after {
        let first = parameters.len() + 1;
        parameters.push(pane.0.into());
        parameters.extend(dimensions.iter().map(|text| Sql::from(text.clone())));
        let places: Vec<String> = (first..=parameters.len()).map(|at| format!("?{at}")).collect();
        sql += &format!(" AND ({}) > ({})", key_columns(rollup).join(", "), places.join(", "));
    }
    sql += &format!(" ORDER BY {} LIMIT ?3", ordered(rollup, query.order));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(parameters), |row| cell_row(rollup, row))?;
    let mut cells = rows.collect::<Result<Vec<CellRow>, _>>()?;
    let found = if query.windows.is_empty() { Found::Running } else { Found::Each };
    levels::read(connection, rollup, &mut cells, found)?;
    sketches::read(connection, rollup, &mut cells)?;
    Ok(cells)
}

fn key_json((pane, dimensions): &(Timestamp, &[String])) -> serde_json::Value {
    let dimensions = dimensions.iter().map(|text| serde_json::Value::from(text.as_str()));
    std::iter::once(pane.0.into()).chain(dimensions).collect()
}

fn ordered(rollup: &Rollup, order: CellOrder) -> String {
    let mut columns = key_columns(rollup);
    if order == CellOrder::NewestFirst {
        columns[0] += " DESC";
    }
    columns.join(", ")
}

/// Adds up the cells of a range.
pub(crate) fn totals(connection: &Connection, query: &TallyQuery) -> Result<Totals, Error> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(events), 0), coalesce(sum(late_count), 0) FROM {}",
        tallied(&query.rollup)
    );
    let given = params![query.from.0, query.to.0, query.rollup.name];
    let totals = connection.prepare_cached(&sql)?.query_row(given, |row| {
        Ok(Totals {
            cells: from_integer(row.get(0)?)?,
            events: from_integer(row.get(1)?)?,
            late: from_integer(row.get(2)?)?,
        })
    })?;
    Ok(totals)
}

/// The cells of a range that retention has not passed, with `?1`, `?2` for the range and `?3` for the rollup.
fn tallied(rollup: &Rollup) -> String {
    format!(
        "{} WHERE pane >= max(?1, coalesce((SELECT removed_before FROM sg_rollups WHERE rollup = ?3), ?1)) AND pane < ?2",
        cells_table(&rollup.name)
    )
}

/// Adds up the cells of a range: the events of each combination of dimensions, and the windows that have any.
pub(crate) fn tally(connection: &Connection, query: &TallyQuery) -> Result<Tally, Error> {
    let rollup = &query.rollup;
    let range = tallied(rollup);
    let given = params![query.from.0, query.to.0, rollup.name];
    let window = rollup.window_ms;
    let sql = format!(
        "SELECT count(*) FROM (SELECT DISTINCT pane - ((pane % {window}) + {window}) % {window} FROM {range})"
    );
    let windows = connection.prepare_cached(&sql)?.query_row(given, |row| from_integer(row.get(0)?))?;
    let names = dimension_columns(rollup).join(", ");
    let sql = match names.as_str() {
        "" => format!("SELECT sum(events) FROM {range} HAVING count(*) > 0"),
        names => format!("SELECT {names}, sum(events) FROM {range} GROUP BY {names} ORDER BY {names}"),
    };
    let width = rollup.by.len();
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(given, |row| {
        let dimensions = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        Ok((dimensions, from_integer(row.get(width)?)?))
    })?;
    Ok(Tally { windows, events: rows.collect::<Result<_, _>>()? })
}

fn cell_row(rollup: &Rollup, row: &Row<'_>) -> Result<CellRow, rusqlite::Error> {
    let dimensions = 1 + rollup.by.len();
    let mut values = Vec::with_capacity(rollup.measures.len());
    let mut shown = Vec::new();
    let mut first = dimensions + 3;
    for (at, measure) in rollup.measures.iter().enumerate() {
        values.push(measures::read(&measure.function, row, first)?);
        shown.extend(measures::read_shown(&measure.function, row, first)?);
        first += measures::columns(&measure.function, at).len();
    }
    Ok(CellRow {
        pane: Timestamp(row.get(0)?),
        dimensions: (1..dimensions).map(|at| row.get(at)).collect::<Result<_, _>>()?,
        values,
        events: from_integer(row.get(dimensions)?)?,
        late_count: from_integer(row.get(dimensions + 1)?)?,
        revision: from_integer(row.get(dimensions + 2)?)?,
        shown,
    })
}

/// Returns the first pane in a range that has cells.
pub(crate) fn first_pane(
    connection: &Connection,
    rollup: &Rollup,
    (from, to): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>, Error> {
    let sql = format!("SELECT min(pane) FROM {} WHERE pane >= ? AND pane < ?", cells_table(&rollup.name));
    let pane: Option<i64> = connection.prepare_cached(&sql)?.query_row([from.0, to.0], |row| row.get(0))?;
    Ok(pane.map(Timestamp))
}

/// Returns the revisions of a window's cells by dimensions, the first `rows_max` that come after the dimensions `after`.
/// Reads no more than that many of each pane, however many there are.
pub(crate) fn window_revisions(
    connection: &Connection,
    rollup: &Rollup,
    start: Timestamp,
    after: Option<&[String]>,
    rows_max: usize,
) -> Result<Vec<(Vec<String>, u64)>, Error> {
    let dimensions = dimension_columns(rollup);
    if dimensions.is_empty() && after.is_some() {
        return Ok(Vec::new());
    }
    let mut columns = dimensions.clone();
    columns.push("revision".to_owned());
    let mut sql = format!("SELECT {} FROM {} WHERE pane = ?", columns.join(", "), cells_table(&rollup.name));
    if after.is_some() {
        sql += &format!(" AND ({}) > ({})", dimensions.join(", "), vec!["?"; dimensions.len()].join(", "));
    }
    if !dimensions.is_empty() {
        sql += &format!(" ORDER BY {}", dimensions.join(", "));
    }
    sql += " LIMIT ?";
    let mut statement = connection.prepare_cached(&sql)?;
    let mut revisions: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    let mut pane = start.0;
    while pane < start.0.saturating_add(rollup.window_ms) {
        let mut parameters: Vec<Sql> = vec![pane.into()];
        parameters.extend(after.unwrap_or_default().iter().map(|value| Sql::Text(value.clone())));
        parameters.push(i64::try_from(rows_max).unwrap_or(i64::MAX).into());
        let mut rows = statement.query(params_from_iter(parameters))?;
        while let Some(row) = rows.next()? {
            let key = (0..dimensions.len()).map(|at| row.get(at)).collect::<Result<Vec<String>, _>>()?;
            *revisions.entry(key).or_default() += from_integer(row.get(dimensions.len())?)?;
        }
        pane += rollup.pane_ms;
    }
    Ok(revisions.into_iter().take(rows_max).collect())
}

/// Reads the revisions of single windows × dimensions.
pub(crate) struct Revisions<'a> {
    statement: CachedStatement<'a>,
    rollup: &'a Rollup,
}

impl<'a> Revisions<'a> {
    /// Prepares for a rollup.
    pub(crate) fn of(connection: &'a Connection, rollup: &'a Rollup) -> Result<Revisions<'a>, Error> {
        let mut sql = format!("SELECT revision FROM {} WHERE pane = ?", cells_table(&rollup.name));
        for column in dimension_columns(rollup) {
            sql += &format!(" AND {column} = ?");
        }
        Ok(Revisions { statement: connection.prepare_cached(&sql)?, rollup })
    }

    /// Returns a revision: the sum over the window's panes, one seek each.
    pub(crate) fn get(&mut self, start: Timestamp, dimensions: &[String]) -> Result<u64, Error> {
        let mut revision = 0;
        let mut pane = start.0;
        while pane < start.0.saturating_add(self.rollup.window_ms) {
            self.statement.raw_bind_parameter(1, pane)?;
            for (at, dimension) in dimensions.iter().enumerate() {
                self.statement.raw_bind_parameter(at + 2, dimension)?;
            }
            let mut rows = self.statement.raw_query();
            while let Some(row) = rows.next()? {
                revision += from_integer(row.get(0)?)?;
            }
            pane += self.rollup.pane_ms;
        }
        Ok(revision)
    }
}
