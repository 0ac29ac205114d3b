//! Questions about rollups: which there are, their rows over time, and the largest of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use sg_core::cell::Value;
use sg_core::definition::{Condition, Function, LatePolicy, Measure, Rollup};
use sg_core::interval::{CutError, Cuts, Interval};
use sg_core::limits::{QUERY_CELLS_MAX, QUERY_ROWS_MAX, TIME_MAX_MS, TIME_MIN_MS};
use sg_core::nearest;
use sg_core::ports::{StatusDetail, StoreStatus};
use sg_core::query::{self, CellOrder, CellQuery, CellRow, Row};
use sg_core::time::Timestamp;

use crate::App;
use crate::answer::{self, Format};
use crate::error::ApiError;
use crate::params::{Named, Params};

/// Rows of a page unless asked otherwise.
const PAGE_ROWS: usize = 1_000;
/// Cells read for one page; what does not fit follows with the cursor.
const PAGE_CELLS: usize = 200_000;
/// As [`PAGE_CELLS`], for cells with sketches; and the bytes of sketches that a page may hold in memory.
const PAGE_SKETCHED_CELLS: usize = 5_000;
const PAGE_SKETCH_BYTES: usize = 32 << 20;
/// Rows of a filled answer, of which a page is cut: bounds the work and the memory of one question.
const FILLED_ROWS_MAX: usize = 200_000;
/// Rows of `/top` unless asked otherwise.
const TOP_ROWS: usize = 10;

/// `GET /v1/rollups`.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let status = app.store.status(StatusDetail::Marks).await.map_err(|error| ApiError::of_store(&error))?;
    let described: Vec<String> =
        rollups(&app).map(|rollup| describe(rollup, closed_to(&status, rollup))).collect();
    Ok(answer::json(format!("{{\"rollups\":[{}]}}", described.join(","))))
}

/// Returns all rollups, in the order of the doors.
pub(crate) fn rollups(app: &App) -> impl Iterator<Item = &Rollup> {
    app.doors.iter().flat_map(|door| door.plan.rollups.iter().map(|planned| &planned.rollup))
}

/// Returns a rollup by its name.
pub(crate) fn find<'a>(app: &'a App, name: &str) -> Result<&'a Rollup, ApiError> {
    rollups(app).find(|rollup| rollup.name == name).ok_or_else(|| {
        let known = rollups(app).map(|rollup| rollup.name.as_str());
        ApiError::UnknownRollup(format!("there is no rollup {name}{}", nearest::hint(name, known)))
    })
}

/// Returns a rollup's definition as a JSON object.
pub(crate) fn describe(rollup: &Rollup, closed_to: Timestamp) -> String {
    let late = match rollup.late {
        LatePolicy::Correct => "correct",
        LatePolicy::Divert => "divert",
    };
    let measures: Vec<serde_json::Value> = rollup.measures.iter().map(describe_measure).collect();
    let mut description = serde_json::json!({
        "name": rollup.name, "stream": rollup.stream, "window_ms": rollup.window_ms, "pane_ms": rollup.pane_ms,
        "grace_ms": rollup.grace_ms, "late": late, "keep_ms": rollup.keep_ms, "by": rollup.by, "measures": measures,
    });
    if closed_to != Timestamp::NEVER {
        description["closed_to"] = closed_to.to_string().into();
    }
    description.to_string()
}

fn describe_measure(measure: &Measure) -> serde_json::Value {
    let mut described = serde_json::json!({"name": measure.name, "fn": measure.function.name()});
    if let Some(field) = measure.function.number() {
        described["field"] = field.name.as_str().into();
        described["scale"] = field.scale.into();
    }
    if let Some(field) = measure.function.text() {
        described["field"] = field.into();
    }
    match &measure.function {
        Function::Level { up, down } => {
            described["up"] = describe_condition(up);
            described["down"] = describe_condition(down);
        }
        Function::Quantile { q_ppm, .. } => described["q"] = (f64::from(*q_ppm) / 1e6).into(),
        Function::Top { k, .. } => described["k"] = (*k).into(),
        _ => {}
    }
    if !measure.filter.0.is_empty() {
        described["where"] = describe_condition(&measure.filter);
    }
    described
}

fn describe_condition(Condition(filter): &Condition) -> serde_json::Value {
    filter.iter().map(|(name, values)| (name.clone(), serde_json::json!(values))).collect()
}

fn closed_to(status: &StoreStatus, rollup: &Rollup) -> Timestamp {
    status
        .rollups
        .iter()
        .find(|known| known.name == rollup.name)
        .map_or(Timestamp::NEVER, |known| known.closed_to)
}

/// What a question about rows asks for.
struct Question<'a> {
    rollup: &'a Rollup,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    interval: Option<(Interval, String)>,
    interval_text: String,
    fill: bool,
    limit: usize,
    /// The last row of the page before.
    after: Option<(Timestamp, Vec<String>)>,
    format: Format,
    filters: Vec<(usize, String)>,
}

impl<'a> Question<'a> {
    fn read(app: &'a App, name: &str, query: Option<&str>) -> Result<Question<'a>, ApiError> {
        let rollup = find(app, name)?;
        let params = Params::parse(query.unwrap_or_default());
        let mut known = vec!["from", "to", "interval", "tz", "fill", "limit", "cursor", "format"];
        known.extend(rollup.by.iter().map(String::as_str));
        params.only(&known)?;
        let now = app.clock.now();
        let tz = params.get("tz");
        let interval_text =
            params.get("interval").map_or_else(|| format!("{}s", rollup.window_ms / 1_000), str::to_owned);
        let interval = match (params.get("interval"), tz) {
            (None, None) => None,
            _ => Some((Interval::parse(&interval_text).map_err(cut_error)?, tz.unwrap_or("UTC").to_owned())),
        };
        let fill = match params.get("fill") {
            None | Some("none") => false,
            Some("zero") => true,
            Some(other) => return Err(ApiError::BadQuery(format!("fill is zero or none, not {other}"))),
        };
        let filter =
            |(at, name): (usize, &String)| params.get_even_empty(name).map(|value| (at, value.to_owned()));
        Ok(Question {
            from: params.time("from", now)?,
            to: params.time("to", now)?,
            interval,
            interval_text,
            fill,
            limit: params.count("limit", PAGE_ROWS, QUERY_ROWS_MAX)?,
            after: params.get("cursor").map(read_cursor).transpose()?,
            format: Format::parse(params.get("format"))?,
            filters: rollup.by.iter().enumerate().filter_map(filter).collect(),
            rollup,
        })
    }

    /// The range that was asked for.
    fn range(&self) -> Result<(Timestamp, Timestamp), ApiError> {
        let from = self.from.unwrap_or(Timestamp(TIME_MIN_MS));
        let to = self.to.unwrap_or(Timestamp(TIME_MAX_MS));
        if from > to {
            return Err(ApiError::BadQuery("from lies behind to".to_owned()));
        }
        Ok((from, to))
    }

    fn cuts(&self, (from, to): (Timestamp, Timestamp)) -> Result<Cuts, ApiError> {
        match &self.interval {
            None => Ok(Cuts::windows(self.rollup.window_ms, from, to)),
            Some((interval, zone)) => {
                Cuts::calendar(*interval, zone, self.rollup.pane_ms, (from, to)).map_err(cut_error)
            }
        }
    }
}

fn cut_error(error: CutError) -> ApiError {
    match error {
        CutError::UnknownInterval | CutError::UnknownZone => ApiError::BadQuery(error.to_string()),
        CutError::PaneTooCoarse { .. } => ApiError::PaneTooCoarse(error.to_string()),
        CutError::TooMany => ApiError::RangeTooLarge(error.to_string()),
    }
}

/// One page of rows.
struct Page {
    rows: Vec<Row>,
    /// As it was asked for, else of the rows; an end that is neither is none.
    range: (Option<Timestamp>, Option<Timestamp>),
    /// Where the next page begins, when there is more.
    next: Option<String>,
}

/// `GET /v1/rollups/{name}`.
pub(crate) async fn rows(
    State(app): State<Arc<App>>,
    Named(name): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let question = Question::read(&app, &name, query.as_deref())?;
    let status = app.store.status(StatusDetail::Marks).await.map_err(|error| ApiError::of_store(&error))?;
    let page = page(&app, &question).await?;
    let closed_to = closed_to(&status, question.rollup);
    let written: Vec<String> = match question.format {
        Format::Csv => {
            let answer = answer::csv(question.rollup, &page.rows, closed_to)?;
            return Ok(answer::with_cursor(answer, page.next.as_deref()));
        }
        Format::Json | Format::Ndjson => {
            page.rows.iter().map(|row| answer::row_json(question.rollup, row, closed_to)).collect()
        }
    };
    if question.format == Format::Ndjson {
        return Ok(answer::with_cursor(answer::ndjson(&written), page.next.as_deref()));
    }
    let next = page.next.map_or_else(|| "null".to_owned(), |cursor| answer::quoted(&cursor));
    Ok(answer::json(format!(
        "{{\"rollup\":{},\"range\":{{\"from\":{},\"to\":{},\"interval\":{}}},\"as_of\":{},\"data\":[{}],\"next_cursor\":{next}}}",
        answer::quoted(&question.rollup.name),
        answer::time(page.range.0.unwrap_or(Timestamp::NEVER)),
        answer::time(page.range.1.unwrap_or(Timestamp::NEVER)),
        answer::quoted(&question.interval_text),
        as_of(&status, question.rollup),
        written.join(",")
    )))
}

/// How far the answer reaches; a rollup that has not seen all records says from when on it has.
fn as_of(status: &StoreStatus, rollup: &Rollup) -> String {
    let stream = &rollup.stream;
    let watermark =
        status.watermarks.iter().find(|(name, _)| *name == *stream).map_or(Timestamp::NEVER, |(_, at)| *at);
    let mine = status.partitions.iter().filter(|partition| partition.stream == *stream);
    let offsets: Vec<String> =
        mine.map(|partition| format!("\"{}\":{}", partition.partition, partition.next_offset)).collect();
    let known = status.rollups.iter().find(|known| known.name == rollup.name);
    let complete_from = known.and_then(|known| known.complete_from);
    let complete_from = complete_from.map(|at| format!(",\"complete_from\":{}", answer::time(at)));
    format!(
        "{{\"watermark\":{},\"offsets\":{{{}}}{}}}",
        answer::time(watermark),
        offsets.join(","),
        complete_from.unwrap_or_default()
    )
}

async fn page(app: &App, question: &Question<'_>) -> Result<Page, ApiError> {
    let (from, to) = question.range()?;
    let bounded = question.from.is_some() && question.to.is_some();
    // A calendar widens the range to whole intervals, so it is cut before the cells are read where it can be.
    let early = if bounded || question.interval.is_none() { Some(question.cuts((from, to))?) } else { None };
    let (read_from, read_to) = early.as_ref().map_or((from, to), Cuts::range);
    let read_from = match &question.after {
        // A filled answer has every series in every interval: also those that no later page would show.
        Some((start, _)) if !question.fill => read_from.max(*start),
        _ => read_from,
    };
    let cells_max = cells_of_a_page(question.rollup);
    let mut cells = read_cells(app, question, (read_from, read_to), cells_max).await?;
    let is_cut_short = cells.len() == cells_max;
    if is_cut_short && question.fill {
        return Err(ApiError::RangeTooLarge(format!(
            "the range has more than {cells_max} cells to fill between: ask for a shorter one or filter"
        )));
    }
    let seen = seen_range(&cells, question);
    let cuts = match early {
        Some(cuts) => cuts,
        None => {
            let first = question.from.unwrap_or(seen.0);
            question.cuts((first, question.to.unwrap_or(seen.1).max(first)))?
        }
    };
    let dropped = if is_cut_short { drop_last_interval(&mut cells, &cuts)? } else { None };
    let mut rows = query::rows(cells, &cuts);
    if question.fill {
        let filled = if bounded {
            cuts.clone()
        } else {
            question.cuts((question.from.unwrap_or(seen.0), question.to.unwrap_or(seen.1).max(seen.0)))?
        };
        check_filled(&rows, &filled)?;
        let empty: Vec<Value> =
            question.rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect();
        rows = query::fill_with_zeros(rows, &filled, &empty);
    }
    if let Some((start, dimensions)) = &question.after {
        rows.retain(|row| (row.start, &row.dimensions) > (*start, dimensions));
    }
    let is_over = rows.len() > question.limit;
    rows.truncate(question.limit);
    let next = match rows.last() {
        Some(last) if is_over => Some(cursor_of(last.start, &last.dimensions)),
        // Behind the rows of the interval before: nothing of the dropped one has been shown.
        _ => dropped.map(|start| cursor_of(Timestamp(start.0 - 1), &[])),
    };
    let (asked_from, asked_to) = cuts.range();
    let range = (
        question.from.map(|_| asked_from).or(rows.first().map(|row| row.start)),
        question.to.map(|_| asked_to).or(rows.last().map(|row| row.end)),
    );
    Ok(Page { rows, range, next })
}

/// Checks that every series in every interval is no more than a question may make.
fn check_filled(rows: &[Row], filled: &Cuts) -> Result<(), ApiError> {
    let series: BTreeSet<&[String]> = rows.iter().map(|row| row.dimensions.as_slice()).collect();
    let intervals = filled.iter().take(FILLED_ROWS_MAX + 1).count();
    if series.len().saturating_mul(intervals) > FILLED_ROWS_MAX {
        return Err(ApiError::RangeTooLarge(format!(
            "{} series in {intervals} intervals are more than {FILLED_ROWS_MAX} rows to fill: ask for a shorter range, a coarser interval, or filter",
            series.len()
        )));
    }
    Ok(())
}

/// Returns how many cells of a rollup are read for one page.
pub(crate) fn cells_of_a_page(rollup: &Rollup) -> usize {
    match rollup.has_sketches() {
        true => rollup.sketched_cells(PAGE_SKETCH_BYTES, PAGE_SKETCHED_CELLS),
        false => PAGE_CELLS,
    }
}

async fn read_cells(
    app: &App,
    question: &Question<'_>,
    (from, to): (Timestamp, Timestamp),
    cells_max: usize,
) -> Result<Vec<CellRow>, ApiError> {
    let query = CellQuery {
        rollup: question.rollup.clone(),
        from,
        to,
        filters: question.filters.clone(),
        after: None,
        windows: Vec::new(),
        order: CellOrder::OldestFirst,
        cells_max,
    };
    app.store.cells(&query).await.map_err(|error| ApiError::of_store(&error))
}

/// The range of the cells; where there are none, as little as possible within the one that was asked for.
fn seen_range(cells: &[CellRow], question: &Question<'_>) -> (Timestamp, Timestamp) {
    let nothing = question.from.or(question.to).unwrap_or(Timestamp(0));
    let first = cells.first().map_or(nothing, |cell| cell.pane);
    (first, cells.last().map_or(first, |cell| Timestamp(cell.pane.0 + question.rollup.pane_ms)))
}

/// The last interval of a chunk may lack cells: it is left for the next page. Returns its start.
fn drop_last_interval(cells: &mut Vec<CellRow>, cuts: &Cuts) -> Result<Option<Timestamp>, ApiError> {
    let cells_max = cells.len();
    let last_start = cells.last().and_then(|cell| cuts.containing(cell.pane)).map(|(start, _)| start);
    let Some(last_start) = last_start else { return Ok(None) };
    cells.retain(|cell| cell.pane < last_start);
    if cells.is_empty() {
        return Err(ApiError::RangeTooLarge(format!(
            "one interval has more than {cells_max} cells: filter by a dimension or ask for a finer interval"
        )));
    }
    Ok(Some(last_start))
}

/// A cursor is the start and the dimensions of the last row shown, in hex.
fn cursor_of(start: Timestamp, dimensions: &[String]) -> String {
    let text = serde_json::json!([start.0, dimensions]).to_string();
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_cursor(cursor: &str) -> Result<(Timestamp, Vec<String>), ApiError> {
    let bytes: Option<Vec<u8>> =
        (0..cursor.len()).step_by(2).map(|at| u8::from_str_radix(cursor.get(at..at + 2)?, 16).ok()).collect();
    let read = bytes.and_then(|bytes| serde_json::from_slice::<(i64, Vec<String>)>(&bytes).ok());
    let (start, dimensions) =
        read.ok_or_else(|| ApiError::BadQuery("cursor is the next_cursor of an earlier answer".to_owned()))?;
    Ok((Timestamp(start), dimensions))
}

/// `GET /v1/rollups/{name}/top?by=&n=&from=&to=`.
pub(crate) async fn top(
    State(app): State<Arc<App>>,
    Named(name): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = find(&app, &name)?;
    let params = Params::parse(query.as_deref().unwrap_or_default());
    let mut known = vec!["by", "n", "limit", "from", "to"];
    known.extend(rollup.by.iter().map(String::as_str));
    params.only(&known)?;
    let measure = measure_index(rollup, &params)?;
    let count =
        params.count(if params.get("n").is_some() { "n" } else { "limit" }, TOP_ROWS, QUERY_ROWS_MAX)?;
    let now = app.clock.now();
    let filter =
        |(at, name): (usize, &String)| params.get_even_empty(name).map(|value| (at, value.to_owned()));
    let query = CellQuery {
        rollup: rollup.clone(),
        from: params.time("from", now)?.unwrap_or(Timestamp(TIME_MIN_MS)),
        to: params.time("to", now)?.unwrap_or(Timestamp(TIME_MAX_MS)),
        filters: rollup.by.iter().enumerate().filter_map(filter).collect(),
        after: None,
        windows: Vec::new(),
        order: CellOrder::OldestFirst,
        cells_max: if rollup.has_sketches() { cells_of_a_page(rollup) } else { QUERY_CELLS_MAX },
    };
    let written = largest(&app, &query, measure, count).await?;
    Ok(answer::json(format!(
        "{{\"rollup\":{},\"by\":{},\"data\":[{}]}}",
        answer::quoted(&name),
        answer::quoted(&rollup.measures[measure].name),
        written.join(",")
    )))
}

/// Returns which measure `by` names; the first when there is none.
pub(crate) fn measure_index(rollup: &Rollup, params: &Params) -> Result<usize, ApiError> {
    let Some(by) = params.get("by") else { return Ok(0) };
    let orders = |measure: &Measure| !matches!(measure.function, Function::Top { .. });
    rollup.measures.iter().position(|measure| measure.name == by && orders(measure)).ok_or_else(|| {
        let measures = rollup.measures.iter().filter(|measure| orders(measure));
        let names: Vec<&str> = measures.map(|measure| measure.name.as_str()).collect();
        ApiError::BadQuery(format!("by is a measure of {}: {}", rollup.name, names.join(", ")))
    })
}

/// Returns the combinations of dimensions with the largest values of a measure, as JSON objects.
pub(crate) async fn largest(
    app: &App,
    query: &CellQuery,
    measure: usize,
    count: usize,
) -> Result<Vec<String>, ApiError> {
    let cells = app.store.cells(query).await.map_err(|error| ApiError::of_store(&error))?;
    if cells.len() == query.cells_max {
        return Err(ApiError::RangeTooLarge(format!(
            "the range has more than {} cells: ask for a shorter one",
            query.cells_max
        )));
    }
    let ranked = query::top(cells, (measure, &query.rollup.measures[measure].function), count);
    Ok(ranked.iter().map(|total| top_json(&query.rollup, total, (query.from, query.to))).collect())
}

fn top_json(rollup: &Rollup, total: &CellRow, (start, end): (Timestamp, Timestamp)) -> String {
    let row = Row {
        start,
        end,
        dimensions: total.dimensions.clone(),
        values: total.values.clone(),
        events: total.events,
        late_count: total.late_count,
        revision: total.revision,
    };
    let mut text = String::new();
    answer::push_cell(&mut text, rollup, &row);
    format!("{{{}}}", text.trim_start_matches(','))
}
