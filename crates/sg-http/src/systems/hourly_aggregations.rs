//! Hourly aggregations: counts of events by type and hour, and what of them is still in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::definition::Rollup;
use sg_core::ports::{Pending, StatusDetail};
use sg_core::query::{Row, Tally, TallyQuery};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::params::Params;
use crate::rollups;

use super::newest::{self, ALWAYS, Newest};

/// The rollup that these paths show.
const ROLLUP: &str = "hourly_aggregations";
/// Records of a partition in which types and windows are counted; the rest are counted only as so many.
const MEMORY_RECORDS_MAX: u64 = 200_000;
/// Bytes read from the log at once.
const MEMORY_BYTES: usize = 1 << 20;

/// `GET /api/aggregations[?event_type=&start=&end=]`: newest window first.
pub(crate) async fn aggregations(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = rollups::find(&app, ROLLUP)?;
    let params = Params::parse(query.as_deref().unwrap_or_default());
    let mut known = vec!["start", "end"];
    known.extend(rollup.by.iter().map(String::as_str));
    params.only(&known)?;
    let now = app.clock.now();
    let start = params.time("start", now)?.unwrap_or(ALWAYS.0);
    let end = params.time("end", now)?.unwrap_or(ALWAYS.1);
    if start > end {
        return Err(ApiError::BadQuery("start lies behind end".to_owned()));
    }
    let filter = |(at, name): (usize, &String)| params.get(name).map(|value| (at, value.to_owned()));
    let filters = rollup.by.iter().enumerate().filter_map(filter).collect();
    Ok(shown(rollup, &newest::rows(&app, rollup, (start, end), filters).await?))
}

/// `GET /api/aggregations/latest`: the newest window.
pub(crate) async fn latest(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = asked_bare(&app, query.as_deref())?;
    let found = match newest::window_start(&app, rollup).await? {
        Some(start) => newest::rows(&app, rollup, (start, start), Vec::new()).await?,
        None => Newest { rows: Vec::new(), next_end: None },
    };
    Ok(shown(rollup, &found))
}

fn asked_bare<'a>(app: &'a App, query: Option<&str>) -> Result<&'a Rollup, ApiError> {
    Params::parse(query.unwrap_or_default()).only(&[])?;
    rollups::find(app, ROLLUP)
}

fn shown(rollup: &Rollup, found: &Newest) -> Response {
    let rows: Vec<String> = found.rows.iter().map(|row| aggregation_json(rollup, row)).collect();
    let next_end = found.next_end.map(|end| format!(",\"next_end\":\"{end}\"")).unwrap_or_default();
    answer::json(format!("{{\"aggregations\":[{}],\"count\":{}{next_end}}}", rows.join(","), rows.len()))
}

/// Returns a row as its dimensions, its window and its measures.
fn aggregation_json(rollup: &Rollup, row: &Row) -> String {
    let mut text = String::from("{");
    for (name, value) in rollup.by.iter().zip(&row.dimensions) {
        text += &format!("{}:{},", answer::quoted(name), answer::quoted(value));
    }
    text += &format!("\"window_start\":\"{}\",\"window_end\":\"{}\"", row.start, row.end);
    answer::push_measures(&mut text, rollup, row);
    text + "}"
}

/// `GET /api/stats`.
pub(crate) async fn stats(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = asked_bare(&app, query.as_deref())?;
    let tally = tally(&app, rollup).await?;
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let body = json!({
        "total_events": tally.total(),
        "total_windows": tally.windows,
        "event_types": event_type_names(rollup, &tally).len(),
        "first_window": text(newest::oldest_window_start(&app, rollup).await?),
        "last_window": text(newest::window_start(&app, rollup).await?),
    });
    Ok(answer::json(body.to_string()))
}

/// `GET /api/event-types`.
pub(crate) async fn event_types(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = asked_bare(&app, query.as_deref())?;
    let tally = tally(&app, rollup).await?;
    Ok(answer::json(json!({"event_types": event_type_names(rollup, &tally)}).to_string()))
}

async fn tally(app: &App, rollup: &Rollup) -> Result<Tally, ApiError> {
    let query = TallyQuery { rollup: rollup.clone(), from: ALWAYS.0, to: ALWAYS.1 };
    app.store.tally(&query).await.map_err(|error| ApiError::of_store(&error))
}

fn event_type_names<'t>(rollup: &Rollup, tally: &'t Tally) -> BTreeSet<&'t str> {
    let dimension = rollup.by.iter().position(|name| name == "event_type");
    let names = tally.events.iter().filter_map(|(dimensions, _)| dimensions.get(dimension?));
    names.map(String::as_str).collect()
}

/// `GET /api/pipeline/memory`: what the log has and the store does not yet, by type and window. Which of it are
/// duplicates is not known yet. Only a log of this process's own is looked into; of another only the number is told.
pub(crate) async fn memory(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = asked_bare(&app, query.as_deref())?;
    let pending = app.pipeline.pending().await.map_err(|error| ApiError::of_log(&error))?;
    let mine: Vec<&Pending> = pending.iter().filter(|pending| pending.stream == rollup.stream).collect();
    let status = app.store.status(StatusDetail::Marks).await.map_err(|error| ApiError::of_store(&error))?;
    let mut windows = BTreeMap::new();
    let mut waiting = 0;
    for pending in &mine {
        let Some(extent) = pending.extent else { continue };
        let stored = status
            .partitions
            .iter()
            .find(|stored| stored.stream == pending.stream && stored.partition == pending.partition);
        let from = stored.map_or(0, |stored| stored.next_offset).clamp(extent.start, extent.end);
        waiting += extent.end - from;
        if app.searches_log {
            let until = extent.end.min(from + MEMORY_RECORDS_MAX);
            count_waiting(&app, pending, rollup, (from, until), &mut windows).await?;
        }
    }
    let owned = || mine.iter().filter_map(|pending| pending.owned.as_ref());
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let window_json = |((start, kind), count): (&(Timestamp, String), &u64)| json!({"event_type": kind, "window_start": start.to_string(), "count": count});
    let body = json!({
        "events_in_memory": waiting,
        "windows": windows.iter().map(window_json).collect::<Vec<Value>>(),
        "last_flush_at": text(owned().filter_map(|owned| owned.flushed_at).max()),
        "next_flush_at": text(owned().filter_map(|owned| owned.flush_due).min()),
    });
    Ok(answer::json(body.to_string()))
}

/// Counts the records of a partition from one offset to before another by window and type.
async fn count_waiting(
    app: &App,
    pending: &Pending,
    rollup: &Rollup,
    (from, until): (u64, u64),
    windows: &mut BTreeMap<(Timestamp, String), u64>,
) -> Result<(), ApiError> {
    if from == until {
        return Ok(());
    }
    let failed = |error| ApiError::of_log(&error);
    let mut reader = app.log.open(&pending.stream, pending.partition, from).await.map_err(failed)?;
    let mut at = from;
    while at < until {
        let batches = reader.next(MEMORY_BYTES, Duration::from_secs(1)).await.map_err(failed)?;
        // Also without records: those that the log has lost are passed over.
        let passed = reader.passed();
        if passed == at {
            break;
        }
        at = passed;
        for batch in &batches {
            for (index, entry) in batch.events.entries.iter().enumerate() {
                let (offset, appended_at) = batch.place(index);
                if offset >= until {
                    return Ok(());
                }
                let start = window::start_of(entry.times(appended_at).event_time, rollup.window_ms);
                *windows.entry((start, batch.events.text(entry.kind).to_owned())).or_default() += 1;
            }
        }
    }
    Ok(())
}
