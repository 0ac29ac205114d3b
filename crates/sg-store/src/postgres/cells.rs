//! Writing and reading cells. When a window is final, removed or announced is not decided here.

use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::TryStreamExt;
use sg_core::definition::Rollup;
use sg_core::flush::RollupDelta;
use sg_core::query::{CellOrder, CellQuery, CellRow, Tally, TallyQuery, Totals};
use sg_core::time::Timestamp;
use sg_core::window;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::announced::{Announced, Keys};
use crate::answers;
use crate::levels::Found;
use crate::names::{dimension_columns, key_columns};
use crate::unfit::{Unfit, to_integer};

use super::error::Error;
use super::levels;
use super::measures::{self, count};
use super::pool::{Lease, Prepared};
use super::sketches;
use super::tables::cells_table;
use super::wire::{Column, Ms};

/// Cells of one statement: more save nothing, and a statement's memory stays small.
const CELLS_PER_STATEMENT: usize = 4_000;

/// Where a rollup stands while a flush writes its cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// Windows that end no later were final when the flush wrote its cells.
    pub(crate) closed_to: Timestamp,
    /// Windows that end no later have been removed.
    pub(crate) removed_before: Timestamp,
}

/// A flush's cells of one rollup as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// The columns of each statement, in the order of the key.
    chunks: Vec<Vec<Column>>,
    /// Events that came after their window had been removed.
    pub(crate) expired: u64,
}

/// Encodes a flush's cells in the order of their key: all writers lock them in this order.
pub(crate) fn encode(rollup: &Rollup, delta: &RollupDelta, standing: Standing) -> Result<Encoded, Unfit> {
    let mut encoded = Encoded::default();
    let sorted = delta.cells.sorted();
    let is_kept = |pane: Timestamp| window::end_of(pane, rollup.window_ms) > standing.removed_before;
    encoded.expired = sorted.iter().filter(|cell| !is_kept(cell.pane)).map(|cell| cell.events).sum();
    let kept: Vec<_> = sorted.iter().filter(|cell| is_kept(cell.pane)).collect();
    let types = column_types(rollup);
    for cells in kept.chunks(CELLS_PER_STATEMENT) {
        let mut columns: Vec<Column> = types.iter().cloned().map(Column::of).collect();
        for cell in cells {
            let is_final = window::end_of(cell.pane, rollup.window_ms) <= standing.closed_to;
            columns[0].push_time(cell.pane)?;
            let mut at = 1;
            for dimension in cell.dimensions() {
                columns[at].push_text(dimension);
                at += 1;
            }
            columns[at].push_integer(to_integer(cell.events)?);
            columns[at + 1].push_integer(to_integer(cell.late)?);
            columns[at + 2].push_integer(i64::from(is_final));
            at += 3;
            for (measure, value) in rollup.measures.iter().zip(cell.values) {
                measures::push(&measure.function, value, &mut columns[at..])?;
                at += measures::columns(&measure.function, 0).len();
            }
        }
        encoded.chunks.push(columns);
    }
    Ok(encoded)
}

fn columns(rollup: &Rollup) -> Vec<String> {
    let mut columns = key_columns(rollup);
    columns.extend(["events", "late_count", "revision"].map(str::to_owned));
    for (at, measure) in rollup.measures.iter().enumerate() {
        columns.extend(measures::columns(&measure.function, at).into_iter().map(|(name, _)| name));
    }
    columns
}

fn column_types(rollup: &Rollup) -> Vec<Type> {
    let mut types = vec![Type::TIMESTAMPTZ];
    types.extend(rollup.by.iter().map(|_| Type::TEXT));
    types.extend([Type::INT8, Type::INT8, Type::INT8]);
    for measure in &rollup.measures {
        types.extend(measures::columns(&measure.function, 0).into_iter().map(|(_, kind)| kind));
    }
    types
}

/// Returns the statements that add cells to their table.
pub(crate) async fn upserts(
    lease: &Lease,
    rollup: &Rollup,
    encoded: Encoded,
) -> Result<Vec<Prepared>, Error> {
    if encoded.chunks.is_empty() {
        return Ok(Vec::new());
    }
    let statement = lease.statement(&upsert_sql(rollup)).await?;
    let prepared = encoded.chunks.into_iter().map(|columns| (statement.clone(), boxed(columns)));
    Ok(prepared.collect())
}

/// Returns columns as what a statement is given.
pub(crate) fn boxed(columns: Vec<Column>) -> Vec<Box<dyn ToSql + Sync + Send>> {
    columns.into_iter().map(|column| Box::new(column) as Box<dyn ToSql + Sync + Send>).collect()
}

/// A new cell of a final window begins with revision 1; one that is there already has its revision grow.
fn upsert_sql(rollup: &Rollup) -> String {
    let mut merges = ["events", "late_count", "revision"]
        .map(|column| format!("{column} = c.{column} + excluded.{column}"))
        .to_vec();
    for (at, measure) in rollup.measures.iter().enumerate() {
        merges.push(measures::merge(&measure.function, at));
    }
    format!(
        "INSERT INTO {} AS c ({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO UPDATE SET {}",
        cells_table(&rollup.name),
        columns(rollup).join(", "),
        arrays(&column_types(rollup)),
        key_columns(rollup).join(", "),
        merges.join(", "),
    )
}

/// Returns parameters for arrays of the given member types.
pub(crate) fn arrays(types: &[Type]) -> String {
    let casts = types.iter().enumerate().map(|(at, kind)| format!("${}::{kind}[]", at + 1));
    casts.collect::<Vec<_>>().join(", ")
}

/// What of a flush's cells lies in windows that are final by now.
#[derive(Debug, Default)]
pub(crate) struct Final {
    /// Windows × dimensions, in their order.
    pub(crate) windows: Keys,
    /// Panes × dimensions whose windows were not final yet when the cells were written.
    pub(crate) since: Keys,
}

/// Finds the cells of a flush whose windows are final by `closed_to`.
pub(crate) fn final_cells(
    rollup: &Rollup,
    delta: &RollupDelta,
    standing: Standing,
    closed_to: Timestamp,
) -> Final {
    let mut found = Final::default();
    let mut windows: BTreeSet<(Timestamp, Vec<String>)> = BTreeSet::new();
    for cell in delta.cells.sorted() {
        let end = window::end_of(cell.pane, rollup.window_ms);
        if end > closed_to {
            break;
        }
        if end <= standing.removed_before {
            continue;
        }
        let dimensions: Vec<String> = cell.dimensions().map(str::to_owned).collect();
        if end > standing.closed_to {
            found.since.push((cell.pane, dimensions.clone()));
        }
        windows.insert((window::start_of(cell.pane, rollup.window_ms), dimensions));
    }
    found.windows = windows.into_iter().collect();
    found
}

/// Returns the columns of keys, and the names `k.…` under which a statement knows them.
pub(crate) fn key_arrays(rollup: &Rollup, keys: &[(Timestamp, Vec<String>)]) -> Result<Vec<Column>, Unfit> {
    let mut columns = vec![Column::of(Type::TIMESTAMPTZ)];
    columns.extend(rollup.by.iter().map(|_| Column::of(Type::TEXT)));
    for (at, dimensions) in keys {
        columns[0].push_time(*at)?;
        dimensions.iter().zip(&mut columns[1..]).for_each(|(dimension, column)| column.push_text(dimension));
    }
    Ok(columns)
}

pub(crate) fn parameters(columns: &[Column]) -> Vec<&(dyn ToSql + Sync)> {
    columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
}

pub(crate) fn key_types(rollup: &Rollup) -> String {
    arrays(&column_types(rollup)[..1 + rollup.by.len()])
}

/// Raises the revisions of cells that this transaction has written already.
pub(crate) async fn raise_revisions(lease: &Lease, rollup: &Rollup, cells: &Keys) -> Result<(), Error> {
    let key = key_columns(rollup);
    let same: Vec<String> = key.iter().map(|column| format!("c.{column} = k.{column}")).collect();
    let sql = format!(
        "UPDATE {} AS c SET revision = revision + 1 FROM unnest({}) AS k({}) WHERE {}",
        cells_table(&rollup.name),
        key_types(rollup),
        key.join(", "),
        same.join(" AND "),
    );
    let columns = key_arrays(rollup, cells)?;
    let raised = lease.execute(&sql, &parameters(&columns)).await?;
    if raised != cells.len() as u64 {
        return Err(Error::corrupt(format!(
            "raising revisions of {}: {raised} of {} cells were there",
            rollup.name,
            cells.len()
        )));
    }
    Ok(())
}

/// Returns the revisions of windows × dimensions: the sum over the window's panes, one look-up each.
pub(crate) async fn revisions(lease: &Lease, rollup: &Rollup, windows: &Keys) -> Result<Vec<u64>, Error> {
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let dimensions = dimension_columns(rollup);
    let mut same = format!("c.pane = k.pane + place * interval '{} milliseconds'", rollup.pane_ms);
    dimensions.iter().for_each(|column| same += &format!(" AND c.{column} = k.{column}"));
    let sql = format!(
        "SELECT sum(coalesce((SELECT revision FROM {} AS c WHERE {same}), 0))::bigint \
         FROM unnest({}) WITH ORDINALITY AS k({}, nth), generate_series(0, {}) AS place GROUP BY nth ORDER BY nth",
        cells_table(&rollup.name),
        key_types(rollup),
        key_columns(rollup).join(", "),
        rollup.window_ms / rollup.pane_ms - 1,
    );
    let columns = key_arrays(rollup, windows)?;
    let rows = lease.query(&sql, &parameters(&columns)).await?;
    rows.iter().map(|row| count(row, 0)).collect()
}

/// A window × dimensions and its revision.
pub(crate) type Revised = (Timestamp, Vec<String>, u64);

/// Returns the windows × dimensions behind what was announced that start before `end`, in order, the first `rows_max`.
pub(crate) async fn windows_behind(
    lease: &Lease,
    rollup: &Rollup,
    announced: &Announced,
    end: Timestamp,
    rows_max: usize,
) -> Result<Vec<Revised>, Error> {
    let (mut from, mut after) = (announced.from, announced.key.as_deref());
    if rollup.by.is_empty() && after.take().is_some() {
        // The only row of the window has been announced.
        from = Timestamp(from.0.saturating_add(rollup.window_ms));
    }
    if rollup.pane_ms == rollup.window_ms {
        return panes_behind(lease, rollup, (from, end), after, rows_max).await;
    }
    let mut found: Vec<Revised> = Vec::new();
    let first = format!("SELECT min(pane) FROM {} WHERE pane >= $1 AND pane < $2", cells_table(&rollup.name));
    while found.len() < rows_max && from < end {
        let row = lease.query(&first, &[&Ms::bound(from), &Ms::bound(end)]).await?;
        let pane: Option<Ms> = row.first().map(|row| row.try_get(0)).transpose()?.flatten();
        let Some(Ms(pane)) = pane else { break };
        let start = window::start_of(pane, rollup.window_ms);
        let after = after.filter(|_| start == announced.from);
        found.extend(window_behind(lease, rollup, start, after, rows_max - found.len()).await?);
        from = Timestamp(start.0 + rollup.window_ms);
    }
    Ok(found)
}

/// Reads windows of one pane each.
async fn panes_behind(
    lease: &Lease,
    rollup: &Rollup,
    (from, end): (Timestamp, Timestamp),
    after: Option<&[String]>,
    rows_max: usize,
) -> Result<Vec<Revised>, Error> {
    let key = key_columns(rollup).join(", ");
    let (from, end, limit) = (Ms::bound(from), Ms::bound(end), i64::try_from(rows_max).unwrap_or(i64::MAX));
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&from, &end, &limit];
    let mut behind = String::new();
    if let Some(after) = after {
        given.extend(after.iter().map(|dimension| dimension as &(dyn ToSql + Sync)));
        let places: Vec<String> = (4..4 + after.len()).map(|place| format!("${place}")).collect();
        behind = format!(" AND ({key}) > ($1, {})", places.join(", "));
    }
    let sql = format!(
        "SELECT {key}, revision FROM {} WHERE pane >= $1 AND pane < $2{behind} ORDER BY {key} LIMIT $3",
        cells_table(&rollup.name)
    );
    let width = 1 + rollup.by.len();
    let rows = lease.query(&sql, &given).await?;
    let revised = rows.iter().map(|row| {
        let dimensions = (1..width).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        Ok((row.try_get::<_, Ms>(0)?.0, dimensions, count(row, width)?))
    });
    revised.collect()
}

/// Reads one window of several panes: no more than so many rows of each, however many there are.
async fn window_behind(
    lease: &Lease,
    rollup: &Rollup,
    start: Timestamp,
    after: Option<&[String]>,
    rows_max: usize,
) -> Result<Vec<Revised>, Error> {
    let dimensions = dimension_columns(rollup);
    let names = dimensions.join(", ");
    let (pane, limit) = (Ms(start), i64::try_from(rows_max).unwrap_or(i64::MAX));
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&pane, &limit];
    let mut behind = String::new();
    if let Some(after) = after {
        given.extend(after.iter().map(|dimension| dimension as &(dyn ToSql + Sync)));
        let places: Vec<String> = (3..3 + after.len()).map(|place| format!("${place}")).collect();
        behind = format!(" AND ({names}) > ({})", places.join(", "));
    }
    let (listed, ordered, grouped) = if dimensions.is_empty() {
        (String::new(), String::new(), "HAVING count(*) > 0".to_owned())
    } else {
        (format!("{names}, "), format!("ORDER BY {names}"), format!("GROUP BY {names} ORDER BY {names}"))
    };
    let sql = format!(
        "SELECT {listed}sum(revision)::bigint FROM generate_series(0, {}) AS place, LATERAL (SELECT {listed}revision \
         FROM {} WHERE pane = $1::timestamptz + place * interval '{} milliseconds'{behind} {ordered} LIMIT $2) AS c \
         {grouped} LIMIT $2",
        rollup.window_ms / rollup.pane_ms - 1,
        cells_table(&rollup.name),
        rollup.pane_ms,
    );
    let rows = lease.query(&sql, &given).await?;
    let revised = rows.iter().map(|row| {
        let key = (0..dimensions.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        Ok((start, key, count(row, dimensions.len())?))
    });
    revised.collect()
}

/// Returns the cells of a query in its order, as many as it asks for.
pub(crate) async fn read(lease: &Lease, query: &CellQuery) -> Result<Vec<CellRow>, Error> {
    let rollup = &query.rollup;
    let (from, to) = (Ms::bound(query.from), Ms::bound(query.to));
    let limit = i64::try_from(query.cells_max).unwrap_or(i64::MAX);
    let mut given: Vec<&(dyn ToSql + Sync)> = vec![&from, &to, &limit, &rollup.name];
    let mut filters = String::new();
    for (dimension, value) in &query.filters {
        if *dimension >= rollup.by.len() {
            return Err(answers::no_dimension(&rollup.name, *dimension).into());
        }
        given.push(value);
        filters += &format!(" AND d{dimension} = ${}", given.len());
    }
    let after = query.after.as_ref().map(|(pane, dimensions)| (Ms::bound(*pane), dimensions));
    if let Some((pane, dimensions)) = &after {
        let first = given.len() + 1;
        given.push(pane);
        given.extend(dimensions.iter().map(|text| text as &(dyn ToSql + Sync)));
        let places: Vec<String> = (first..=given.len()).map(|at| format!("${at}")).collect();
        filters += &format!(" AND ({}) > ({})", key_columns(rollup).join(", "), places.join(", "));
    }
    let mut keys = vec![Column::of(Type::TIMESTAMPTZ)];
    keys.resize(1 + rollup.by.len(), Column::of(Type::TEXT));
    if !query.windows.is_empty() {
        for (pane, dimensions) in query.panes() {
            keys[0].push_time(pane)?;
            dimensions.iter().zip(&mut keys[1..]).for_each(|(text, column)| column.push_text(text));
        }
        let from = given.len() + 1;
        let arrays = column_types(rollup).into_iter().take(keys.len()).enumerate();
        let arrays: Vec<String> = arrays.map(|(at, kind)| format!("${}::{kind}[]", from + at)).collect();
        let columns = key_columns(rollup).join(", ");
        filters += &format!(" AND ({columns}) IN (SELECT * FROM unnest({}))", arrays.join(", "));
        given.extend(parameters(&keys));
    }
    let sql = format!(
        "SELECT {} FROM {} WHERE pane >= greatest($1, (SELECT removed_before FROM sg_rollups WHERE rollup = $4)) \
         AND pane < $2{filters} ORDER BY {} LIMIT $3",
        columns(rollup).join(", "),
        cells_table(&rollup.name),
        ordered(rollup, query.order),
    );
    let statement = lease.statement(&sql).await?;
    let mut rows = pin!(lease.client()?.query_raw(&statement, given).await?);
    let mut cells = Vec::new();
    while let Some(row) = rows.try_next().await? {
        cells.push(cell_row(rollup, &row)?);
    }
    let found = if query.windows.is_empty() { Found::Running } else { Found::Each };
    levels::read(lease, rollup, &mut cells, found).await?;
    sketches::read(lease, rollup, &mut cells).await?;
    Ok(cells)
}

fn ordered(rollup: &Rollup, order: CellOrder) -> String {
    let mut columns = key_columns(rollup);
    if order == CellOrder::NewestFirst {
        columns[0] += " DESC";
    }
    columns.join(", ")
}

/// Adds up the cells of a range.
pub(crate) async fn totals(lease: &Lease, query: &TallyQuery) -> Result<Totals, Error> {
    let (from, to) = (Ms::bound(query.from), Ms::bound(query.to));
    let sql = format!(
        "SELECT count(*), coalesce(sum(events), 0)::bigint, coalesce(sum(late_count), 0)::bigint FROM {}",
        tallied(&query.rollup)
    );
    let Some(row) = lease.query_opt(&sql, &[&from, &to, &query.rollup.name]).await? else {
        return Ok(Totals::default());
    };
    Ok(Totals { cells: count(&row, 0)?, events: count(&row, 1)?, late: count(&row, 2)? })
}

/// The cells of a range that retention has not passed, with `$1`, `$2` for the range and `$3` for the rollup.
fn tallied(rollup: &Rollup) -> String {
    format!(
        "{} WHERE pane >= greatest($1, (SELECT removed_before FROM sg_rollups WHERE rollup = $3)) AND pane < $2",
        cells_table(&rollup.name)
    )
}

/// Adds up the cells of a range: the events of each combination of dimensions, and the windows that have any.
pub(crate) async fn tally(lease: &Lease, query: &TallyQuery) -> Result<Tally, Error> {
    let rollup = &query.rollup;
    let (from, to) = (Ms::bound(query.from), Ms::bound(query.to));
    let given: [&(dyn ToSql + Sync); 3] = [&from, &to, &rollup.name];
    let range = tallied(rollup);
    let window = rollup.window_ms;
    let sql =
        format!("SELECT count(DISTINCT floor(extract(epoch FROM pane) * 1000 / {window})) FROM {range}");
    let windows = match lease.query_opt(&sql, &given).await? {
        Some(row) => count(&row, 0)?,
        None => 0,
    };
    let names = dimension_columns(rollup).join(", ");
    let sql = match names.as_str() {
        "" => format!("SELECT sum(events)::bigint FROM {range} HAVING count(*) > 0"),
        names => {
            format!("SELECT {names}, sum(events)::bigint FROM {range} GROUP BY {names} ORDER BY {names}")
        }
    };
    let width = rollup.by.len();
    let rows = lease.query(&sql, &given).await?;
    let events = rows.iter().map(|row| {
        let dimensions = (0..width).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        Ok((dimensions, count(row, width)?))
    });
    Ok(Tally { windows, events: events.collect::<Result<_, Error>>()? })
}

fn cell_row(rollup: &Rollup, row: &Row) -> Result<CellRow, Error> {
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
        pane: row.try_get::<_, Ms>(0)?.0,
        dimensions: (1..dimensions).map(|at| row.try_get(at)).collect::<Result<_, _>>()?,
        values,
        events: count(row, dimensions)?,
        late_count: count(row, dimensions + 1)?,
        revision: count(row, dimensions + 2)?,
        shown,
    })
}
